//! Reads and dry runs of a restart, against an API server that keeps count.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kube::Config;
use outrigger::kubernetes::client::restarts::RestartClient;
use outrigger::kubernetes::inventory::owner_kind::OwnerKinds;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};

use crate::commands::{CommandOutput, outrigger};

/// Number of Deployments, and of pods.
const COUNT: usize = 60;
const UNREAD: &str = "unread";
/// Number of Deployments with the mark of an unfinished restart.
const MARKED: usize = 2;
const FORBIDDEN: &str = "web-0 is forbidden";

/// Scripted failures, and the recorded requests.
#[derive(Default)]
struct ScriptedServer {
    failing: BTreeMap<&'static str, u16>,
    requests: Mutex<Vec<(String, usize)>>,
    /// Names in writes, and whether each was a dry run.
    writes: Mutex<Vec<(String, bool)>>,
}

async fn answer(
    State(server): State<Arc<ScriptedServer>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    body: String,
) -> Response {
    let plural = uri.path().rsplit('/').next().unwrap().to_owned();
    if method == Method::PATCH {
        let is_dry_run = query.get("dryRun").is_some_and(|dry_run| dry_run == "All");
        server.writes.lock().push((plural.clone(), is_dry_run));
        if !server.failing.contains_key("patch") {
            let patch: Value = serde_json::from_str(&body).unwrap();
            return object(plural[4..].parse().unwrap(), &patch["metadata"]["labels"]).into_response();
        }
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": FORBIDDEN, "reason": "Forbidden"});
        return (StatusCode::FORBIDDEN, status.to_string()).into_response();
    }
    let number = |key: &str| query.get(key).map_or(0, |text| text.parse::<usize>().unwrap());
    server.requests.lock().push((plural.clone(), number("limit")));
    if let Some(code) = server.failing.get(plural.as_str()) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "No"});
        return (StatusCode::from_u16(*code).unwrap(), status.to_string()).into_response();
    }
    let there = if ["deployments", "pods"].contains(&plural.as_str()) { COUNT } else { 0 };
    let (first, next) = (number("continue"), number("continue") + number("limit"));
    let marks = json!({"outrigger.dev/restart": "3f2a9c01.pending.2"});
    let labels = |number| if number < MARKED { &marks } else { &Value::Null };
    let items: Vec<String> = (first..next.min(there)).map(|number| object(number, labels(number))).collect();
    let next = if next < there { next.to_string() } else { String::new() };
    format!(r#"{{"metadata": {{"continue": "{next}"}}, "items": [{}]}}"#, items.join(",")).into_response()
}

/// Makes an object that serves as Deployment and pod, and decodes only without the skipped fields.
fn object(number: usize, labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let labels: BTreeMap<&String, &Value> = labels.collect();
    let object = json!({
        "metadata": {
            "namespace": "shop", "name": format!("web-{number}"), "uid": number.to_string(), "labels": labels,
            "managedFields": [UNREAD],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [UNREAD]}},
            "jobTemplate": {"spec": UNREAD},
        },
        "status": {"replicas": 1},
    });
    // Half of a surrogate pair.
    object.to_string().replace(UNREAD, r"\ud800")
}

struct ServedApi {
    address: String,
    restarts: RestartClient,
    server: Arc<ScriptedServer>,
    _running: JoinSet<()>,
}

