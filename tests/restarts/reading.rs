//! Reads of a namespace for a restart, from an API server that keeps count.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kube::Config;
use outrigger::kubernetes::client::restarts::RestartClient;
use outrigger::kubernetes::inventory::owner_kind::OwnerKinds;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Number of Deployments, and of pods.
const COUNT: usize = 60;
const UNREAD: &str = "unread";

/// Scripted failures, and the recorded requests.
#[derive(Default)]
struct ScriptedServer {
    failing: BTreeMap<&'static str, u16>,
    requests: Mutex<Vec<(String, usize)>>,
}

async fn answer(
    State(server): State<Arc<ScriptedServer>>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let plural = uri.path().rsplit('/').next().unwrap().to_owned();
    let number = |key: &str| query.get(key).map_or(0, |text| text.parse::<usize>().unwrap());
    server.requests.lock().push((plural.clone(), number("limit")));
    if let Some(code) = server.failing.get(plural.as_str()) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "No"});
        return (StatusCode::from_u16(*code).unwrap(), status.to_string()).into_response();
    }
    let there = if ["deployments", "pods"].contains(&plural.as_str()) { COUNT } else { 0 };
    let (first, next) = (number("continue"), number("continue") + number("limit"));
    let items: Vec<String> = (first..next.min(there)).map(object).collect();
    let next = if next < there { next.to_string() } else { String::new() };
    format!(r#"{{"metadata": {{"continue": "{next}"}}, "items": [{}]}}"#, items.join(",")).into_response()
}

/// Makes an object that serves as Deployment and pod, and decodes only without the skipped fields.
fn object(number: usize) -> String {
    let object = json!({
        "metadata": {"name": format!("web-{number}"), "uid": number.to_string(), "managedFields": [UNREAD]},
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
        server,
        _running: running,
    }
}

#[tokio::test]
async fn a_namespace_is_read_one_kind_after_another_by_small_pages_and_without_what_nobody_asks_for() {
    let ServedApi { restarts, server, _running } = serve_scripted(&[("jobs", 404)]).await;
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
