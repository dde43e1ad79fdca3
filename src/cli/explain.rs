//! `outrigger explain`: explains the decision for a workload, a running pod or a manifest.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use json_patch::PatchOperation;

use super::manifest;
use super::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs};
use super::target::{ManifestSubject, TargetRef};
use crate::decision::facts::RequestKind;
use crate::features::explain::explanation::{Explanation, PodName};
use crate::features::explain::request::{self, ExplainRequest};
use crate::features::status::running::{PodCounts, RunningPods};
use crate::kubernetes::inventory::{DecisionRequest, Inventory};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Workload or running pod, such as deployment/web or pod/web-0
    #[arg(value_name = "KIND/NAME", required_unless_present = "filename", conflicts_with = "filename")]
    subject: Option<TargetRef>,
    /// File or directory of pods or workloads, which need not exist; - is standard input
    #[arg(short = 'f', long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Namespace [default: that of the kubeconfig]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot: SnapshotArgs,
}

pub async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let ExplainArgs { subject, filename, namespace, output, snapshot } = args;
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => snapshot.default_namespace().await?,
    };
    let explanations = match (subject, filename) {
        (Some(TargetRef { kind, name }), _) => {
            let ClusterSnapshot { inventory, now, .. } = snapshot.take(Some(&namespace)).await?;
            vec![request::explain(&inventory, &ExplainRequest { namespace, kind, name }, now)?.explanation]
        }
        (None, Some(path)) => {
            let objects = manifest::read_objects(&path)?;
            let mesh = snapshot.decision_args.mesh;
            let subjects = super::target::manifest_subjects(
                &objects,
                &namespace,
                &snapshot.decision_args.new_inventory().owner_kinds,
                mesh,
            )?;
            let mut namespaces: Vec<&str> = subjects.iter().map(ManifestSubject::namespace).collect();
            namespaces.dedup();
            let only = if let [one] = namespaces[..] { Some(one) } else { None };
            let ClusterSnapshot { inventory, now, .. } = snapshot.take(only).await?;
            subjects.iter().map(|subject| explain_manifest(&inventory, subject, now)).collect()
        }
        (None, None) => bail!("name a workload, such as deployment/web, or give a manifest with -f"),
    };
    match &explanations[..] {
        [one] => output.print(one, format_table)?,
        several => output.print(&several, |several| several.iter().map(format_table).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains an object of a manifest.
pub(super) fn explain_manifest(inventory: &Inventory, subject: &ManifestSubject, now: Timestamp) -> Explanation {
    match subject {
        ManifestSubject::Workload(workload) => {
            Explanation::for_workload(inventory, workload, &RunningPods::default(), now)
        }
        ManifestSubject::Pod(pod, controller) => {
            let kind = &RequestKind::PodCreate;
            // A person who applies a manifest is no controller, and so is not trusted to name owners.
            let question = DecisionRequest { kind, pod, controller: controller.as_ref(), requester_is_trusted: false };
            Explanation::from_facts(&inventory.facts_for(question), now)
        }
    }
}

/// Most rows of a table for rules that do not match.
const MAX_UNMATCHED_ROWS: usize = 10;

/// Formats an explanation for people.
fn format_table(explanation: &Explanation) -> String {
    let Explanation { pod: PodName { namespace, name }, workload, decision, effect, patch, running } = explanation;
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<12}{value}");
    };
    match (workload, name) {
        (Some(workload), _) => line("New pods of", format!("{}/{} in {namespace}", workload.kind, workload.name)),
        (None, Some(name)) => line("Pod", format!("{name} in {namespace}, of no workload")),
        (None, None) => line("Pod", format!("in {namespace}, of no workload")),
    }
    line("Decision", format!("{}: {}", decision.action, decision.reason));
    if let Some(until) = decision.until {
        line("Until", until.to_string());
    }
    let webhook = effect.webhook.iter().map(|webhook| webhook.to_owned());
    let webhook: Vec<_> =
        webhook.chain(effect.revision.iter().map(|revision| format!("revision {revision}"))).collect();
    let by = if webhook.is_empty() { String::new() } else { format!(" ({})", webhook.join(", ")) };
    line("Effect", format!("{}: {}{by}", effect.outcome.as_str(), effect.reason));
    if patch.is_empty() {
        line("Written", "nothing".to_owned());
    }
    for (index, operation) in patch.iter().flat_map(describe_operation).enumerate() {
        line(if index == 0 { "Written" } else { "" }, operation);
    }
    if let Some(PodCounts { pods, with_sidecar, differing }) = running {
        let differing = match differing {
            Some(0) => "; new pods would be the same".to_owned(),
            Some(differing) => format!("; {differing} not as a new pod would be"),
            None => String::new(),
        };
        line("Running", format!("{with_sidecar} of {pods} pods with a sidecar{differing}"));
    }
    if !decision.considered.is_empty() {
        line("Considered", String::new());
        let width = decision.considered.iter().map(|one| one.title.chars().count()).max().unwrap_or_default();
        // People need only a few of the rules that do not match.
        let (near, far): (Vec<_>, Vec<_>) = decision.considered.iter().partition(|one| one.outcome != "NoMatch");
        let more = far.len().saturating_sub(MAX_UNMATCHED_ROWS);
        for one in near.into_iter().chain(far.into_iter().take(MAX_UNMATCHED_ROWS)) {
            line("", format!("{:<11}{:<width$}  {}", one.outcome, one.title, one.reason));
        }
        if more > 0 {
            line("", format!("and {more} more that do not match; -o json lists all"));
        }
    }
    text
}

/// Describes the operations of a patch, one line for each key.
pub(super) fn describe_operation(operation: &PatchOperation) -> Vec<String> {
    let place = |tokens: &[String]| match tokens {
        [_, map, key] => format!("{} {key}", map.trim_end_matches('s')),
        tokens => tokens.join("/"),
    };
    let tokens = |path: &json_patch::jsonptr::Pointer| -> Vec<String> {
        path.tokens().map(|token| token.decoded().into_owned()).collect()
    };
    match operation {
        PatchOperation::Add(add) => match (&tokens(&add.path)[..], add.value.as_object()) {
            ([metadata, map], Some(pairs)) => {
                let pairs = pairs.iter();
                let of = |key: &String| place(&[metadata.clone(), map.clone(), key.clone()]);
                pairs.map(|(key, value)| format!("{}={}", of(key), value.as_str().unwrap_or_default())).collect()
            }
            (path, _) => vec![format!("{}={}", place(path), add.value.as_str().unwrap_or_default())],
        },
        PatchOperation::Remove(remove) => vec![format!("{} taken away", place(&tokens(&remove.path)))],
        other => vec![other.to_string()],
    }
}
