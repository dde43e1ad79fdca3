//! Targets of a restart, as they are typed.

use anyhow::bail;

use super::RestartArgs;
use crate::cli::progress::ProgressDisplay;
use crate::cli::snapshot::SnapshotArgs;
use crate::cli::target::TargetRef;
use crate::features::restart::plan::RestartTargets;
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::status::states::workload_statuses_in;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

pub(super) async fn parse_targets(
    args: &RestartArgs,
    snapshot_args: &SnapshotArgs,
    namespace: &str,
    kinds: &OwnerKinds,
) -> anyhow::Result<RestartTargets> {
    if args.drifted {
        return find_drifted(snapshot_args, namespace).await;
    }
    if !args.workloads.is_empty() {
        return Ok(RestartTargets::Named(parse_names(&args.workloads, namespace, kinds)?));
    }
    Ok(args.selector.clone().map_or(RestartTargets::All, RestartTargets::Labelled))
}

/// Resolves typed names. The plan checks that the workloads exist.
pub(super) fn parse_names(
    targets: &[TargetRef],
    namespace: &str,
    kinds: &OwnerKinds,
) -> anyhow::Result<Vec<NamespacedWorkload>> {
    let name = |target: &TargetRef| {
        if target.is_pod() {
            bail!("a pod is not restarted; name its workload, such as deployment/{}", target.name);
        }
        Ok(NamespacedWorkload {
            namespace: namespace.to_owned(),
            kind: target.resolve_kind(kinds)?,
            name: target.name.clone(),
        })
    };
    targets.iter().map(name).collect()
}

/// Selects the workloads whose running pods differ from a new pod.
async fn find_drifted(snapshot_args: &SnapshotArgs, namespace: &str) -> anyhow::Result<RestartTargets> {
    let snapshot = {
        let _progress = ProgressDisplay::spinner("looking for what drifts");
        snapshot_args.take(Some(namespace)).await?
    };
    let unread = snapshot.unread();
    if !unread.is_empty() {
        bail!("what drifts cannot be told, since these could not be read: {}", unread.join(", "));
    }
    Ok(RestartTargets::from_drift(workload_statuses_in(&snapshot.inventory, snapshot.now, Some(namespace))))
}
