//! Mesh membership of the workloads of the cluster, of a namespace, or of one workload.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::cli::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs, format_columns};
use crate::cli::target::TargetRef;
use crate::features::status::states::{
    ActualInjection, NamespaceStatus, StateTotals, WorkloadState, WorkloadStatus, group_by_namespace, workload_statuses,
};
use crate::kernel::text::nearest_word;

/// Time between two snapshots of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Selection of the workloads that are printed.
#[derive(Debug)]
pub(super) struct StatusScope {
    /// Only this namespace.
    pub(super) namespace: Option<String>,
    /// Only this workload of the namespace.
    pub(super) subject: Option<TargetRef>,
    /// Only workloads in a problematic state.
    pub(super) problems: bool,
}

/// JSON output of the command.
#[derive(Debug, Serialize)]
struct StatusOutput {
    totals: StateTotals,
    namespaces: Vec<NamespaceStatus>,
    /// Parts of the cluster that could not be read; the output is incomplete without them.
    unread: Vec<String>,
    #[serde(skip)]
    covers_cluster: bool,
}

/// Prints the status of the selected workloads. The exit code is 1 where one is in a problematic state.
pub(super) fn print_status(
    snapshot: &ClusterSnapshot,
    scope: &StatusScope,
    output: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let status = build_output(snapshot, scope)?;
    output.print(&status, |status| format_table(status, scope))?;
    status.exit_code()
}

impl StatusOutput {
    fn exit_code(&self) -> anyhow::Result<ExitCode> {
        let Self { namespaces, unread, totals: _, covers_cluster: _ } = self;
        // A state that is unknown because something could not be read is not wrong.
        let is_wrong =
            |one: &WorkloadStatus| is_problem(one.state) && (one.state != WorkloadState::Unknown || unread.is_empty());
        match namespaces.iter().flat_map(|namespace| &namespace.workloads).any(is_wrong) {
            true => Ok(ExitCode::FAILURE),
            false if unread.is_empty() => Ok(ExitCode::SUCCESS),
            false => bail!("nothing is wrong as far as can be told, but not all could be read: {}", unread.join(", ")),
        }
    }
}

/// Prints again whenever something has changed, until a signal ends the process. No cleanup is needed before that.
pub(super) async fn watch(
    snapshot_args: &SnapshotArgs,
    scope: &StatusScope,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut last = String::new();
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    loop {
        ticks.tick().await;
        // An outage of the API server does not end the watch.
        let snapshot = match snapshot_args.take(scope.namespace.as_deref()).await {
            Ok(snapshot) => snapshot,
            Err(error) if last.is_empty() => return Err(error),
            Err(error) => {
                eprintln!("outrigger: {error:#}; trying again");
                continue;
            }
        };
        let status = build_output(&snapshot, scope)?;
        let text = serde_json::to_string(&status)?;
        if text != last {
            if !last.is_empty() {
                crate::cli::write_out(output.separator())?;
            }
            output.print(&status, |status| format_table(status, scope))?;
            last = text;
        }
    }
}

fn build_output(snapshot: &ClusterSnapshot, scope: &StatusScope) -> anyhow::Result<StatusOutput> {
    let StatusScope { namespace, subject, problems } = scope;
    let mut all = workload_statuses(&snapshot.inventory, snapshot.now);
    if let Some(namespace) = namespace {
        check_namespace_exists(snapshot, namespace)?;
        all.retain(|one| one.namespace == *namespace);
    }
    if let Some(target) = subject {
        let kind =
            if target.is_pod() { "Pod".to_owned() } else { target.resolve_kind(&snapshot.inventory.owner_kinds)? };
        let names: Vec<_> = all.iter().map(|one| format!("{}/{}", one.kind.to_lowercase(), one.name)).collect();
        all.retain(|one| one.kind == kind && one.name == target.name);
        if all.is_empty() {
            bail!(target.not_found_message(namespace.as_deref().unwrap_or_default(), names.into_iter()));
        }
    }
    let totals = StateTotals::count(&all);
    if *problems {
        all.retain(|one| is_problem(one.state));
    }
    let mut namespaces = group_by_namespace(&snapshot.inventory, all);
    namespaces.retain(|one| namespace.as_ref().is_none_or(|namespace| one.namespace == *namespace));
    if *problems {
        namespaces.retain(|one| !one.workloads.is_empty());
    }
    Ok(StatusOutput { totals, namespaces, unread: snapshot.unread(), covers_cluster: namespace.is_none() })
}

fn check_namespace_exists(snapshot: &ClusterSnapshot, namespace: &str) -> anyhow::Result<()> {
    let namespaces = &snapshot.inventory.namespaces;
    if namespaces.get(namespace).is_some() || !namespaces.is_synced() {
        return Ok(());
    }
    let all = namespaces.all();
    match nearest_word(namespace, all.iter().map(|one| &*one.namespace().name)) {
        Some(nearest) => bail!("there is no namespace {namespace}; did you mean {nearest}?"),
        None => bail!("there is no namespace {namespace}"),
    }
}

