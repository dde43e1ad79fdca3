//! Reads of the API without a cluster: workloads in the mesh, explanations, overrides, decisions, and the graph.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger::kernel::clock::Clock;
use serde_json::{Value, json};

use crate::api::send_json;
use crate::commands::outrigger;
use crate::control_plane::await_condition;
use crate::serve::EmbeddedServer;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A shop with a service before two versions, a workload with an override, and an empty namespace.
const STATE: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: empty}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, version: v1}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-next, namespace: shop, uid: u2}, spec: {selector: {matchLabels: {app: web, version: v2}}, template: {metadata: {labels: {app: web, version: v2}}}}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop, uid: u3, annotations: {outrigger.dev/inject: "false", outrigger.dev/reason: "host \u001b[31mnetwork"}}, spec: {template: {metadata: {labels: {app: agent}}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: lone, namespace: shop, uid: p1}, spec: {containers: [{name: main}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: front, namespace: empty}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: front, namespace: empty}, spec: {hosts: [front], http: [{route: [{destination: {host: web.shop.svc.cluster.local}}]}]}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: mesh}, spec: {action: Enable}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: SuspensionPolicy, metadata: {name: debug, namespace: shop, uid: s1}, spec: {suspend: Injection, workloads: [{kind: Deployment, name: web}], startsAt: "2026-01-01T00:00:00Z", expiresAt: "2026-01-15T00:00:00Z", reason: over}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterSuspensionPolicy, metadata: {name: calm, uid: s2}, spec: {suspend: Injection, namespaces: {include: [empty]}, startsAt: "2026-01-01T00:00:00Z", indefinite: true, reason: quiet}}
"#;

pub(crate) struct ApiWorld {
    state: tempfile::TempDir,
    pub(crate) served: EmbeddedServer,
}

impl ApiWorld {
    pub(crate) fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("state.yaml"), STATE).unwrap();
        let injectors = serde_json::to_string(&crate::decisions::injectors("default")).unwrap();
        let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": {injectors}}}"#);
        std::fs::write(state.path().join("injectors.json"), list).unwrap();
        Self { served: EmbeddedServer::start(Some(state.path()), 1), state }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = send_json(&self.served, "GET", &format!("/api/v1{path}"), None, &[]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Returns the JSON that a command prints about the same directory.
    pub(crate) fn command_output(&self, arguments: &[&str]) -> Value {
        self.command_output_with_input(arguments, "")
    }

    /// Returns the JSON that a command prints about the same directory, with this standard input.
    pub(crate) fn command_output_with_input(&self, arguments: &[&str], input: &str) -> Value {
        let state = self.state.path().display().to_string();
        outrigger(&[arguments, &["--state", &state, "-o", "json"]].concat(), None, input).json()
    }
}

/// Removes fields that only the API has; panics if one is missing.
pub(crate) fn without(mut answer: Value, keys: &[&str]) -> Value {
    let fields = answer.as_object_mut().unwrap();
    keys.iter().for_each(|key| drop(fields.remove(*key).unwrap_or_else(|| panic!("no {key}"))));
    answer
}

#[tokio::test]
async fn what_the_api_tells_is_what_the_commands_print() {
    let world = ApiWorld::start();
    let overview = world.get("/overview");
    assert_eq!(overview["partial"], false);
    assert_eq!(without(overview, &["partial"]), world.command_output(&["status"]));
    let of_shop = without(world.get("/namespaces/shop/workloads"), &["partial"]);
    assert_eq!(of_shop, world.command_output(&["status", "-n", "shop"]));
    assert_eq!(of_shop["namespaces"][0]["workloads"].as_array().unwrap().len(), 4);
    for (path, target) in
        [("Deployment/web", "deployment/web"), ("daemonset/agent", "daemonset/agent"), ("Pod/lone", "pod/lone")]
    {
        let explained = world.get(&format!("/namespaces/shop/workloads/{path}"));
        assert!(explained["state"].is_string() && explained["why"].is_string(), "{explained}");
        let explained = without(explained, &["state", "why", "differing", "unread", "partial"]);
        assert_eq!(explained, world.command_output(&["explain", target, "-n", "shop"]), "{path}");
        assert!(!explained["decision"]["considered"].as_array().unwrap().is_empty());
    }
    for (path, arguments) in [
        ("/overrides", &["status", "--overrides"][..]),
        ("/namespaces/shop/overrides", &["status", "--overrides", "-n", "shop"]),
    ] {
        let told = without(world.get(path), &["partial"]);
        assert_eq!(told, world.command_output(arguments), "{path}");
        assert_eq!(told["overrides"][0]["reason"], "host [31mnetwork", "nothing in it moves a cursor");
    }
    assert_eq!(world.get("/namespaces/empty/overrides")["overrides"], json!([]));
}

