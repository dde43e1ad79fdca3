//! Who is meant, as it is typed.

use anyhow::bail;

use super::RestartArgs;
use crate::cli::looking::LookingArgs;
use crate::cli::progress::Progress;
use crate::cli::subject::Target;
use crate::features::restart::plan::Chosen;
use crate::features::restart::workload::Name;
use crate::features::status::states::standings_within;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

pub(super) async fn chosen(
    args: &RestartArgs,
    looking: &LookingArgs,
    namespace: &str,
    kinds: &OwnerKinds,
) -> anyhow::Result<Chosen> {
    if args.drifted {
        return drifted(looking, namespace).await;
    }
    if !args.workloads.is_empty() {
        return Ok(Chosen::Named(named(&args.workloads, namespace, kinds)?));
    }
    Ok(args.selector.clone().map_or(Chosen::All, Chosen::Labelled))
}

/// The names of what is typed; whether they are there, the plan finds out.
pub(super) fn named(targets: &[Target], namespace: &str, kinds: &OwnerKinds) -> anyhow::Result<Vec<Name>> {
    let name = |target: &Target| {
        if target.is_pod() {
            bail!("a pod is not restarted; name its workload, such as deployment/{}", target.name);
        }
        Ok(Name { namespace: namespace.to_owned(), kind: target.kind(kinds)?, name: target.name.clone() })
    };
    targets.iter().map(name).collect()
}

/// Those whose running pods are not as a new one would be.
async fn drifted(looking: &LookingArgs, namespace: &str) -> anyhow::Result<Chosen> {
    let looked = {
        let _progress = Progress::of("looking for what drifts");
        looking.look(Some(namespace)).await?
    };
    let unread = looked.unread();
    if !unread.is_empty() {
        bail!("what drifts cannot be told, since these could not be read: {}", unread.join(", "));
    }
    Ok(Chosen::drifting(standings_within(&looked.inventory, looked.now, Some(namespace))))
}
