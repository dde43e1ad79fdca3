//! `outrigger doctor`: prints findings about what keeps rules from their effect.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::snapshot::{OutputFormat, SnapshotArgs};
use crate::features::doctor::diagnosis::diagnose;
use crate::features::doctor::finding::{DoctorReport, Finding, FindingState};
use crate::features::doctor::installation::diagnose_installation;
use crate::kubernetes::client::installation::read_installation;

/// Arguments of `outrigger doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot_args: SnapshotArgs,
}

/// Runs `outrigger doctor`.
pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let DoctorArgs { output, snapshot_args } = args;
    let mut findings = Vec::new();
    if snapshot_args.state.is_none() {
        let client = super::snapshot::client().await?;
        let namespace = &snapshot_args.decision_args.namespace;
        let installation = read_installation(&client, namespace).await;
        findings.extend(diagnose_installation(&installation, namespace, snapshot_args.now()));
    }
    let snapshot = snapshot_args.take(None).await?;
    findings.extend(diagnose(&snapshot.inventory));
    let report = DoctorReport(findings);
    output.print(&report, format_table)?;
    Ok(if report.worst() == FindingState::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn format_table(DoctorReport(findings): &DoctorReport) -> String {
    let mut text = String::new();
    for Finding { check, state, found, advice } in findings {
        let mark = match state {
            FindingState::Good => "ok",
            FindingState::Warning => "warning",
            FindingState::Problem => "PROBLEM",
        };
        let _ = writeln!(text, "{mark:<9}{check:<14}{found}");
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<23}{advice}", "");
        }
    }
    text
}