async fn serve_scripted(failing: &[(&'static str, u16)]) -> ServedApi {
    let server = Arc::new(ScriptedServer { failing: failing.iter().copied().collect(), ..ScriptedServer::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
    let mut running = JoinSet::new();
    running.spawn(async move { axum::serve(listener, router).await.unwrap() });
    ServedApi {
        restarts: RestartClient::new(Config::new(address.parse().unwrap())).unwrap(),
        address,
        server,
        _running: running,
    }
}

#[tokio::test]
async fn a_namespace_is_read_one_kind_after_another_by_small_pages_and_without_what_nobody_asks_for() {
    let ServedApi { restarts, server, address: _, _running } = serve_scripted(&[("jobs", 404)]).await;
    let (workloads, problems) = restarts.list_workloads(&OwnerKinds::default(), "shop").await.unwrap();
    assert_eq!((workloads.len(), problems.len()), (COUNT, 0));
    assert_eq!((workloads[0].desired, workloads[0].pod_labels.len()), (1, 1));
    assert!(workloads[0].selector.is_some());
    assert_eq!(restarts.list_pods("shop").await.unwrap().len(), COUNT);
    let requests = server.requests.lock();
    assert!(requests.iter().all(|(_, limit)| *limit == 25), "each page is held as text: {requests:?}");
    let of = |plural: &str| requests.iter().filter(|(requests, _)| requests == plural).count();
    assert_eq!(["replicasets", "deployments", "pods"].map(of), [1, 3, 3]);
    let mut kinds: Vec<&str> = requests.iter().map(|(plural, _)| plural.as_str()).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 8, "no kind begins before another has ended: {requests:?}");
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_is_left_out_and_said_and_one_that_fails_leaves_no_plan() {
    let kinds = OwnerKinds::default();
    let forbidding = serve_scripted(&[("replicasets", 403), ("jobs", 404)]).await;
    let (workloads, problems) = forbidding.restarts.list_workloads(&kinds, "shop").await.unwrap();
    assert_eq!((workloads.len(), problems.as_slice()), (COUNT, ["replicasets are left out: no".to_owned()].as_slice()));
    for code in [429, 500, 503, 410] {
        let failing = serve_scripted(&[("deployments", code)]).await;
        let why = failing.restarts.list_workloads(&kinds, "shop").await.unwrap_err().to_string();
        assert_eq!(why, format!("deployments cannot be listed: the API server answers {code}: no"));
    }
    let all =
        ["replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers"];
    let forbidding = serve_scripted(&all.map(|plural| (plural, 403))).await;
    assert_eq!(forbidding.restarts.list_workloads(&kinds, "shop").await.unwrap_err().to_string(), "no");
}

impl ServedApi {
    /// Runs `outrigger restart` in the namespace of the script.
    async fn restart(&self, arguments: &'static [&'static str]) -> CommandOutput {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "script",
            "clusters": [{"name": "script", "cluster": {"server": self.address}}],
            "users": [{"name": "script", "user": {}}],
            "contexts": [{"name": "script", "context": {"cluster": "script", "user": "script"}}],
        });
        let run = move || {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("kubeconfig");
            std::fs::write(&path, kubeconfig.to_string()).unwrap();
            outrigger(&[&["restart", "-n", "shop"], arguments].concat(), Some(&path), "")
        };
        spawn_blocking(run).await.unwrap()
    }

    fn writes(&self) -> Vec<(String, bool)> {
        let mut writes = std::mem::take(&mut *self.server.writes.lock());
        writes.sort();
        writes
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("it is a list").iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn dry_runs_of_resume_and_forget_ask_whether_each_mark_may_be_written() {
    let resume: &[&str] = &["--resume", "--except", "deployment/web-1", "--dry-run", "-o", "json"];
    let forget: &[&str] = &["--forget", "--dry-run", "-o", "json"];
    let both = [("web-0".to_owned(), true), ("web-1".to_owned(), true)];

    let allowing = serve_scripted(&[]).await;
    let resumed = allowing.restart(resume).await;
    assert_eq!((resumed.code, names(&resumed.json()["refused"])), (0, vec![]), "{}", resumed.err);
    assert_eq!(allowing.writes(), both);
    let forgotten = allowing.restart(forget).await;
    assert_eq!((forgotten.code, names(&forgotten.json()["refused"])), (0, vec![]), "{}", forgotten.err);
    assert_eq!(allowing.writes(), both);

    let refusing = serve_scripted(&[("patch", 403)]).await;
    let resumed = refusing.restart(resume).await;
    let plan = resumed.json();
    assert_eq!(resumed.code, 2, "{plan}");
    assert_eq!((names(&plan["workloads"]), names(&plan["excepted"])), (vec!["web-0"], vec!["web-1"]), "{plan}");
    assert_eq!(names(&plan["refused"]), ["web-0", "web-1"], "{plan}");
    let why = format!("{FORBIDDEN}; the ClusterRole outrigger-restart grants it");
    assert_eq!(plan["refused"][0]["why"], why);
    let forgotten = refusing.restart(forget).await;
    let plan = forgotten.json();
    assert_eq!((forgotten.code, names(&plan["workloads"])), (2, vec!["web-0", "web-1"]), "{plan}");
    assert_eq!(names(&plan["refused"]), ["web-0", "web-1"], "{plan}");
}

#[tokio::test]
async fn exceptions_beside_names_are_refused_and_unlisted_kinds_are_named() {
    let served = serve_scripted(&[("replicasets", 403)]).await;
    let beside = served.restart(&["deployment/web-3", "--except", "deployment/web-4", "--dry-run"]).await;
    assert_eq!((beside.code, beside.out.as_str()), (2, ""), "{}", beside.err);
    let planned = served.restart(&["deployment/web-3", "--dry-run", "-o", "json"]).await;
    assert_eq!((planned.code, names(&planned.json()["workloads"])), (0, vec!["web-3"]), "{}", planned.err);
    assert_eq!(planned.json()["leftOut"], json!(["replicasets are left out: no"]));
}
