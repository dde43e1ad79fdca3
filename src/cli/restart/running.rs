//! A restart as it runs for a command: it tells of itself, and an interrupt ends it in order.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::telling::{self, Teller};
use super::{PacingArgs, read_in, summary, unplanned};
use crate::cli::looking::Output;
use crate::features::restart::left::Left;
use crate::features::restart::plan::{Chosen, Plan, plan};
use crate::features::restart::telling::{End, Report};
use crate::features::restart::workload::Name;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::Restarts;
use crate::kubernetes::client::restarts::run::Runner;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// Restarts these workloads as the command does, for a command that has changed what their new pods get. Asks nobody, and
/// passes over what cannot be restarted, such as what is gone meanwhile; [`finished`] tells what came of it.
///
/// # Errors
///
/// Where nothing can be read.
pub(in crate::cli) async fn restart_named(
    kinds: &OwnerKinds,
    names: Vec<Name>,
    pacing: &PacingArgs,
) -> anyhow::Result<Report> {
    let restarts = Restarts::new(client::config().await.context("cannot find a cluster")?)?;
    let mut namespaces: Vec<&String> = names.iter().map(|name| &name.namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    let mut workloads = Vec::new();
    for namespace in namespaces {
        workloads.extend(read_in(&restarts, kinds, namespace).await?.workloads);
    }
    let planned = plan(workloads, &[], &Chosen::Changed(names), &[]);
    let Plan { workloads, skipped, .. } = planned.map_err(|why| unplanned(&why))?;
    summary::skipped(&skipped).iter().for_each(|line| eprintln!("{line}"));
    let mut report = run_to_its_end(&restarts, kinds, &fresh_run(), workloads.into(), pacing).await?;
    report.passed.extend(skipped);
    Ok(report)
}

/// The name of a new run.
pub(super) fn fresh_run() -> String {
    fresh_id()[..8].to_owned()
}

/// Runs a restart until it ends; a first interrupt ends it in order, a second one at once.
pub(super) async fn run_to_its_end(
    restarts: &Restarts,
    kinds: &OwnerKinds,
    run: &str,
    left: Left,
    pacing: &PacingArgs,
) -> anyhow::Result<Report> {
    let cancel = CancellationToken::new();
    let teller = Teller::of(&left.workloads);
    let namespaces: BTreeSet<_> = left.workloads.iter().map(|one| one.name.namespace.clone()).collect();
    teller.line(&format!("This is restart {run}."));
    let tell = |step| teller.tell(step);
    let (pace, clock) = (pacing.pace(), &Clock::System);
    let runner = Runner { restarts, run, kinds, pace, clock, cancel: &cancel, tell: &tell };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_cancelled() {
                return;
            }
            teller.line("Stopping as soon as what is being written is; once more stops at once.");
            cancel.cancel();
        }
    };
    tokio::select! {
        report = runner.restart(left) => Ok(report),
        () = stop => {
            let resume = |namespace| format!("`outrigger restart --resume {run} -n {namespace}`");
            let resume: Vec<_> = namespaces.into_iter().map(resume).collect();
            bail!("stopped at once; it is gone on with by {}", resume.join(" and "))
        }
    }
}

/// Tells what came of a restart, of workloads that are named or whatever there is, and the exit code for it.
pub(super) fn finished(report: &Report, is_named: bool, output: Output) -> anyhow::Result<ExitCode> {
    output.print(report, telling::ended)?;
    Ok(exit_code(report, is_named))
}

/// 0 where everything is restarted, 2 where something could not be done, 1 where it does not come up or somebody stopped it,
/// or took one that is named.
pub(in crate::cli) fn exit_code(report: &Report, is_named: bool) -> ExitCode {
    match report.end {
        End::Stopped(_) => ExitCode::from(2),
        _ if !report.refused.is_empty() => ExitCode::from(2),
        End::Completed if is_named && !report.passed.is_empty() => ExitCode::FAILURE,
        End::Completed => ExitCode::SUCCESS,
        End::Halted | End::Interrupted => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::restart::telling::Told;

    #[test]
    fn the_answer_is_no_where_one_that_is_named_is_passed_over() {
        let name = Name { namespace: "shop".to_owned(), kind: "Deployment".to_owned(), name: "web".to_owned() };
        let passed = vec![Told { workload: name, why: "restart 3f2a9c01 has it".to_owned() }];
        let report = Report { passed: passed.clone(), ..Report::of("77aa00ff") };
        assert_eq!([false, true].map(|named| exit_code(&report, named)), [ExitCode::SUCCESS, ExitCode::FAILURE]);
        let refused = Report { refused: passed, ..report };
        assert_eq!(exit_code(&refused, true), ExitCode::from(2));
    }
}
