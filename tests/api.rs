//! Tests of the API without a cluster: over real TLS, with good and bad input, and with kills at any instant.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::control_plane::await_condition;
use crate::serve::EmbeddedServer;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

const STATE: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: taken, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: theirs, namespace: shop}, spec: {hosts: [taken]}}
"#;

#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl HttpAnswer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value.trim())
    }
}

/// Sends a request with the right token, unless `headers` has another authorization.
pub(crate) fn send_json(
    served: &EmbeddedServer,
    method: &str,
    path: &str,
    body: Option<&Value>,
    headers: &[&str],
) -> HttpAnswer {
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let own = format!("Authorization: Bearer {token}");
    let shows_none = headers.iter().any(|header| header.starts_with("Authorization"));
    let headers: Vec<&str> = if shows_none { headers.to_vec() } else { [headers, &[own.as_str()]].concat() };
    send_with_curl(served, method, path, body.map(ToString::to_string).as_deref(), &headers).unwrap()
}

/// Sends a text with the given content type.
pub(crate) fn send_text(served: &EmbeddedServer, method: &str, path: &str, (of, text): (&str, &str)) -> HttpAnswer {
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let headers = [format!("Authorization: Bearer {token}"), format!("Content-Type: {of}")];
    send_with_curl(served, method, path, Some(text), &headers.each_ref().map(String::as_str)).unwrap()
}

fn send_with_curl(
    served: &EmbeddedServer,
    method: &str,
    path: &str,
    body: Option<&str>,
    headers: &[&str],
) -> anyhow::Result<HttpAnswer> {
    let authority = served.file("ca.crt");
    let url = format!("https://{}{path}", served.api);
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--include", "--path-as-is", "--request", method]);
    command.arg("--cacert").arg(authority);
    for header in headers {
        command.args(["--header", header]);
    }
    let file = tempfile::NamedTempFile::new()?;
    if let Some(body) = body {
        std::fs::write(file.path(), body)?;
        command.args(["--header", "Expect:", "--data-binary", &format!("@{}", file.path().display())]);
        if !headers.iter().any(|header| header.starts_with("Content-Type")) {
            command.args(["--header", "Content-Type: application/json"]);
        }
    }
    let output = command.arg(url).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    ensure!(status.is_some(), "{head}{}", String::from_utf8_lossy(&output.stderr));
    Ok(HttpAnswer { status: status.unwrap(), head: head.to_owned(), body: body.to_owned() })
}

fn state() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("state.yaml"), STATE).unwrap();
    directory
}

const OF_SHOP: &str = "/api/v1/namespaces/shop/suspensions";

fn injection(name: &str) -> Value {
    json!({"name": name, "suspend": "Injection", "for": "2h", "reason": "loop", "ticket": "INC-1"})
}

