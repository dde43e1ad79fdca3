//! `/api/v1/namespaces/{namespace}/workloads/{kind}/{name}`: what is decided for one workload, and why.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::endpoint::Endpoint;
use super::problem::Problem;
use super::reading::{Asked, unread};
use crate::cluster::access::Resource;
use crate::decision::reason::Clean;
use crate::overview::explanation::Explanation;
use crate::overview::running::RunningPods;
use crate::overview::states::{State, standings_of};

/// The explanation as `outrigger explain -o json` prints it, and how the workload stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// How it stands.
    state: State,
    /// Why, in one sentence.
    why: String,
    /// The running pods that are not as a new one would be.
    differing: Vec<String>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

/// Whom it is about.
struct Subject {
    namespace: String,
    kind: String,
    name: String,
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::reading::<Explained, _>(
        "explainWorkload",
        "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}",
        "Tells what a new pod of a workload gets, and why, with every rule considered.",
        explain,
    )]
}

/// Explains one.
pub(super) async fn explain(asked: Asked) -> Response {
    let part = |name: &str| asked.part(name).unwrap_or_default();
    let subject = Subject { namespace: part("namespace"), kind: part("kind"), name: part("name") };
    let namespace = subject.namespace.clone();
    asked.looked(("get", Resource::Workloads), Some(&namespace), move |api| explained(api, &subject)).await
}

fn explained(api: &Api, subject: &Subject) -> Result<Explained, Problem> {
    let Subject { namespace, kind, name } = subject;
    let (inventory, now) = (&api.inventory, api.clock.now());
    let missing = || {
        let (kind, name, namespace) = (Clean(kind), Clean(name), Clean(namespace));
        Problem::not_found(format!("there is no {kind}/{name} in namespace {namespace}"))
    };
    let explanation = if kind.eq_ignore_ascii_case("pod") {
        let pods = inventory.pods.all();
        let found = pods.iter().find(|one| one.pod.namespace == **namespace && *one.name == **name);
        Explanation::of_running(inventory, found.ok_or_else(missing)?, now)
    } else {
        let workloads = inventory.workloads();
        let found = workloads
            .iter()
            .find(|one| *one.namespace == **namespace && one.kind.eq_ignore_ascii_case(kind) && *one.name == **name);
        Explanation::of_workload(inventory, found.ok_or_else(missing)?, &RunningPods::of(inventory), now)
    };
    let standing = standings_of(inventory, now, |origin| {
        origin.namespace() == namespace && origin.kind().eq_ignore_ascii_case(kind) && origin.name() == name
    });
    let standing = standing.into_iter().next();
    let unread = unread(inventory);
    Ok(Explained {
        explanation,
        state: standing.as_ref().map_or(State::Unknown, |standing| standing.state),
        why: standing.as_ref().map(|standing| standing.why.clone()).unwrap_or_default(),
        differing: standing.and_then(|standing| standing.actual).map(|actual| actual.differing).unwrap_or_default(),
        partial: !unread.is_empty(),
        unread,
    })
}
