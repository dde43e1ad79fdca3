//! `outrigger preview`: previews policies and suspensions before they are applied.

mod adoption;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::explain::describe_operation;
use super::manifest;
use super::progress::ProgressDisplay;
use super::snapshot::{OutputFormat, SnapshotArgs};
use super::target::TargetRef;
use crate::features::new_pod::NewPodOutcome;
use crate::features::preview::change::{ChangeKind, ProposedChangeRow};
use crate::features::preview::comparison::{NamespacePreview, Preview, PreviewSummary, WorkloadDifference};
use crate::features::preview::refusal::{OptionNames, PreviewRefusal, RuleDeletion};
use crate::features::preview::request::{PreviewPlan, PreviewReport, PreviewRequest, PreviewVerdict};
use crate::kernel::names::DECISION;
use crate::kubernetes::inventory::Inventory;

/// Names of the options as this command line spells them.
const OPTION_NAMES: OptionNames = OptionNames { as_enforced: "--as-enforced", at: "--now " };

#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// File or directory of policies and suspensions that would be applied; - is standard input; repeatable
    #[arg(short = 'f', long, value_name = "FILE", required_unless_present_any = ["delete", "adopt"])]
    filename: Vec<PathBuf>,
    /// Policy or suspension that would be deleted, such as clusterinjectionpolicy/mesh; repeatable
    #[arg(long, value_name = "KIND/NAME")]
    delete: Vec<TargetRef>,
    /// List existing markers of the mesh that would count as overrides of a first policy
    #[arg(long, conflicts_with_all = ["filename", "delete", "as_enforced"])]
    adopt: bool,
    /// Namespace of objects that name none; with --adopt the only namespace to read
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Preview policies in mode Audit as if they were in Enforce
    #[arg(long)]
    as_enforced: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot: SnapshotArgs,
}

/// Output of `outrigger preview -o json`.
#[derive(Debug, Serialize)]
struct PreviewOutput {
    #[serde(flatten)]
    report: PreviewReport,
    /// Parts of the cluster that could not be read; the result is incomplete without them.
    unread: Vec<String>,
}

pub async fn run(args: PreviewArgs) -> anyhow::Result<ExitCode> {
    let PreviewArgs { filename, delete, adopt, namespace, as_enforced, output, snapshot } = args;
    if adopt {
        return adoption::run(namespace.as_deref(), output, &snapshot).await;
    }
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => snapshot.default_namespace().await?,
    };
    let request = PreviewRequest {
        objects: read_manifests(&filename)?,
        deletions: delete.into_iter().map(to_deletion).collect(),
        default_namespace: Some(namespace),
        within: None,
        as_enforced,
        option_names: OPTION_NAMES,
    };
    let plan = request.prepare(&snapshot.decision_args.rule_limits(), snapshot.now())?;
    let cluster = {
        let _progress = ProgressDisplay::spinner("reading the cluster");
        snapshot.take(plan.namespace()).await?
    };
    let printed = PreviewOutput { report: compare(&plan, &cluster.inventory)?, unread: cluster.unread() };
    output.print(&printed, format_table)?;
    match printed.report.verdict(&printed.unread) {
        PreviewVerdict::Same => Ok(ExitCode::SUCCESS),
        PreviewVerdict::Changed => Ok(ExitCode::from(1)),
        PreviewVerdict::Unclear(why) => bail!(why),
    }
}

fn read_manifests(paths: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for path in paths {
        let file_objects = manifest::read_objects(path)?;
        if file_objects.is_empty() {
            return Err(PreviewRefusal::NothingProposed).with_context(|| path.display().to_string());
        }
        objects.extend(file_objects);
    }
    Ok(objects)
}

fn to_deletion(TargetRef { kind, name }: TargetRef) -> RuleDeletion {
    RuleDeletion { kind, namespace: None, name }
}

