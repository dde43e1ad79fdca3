//! Cost of one decision as policies and namespaces grow: the facts, the decision and its effect, without parsing.
//!
//! `cargo bench --bench decision` prints for each mix of policies the time of a decision, the time with one policy in the same run,
//! and the time of the first decision in a namespace after a change. It asserts no time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::decision::decide;
use outrigger::decision::effect::consequence;
use outrigger::decision::facts::{OwnerReference, PodFacts, RequestKind};
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::{DecisionRequest, Inventory};
use serde_json::{Value, json};

const MANY: usize = 10_000;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

/// Name of a mix of policies, and its policies by number.
type Mix = (&'static str, fn(usize) -> Value);

const MIXES: [Mix; 5] = [
    ("of one namespace each", |number| {
        policy(
            "InjectionPolicy",
            number,
            json!({"name": format!("p{number}"), "namespace": format!("team-{number}")}),
            json!({}),
        )
    }),
    ("of the cluster, naming one namespace each", |number| {
        let matching = json!({"namespaces": {"include": [format!("team-{number}")]}});
        policy("ClusterInjectionPolicy", number, json!({"name": format!("p{number}")}), matching)
    }),
    ("of the cluster, with a prefix each", |number| {
        let matching = json!({"namespaces": {"include": [format!("team-{number}-*")]}});
        policy("ClusterInjectionPolicy", number, json!({"name": format!("p{number}")}), matching)
    }),
    ("of the cluster, by a namespace label each", |number| {
        let matching = json!({"namespaceSelector": {"matchLabels": {"team": format!("t{number}")}}});
        policy("ClusterInjectionPolicy", number, json!({"name": format!("p{number}")}), matching)
    }),
    ("of the cluster, naming one workload each", |number| {
        let matching = json!({"workloads": [{"kind": "Deployment", "name": format!("web-{number}")}]});
        policy("ClusterInjectionPolicy", number, json!({"name": format!("p{number}")}), matching)
    }),
];

fn main() -> anyhow::Result<()> {
    println!("{MANY} namespaces; microseconds, median of {ROUNDS} rounds in turn");
    println!("{:<45} {:>8} {:>8} {:>7} {:>10}", "policies", "with 1", format!("with {MANY}"), "ratio", "the first");
    for (name, policy) in MIXES {
        let (one, many) = (inventory(1, policy)?, inventory(MANY, policy)?);
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (inventory, rounds) in [&one, &many].into_iter().zip(&mut measured) {
                rounds.push(warm(inventory));
            }
        }
        let [with_one, with_many] = measured.map(median);
        println!("{name:<45} {with_one:>8.2} {with_many:>8.2} {:>7.2} {:>10.1}", with_many / with_one, first(&many));
    }
    Ok(())
}

fn policy(kind: &str, number: usize, metadata: Value, matching: Value) -> Value {
    let action = ["Enable", "Disable"][number % 2];
    json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"action": action, "match": matching}})
}

fn inventory(policies: usize, policy: fn(usize) -> Value) -> anyhow::Result<Inventory> {
    let decision_args = Flags::try_parse_from(["bench"])?.decision_args;
    let inventory = decision_args.new_inventory();
    let injectors =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/injectors/default.yaml"))?;
    let mut objects = files::parse_objects(&injectors).map_err(anyhow::Error::msg)?;
    for number in 0..MANY {
        let (name, label) = (format!("team-{number}"), format!("t{number}"));
        objects.push(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": label}}}),
        );
        let metadata = json!({"name": "web-7", "namespace": name, "uid": format!("uid-{number}")});
        objects.push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}}}));
    }
    objects.extend((0..policies).map(policy));
    let problems = files::replace_all(&inventory, &decision_args.rule_limits(), &objects);
    anyhow::ensure!(problems.is_empty(), "{problems:?}");
    Ok(inventory)
}

/// Measures a decision in a namespace with earlier decisions.
fn warm(inventory: &Inventory) -> f64 {
    let pods: Vec<_> = (0..64).map(|number| pod(number * 137)).collect();
    pods.iter().for_each(|(pod, owner)| ask(inventory, pod, owner));
    let (mut decisions, started) = (0_u32, Instant::now());
    while started.elapsed() < ROUND {
        pods.iter().for_each(|(pod, owner)| ask(inventory, pod, owner));
        decisions += 64;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(decisions)
}

/// Measures the first decision in a namespace after a change of policies.
fn first(inventory: &Inventory) -> f64 {
    let pods: Vec<_> = (0..64).map(|number| pod(number * 137 + 1)).collect();
    let took = pods.iter().map(|(pod, owner)| {
        let started = Instant::now();
        ask(inventory, pod, owner);
        started.elapsed().as_secs_f64() * 1e6
    });
    median(took.collect())
}

fn pod(number: usize) -> (PodFacts<'static>, OwnerReference) {
    let number = number % MANY;
    let labels = [("app".to_owned(), "web".to_owned())].into_iter().collect();
    let owner = OwnerReference {
        group: "apps".into(),
        kind: "Deployment".into(),
        name: "web-7".into(),
        uid: format!("uid-{number}").into(),
    };
    (PodFacts { namespace: format!("team-{number}").into(), labels: Some(labels), ..PodFacts::default() }, owner)
}

fn ask(inventory: &Inventory, pod: &PodFacts<'_>, owner: &OwnerReference) {
    let kind = RequestKind::PodCreate;
    let question = DecisionRequest { kind: &kind, pod, controller: Some(owner), requester_is_trusted: true };
    let facts = inventory.facts_for(question);
    let decision = decide(&facts, jiff::Timestamp::UNIX_EPOCH);
    black_box(consequence(&facts, &decision));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
