//! Request to explain the decision for one workload or running pod of a namespace.

use jiff::Timestamp;
use thiserror::Error;

use super::explanation::Explanation;
use crate::decision::facts::RunningPod;
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::features::status::states::{WorkloadStatus, workload_status};
use crate::kernel::text::{CleanText, nearest_word};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::kind_check::UnknownKind;

/// Target of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRequest {
    pub namespace: String,
    /// Kind, plural or short name, in upper or lower case.
    pub kind: String,
    pub name: String,
}

/// Explanation of a target that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainReport {
    /// Kind of the target; `Pod` for a running pod.
    pub kind: String,
    pub explanation: Explanation,
    /// Status of the workload, or of a pod without a workload; `None` for a pod of a workload.
    pub status: Option<WorkloadStatus>,
}

/// Reason that there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExplainRefusal {
    /// No object of this kind makes pods.
    #[error(transparent)]
    UnknownKind(#[from] UnknownKind),
    /// The namespace has no such object, as far as it is known.
    #[error(transparent)]
    NotFound(#[from] Box<TargetNotFound>),
}

/// Target that does not exist in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "there is no {}/{} in namespace {}{}{}",
    CleanText(kind),
    CleanText(name),
    CleanText(namespace),
    describe_nearest(nearest.as_deref(), *has_others),
    describe_unread(unread)
)]
pub struct TargetNotFound {
    pub namespace: String,
    /// Kind, as it was given.
    pub kind: String,
    pub name: String,
    /// Existing object with the most similar name, if one is similar.
    pub nearest: Option<String>,
    /// Whether the namespace has other objects of this sort.
    pub has_others: bool,
    /// Parts of the cluster that are not known, so that the object may exist.
    pub unread: Vec<String>,
}

/// Explains the decision for the next new pod of a workload, or for a pod that would be created now as a running one was.
///
/// # Errors
///
/// Fails when the kind makes no pods, or when there is no such object.
pub fn explain(
    inventory: &Inventory,
    request: &ExplainRequest,
    now: Timestamp,
) -> Result<ExplainReport, ExplainRefusal> {
    let ExplainRequest { namespace, name, .. } = request;
    let kind = request.resolve_kind(inventory)?;
    let running = RunningPods::in_namespace(inventory, Some(namespace));
    let sources = pod_sources_with(inventory, &running);
    let source = sources.iter().find(|one| one.kind() == kind && one.name() == name);
    let explanation = match source.and_then(PodSource::workload) {
        Some(workload) => Explanation::for_workload(inventory, workload, &running, now),
        None if kind == "Pod" => request.explain_pod(inventory, now)?,
        None => {
            let workloads = sources.iter().filter(|one| one.workload().is_some());
            return Err(request.not_found(inventory, workloads.map(|one| title(one.kind(), one.name()))).into());
        }
    };
    let status = source.map(|source| workload_status(inventory, now, source, &running));
    Ok(ExplainReport { kind, explanation, status })
}

impl ExplainRequest {
    fn resolve_kind(&self, inventory: &Inventory) -> Result<String, UnknownKind> {
        let word = self.kind.to_lowercase();
        match ["pod", "pods", "po"].contains(&word.as_str()) {
            true => Ok("Pod".to_owned()),
            // An error repeats the word as it was given.
            false => {
                inventory.owner_kinds.resolve_word(&word).map_err(|e| UnknownKind { word: self.kind.clone(), ..e })
            }
        }
    }

    /// Explains the running pod of this name, with or without a workload.
    fn explain_pod(&self, inventory: &Inventory, now: Timestamp) -> Result<Explanation, Box<TargetNotFound>> {
        let pods = inventory.pods.filter(|one: &RunningPod| one.pod.namespace == *self.namespace);
        match pods.iter().find(|one| *one.name == *self.name) {
            Some(pod) => Ok(Explanation::for_running_pod(inventory, pod, now)),
            None => Err(self.not_found(inventory, pods.iter().map(|one| title("pod", &one.name)))),
        }
    }

    fn not_found(&self, inventory: &Inventory, known: impl Iterator<Item = String>) -> Box<TargetNotFound> {
        let Self { namespace, kind, name } = self.clone();
        let known: Vec<_> = known.collect();
        let nearest = nearest_word(&title(&kind, &name), known.iter().map(String::as_str)).map(str::to_owned);
        let (has_others, unread) = (!known.is_empty(), inventory.unread_caches());
        Box::new(TargetNotFound { namespace, kind, name, nearest, has_others, unread })
    }
}

/// Returns the kind in small letters and the name, as commands take them.
fn title(kind: &str, name: &str) -> String {
    format!("{}/{name}", kind.to_lowercase())
}

fn describe_nearest(nearest: Option<&str>, has_others: bool) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {}?", CleanText(nearest)),
        None if has_others => String::new(),
        None => ", nor anything like it".to_owned(),
    }
}

fn describe_unread(unread: &[String]) -> String {
    if unread.is_empty() { String::new() } else { format!("; not known are {}", unread.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;
    use crate::kubernetes::inventory::rules::RuleLimits;

    fn shop() -> [serde_json::Value; 2] {
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u1"});
        let spec = json!({"template": {"metadata": {"labels": {"app": "web"}}}});
        [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}),
        ]
    }

    fn explain_in_shop(inventory: &Inventory, kind: &str, name: &str) -> Result<ExplainReport, ExplainRefusal> {
        let request = ExplainRequest { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() };
        explain(inventory, &request, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_kind_may_be_typed_as_kubectl_takes_it() {
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        assert_eq!(files::replace_all(&inventory, &RuleLimits::default(), &shop()), [""; 0]);
        for kind in ["Deployment", "deployment", "deployments", "deploy"] {
            assert_eq!(explain_in_shop(&inventory, kind, "web").map(|report| report.kind).as_deref(), Ok("Deployment"));
        }
    }

    #[test]
    fn a_refusal_names_the_nearest_and_what_is_not_known() {
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        let sentence = |kind: &str, name: &str| explain_in_shop(&inventory, kind, name).unwrap_err().to_string();
        files::replace_listed(&inventory, &RuleLimits::default(), &shop(), |cache| cache != "namespaces");
        assert_eq!(
            sentence("Deployment", "wep"),
            "there is no Deployment/wep in namespace shop; did you mean deployment/web?; not known are namespaces"
        );
        let unknown = sentence("Deploymnt", "web");
        assert!(unknown.starts_with("\"Deploymnt\" is no kind that makes pods: did you mean deployment?"), "{unknown}");
        files::replace_all(&inventory, &RuleLimits::default(), &shop());
        assert_eq!(sentence("pod", "web-1"), "there is no pod/web-1 in namespace shop, nor anything like it");
        assert_eq!(sentence("ds", "logs"), "there is no ds/logs in namespace shop");
    }
}
