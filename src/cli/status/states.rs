//! Who is in the mesh: of the cluster, of a namespace, of one workload.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::cli::looking::{Looked, LookingArgs, Output, columns};
use crate::cli::subject::Target;
use crate::features::status::states::{Actual, OfNamespace, Standing, State, Totals, by_namespace, standings};
use crate::kernel::text::nearest;

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(2);

/// Of whom to tell.
#[derive(Debug)]
pub(super) struct Scope {
    /// Of one namespace.
    pub(super) namespace: Option<String>,
    /// Of one workload in it.
    pub(super) subject: Option<Target>,
    /// Only of what is not as it should be.
    pub(super) problems: bool,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Told {
    totals: Totals,
    namespaces: Vec<OfNamespace>,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
    #[serde(skip)]
    is_of_cluster: bool,
}

/// Tells; the answer is no where something is not as it should be.
pub(super) fn tell(looked: &Looked, scope: &Scope, output: Output) -> anyhow::Result<ExitCode> {
    let told = told(looked, scope)?;
    output.print(&told, |told| table(told, scope))?;
    told.exit_code()
}

impl Told {
    fn exit_code(&self) -> anyhow::Result<ExitCode> {
        let Self { namespaces, unread, totals: _, is_of_cluster: _ } = self;
        // What is unknown for want of something else is not wrong.
        let is_wrong = |one: &Standing| is_problem(one.state) && (one.state != State::Unknown || unread.is_empty());
        match namespaces.iter().flat_map(|namespace| &namespace.workloads).any(is_wrong) {
            true => Ok(ExitCode::FAILURE),
            false if unread.is_empty() => Ok(ExitCode::SUCCESS),
            false => bail!("nothing is wrong as far as can be told, but not all could be read: {}", unread.join(", ")),
        }
    }
}

/// Tells again whenever something has changed, until a signal ends the process: there is nothing to put in order before.
pub(super) async fn watch(looking: &LookingArgs, scope: &Scope, output: Output) -> anyhow::Result<()> {
    let mut last = String::new();
    let mut ticks = tokio::time::interval(AGAIN);
    loop {
        ticks.tick().await;
        // A cluster that does not answer for a while is no reason to stop watching it.
        let looked = match looking.look(scope.namespace.as_deref()).await {
            Ok(looked) => looked,
            Err(error) if last.is_empty() => return Err(error),
            Err(error) => {
                eprintln!("outrigger: {error:#}; trying again");
                continue;
            }
        };
        let told = told(&looked, scope)?;
        let text = serde_json::to_string(&told)?;
        if text != last {
            if !last.is_empty() {
                crate::cli::write_out(output.between())?;
            }
            output.print(&told, |told| table(told, scope))?;
            last = text;
        }
    }
}

fn told(looked: &Looked, scope: &Scope) -> anyhow::Result<Told> {
    let Scope { namespace, subject, problems } = scope;
    let mut all = standings(&looked.inventory, looked.now);
    if let Some(namespace) = namespace {
        known_namespace(looked, namespace)?;
        all.retain(|one| one.namespace == *namespace);
    }
    if let Some(target) = subject {
        let kind = if target.is_pod() { "Pod".to_owned() } else { target.kind(&looked.inventory.owner_kinds)? };
        let names: Vec<_> = all.iter().map(|one| format!("{}/{}", one.kind.to_lowercase(), one.name)).collect();
        all.retain(|one| one.kind == kind && one.name == target.name);
        if all.is_empty() {
            bail!(target.not_found(namespace.as_deref().unwrap_or_default(), names.into_iter()));
        }
    }
    let totals = Totals::of(&all);
    if *problems {
        all.retain(|one| is_problem(one.state));
    }
    let mut namespaces = by_namespace(&looked.inventory, all);
    namespaces.retain(|one| namespace.as_ref().is_none_or(|namespace| one.namespace == *namespace));
    if *problems {
        namespaces.retain(|one| !one.workloads.is_empty());
    }
    Ok(Told { totals, namespaces, unread: looked.unread(), is_of_cluster: namespace.is_none() })
}

fn known_namespace(looked: &Looked, namespace: &str) -> anyhow::Result<()> {
    let namespaces = &looked.inventory.namespaces;
    if namespaces.get(namespace).is_some() || !namespaces.is_synced() {
        return Ok(());
    }
    let all = namespaces.all();
    match nearest(namespace, all.iter().map(|one| &*one.namespace().name)) {
        Some(nearest) => bail!("there is no namespace {namespace}; did you mean {nearest}?"),
        None => bail!("there is no namespace {namespace}"),
    }
}

fn is_problem(state: State) -> bool {
    match state {
        State::OutUnexpected | State::Unreachable | State::Mixed | State::PendingRestart | State::Unknown => true,
        State::InMesh | State::OutIntended | State::Suspended | State::NoPods => false,
    }
}

fn table(told: &Told, scope: &Scope) -> String {
    let Told { totals, namespaces, unread, is_of_cluster } = told;
    let mut text = match (is_of_cluster, &scope.subject) {
        (true, _) if !scope.problems => of_cluster(namespaces),
        (true, _) => namespaces.iter().map(of_namespace).collect::<Vec<_>>().join("\n"),
        (false, None) => namespaces.iter().map(of_namespace).collect(),
        (false, Some(_)) => namespaces.iter().flat_map(|namespace| &namespace.workloads).map(of_workload).collect(),
    };
    if scope.subject.is_none() {
        text.push_str(&format!("\n{}\n", in_total(totals)));
    }
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn in_total(totals: &Totals) -> String {
    let Totals { workloads, by_state, pods, with_sidecar } = totals;
    let states = State::ALL.iter().filter_map(|state| Some(format!("{} {}", by_state.get(state)?, state.words())));
    let states: Vec<_> = states.collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    format!("{workloads} workloads{states}; {with_sidecar} of {pods} pods with a sidecar")
}

fn of_cluster(namespaces: &[OfNamespace]) -> String {
    let row = |one: &OfNamespace| {
        let OfNamespace { namespace, injection_labels: _, unmarked_pods, totals, workloads: _ } = one;
        let states =
            State::ALL.iter().filter_map(|state| Some(format!("{} {}", totals.by_state.get(state)?, state.words())));
        let states: Vec<_> = states.collect();
        let states = if states.is_empty() { "-".to_owned() } else { states.join(", ") };
        let pods = format!("{}/{}", totals.with_sidecar, totals.pods);
        [namespace.clone(), labels(one), unmarked_pods.outcome.as_str().to_owned(), pods, states]
    };
    let titles = ["NAMESPACE", "INJECTION LABELS", "UNMARKED PODS", "SIDECARS", "WORKLOADS"];
    columns(titles, &namespaces.iter().map(row).collect::<Vec<_>>())
}

fn labels(namespace: &OfNamespace) -> String {
    let pairs: Vec<_> = namespace.injection_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(",") }
}

fn of_namespace(one: &OfNamespace) -> String {
    let OfNamespace { namespace, unmarked_pods, workloads, .. } = one;
    let labels = labels(one);
    let effect = format!("{}: {}", unmarked_pods.outcome.as_str(), unmarked_pods.reason);
    let mut text =
        format!("Namespace {namespace}, injection labels {labels}; a pod that says nothing itself is {effect}\n\n");
    if workloads.is_empty() {
        text.push_str("No workload.\n");
        return text;
    }
    let row = |one: &Standing| {
        let Standing { kind, name, state, why, desired, effect, actual, .. } = one;
        let rule = match desired.rule.kind {
            "None" => "-".to_owned(),
            kind => format!("{kind} {}", desired.rule.name),
        };
        [
            format!("{}/{name}", kind.to_lowercase()),
            state.words().to_owned(),
            desired.action.to_owned(),
            rule,
            effect.outcome.as_str().to_owned(),
            actual.as_ref().map_or_else(|| "-".to_owned(), |actual| format!("{}/{}", actual.with_sidecar, actual.pods)),
            why.clone(),
        ]
    };
    let titles = ["WORKLOAD", "STATE", "DESIRED", "BY", "EFFECT", "SIDECARS", "WHY"];
    text.push_str(&columns(titles, &workloads.iter().map(row).collect::<Vec<_>>()));
    text
}

/// How many differing pods are named in a table.
const MOST_NAMED: usize = 20;

fn of_workload(one: &Standing) -> String {
    let Standing { namespace, kind, name, state, why, desired, effect, actual } = one;
    let mut text = format!("{:<10}{kind}/{name} in {namespace}\n", "Workload");
    let mut line = |what: &str, value: &str| text.push_str(&format!("{what:<10}{value}\n"));
    line("State", &format!("{}: {why}", state.words()));
    line("Desired", &format!("{}: {}", desired.action, desired.reason));
    if let Some(until) = desired.until {
        line("Until", &until.to_string());
    }
    line("Effect", &format!("{}: {}", effect.outcome.as_str(), effect.reason));
    if let Some(Actual { pods, with_sidecar, differing }) = actual {
        line("Actual", &format!("{with_sidecar} of {pods} pods with a sidecar"));
        for (index, pod) in differing.iter().take(MOST_NAMED).enumerate() {
            line(if index == 0 { "Differing" } else { "" }, &format!("pod/{pod}"));
        }
        if differing.len() > MOST_NAMED {
            line("", &format!("and {} more; -o json names each", differing.len() - MOST_NAMED));
        }
    }
    text
}
