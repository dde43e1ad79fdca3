//! Whom a change leaves with other running pods than new ones would be, and their restart.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use super::told::Came;
use crate::cli::looking::Looked;
use crate::cli::restart::PacingArgs;
use crate::cli::restart::running::restart_named;
use crate::overrides::plan::Planned;
use crate::restarts::telling::Report;
use crate::restarts::workload::Name;

/// How many are named.
const MOST_NAMED: usize = 10;
/// The server hears of what was written by a watch, and new pods are not to come before it has.
const HEARD: Duration = Duration::from_secs(1);

/// What is told of it before.
pub(super) fn lines(planned: &[Planned]) -> Vec<String> {
    let names = differing(planned.iter());
    match names.len() {
        0 => vec!["Nothing has to be restarted for it.".to_owned()],
        count => {
            let named: Vec<_> =
                names.iter().take(MOST_NAMED).map(|name| format!("{name} in {}", name.namespace)).collect();
            let more = if count > MOST_NAMED { format!(" and {} more", count - MOST_NAMED) } else { String::new() };
            vec![format!("Then these are restarted ({count}): {}{more}.", named.join(", "))]
        }
    }
}

/// Restarts those of what is written; nothing where nothing has to be.
pub(super) async fn restarted(
    looked: &Looked,
    planned: &[Planned],
    came: &[Came],
    pacing: &PacingArgs,
) -> anyhow::Result<Option<Report>> {
    let written = planned.iter().zip(came).filter(|(_, came)| matches!(came, Came::Wrote(_)));
    let names = differing(written.map(|(one, _)| one));
    if names.is_empty() {
        return Ok(None);
    }
    tokio::time::sleep(HEARD).await;
    let kinds = &looked.inventory.owner_kinds;
    let report = restart_named(kinds, names.into_iter().collect(), pacing).await;
    report.map(Some).context("it is written, but running pods stay as they are")
}

/// The workloads some of whose running pods are not as new ones.
fn differing<'p>(planned: impl Iterator<Item = &'p Planned>) -> BTreeSet<Name> {
    let all = planned.flat_map(|one| [&one.own].into_iter().chain(&one.others));
    let differing = all.filter(|one| {
        let counted = one.running.as_ref().and_then(|running| running.differing);
        one.kind != "Pod" && counted.is_some_and(|differing| differing > 0)
    });
    let name = |one: &crate::overrides::prospect::Prospect| Name {
        namespace: one.namespace.clone(),
        kind: one.kind.clone(),
        name: one.name.clone(),
    };
    differing.map(name).collect()
}