#[tokio::test]
async fn a_suspension_is_made_once_extended_ended_and_recorded() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let made = send_json(&served, "POST", OF_SHOP, Some(&injection("debug")), &[]);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/api/v1/namespaces/shop/suspensions/debug")),
        "{made:?}"
    );
    let told = made.json();
    assert_eq!((&told["state"], &told["matched"]["workloads"]), (&json!("InForce"), &json!(1)), "{told}");
    assert_eq!(told["warnings"], json!([]));
    let again = send_json(&served, "POST", OF_SHOP, Some(&injection("debug")), &[]);
    assert_eq!((again.status, again.header("etag")), (200, made.header("etag")), "{again:?}");
    let mut other = injection("debug");
    other["reason"] = json!("another");
    assert_eq!(send_json(&served, "POST", OF_SHOP, Some(&other), &[]).status, 409);

    let path = format!("{OF_SHOP}/debug");
    let tag = format!("If-Match: {}", made.header("etag").unwrap());
    let longer = send_json(&served, "POST", &format!("{path}/extend"), Some(&json!({"by": "1h"})), &[&tag]);
    assert_eq!(longer.status, 200, "{longer:?}");
    assert!(longer.json()["endsAt"].as_str().unwrap() > told["endsAt"].as_str().unwrap());
    let stale = send_json(&served, "POST", &format!("{path}/extend"), Some(&json!({"by": "1h"})), &[&tag]);
    assert_eq!(stale.status, 412, "{stale:?}");
    let listed = send_json(&served, "GET", &format!("{OF_SHOP}?state=InForce&suspend=Injection"), None, &[]).json();
    assert_eq!(listed["items"][0]["name"], "debug", "{listed}");

    // In the second of its start there is nothing to keep.
    await_condition("a second to pass", TIMEOUT, async || {
        let started: jiff::Timestamp = told["startsAt"].as_str().unwrap().parse()?;
        ensure!(
            outrigger::kernel::clock::Clock::System.now() > started + jiff::SignedDuration::from_secs(1),
            "not yet"
        );
        // What begins and ends between two looks is told of once.
        ensure!(!served.audit_entries(|entry| entry["act"] == "Begin").is_empty(), "it has not been seen to begin");
        Ok(())
    })
    .await;
    let over = send_json(&served, "POST", &format!("{path}/end"), Some(&json!({"reason": "fixed"})), &[]);
    assert_eq!((over.status, &over.json()["state"]), (200, &json!("Over")), "{over:?}");
    assert_eq!(send_json(&served, "GET", &path, None, &[]).json()["state"], "Over");
    assert_eq!(send_json(&served, "POST", &format!("{path}/end"), None, &[]).status, 409);

    let id = told["auditId"].as_str().unwrap();
    let wanted = [
        "Create Allowed",
        "Extend Allowed",
        "Extend Refused",
        "End Allowed",
        "End Refused",
        "Begin Allowed",
        "Over Allowed",
    ];
    let acts = await_condition("the record", TIMEOUT, async || {
        let acts = served.audit_entries(|entry| entry["id"] == id);
        let told = |act: &Value| format!("{} {}", act["act"].as_str().unwrap(), act["outcome"].as_str().unwrap());
        let missing: Vec<_> = wanted.iter().filter(|one| !acts.iter().any(|act| told(act) == ***one)).collect();
        ensure!(missing.is_empty(), "no {missing:?} in {acts:?}");
        Ok(acts)
    })
    .await;
    let end = acts.iter().find(|act| act["act"] == "End" && act["outcome"] == "Allowed").unwrap();
    assert_eq!(
        (&end["actor"]["user"], &end["reason"], &end["ticket"]),
        (&json!("admin"), &json!("fixed"), &json!("INC-1"))
    );
    assert!(end["before"]["spec"]["expiresAt"] != end["after"]["spec"]["expiresAt"], "{end}");
}

/// A namespace whose cluster policy allows no exception, with a pod that has a sidecar.
const STRICT: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: strict}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: strict, uid: u2}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-0, namespace: strict, uid: u3, labels: {app: api}, annotations: {sidecar.istio.io/status: '{"containers":["istio-proxy"]}'}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: api, uid: u2, controller: true}]}, spec: {containers: [{name: app, image: app}, {name: istio-proxy, image: proxyv2}]}, status: {phase: Running}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: always}, spec: {match: {namespaces: {include: [strict]}}, action: Enable, overrides: Deny}}
"#;

