//! Status report: the workloads that a request selects, by namespace, with totals. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::state::WorkloadState;
use super::states::{
    NamespaceStatus, StateTotals, WorkloadStatus, group_by_namespace, namespace_status, workload_statuses_in,
};
use crate::features::completeness::Unread;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::namespace_check::UnknownNamespace;

/// Selection of the workloads in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    pub scope: StatusScope,
    /// Whether to leave out workloads that need no attention. Totals count them anyway.
    pub only_problems: bool,
}

/// Part of the cluster that a report covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusScope {
    Cluster,
    Namespace(String),
    /// One workload, or one pod that no known workload made.
    Workload {
        namespace: String,
        kind: String,
        name: String,
    },
}

/// Status of the selected workloads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    pub totals: StateTotals,
    pub namespaces: Vec<NamespaceStatus>,
    pub unread: Unread,
}

/// Reason why there is no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusRefusal {
    /// The namespace does not exist.
    UnknownNamespace(UnknownNamespace),
    /// The namespace has no such workload; it has these, as KIND/NAME in small letters.
    UnknownWorkload { known: Vec<String> },
}

/// Reports the status of the selected workloads at this instant.
///
/// # Errors
///
/// Refuses a namespace or a workload that does not exist.
pub fn report(inventory: &Inventory, now: Timestamp, request: &StatusRequest) -> Result<StatusReport, StatusRefusal> {
    let StatusRequest { scope, only_problems } = request;
    let namespace = scope.namespace();
    if let Some(namespace) = namespace {
        inventory.check_namespace(namespace).map_err(StatusRefusal::UnknownNamespace)?;
    }
    let (found, unread) = Unread::while_computing(inventory, || {
        let mut selected = scope.select(workload_statuses_in(inventory, now, namespace))?;
        let totals = StateTotals::count(&selected);
        selected.retain(|one| !only_problems || one.state.is_problem());
        let mut namespaces = match namespace {
            Some(namespace) => vec![namespace_status(inventory, namespace.to_owned(), selected)],
            None => group_by_namespace(inventory, selected),
        };
        namespaces.retain(|one| !only_problems || !one.workloads.is_empty());
        Ok((totals, namespaces))
    });
    let (totals, namespaces) = found?;
    Ok(StatusReport { totals, namespaces, unread })
}

impl StatusScope {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) | Self::Workload { namespace, .. } => Some(namespace),
        }
    }

    fn select(&self, mut statuses: Vec<WorkloadStatus>) -> Result<Vec<WorkloadStatus>, StatusRefusal> {
        let Self::Workload { kind, name, .. } = self else { return Ok(statuses) };
        let is_selected = |one: &WorkloadStatus| one.kind == *kind && one.name == *name;
        if !statuses.iter().any(is_selected) {
            let known = statuses.iter().map(|one| format!("{}/{}", one.kind.to_lowercase(), one.name)).collect();
            return Err(StatusRefusal::UnknownWorkload { known });
        }
        statuses.retain(is_selected);
        Ok(statuses)
    }
}

impl StatusReport {
    /// Returns whether a workload is certainly not as it should be.
    pub fn has_problem(&self) -> bool {
        // A state that is unknown because something could not be read is not wrong.
        let is_certain = |one: &WorkloadStatus| one.state != WorkloadState::Unknown || self.unread.is_empty();
        let mut workloads = self.namespaces.iter().flat_map(|namespace| &namespace.workloads);
        workloads.any(|one| one.state.is_problem() && is_certain(one))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;
    use crate::kubernetes::inventory::rules::RuleLimits;

    #[test]
    fn only_what_exists_is_reported() {
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u1"});
        let spec = json!({"template": {"metadata": {"labels": {"app": "web"}}}});
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}),
        ];
        assert_eq!(files::replace_all(&inventory, &RuleLimits::default(), &objects), [""; 0]);
        let report = |scope| {
            let request = StatusRequest { scope, only_problems: false };
            report(&inventory, Timestamp::UNIX_EPOCH, &request).map(|report| report.totals.workloads)
        };
        let workload = |name: &str| StatusScope::Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(report(StatusScope::Cluster), Ok(1));
        assert_eq!(report(StatusScope::Namespace("shop".to_owned())), Ok(1));
        assert_eq!(report(workload("web")), Ok(1));
        let known = vec!["deployment/web".to_owned()];
        assert_eq!(report(workload("wep")), Err(StatusRefusal::UnknownWorkload { known }));
        let Err(StatusRefusal::UnknownNamespace(unknown)) = report(StatusScope::Namespace("shob\u{7}".to_owned()))
        else {
            panic!("there is no such namespace");
        };
        assert_eq!(unknown.to_string(), "there is no namespace shob; did you mean shop?");
    }
}