fn is_problem(state: WorkloadState) -> bool {
    match state {
        WorkloadState::OutUnexpected
        | WorkloadState::Unreachable
        | WorkloadState::Mixed
        | WorkloadState::PendingRestart
        | WorkloadState::Unknown => true,
        WorkloadState::InMesh | WorkloadState::OutIntended | WorkloadState::Suspended | WorkloadState::NoPods => false,
    }
}

fn format_table(output: &StatusOutput, scope: &StatusScope) -> String {
    let StatusOutput { totals, namespaces, unread, covers_cluster } = output;
    let mut text = match (covers_cluster, &scope.subject) {
        (true, _) if !scope.problems => cluster_table(namespaces),
        (true, _) => namespaces.iter().map(namespace_table).collect::<Vec<_>>().join("\n"),
        (false, None) => namespaces.iter().map(namespace_table).collect(),
        (false, Some(_)) => {
            namespaces.iter().flat_map(|namespace| &namespace.workloads).map(describe_workload).collect()
        }
    };
    if scope.subject.is_none() {
        text.push_str(&format!("\n{}\n", describe_totals(totals)));
    }
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn describe_totals(totals: &StateTotals) -> String {
    let StateTotals { workloads, by_state, pods, with_sidecar } = totals;
    let states =
        WorkloadState::ALL.iter().filter_map(|state| Some(format!("{} {}", by_state.get(state)?, state.as_words())));
    let states: Vec<_> = states.collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    format!("{workloads} workloads{states}; {with_sidecar} of {pods} pods with a sidecar")
}

fn cluster_table(namespaces: &[NamespaceStatus]) -> String {
    let row = |one: &NamespaceStatus| {
        let NamespaceStatus { namespace, injection_labels: _, unmarked_pods, totals, workloads: _ } = one;
        let states = WorkloadState::ALL
            .iter()
            .filter_map(|state| Some(format!("{} {}", totals.by_state.get(state)?, state.as_words())));
        let states: Vec<_> = states.collect();
        let states = if states.is_empty() { "-".to_owned() } else { states.join(", ") };
        let pods = format!("{}/{}", totals.with_sidecar, totals.pods);
        [namespace.clone(), labels(one), unmarked_pods.outcome.as_str().to_owned(), pods, states]
    };
    let titles = ["NAMESPACE", "INJECTION LABELS", "UNMARKED PODS", "SIDECARS", "WORKLOADS"];
    format_columns(titles, &namespaces.iter().map(row).collect::<Vec<_>>())
}

fn labels(namespace: &NamespaceStatus) -> String {
    let pairs: Vec<_> = namespace.injection_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(",") }
}

fn namespace_table(one: &NamespaceStatus) -> String {
    let NamespaceStatus { namespace, unmarked_pods, workloads, .. } = one;
    let labels = labels(one);
    let effect = format!("{}: {}", unmarked_pods.outcome.as_str(), unmarked_pods.reason);
    let mut text =
        format!("Namespace {namespace}, injection labels {labels}; a pod that says nothing itself is {effect}\n\n");
    if workloads.is_empty() {
        text.push_str("No workload.\n");
        return text;
    }
    let row = |one: &WorkloadStatus| {
        let WorkloadStatus { kind, name, state, why, desired, effect, actual, .. } = one;
        let rule = match desired.rule.kind {
            "None" => "-".to_owned(),
            kind => format!("{kind} {}", desired.rule.name),
        };
        [
            format!("{}/{name}", kind.to_lowercase()),
            state.as_words().to_owned(),
            desired.action.to_owned(),
            rule,
            effect.outcome.as_str().to_owned(),
            actual.as_ref().map_or_else(|| "-".to_owned(), |actual| format!("{}/{}", actual.with_sidecar, actual.pods)),
            why.clone(),
        ]
    };
    let titles = ["WORKLOAD", "STATE", "DESIRED", "BY", "EFFECT", "SIDECARS", "WHY"];
    text.push_str(&format_columns(titles, &workloads.iter().map(row).collect::<Vec<_>>()));
    text
}

/// Number of differing pods that a table names at most.
const MAX_NAMED: usize = 20;

fn describe_workload(one: &WorkloadStatus) -> String {
    let WorkloadStatus { namespace, kind, name, state, why, desired, effect, actual } = one;
    let mut text = format!("{:<10}{kind}/{name} in {namespace}\n", "Workload");
    let mut line = |title: &str, value: &str| text.push_str(&format!("{title:<10}{value}\n"));
    line("State", &format!("{}: {why}", state.as_words()));
    line("Desired", &format!("{}: {}", desired.action, desired.reason));
    if let Some(until) = desired.until {
        line("Until", &until.to_string());
    }
    line("Effect", &format!("{}: {}", effect.outcome.as_str(), effect.reason));
    if let Some(ActualInjection { pods, with_sidecar, differing }) = actual {
        line("Actual", &format!("{with_sidecar} of {pods} pods with a sidecar"));
        for (index, pod) in differing.iter().take(MAX_NAMED).enumerate() {
            line(if index == 0 { "Differing" } else { "" }, &format!("pod/{pod}"));
        }
        if differing.len() > MAX_NAMED {
            line("", &format!("and {} more; -o json names each", differing.len() - MAX_NAMED));
        }
    }
    text
}
