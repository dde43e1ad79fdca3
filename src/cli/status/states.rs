//! Mesh membership of the workloads of the cluster, of a namespace, or of one workload.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::cli::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs, format_columns};
use crate::cli::target::TargetRef;
use crate::features::status::report::{StatusRefusal, StatusReport, StatusRequest, StatusScope, report};
use crate::features::status::state::WorkloadState;
use crate::features::status::states::{ActualInjection, NamespaceStatus, StateTotals, WorkloadStatus};
use crate::kernel::object_ref::ObjectRef;

/// Time between two snapshots of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Selection of the workloads that are printed, as the user typed it.
#[derive(Debug)]
pub(super) struct StatusSelection {
    pub(super) namespace: Option<String>,
    pub(super) subject: Option<TargetRef>,
    pub(super) problems: bool,
}

/// Prints the status of the selected workloads. The exit code is 1 where one is in a problematic state.
pub(super) fn print_status(
    snapshot: &ClusterSnapshot,
    selection: &StatusSelection,
    output: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let report = selection.report(snapshot)?;
    output.print(&report, |report| format_table(report, selection))?;
    match report.has_problem() {
        true => Ok(ExitCode::FAILURE),
        false if report.unread.is_empty() => Ok(ExitCode::SUCCESS),
        false => bail!(report.unread.limit("nothing is wrong")),
    }
}

impl StatusSelection {
    fn report(&self, snapshot: &ClusterSnapshot) -> anyhow::Result<StatusReport> {
        let request = StatusRequest { scope: self.scope(snapshot)?, only_problems: self.problems };
        report(&snapshot.inventory, snapshot.now, &request).map_err(|refusal| match refusal {
            StatusRefusal::UnknownNamespace(unknown) => unknown.into(),
            StatusRefusal::UnknownWorkload { known } => {
                let target = self.subject.as_ref().expect("a workload was named");
                anyhow!(target.not_found_message(self.namespace.as_deref().unwrap_or_default(), known.into_iter()))
            }
        })
    }

    fn scope(&self, snapshot: &ClusterSnapshot) -> anyhow::Result<StatusScope> {
        let Self { namespace, subject, problems: _ } = self;
        let Some(namespace) = namespace.clone() else { return Ok(StatusScope::Cluster) };
        let Some(target) = subject else { return Ok(StatusScope::Namespace(namespace)) };
        let kind =
            if target.is_pod() { "Pod".to_owned() } else { target.resolve_kind(&snapshot.inventory.owner_kinds)? };
        Ok(StatusScope::Workload { namespace, kind, name: target.name.clone() })
    }
}

/// Prints again whenever something has changed, until a signal ends the process. No cleanup is needed before that.
pub(super) async fn watch(
    snapshot_args: &SnapshotArgs,
    selection: &StatusSelection,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut last = String::new();
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    loop {
        ticks.tick().await;
        // An outage of the API server does not end the watch.
        let snapshot = match snapshot_args.take(selection.namespace.as_deref()).await {
            Ok(snapshot) => snapshot,
            Err(error) if last.is_empty() => return Err(error),
            Err(error) => {
                eprintln!("outrigger: {error:#}; trying again");
                continue;
            }
        };
        let report = selection.report(&snapshot)?;
        let text = serde_json::to_string(&report)?;
        if text != last {
            if !last.is_empty() {
                crate::cli::write_out(output.separator())?;
            }
            output.print(&report, |report| format_table(report, selection))?;
            last = text;
        }
    }
}

fn format_table(report: &StatusReport, selection: &StatusSelection) -> String {
    let StatusReport { totals, namespaces, unread } = report;
    let StatusSelection { namespace, subject, problems } = selection;
    let mut text = match (namespace, subject) {
        (None, _) if !problems => cluster_table(namespaces),
        (None, _) => namespaces.iter().map(namespace_table).collect::<Vec<_>>().join("\n"),
        (Some(_), None) => namespaces.iter().map(namespace_table).collect(),
        (Some(_), Some(_)) => {
            namespaces.iter().flat_map(|namespace| &namespace.workloads).map(describe_workload).collect()
        }
    };
    if subject.is_none() {
        text.push_str(&format!("\n{}\n", describe_totals(totals)));
    }
    text + &unread.footer()
}

fn describe_totals(totals: &StateTotals) -> String {
    let StateTotals { workloads, by_state: _, pods, with_sidecar } = totals;
    let states = describe_states(totals).map(|states| format!(": {states}")).unwrap_or_default();
    format!("{workloads} workloads{states}; {with_sidecar} of {pods} pods with a sidecar")
}

/// Lists how many workloads are in each state; `None` where there are none.
fn describe_states(totals: &StateTotals) -> Option<String> {
    let count = |state: &WorkloadState| Some(format!("{} {}", totals.by_state.get(state)?, state.as_words()));
    let states: Vec<_> = WorkloadState::ALL.iter().filter_map(count).collect();
    (!states.is_empty()).then(|| states.join(", "))
}

fn cluster_table(namespaces: &[NamespaceStatus]) -> String {
    let row = |one: &NamespaceStatus| {
        let NamespaceStatus { namespace, injection_labels: _, unmarked_pods, totals, workloads: _ } = one;
        let pods = format!("{}/{}", totals.with_sidecar, totals.pods);
        let states = describe_states(totals).unwrap_or_else(|| "-".to_owned());
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
            ObjectRef::new(kind, name).to_string(),
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
