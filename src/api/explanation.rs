//! `/api/v1/namespaces/{namespace}/workloads/{kind}/{name}`: what is decided for one workload, and why.

use std::sync::Arc;

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::endpoint::Endpoint;
use super::problem::Problem;
use super::reading::{Asked, unread_while};
use crate::decision::facts::RunningPod;
use crate::features::explain::explanation::Explanation;
use crate::features::preview::comparison::{Origin, origins_with};
use crate::features::status::running::RunningPods;
use crate::features::status::states::{State, standing_of};
use crate::kernel::text::Clean;
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::inventory::Inventory;

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
    let (explained, unread) = unread_while(&api.inventory, || subject.explained(api));
    Ok(Explained { partial: !unread.is_empty(), unread, ..explained? })
}

impl Subject {
    fn explained(&self, api: &Api) -> Result<Explained, Problem> {
        let Self { namespace, kind, name } = self;
        let (inventory, now) = (&api.inventory, api.clock.now());
        let running = RunningPods::within(inventory, Some(namespace));
        let origins = origins_with(inventory, &running);
        let is_meant = |one: &&Origin| one.kind().eq_ignore_ascii_case(kind) && one.name() == name;
        let origin = origins.iter().find(is_meant);
        let standing = origin.map(|origin| standing_of(inventory, now, origin, &running));
        let explanation = match origin.and_then(Origin::workload) {
            Some(workload) => Explanation::of_workload(inventory, workload, &running, now),
            None => Explanation::of_running(inventory, &self.pod(inventory)?, now),
        };
        Ok(Explained {
            explanation,
            state: standing.as_ref().map_or(State::Unknown, |standing| standing.state),
            why: standing.as_ref().map(|standing| standing.why.clone()).unwrap_or_default(),
            differing: standing.and_then(|standing| standing.actual).map(|actual| actual.differing).unwrap_or_default(),
            partial: false,
            unread: Vec::new(),
        })
    }

    /// The pod of this name, whoever made it.
    fn pod(&self, inventory: &Inventory) -> Result<Arc<RunningPod>, Problem> {
        let Self { namespace, kind, name } = self;
        let is_meant = |one: &RunningPod| one.pod.namespace == **namespace && *one.name == **name;
        let found = if kind.eq_ignore_ascii_case("pod") { inventory.pods.those(is_meant).pop() } else { None };
        found.ok_or_else(|| {
            let (kind, name, namespace) = (Clean(kind), Clean(name), Clean(namespace));
            let unread = inventory.unread();
            let but =
                if unread.is_empty() { String::new() } else { format!("; not yet known are {}", unread.join(", ")) };
            Problem::not_found(format!("there is no {kind}/{name} in namespace {namespace}{but}"))
        })
    }
}
