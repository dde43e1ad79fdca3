//! `outrigger preview`: previews policies and suspensions before they are applied.

mod adoption;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;
use serde::Serialize;

use super::explain::describe_operation;
use super::manifest;
use super::progress::ProgressDisplay;
use super::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs};
use super::target::TargetRef;
use crate::features::new_pod::NewPodOutcome;
use crate::features::pod_source::pod_sources;
use crate::features::preview::change::{ChangeKind, ChangeReader, OptionNames, ProposedChange, ProposedChangeRow};
use crate::features::preview::comparison::{NamespacePreview, Preview, PreviewSummary, WorkloadDifference};
use crate::features::preview::proposal::{PreviewReport, preview_changes};
use crate::kernel::names::DECISION;

/// Names of the options as this command line spells them.
const OPTION_NAMES: OptionNames = OptionNames { as_enforced: "--as-enforced", at: "--now " };

/// Options of `outrigger preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// A manifest of policies and suspensions, new or changed, or a directory of them; - is standard input; may be given several times
    #[arg(short = 'f', long, value_name = "FILE", required_unless_present_any = ["delete", "adopt"])]
    filename: Vec<PathBuf>,
    /// A policy or suspension that would go away, such as clusterinjectionpolicy/mesh; may be given several times
    #[arg(long, value_name = "KIND/NAME")]
    delete: Vec<TargetRef>,
    /// Instead of a change: the mesh's own markers that stand already and would count as overrides of a first policy
    #[arg(long, conflicts_with_all = ["filename", "delete", "as_enforced"])]
    adopt: bool,
    /// The namespace of objects that name none; with --adopt the only one that is looked at
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Preview policies in mode Audit as if they were in Enforce
    #[arg(long)]
    as_enforced: bool,
    /// How to print
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
    /// Parts of the cluster that could not be read. The answer is not complete without them.
    unread: Vec<String>,
}

/// Runs the command.
pub async fn run(args: PreviewArgs) -> anyhow::Result<ExitCode> {
    let PreviewArgs { filename, delete, adopt, namespace, as_enforced, output, snapshot } = args;
    if adopt {
        return adoption::run(namespace.as_deref(), output, &snapshot).await;
    }
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => snapshot.default_namespace().await?,
    };
    let (terms, now) = (snapshot.decision_args.rule_limits(), snapshot.now());
    let reader = ChangeReader { namespace: Some(&namespace), rule_limits: &terms, now, as_enforced };
    let changes = read_changes(&reader, &filename, &delete)?;
    let cluster = {
        let _progress = ProgressDisplay::spinner("reading the cluster");
        snapshot.take(only_namespace(&changes)).await?
    };
    let printed = PreviewOutput { report: preview(&cluster, &changes)?, unread: cluster.unread() };
    output.print(&printed, format_table)?;
    printed.exit_code()
}

fn read_changes(
    reader: &ChangeReader<'_>,
    filenames: &[PathBuf],
    delete: &[TargetRef],
) -> anyhow::Result<Vec<ProposedChange>> {
    let mut objects = Vec::new();
    for path in filenames {
        let file_objects = manifest::read_objects(path)?;
        ensure!(!file_objects.is_empty(), "there is no policy and no suspension in {}", path.display());
        objects.extend(file_objects);
    }
    let mut changes = reader.read_manifests(&objects)?;
    for TargetRef { kind, name } in delete {
        changes.push(reader.read_deletion(kind, None, name)?);
    }
    Ok(changes)
}

/// Returns the namespace of all changes, if they have only one.
fn only_namespace(changes: &[ProposedChange]) -> Option<&str> {
    let first = changes.first()?.namespace()?;
    changes.iter().all(|change| change.namespace() == Some(first)).then_some(first)
}

fn preview(cluster: &ClusterSnapshot, changes: &[ProposedChange]) -> anyhow::Result<PreviewReport> {
    let sources = pod_sources(&cluster.inventory);
    let progress = ProgressDisplay::with_steps("deciding", sources.len());
    Ok(preview_changes(&cluster.inventory, changes, &sources, (cluster.now, OPTION_NAMES), || progress.advance())?)
}

impl PreviewOutput {
    fn exit_code(&self) -> anyhow::Result<ExitCode> {
        let Self { report: PreviewReport { preview: Preview { summary, .. }, .. }, unread } = self;
        match summary.changed {
            0 if unread.is_empty() => Ok(ExitCode::SUCCESS),
            0 => bail!("nothing would change as far as can be told, but not all could be read: {}", unread.join(", ")),
            _ => Ok(ExitCode::from(1)),
        }
    }
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