#[tokio::test]
async fn a_suspension_says_what_a_policy_refuses_and_which_pods_keep_their_sidecar() {
    let state = state();
    std::fs::write(state.path().join("strict.yaml"), STRICT).unwrap();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let suspend = |path: &str, body: &Value| {
        let answer = send_json(&served, "POST", &format!("{path}?dryRun=true"), Some(body), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["warnings"].to_string()
    };
    let void = "has no effect on 1 of 1 workloads: ClusterInjectionPolicy always allows no exception";
    let of_strict = "/api/v1/namespaces/strict/suspensions";
    let warnings = suspend(of_strict, &injection("void"));
    assert!(warnings.contains(void) && warnings.contains("1 running pods keep their sidecar"), "{warnings}");
    let mut everywhere = injection("all");
    everywhere["namespaces"] = json!({"include": ["strict"]});
    let warnings = suspend("/api/v1/suspensions", &everywhere);
    assert!(!warnings.contains("has no effect") && warnings.contains("1 running pods"), "{warnings}");
    // What exists already is described in the same way.
    assert_eq!(send_json(&served, "POST", of_strict, Some(&injection("void")), &[]).status, 201);
    let warnings = send_json(&served, "GET", &format!("{of_strict}/void"), None, &[]).json()["warnings"].to_string();
    assert!(warnings.contains(void), "{warnings}");
}

#[tokio::test]
async fn a_caller_without_the_token_gets_nothing_and_is_recorded() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let right = format!("Authorization: Bearer {token}");
    let short = format!("Authorization: Bearer {}", &token[..20]);
    let basic = format!("Authorization: Basic {token}");
    for (headers, status) in [
        (&["Authorization:"][..], 401),
        (&[short.as_str()], 401),
        (&["Authorization: Bearer wrong"], 401),
        (&["Authorization: Bearer"], 401),
        (&[basic.as_str()], 401),
        (&[right.as_str(), "Authorization: Bearer another"], 401),
        (&[right.as_str(), "Impersonate-User: root"], 403),
        (&[right.as_str(), "impersonate-group: system:masters"], 403),
        (&[right.as_str(), "X-Remote-User: root"], 403),
    ] {
        for (method, path) in [
            ("POST", OF_SHOP),
            ("GET", OF_SHOP),
            ("GET", "/api/v1/suspensions/x"),
            ("POST", "/api/v1/suspensions/x/end"),
        ] {
            let body = (method == "POST").then(|| injection("x"));
            let answer = send_json(&served, method, path, body.as_ref(), headers);
            assert_eq!(answer.status, status, "{headers:?} {method} {path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
            assert!(!answer.body.contains(&token[..20]), "{answer:?}");
        }
    }
    assert_eq!(send_json(&served, "GET", &format!("{OF_SHOP}?token={token}"), None, &["Authorization:"]).status, 401);
    assert_eq!(send_json(&served, "GET", OF_SHOP, None, &[]).json()["items"], json!([]), "nothing was made");
    let refused = await_condition("the record", TIMEOUT, async || {
        let refused = served.audit_entries(|entry| entry["outcome"] == "Refused");
        ensure!(refused.len() >= 36, "{}", refused.len());
        Ok(refused)
    })
    .await;
    assert!(refused.iter().all(|act| act["actor"]["user"].is_null() && act["actor"]["address"].is_string()));
}

#[tokio::test]
async fn bad_input_is_refused_with_a_problem_and_nothing_is_kept() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let with = |field: &str, value: Value| {
        let mut body = injection("bad");
        body[field] = value;
        body.to_string()
    };
    let nested = format!("{{\"suspend\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(10 << 20));
    for (path, body, status, part) in [
        (OF_SHOP, "{".to_owned(), 400, "the body cannot be read"),
        (OF_SHOP, "[]".to_owned(), 422, "the body cannot be read"),
        (OF_SHOP, nested, 400, "the body cannot be read"),
        (OF_SHOP, large, 413, "larger than 64 KiB"),
        (OF_SHOP, with("color", json!("red")), 422, "unknown field"),
        (OF_SHOP, with("suspend", json!("Everything")), 422, "unknown variant"),
        (OF_SHOP, with("name", json!("Not A Name")), 422, "which is not a name of a-z"),
        (OF_SHOP, with("name", json!(7)), 422, "name is not a string"),
        (OF_SHOP, with("name", json!("a".repeat(200))), 422, "longer than 150"),
        (OF_SHOP, with("for", json!("40y")), 422, "which is not a positive duration"),
        (OF_SHOP, with("for", json!("0s")), 422, "which is not a positive duration"),
        (OF_SHOP, with("startsAt", json!("2020-01-01T00:00:00Z")), 422, "which is past"),
        (OF_SHOP, with("expiresAt", json!("2020-01-01T00:00:00Z")), 422, "only one may say when it ends"),
        (OF_SHOP, with("namespaces", json!({"include": ["*"]})), 422, "only for a cluster suspension"),
        (OF_SHOP, with("reason", json!("  ")), 422, "reason"),
        (OF_SHOP, with("reason", json!("x".repeat(300))), 422, "at most 256 characters"),
        ("/api/v1/suspensions", injection("bad").to_string(), 422, "spec.namespaces is missing"),
        ("/api/v1/namespaces/nowhere/suspensions", injection("bad").to_string(), 404, "there is no namespace nowhere"),
        (OF_SHOP, json!({"suspend": "Traffic", "services": [{"name": "wep"}], "for": "1h", "reason": "x"}).to_string(), 422, "did you mean web?"),
        (OF_SHOP, json!({"suspend": "Traffic", "services": [{"name": "taken"}], "for": "1h", "reason": "x"}).to_string(), 409, "VirtualService shop/theirs routes it already"),
        (OF_SHOP, json!({"suspend": "Traffic", "services": [{"name": "web", "versions": ["v9"]}], "for": "1h", "reason": "x"}).to_string(), 422, "has no version v9"),
    ] {
        let token = std::fs::read_to_string(served.file("token")).unwrap();
        let own = format!("Authorization: Bearer {token}");
        let answer = send_with_curl(&served, "POST", path, Some(&body), &[&own]).unwrap();
        let start: String = body.chars().take(80).collect();
        assert_eq!(answer.status, status, "{path} {start}: {answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
        assert!(problem["detail"].as_str().unwrap().contains(part), "{start}: {problem}");
    }
    for (method, path, headers, status) in [
        ("PUT", OF_SHOP, &[][..], 405),
        ("DELETE", "/api/v1/suspensions/x", &[], 405),
        ("GET", "/api/v1/suspensions/none", &[], 404),
        ("GET", "/api/v1/nothing", &[], 404),
        ("GET", "/api/v1/suspensions?limit=0", &[], 400),
        ("GET", "/api/v1/suspensions?limit=x", &[], 400),
        ("GET", "/api/v1/suspensions?state=Sometimes", &[], 400),
        ("GET", "/api/v1/suspensions?colour=red", &[], 400),
        ("POST", "/api/v1/namespaces/shop/suspensions/none/end", &[], 404),
        ("POST", "/api/v1/namespaces/shop/suspensions/..%2f..%2fsecrets%2fx/end", &[], 404),
        ("GET", "/api/v1/namespaces/shop%2f..%2fother/suspensions", &[], 404),
        ("GET", "/api/v1/suspensions/%00", &[], 404),
        ("GET", "/api/v1/namespaces/%ff/suspensions", &[], 404),
        ("POST", "/api/v1/namespaces/shop/suspensions/%ff/end", &[], 404),
        ("POST", "/api/v1/namespaces/shop/suspensions/%ff/end", &["Authorization:"], 401),
        ("GET", "/api/v1/suspensions?watch=true&state=InForce", &[], 400),
        ("POST", "/api/v1/namespaces/shop/suspensions/none/extend", &[], 415),
    ] {
        let answer = send_json(&served, method, path, None, headers);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:?}");
    }
    let text = send_json(&served, "POST", OF_SHOP, Some(&injection("bad")), &["Content-Type: text/plain"]);
    assert_eq!(text.status, 415, "{text:?}");
    assert_eq!(send_json(&served, "GET", OF_SHOP, None, &[]).json()["items"], json!([]));
    let files: Vec<_> = std::fs::read_dir(state.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(files.iter().all(|file| ["state.yaml", ".lock"].contains(&file.to_str().unwrap())), "{files:?}");
}

#[tokio::test]
async fn a_key_makes_a_creation_one_and_a_dry_run_keeps_nothing() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let mut body = injection("x");
    body.as_object_mut().unwrap().remove("name");
    let dry = send_json(&served, "POST", &format!("{OF_SHOP}?dryRun=true"), Some(&body), &[]);
    assert_eq!((dry.status, &dry.json()["state"]), (200, &json!("InForce")), "{dry:?}");
    let keyed = |key: &str, body: &Value| {
        send_json(&served, "POST", OF_SHOP, Some(body), &[&format!("Idempotency-Key: {key}")])
    };
    let (first, second, third) = (keyed("a", &body), keyed("a", &body), keyed("b", &body));
    assert_eq!((first.status, second.status, third.status), (201, 200, 201));
    assert_eq!(first.json()["name"], second.json()["name"]);
    let first = first.json();
    await_condition("both to be on the record of the one", TIMEOUT, async || {
        let of_first = |entry: &Value| entry["act"] == "Create" && entry["object"]["name"] == first["name"];
        let entries = served.audit_entries(of_first);
        ensure!(entries.len() == 2 && entries.iter().all(|entry| entry["id"] == first["auditId"]), "{entries:?}");
        ensure!(
            entries[0]["why"].is_null() && entries[1]["why"].as_str().unwrap().contains("existed already"),
            "{entries:?}"
        );
        Ok(())
    })
    .await;
    body["startsAt"] = Value::Null;
    let null = keyed("a", &body);
    assert_eq!(null.status, 200, "an absent start is no other: {null:?}");
    let all = |query: &str| send_json(&served, "GET", &format!("{OF_SHOP}?{query}"), None, &[]).json();
    let page = all("limit=1");
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let rest = all(&format!("limit=1&continue={}", page["continue"].as_str().unwrap()));
    assert_ne!(rest["items"][0]["name"], page["items"][0]["name"]);
    assert!(rest["continue"].is_null());
    let warnings = third.json()["warnings"].to_string();
    assert!(warnings.contains("some of these workloads are also suspended by SuspensionPolicy shop/"), "{warnings}");
}

#[tokio::test]
async fn who_listens_hears_of_a_begin_and_an_end_that_the_clock_makes() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    assert_eq!(send_json(&served, "POST", OF_SHOP, Some(&injection("first")), &[]).status, 201);
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let heard = tempfile::NamedTempFile::new().unwrap();
    let mut listening = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "30", "--cacert"])
        .arg(served.file("ca.crt"))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://{}{OF_SHOP}?watch=true", served.api))
        .stdout(heard.reopen().unwrap())
        .spawn()
        .unwrap();
    let text = || std::fs::read_to_string(heard.path()).unwrap();
    await_condition("the first event", TIMEOUT, async || {
        ensure!(text().contains("event: snapshot") && text().contains("\"name\":\"first\""), "{}", text());
        Ok(())
    })
    .await;
    let now = outrigger::kernel::clock::Clock::System.now();
    let at = |seconds| (now + jiff::SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let short = json!({"name": "short", "suspend": "Injection", "startsAt": at(2), "expiresAt": at(4), "reason": "x"});
    assert_eq!(send_json(&served, "POST", OF_SHOP, Some(&short), &[]).status, 201);
    await_condition("what the clock does to be heard", TIMEOUT, async || {
        let events: Vec<String> =
            text().lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect();
        ensure!(events == ["snapshot", "created", "began", "ended"], "{events:?}");
        Ok(())
    })
    .await;
    listening.kill().unwrap();
    listening.wait().unwrap();
}

