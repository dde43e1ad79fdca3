//! `outrigger preview`: what policies and suspensions would change, before they are applied.

mod adopting;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;
use serde::Serialize;

use super::explain::written;
use super::looking::{Looked, LookingArgs, Output};
use super::manifest;
use super::progress::Progress;
use super::subject::Target;
use crate::features::preview::change::{Change, ChangeTold, Reading, What, Words};
use crate::features::preview::comparison::{Answer, Difference, OfNamespace, Preview, Summary, origins};
use crate::features::preview::proposal::{Previewed, previewed};
use crate::kernel::names::DECISION;

/// How to ask for something else here.
const WORDS: Words = Words { as_enforced: "--as-enforced", at: "--now " };

/// What to preview.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// A manifest of policies and suspensions, new or changed, or a directory of them; - is standard input; may be given several times
    #[arg(short = 'f', long, value_name = "FILE", required_unless_present_any = ["delete", "adopt"])]
    filename: Vec<PathBuf>,
    /// A policy or suspension that would go away, such as clusterinjectionpolicy/mesh; may be given several times
    #[arg(long, value_name = "KIND/NAME")]
    delete: Vec<Target>,
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
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    looking: LookingArgs,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    previewed: Previewed,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
}

/// Runs the command.
pub async fn run(args: PreviewArgs) -> anyhow::Result<ExitCode> {
    let PreviewArgs { filename, delete, adopt, namespace, as_enforced, output, looking } = args;
    if adopt {
        return adopting::run(namespace.as_deref(), output, &looking).await;
    }
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => looking.default_namespace().await?,
    };
    let (terms, now) = (looking.deciding.terms(), looking.now());
    let reading = Reading { namespace: Some(&namespace), terms: &terms, now, as_enforced };
    let changes = changes(&reading, &filename, &delete)?;
    let looked = {
        let _progress = Progress::of("reading the cluster");
        looking.look(only_namespace(&changes)).await?
    };
    let told = Told { previewed: compared(&looked, &changes)?, unread: looked.unread() };
    output.print(&told, table)?;
    told.exit_code()
}

fn changes(reading: &Reading<'_>, filenames: &[PathBuf], delete: &[Target]) -> anyhow::Result<Vec<Change>> {
    let mut objects = Vec::new();
    for path in filenames {
        let of_file = manifest::objects_at(path)?;
        ensure!(!of_file.is_empty(), "there is no policy and no suspension in {}", path.display());
        objects.extend(of_file);
    }
    let mut changes = reading.put(&objects)?;
    for Target { kind, name } in delete {
        changes.push(reading.delete(kind, None, name)?);
    }
    Ok(changes)
}

/// The one namespace that all changes are about, if there is one.
fn only_namespace(changes: &[Change]) -> Option<&str> {
    let first = changes.first()?.namespace()?;
    changes.iter().all(|change| change.namespace() == Some(first)).then_some(first)
}

fn compared(looked: &Looked, changes: &[Change]) -> anyhow::Result<Previewed> {
    let origins = origins(&looked.inventory);
    let progress = Progress::of_steps("deciding", origins.len());
    Ok(previewed(&looked.inventory, changes, &origins, (looked.now, WORDS), || progress.step())?)
}

impl Told {
    fn exit_code(&self) -> anyhow::Result<ExitCode> {
        let Self { previewed: Previewed { preview: Preview { summary, .. }, .. }, unread } = self;
        match summary.changed {
            0 if unread.is_empty() => Ok(ExitCode::SUCCESS),
            0 => bail!("nothing would change as far as can be told, but not all could be read: {}", unread.join(", ")),
            _ => Ok(ExitCode::from(1)),
        }
    }
}

/// A preview for people.
fn table(told: &Told) -> String {
    let Told { previewed: Previewed { changes, preview: Preview { summary, namespaces }, notes }, unread } = told;
    let mut text = String::new();
    for ChangeTold { kind, name, namespace, change } in changes {
        let what = match change {
            What::New => "new",
            What::Changed => "changed",
            What::Deleted => "deleted",
        };
        let namespace = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let _ = writeln!(text, "{what:<9}{kind} {name}{namespace}");
    }
    text.push('\n');
    text.push_str(&summary_in_words(summary, namespaces.len()));
    namespaces.iter().for_each(|namespace| of_namespace(&mut text, namespace));
    if !unread.is_empty() {
        let _ = writeln!(text, "\nNot complete: these could not be read: {}", unread.join(", "));
    }
    for note in notes {
        let _ = writeln!(text, "\nNote: {note}");
    }
    text
}

fn summary_in_words(summary: &Summary, namespaces: usize) -> String {
    let Summary { workloads, changed, other_rule, gaining, losing, unreachable, pods, changed_pods } = summary;
    let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let all = of(*workloads, "workload");
    let mut lines = match changed {
        0 => vec![format!("Nothing would change for {all}.")],
        _ => vec![format!("New pods of {changed} of {all} would be different, in {}.", of(namespaces, "namespace"))],
    };
    if let (Some(pods), Some(changed_pods), 1..) = (pods, changed_pods, changed) {
        lines.push(format!(
            "Of those {} run ({pods} in all), and stay as they are until made anew.",
            of(*changed_pods, "pod")
        ));
    }
    let mut counted = |count: &usize, what: &str| {
        if *count > 0 {
            lines.push(format!("{} {what}", of(*count, "workload")));
        }
    };
    counted(gaining, "would get a sidecar, and get none now.");
    counted(losing, "would no longer get a sidecar.");
    counted(unreachable, "would become unreachable: what is asked for could not be had.");
    counted(other_rule, "would be decided by another rule, to the same end.");
    lines.join("\n") + "\n"
}

fn of_namespace(text: &mut String, of_namespace: &OfNamespace) {
    let OfNamespace { namespace, workloads } = of_namespace;
    let title = |difference: &Difference| format!("{}/{}", difference.kind, difference.name);
    let width = workloads.iter().map(|one| title(one).chars().count()).max().unwrap_or_default();
    let _ = writeln!(text, "\nNamespace {namespace}");
    for difference in workloads {
        let Difference { pods, before, after, .. } = difference;
        let pods = match pods {
            Some(1) => "1 pod".to_owned(),
            Some(pods) => format!("{pods} pods"),
            None => "? pods".to_owned(),
        };
        let _ =
            writeln!(text, "  {:<width$}  {pods:<8}  {} -> {}", title(difference), in_words(before), in_words(after));
        let indent = " ".repeat(width + 14);
        let _ = writeln!(text, "{indent}{}", after.reason);
        if after.effect.outcome != before.effect.outcome || after.effect.revision != before.effect.revision {
            let _ = writeln!(text, "{indent}{}: {}", after.effect.outcome.as_str(), after.effect.reason);
        }
        // The receipt says what the line before does.
        let is_receipt = |operation: &String| operation.starts_with(&format!("annotation {DECISION}"));
        let operations: Vec<_> = after.patch.iter().flat_map(written).filter(|one| !is_receipt(one)).collect();
        let operations = if operations.is_empty() { "nothing".to_owned() } else { operations.join(", ") };
        let _ = writeln!(text, "{indent}written: {operations}");
    }
}

fn in_words(answer: &Answer) -> String {
    let revision = answer.effect.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("{}, {}{revision}", answer.action, answer.effect.outcome.as_str())
}
