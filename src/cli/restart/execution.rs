//! Execution of a restart for a command, with progress output and an orderly end on an interrupt.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::progress_output::{RestartPrinter, describe_end};
use super::{PacingArgs, progress_output, refusal_error};
use crate::cli::snapshot::OutputFormat;
use crate::features::restart::execution::RestartRunner;
use crate::features::restart::plan::RestartTargets;
use crate::features::restart::prepare::{RemainingWork, prepare_restart};
use crate::features::restart::report::{RestartReport, RestartVerdict};
use crate::features::restart::request::{RestartIntent, RestartRequest, new_run_id};
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::restart::world::RestartWorld;
use crate::kernel::clock::Clock;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// Restarts workloads for a command that has changed their new pods. Asks no confirmation, and passes over workloads
/// that cannot be restarted, such as missing ones. [`exit_code`] judges the report.
pub(in crate::cli) async fn restart_changed(
    kinds: &OwnerKinds,
    names: Vec<NamespacedWorkload>,
    pacing: &PacingArgs,
) -> anyhow::Result<RestartReport> {
    let restarts = RestartClient::new(client::config().await.context("cannot find a cluster")?)?;
    let namespaces: BTreeSet<String> = names.iter().map(|name| name.namespace.clone()).collect();
    let mut world = RestartWorld::default();
    for namespace in namespaces {
        let RestartWorld { workloads, left_out, .. } = RestartWorld::read(&restarts, kinds, &namespace).await?;
        left_out.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        world.workloads.extend(workloads);
    }
    let request = RestartRequest::new(RestartIntent::Start(RestartTargets::Changed(names)), Vec::new());
    let prepared = request.and_then(|request| prepare_restart(world, &request, new_run_id()));
    let prepared = prepared.map_err(|why| refusal_error(&why))?;
    progress_output::summarize_skipped(&prepared.skipped).iter().for_each(|line| eprintln!("{line}"));
    let mut report = run_until_end(&restarts, kinds, &prepared.run, prepared.work, pacing).await?;
    report.passed.extend(prepared.skipped);
    Ok(report)
}

/// Runs a restart until it ends. The first interrupt ends it in order, the second one at once.
pub(super) async fn run_until_end(
    restarts: &RestartClient,
    kinds: &OwnerKinds,
    run: &str,
    work: RemainingWork,
    pacing: &PacingArgs,
) -> anyhow::Result<RestartReport> {
    let cancel = CancellationToken::new();
    let printer = RestartPrinter::new(&work.workloads);
    let namespaces: BTreeSet<_> = work.workloads.iter().map(|one| one.name.namespace.clone()).collect();
    printer.print_line(&format!("Running restart {run}."));
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
            printer.print_line("Stopping after the writes that have begun. Interrupt again to stop at once.");
            cancel.cancel();
        }
    };
    tokio::select! {
        report = runner.restart(work) => Ok(report),
        () = stop => {
            let resume = |namespace| format!("`outrigger restart --resume {run} -n {namespace}`");
            let resume: Vec<_> = namespaces.into_iter().map(resume).collect();
            bail!("stopped at once: resume with {}", resume.join(" and "))
        }
    }
}

pub(super) fn print_report(report: &RestartReport, output: OutputFormat) -> anyhow::Result<()> {
    output.print(report, describe_end)
}

/// Returns the exit code for a report. `is_named`: the user named the workloads.
pub(in crate::cli) fn exit_code(report: &RestartReport, is_named: bool) -> ExitCode {
    verdict_code(report.verdict(is_named))
}

pub(super) fn verdict_code(verdict: RestartVerdict) -> ExitCode {
    match verdict {
        RestartVerdict::Done => ExitCode::SUCCESS,
        RestartVerdict::Incomplete => ExitCode::FAILURE,
        RestartVerdict::Failed => ExitCode::from(2),
    }
}
