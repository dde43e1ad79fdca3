//! Execution of a restart for a command, with progress output and an orderly end on an interrupt.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::progress_output::{RestartPrinter, describe_end};
use super::{PacingArgs, read_workloads, refusal_error, summary};
use crate::cli::snapshot::OutputFormat;
use crate::features::restart::plan::{RestartPlan, RestartTargets, plan_restart};
use crate::features::restart::remaining::RemainingWork;
use crate::features::restart::report::{RestartEnd, RestartReport};
use crate::features::restart::workload::NamespacedWorkload;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::client::restarts::run::RestartRunner;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// Restarts workloads for a command that has changed their new pods. Asks no confirmation, and passes over workloads
/// that cannot be restarted, such as missing ones. [`exit_code`] judges the report.
pub(in crate::cli) async fn restart_changed(
    kinds: &OwnerKinds,
    names: Vec<NamespacedWorkload>,
    pacing: &PacingArgs,
) -> anyhow::Result<RestartReport> {
    let restarts = RestartClient::new(client::config().await.context("cannot find a cluster")?)?;
    let mut namespaces: Vec<&String> = names.iter().map(|name| &name.namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    let mut workloads = Vec::new();
    for namespace in namespaces {
        workloads.extend(read_workloads(&restarts, kinds, namespace).await?.workloads);
    }
    let planned = plan_restart(workloads, &[], &RestartTargets::Changed(names), &[]);
    let RestartPlan { workloads, skipped, .. } = planned.map_err(|why| refusal_error(&why))?;
    summary::summarize_skipped(&skipped).iter().for_each(|line| eprintln!("{line}"));
    let mut report = run_until_end(&restarts, kinds, &new_run_id(), workloads.into(), pacing).await?;
    report.passed.extend(skipped);
    Ok(report)
}

/// Makes the identifier of a new run.
pub(super) fn new_run_id() -> String {
    fresh_id()[..8].to_owned()
}

/// Runs a restart until it ends. The first interrupt ends it in order, the second one at once.
pub(super) async fn run_until_end(
    restarts: &RestartClient,
    kinds: &OwnerKinds,
    run: &str,
    remaining: RemainingWork,
    pacing: &PacingArgs,
) -> anyhow::Result<RestartReport> {
    let cancel = CancellationToken::new();
    let printer = RestartPrinter::new(&remaining.workloads);
    let namespaces: BTreeSet<_> = remaining.workloads.iter().map(|one| one.name.namespace.clone()).collect();
    printer.print_line(&format!("This is restart {run}."));
    let on_step = |step| printer.print_step(step);
    let (pace, clock) = (pacing.pace(), &Clock::System);
    let runner = RestartRunner { restarts, run, kinds, pace, clock, cancel: &cancel, on_step: &on_step };
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
            printer.print_line("Stopping as soon as what is being written is; once more stops at once.");
            cancel.cancel();
        }
    };
    tokio::select! {
        report = runner.restart(remaining) => Ok(report),
        () = stop => {
            let resume = |namespace| format!("`outrigger restart --resume {run} -n {namespace}`");
            let resume: Vec<_> = namespaces.into_iter().map(resume).collect();
            bail!("stopped at once; it is gone on with by {}", resume.join(" and "))
        }
    }
}

/// Prints the report, and returns the exit code. `is_named`: the user named the workloads.
pub(super) fn print_report(report: &RestartReport, is_named: bool, output: OutputFormat) -> anyhow::Result<ExitCode> {
    output.print(report, describe_end)?;
    Ok(exit_code(report, is_named))
}

/// Returns 0 if everything is restarted, 2 if something could not be done, and 1 if a workload did not come up, the
/// restart was interrupted, or a named workload was passed over.
pub(in crate::cli) fn exit_code(report: &RestartReport, is_named: bool) -> ExitCode {
    match report.end {
        RestartEnd::Stopped(_) => ExitCode::from(2),
        _ if !report.refused.is_empty() => ExitCode::from(2),
        RestartEnd::Completed if is_named && !report.passed.is_empty() => ExitCode::FAILURE,
        RestartEnd::Completed => ExitCode::SUCCESS,
        RestartEnd::Halted | RestartEnd::Interrupted => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::restart::report::WorkloadReason;

    #[test]
    fn the_answer_is_no_where_one_that_is_named_is_passed_over() {
        let name =
            NamespacedWorkload { namespace: "shop".to_owned(), kind: "Deployment".to_owned(), name: "web".to_owned() };
        let passed = vec![WorkloadReason { workload: name, why: "restart 3f2a9c01 has it".to_owned() }];
        let report = RestartReport { passed: passed.clone(), ..RestartReport::new("77aa00ff") };
        assert_eq!([false, true].map(|named| exit_code(&report, named)), [ExitCode::SUCCESS, ExitCode::FAILURE]);
        let refused = RestartReport { refused: passed, ..report };
        assert_eq!(exit_code(&refused, true), ExitCode::from(2));
    }
}