#[test]
fn a_thousand_creations_at_once_are_each_answered_and_kept() {
    const MANY: usize = 1000;
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let one = |number: usize| {
        format!(
            "url = \"https://{}{OF_SHOP}\"\nheader = \"Authorization: Bearer {token}\"\nheader = \"Content-Type: application/json\"\n\
             cacert = \"{}\"\ndata = {:?}\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}}\\n\"\n",
            served.api,
            served.file("ca.crt").display(),
            injection(&format!("many-{number}")).to_string(),
        )
    };
    let config = (0..MANY).map(one).collect::<Vec<_>>().join("next\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--parallel", "--parallel-max", "300", "--max-time", "120", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let created = text.lines().filter(|line| *line == "201").count();
    assert_eq!((created, text.lines().count()), (MANY, MANY), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stored_names(state.path()).len(), MANY);
}

/// Number of creations under way when the server is killed.
const UNDER_WAY: usize = 12;

/// Starts many creations at once; each prints its status and its name.
fn spawn_creations(served: &EmbeddedServer, round: u32) -> std::process::Child {
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let one = |number| {
        let name = format!("s-{round}-{number}");
        let body = injection(&name).to_string().replace('"', "\\\"");
        format!(
            "url = \"https://{}{OF_SHOP}\"\nheader = \"Authorization: Bearer {token}\"\nheader = \"Content-Type: application/json\"\n\
             data = \"{body}\"\ncacert = \"{}\"\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}} {name}\\n\"\n",
            served.api,
            served.file("ca.crt").display(),
        )
    };
    let config: Vec<String> = (0..UNDER_WAY).map(one).collect();
    let mut curl = Command::new("curl")
        .args(["--silent", "--parallel", "--parallel-immediate", "--max-time", "20", "--config", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut curl.stdin.take().unwrap(), config.join("next\n").as_bytes()).unwrap();
    curl
}

#[test]
fn what_a_server_acknowledged_outlives_a_hundred_kills_under_load() {
    let state = state();
    let mut served = EmbeddedServer::start(Some(state.path()), 1);
    let (mut acknowledged, mut cut_off) = (Vec::new(), 0);
    // About as long as the creations take, whatever else the machine does: it follows what is seen.
    let mut span = std::time::Duration::from_millis(40);
    for round in 0..100_u32 {
        let curl = spawn_creations(&served, round);
        let deadline = std::time::Instant::now() + span * (round * 7 % 20) / 10;
        while std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        served = served.killed_and_started(state.path());
        let said = String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap();
        let made: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("201 ").map(str::to_owned)).collect();
        span = if made.len() == UNDER_WAY { span * 9 / 10 } else { span * 21 / 20 };
        cut_off += usize::from((1..UNDER_WAY).contains(&made.len()));
        acknowledged.extend(made);
    }
    let kept = stored_names(state.path());
    let missing: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {} are gone", acknowledged.len());
    assert!(cut_off > 3, "only {cut_off} kills came in the middle: nothing was tried");
}

#[test]
fn what_was_acknowledged_outlives_hundreds_of_kills_and_no_file_is_half_written() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let mut acknowledged = Vec::new();
    // Most of what can happen is in the store; a process of its own for each kill, in the middle of what it writes.
    let binary = env!("CARGO_BIN_EXE_outrigger");
    // About as long as one takes, whatever else the machine does: it follows what is seen.
    let mut span = std::time::Duration::from_millis(20);
    for round in 0..200_u32 {
        let directory = state.path().display().to_string();
        let name = format!("k-{round}");
        let arguments = [
            "suspend",
            "injection",
            "-n",
            "shop",
            "--for",
            "2h",
            "--reason",
            "x",
            "--yes",
            "--name",
            &name,
            "--state",
            &directory,
        ];
        let mut child = Command::new(binary)
            .args(arguments)
            .env_remove("POD_NAMESPACE")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // From before it has begun to after it is done, in no order.
        let deadline = std::time::Instant::now() + span * (round * 7 % 20) / 10;
        while std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let has_ended = child.try_wait().unwrap().is_some();
        span = if has_ended { span * 9 / 10 } else { span * 21 / 20 };
        let _it_may_have_ended = child.kill();
        let output = child.wait_with_output().unwrap();
        if String::from_utf8_lossy(&output.stdout).contains("is created") {
            acknowledged.push(name);
        }
    }
    let served = served.killed_and_started(state.path());
    let kept = stored_names(state.path());
    let missing: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {} are gone", acknowledged.len());
    assert!(
        acknowledged.len() > 3 && acknowledged.len() < 200,
        "{} of 200 were acknowledged: the kills missed",
        acknowledged.len()
    );
    let listed = send_json(&served, "GET", &format!("{OF_SHOP}?limit=500"), None, &[]).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), kept.len());
}