#[tokio::test]
async fn an_answer_is_sent_again_only_when_it_is_another() {
    let world = ApiWorld::start();
    let ask = |headers: &[&str]| send_json(&world.served, "GET", "/api/v1/overview", None, headers);
    let first = ask(&[]);
    let known = format!("If-None-Match: {}", first.header("etag").unwrap());
    let again = ask(&[&known]);
    assert_eq!((again.status, again.body.as_str()), (304, ""), "{again:?}");
    let out = r#"{apiVersion: v1, kind: Namespace, metadata: {name: later}}"#;
    std::fs::write(world.state.path().join("later.yaml"), out).unwrap();
    await_condition("the change to be told", TIMEOUT, async || {
        let told = ask(&[&known]);
        ensure!(told.status == 200 && told.body.contains("\"later\""), "{}", told.status);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_and_who_is_not_known_get_a_problem() {
    let world = ApiWorld::start();
    for (path, status, part) in [
        ("/namespaces/nowhere/workloads", 404, "there is no namespace nowhere"),
        ("/namespaces/nowhere/overrides", 404, "there is no namespace nowhere"),
        ("/graph?namespace=nowhere", 404, "there is no namespace nowhere"),
        ("/namespaces/shop/workloads/Deployment/none", 404, "there is no Deployment/none in namespace shop"),
        ("/namespaces/shop/workloads/Gadget/web", 404, "is no kind that makes pods"),
        ("/namespaces/shop%2f..%2fother/workloads", 404, "no object has this name"),
        ("/namespaces/shop/workloads/Deployment/%1b%5b31m", 404, "no object has this name"),
        ("/graph?colour=red", 400, "unknown field"),
        ("/audit?kind=Rumour", 400, "expected `Decision` or `Act`"),
        ("/audit?limit=0", 400, "which is not between 1 and 1000"),
        ("/suspensions?allNamespaces=true&watch=true", 400, "leave out the other parameters"),
        ("/namespaces/shop/suspensions?allNamespaces=true", 400, "allNamespaces is only for"),
    ] {
        let answer = send_json(&world.served, "GET", &format!("/api/v1{path}"), None, &[]);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{path}: {answer:?}");
    }
    let document = send_json(&world.served, "GET", "/openapi.json", None, &[]).json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 12, "{paths:?}");
    for (path, method) in paths.iter().flat_map(|(path, of)| of.as_object().unwrap().keys().map(move |one| (path, one)))
    {
        let path = path.replace(['{', '}'], "");
        let answer = send_json(&world.served, &method.to_uppercase(), &path, None, &["Authorization:"]);
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }
    assert_eq!(world.get("")["user"], "admin");
}

#[tokio::test]
async fn suspensions_of_every_namespace_are_listed_together_page_by_page() {
    let world = ApiWorld::start();
    let place = |one: &Value| format!("{} {}", one["namespace"].as_str().unwrap_or("-"), one["name"].as_str().unwrap());
    let all = world.get("/suspensions?allNamespaces=true");
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(names, ["- calm", "shop debug"]);
    let first = world.get("/suspensions?allNamespaces=true&limit=1");
    let next = world.get(&format!("/suspensions?allNamespaces=true&continue={}", first["continue"].as_str().unwrap()));
    assert_eq!([place(&first["items"][0]), place(&next["items"][0])], ["- calm", "shop debug"]);
    assert_eq!(world.get("/suspensions?allNamespaces=true&state=InForce")["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/suspensions")["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_graph_ties_services_routes_workloads_and_suspensions() {
    let world = ApiWorld::start();
    let told = |graph: &Value| -> Vec<String> {
        let text = |edge: &Value, key: &str| edge[key].as_str().unwrap().to_owned();
        let edges = graph["edges"].as_array().unwrap().iter();
        edges.map(|edge| format!("{} {} {}", text(edge, "from"), text(edge, "does"), text(edge, "to"))).collect()
    };
    let all = world.get("/graph");
    let expected = [
        "/ClusterSuspensionPolicy/calm Suspends /Namespace/empty",
        "empty/Service/front Routes empty/VirtualService/front",
        "empty/VirtualService/front Routes shop/Service/web",
        "shop/Service/web Selects shop/Deployment/web",
        "shop/Service/web Selects shop/Deployment/web-next",
    ];
    assert_eq!(told(&all), expected);
    let node = |id: &str| all["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap().clone();
    assert_eq!(node("shop/Deployment/web")["state"], "NoPods");
    assert_eq!(node("/ClusterSuspensionPolicy/calm")["suspends"], "injection, in force");
    let of_shop = world.get("/graph?namespace=shop");
    assert_eq!(told(&of_shop), expected[1..], "what leads into it belongs to it");
    let traffic =
        json!({"name": "stop", "suspend": "Traffic", "services": [{"name": "web"}], "for": "1h", "reason": "x"});
    let made = send_json(&world.served, "POST", "/api/v1/namespaces/shop/suspensions", Some(&traffic), &[]);
    assert_eq!(made.status, 201, "{made:?}");
    let with = told(&world.get("/graph?namespace=shop"));
    assert!(with.contains(&"shop/SuspensionPolicy/stop Suspends shop/Service/web".to_owned()), "{with:?}");
}

#[tokio::test]
async fn decisions_and_acts_are_told_the_newest_first_and_live() {
    let world = ApiWorld::start();
    let token = std::fs::read_to_string(world.served.file("token")).unwrap();
    let heard = tempfile::NamedTempFile::new().unwrap();
    let mut listening = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "30", "--cacert"])
        .arg(world.served.file("ca.crt"))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://{}/api/v1/audit?kind=Decision&watch=true", world.served.api))
        .stdout(heard.reopen().unwrap())
        .spawn()
        .unwrap();
    let text = || std::fs::read_to_string(heard.path()).unwrap();
    await_condition("the first event", TIMEOUT, async || {
        ensure!(text().contains("event: snapshot"), "{}", text());
        Ok(())
    })
    .await;
    let body = json!({"name": "debug-2", "suspend": "Injection", "for": "1h", "reason": "loop"});
    assert_eq!(send_json(&world.served, "POST", "/api/v1/namespaces/shop/suspensions", Some(&body), &[]).status, 201);
    world.served.review_sample().unwrap();
    await_condition("the decision to be heard", TIMEOUT, async || {
        let entries: Vec<_> = text().lines().map(str::to_owned).filter(|line| *line == "event: entry").collect();
        ensure!(entries.len() == 1 && text().contains("\"requestUid\""), "{}", text());
        Ok(())
    })
    .await;
    listening.kill().unwrap();
    listening.wait().unwrap();
    let all = world.get("/audit");
    assert_eq!(all["partial"], false, "nobody else decides here");
    let items = all["items"].as_array().unwrap();
    let decision = items.iter().position(|item| item["requestUid"].is_string());
    let creation = items.iter().position(|item| item["act"] == "Create" && item["object"]["name"] == "debug-2");
    assert!(decision.is_some() && decision < creation, "the newest first: {items:?}");
    let count = |query: &str| world.get(&format!("/audit?{query}"))["items"].as_array().unwrap().len();
    assert_eq!(count("kind=Decision"), 1);
    assert_eq!((count("kind=Act&action=Create"), count("action=Extend"), count("limit=1")), (1, 0, 1));
    assert_eq!(
        (count("workload=Deployment/none"), world.get("/namespaces/empty/audit")["items"] == json!([])),
        (0, true)
    );
    assert_eq!(world.get("/namespaces/shop/audit?kind=Decision")["items"].as_array().unwrap().len(), 1);
}

#[test]
fn whoever_listens_is_told_when_their_token_is_over_by_its_own_word() {
    let claims = json!({"exp": Clock::System.now().as_second() + 3}).to_string();
    let token = format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims));
    let served = EmbeddedServer::start_with_token(&token);
    // It ends by itself, and long before who may is asked for again.
    for path in ["/suspensions?watch=true", "/audit?watch=true"] {
        let heard = send_json(&served, "GET", &format!("/api/v1{path}"), None, &[]);
        assert_eq!(heard.status, 200);
        let told = "event: closed\ndata: {\"detail\":\"the token is over; show another one\"}";
        assert!(
            heard.body.starts_with("event: snapshot") && heard.body.trim_end().ends_with(told),
            "{path}: {}",
            heard.body
        );
    }
}

#[test]
fn the_page_is_for_anybody_and_its_policy_lets_nothing_else_in() {
    let world = ApiWorld::start();
    let get = |path: &str| send_json(&world.served, "GET", path, None, &["Authorization:"]);
    let page = get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{page:?}");
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!((page.header("referrer-policy"), page.header("cache-control")), (Some("no-referrer"), Some("no-store")));
    // Every file that the page names is there, and names nothing of another host.
    let named = |text: &str| -> Vec<String> {
        let quoted = text.split(['"', '\'']).filter(|part| part.starts_with("/page/") || part.starts_with("./"));
        quoted.map(|part| part.replace("./", "/page/")).collect()
    };
    let mut wanted = named(&page.body);
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = wanted.pop() {
        if seen.insert(path.clone()) {
            let file = get(&path);
            assert_eq!(file.status, 200, "{path}: {file:?}");
            let hosts = file.body.replace("http://www.w3.org/", "").replace("https://127.0.0.1", "");
            assert!(
                !hosts.contains("http://") && !hosts.contains("https://") && !hosts.contains("innerHTML"),
                "{path}"
            );
            wanted.extend(named(&file.body));
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    assert_eq!((get("/page/none.js").status, get("/page/../Cargo.toml").status), (404, 404));
}