fn compare(plan: &PreviewPlan, inventory: &Inventory) -> anyhow::Result<PreviewReport> {
    let sources = plan.sources(inventory);
    let progress = ProgressDisplay::with_steps("deciding", sources.len());
    Ok(plan.compare(inventory, &sources, || progress.advance())?)
}

/// Formats a preview for people.
fn format_table(output: &PreviewOutput) -> String {
    let PreviewOutput { report: PreviewReport { changes, preview: Preview { summary, namespaces }, notes }, unread } =
        output;
    let mut text = String::new();
    for ProposedChangeRow { kind, name, namespace, change } in changes {
        let verb = match change {
            ChangeKind::New => "new",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        };
        let namespace = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let _ = writeln!(text, "{verb:<9}{kind} {name}{namespace}");
    }
    text.push('\n');
    text.push_str(&describe_summary(summary, namespaces.len()));
    namespaces.iter().for_each(|namespace| write_namespace(&mut text, namespace));
    if !unread.is_empty() {
        let _ = writeln!(text, "\nNot complete: these could not be read: {}", unread.join(", "));
    }
    for note in notes {
        let _ = writeln!(text, "\nNote: {note}");
    }
    text
}

fn describe_summary(summary: &PreviewSummary, namespaces: usize) -> String {
    let PreviewSummary { workloads, changed, other_rule, gaining, losing, unreachable, pods, changed_pods } = summary;
    let count_of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let all = count_of(*workloads, "workload");
    let mut lines = match changed {
        0 => vec![format!("Nothing would change for {all}.")],
        _ => vec![format!(
            "New pods of {changed} of {all} would be different, in {}.",
            count_of(namespaces, "namespace")
        )],
    };
    if let (Some(pods), Some(changed_pods), 1..) = (pods, changed_pods, changed) {
        lines.push(format!(
            "Of those {} run ({pods} in all), and stay as they are until made anew.",
            count_of(*changed_pods, "pod")
        ));
    }
    let mut counted = |count: &usize, what: &str| {
        if *count > 0 {
            lines.push(format!("{} {what}", count_of(*count, "workload")));
        }
    };
    counted(gaining, "would get a sidecar, and get none now.");
    counted(losing, "would no longer get a sidecar.");
    counted(unreachable, "would become unreachable: what is asked for could not be had.");
    counted(other_rule, "would be decided by another rule, to the same end.");
    lines.join("\n") + "\n"
}

fn write_namespace(text: &mut String, preview: &NamespacePreview) {
    let NamespacePreview { namespace, workloads } = preview;
    let title = |difference: &WorkloadDifference| format!("{}/{}", difference.kind, difference.name);
    let width = workloads.iter().map(|one| title(one).chars().count()).max().unwrap_or_default();
    let _ = writeln!(text, "\nNamespace {namespace}");
    for difference in workloads {
        let WorkloadDifference { pods, before, after, .. } = difference;
        let pods = match pods {
            Some(1) => "1 pod".to_owned(),
            Some(pods) => format!("{pods} pods"),
            None => "? pods".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {:<width$}  {pods:<8}  {} -> {}",
            title(difference),
            describe_pod(before),
            describe_pod(after)
        );
        let indent = " ".repeat(width + 14);
        let _ = writeln!(text, "{indent}{}", after.reason);
        if after.effect.outcome != before.effect.outcome || after.effect.revision != before.effect.revision {
            let _ = writeln!(text, "{indent}{}: {}", after.effect.outcome.as_str(), after.effect.reason);
        }
        // The receipt repeats the line before.
        let is_receipt = |operation: &String| operation.starts_with(&format!("annotation {DECISION}"));
        let operations: Vec<_> =
            after.patch.iter().flat_map(describe_operation).filter(|one| !is_receipt(one)).collect();
        let operations = if operations.is_empty() { "nothing".to_owned() } else { operations.join(", ") };
        let _ = writeln!(text, "{indent}written: {operations}");
    }
}

fn describe_pod(pod: &NewPodOutcome) -> String {
    let revision = pod.effect.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("{}, {}{revision}", pod.action, pod.effect.outcome.as_str())
}