/// Returns the names of the stored suspensions; checks that every file is complete.
fn stored_names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!name.ends_with(".incomplete"), "{name} was left");
        if let Some(name) = name.strip_prefix("suspension.shop.").and_then(|name| name.strip_suffix(".yaml")) {
            let objects =
                outrigger::kubernetes::intake::files::parse_objects(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(objects.len(), 1, "{name}");
            assert_eq!(objects[0]["metadata"]["name"], name);
            names.push(name.to_owned());
        }
    }
    names
}

/// Sends a request, and disconnects before the response.
fn abandon_request(served: &EmbeddedServer, name: &str, milliseconds: u32) -> std::process::ExitStatus {
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--max-time", &format!("{}", f64::from(milliseconds) / 1000.0)])
        .arg("--cacert")
        .arg(served.file("ca.crt"))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--header", "Content-Type: application/json"])
        .args(["--data", &injection(name).to_string(), &format!("https://{}{OF_SHOP}", served.api)])
        .status()
        .unwrap()
}

#[tokio::test]
async fn what_was_stored_for_somebody_who_has_gone_is_on_the_record() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let left = (0..80)
        .filter(|number| !abandon_request(&served, &format!("left-{number}"), 4 + number % 40).success())
        .count();
    assert!(left > 0, "every request was answered, so nothing was tried");
    let stored = |state: &Path| -> usize {
        let files = std::fs::read_dir(state).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|file| file.to_str().unwrap().starts_with("suspension.shop.left-")).count()
    };
    await_condition("each of them to be recorded", TIMEOUT, async || {
        let (stored, recorded) = (
            stored(state.path()),
            served.audit_entries(|entry| entry["act"] == "Create" && entry["outcome"] == "Allowed"),
        );
        ensure!(stored > 0 && recorded.len() == stored, "{stored} are stored, and {} recorded", recorded.len());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn bodies_that_never_arrive_keep_nobody_from_changing_something() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    let mut slow: Vec<_> = (0..48)
        .map(|_| {
            Command::new("curl")
                .args([
                    "--silent",
                    "--output",
                    "/dev/null",
                    "--max-time",
                    "30",
                    "--upload-file",
                    "-",
                    "--request",
                    "POST",
                ])
                .arg("--cacert")
                .arg(served.file("ca.crt"))
                .args([
                    "--header",
                    &format!("Authorization: Bearer {token}"),
                    "--header",
                    "Content-Type: application/json",
                ])
                .arg(format!("https://{}{OF_SHOP}", served.api))
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let counted = || served.curl(&[&format!("http://{}/metrics", served.operations)]).unwrap().1;
    await_condition("some of them to have been given up", TIMEOUT, async || {
        let made = send_json(&served, "POST", OF_SHOP, Some(&injection("meanwhile")), &[]);
        ensure!([200, 201].contains(&made.status), "{made:?}");
        let metrics = counted();
        ensure!(metrics.contains("operation=\"createNamespaceSuspension\",status=\"408\""), "{metrics}");
        Ok(())
    })
    .await;
    for one in &mut slow {
        let _already_dead = one.kill();
        one.wait().unwrap();
    }
}

#[tokio::test]
async fn whoever_holds_the_lock_of_the_directory_holds_up_changes_alone() {
    let state = state();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let lock = std::fs::File::options().create(true).append(true).open(state.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| send_json(&served, "POST", OF_SHOP, Some(&injection("late")), &[]));
        std::fs::write(state.path().join("more.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: more}}")
            .unwrap();
        while !refused.is_finished() {
            let (status, _) = served.curl(&[&format!("http://{}/livez", served.operations)]).unwrap();
            assert_eq!(status, 200);
        }
        let refused = refused.join().unwrap();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("another process has held"), "{refused:?}");
    });
    lock.unlock().unwrap();
    assert_eq!(send_json(&served, "POST", OF_SHOP, Some(&injection("late")), &[]).status, 201);
}
