//! Cost of a plan of every status: all workloads against all rules, in three mixes. It asserts no time.
//!
//! `cargo bench --bench status`; after `--`, `quick` takes a tenth of the workloads.

use std::time::Instant;

use clap::Parser;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::controllers::status::plan;
use outrigger::kubernetes::intake::files;
use serde_json::{Value, json};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

const NAMESPACES: usize = 500;

/// Spec of a policy by its number.
type Mix = fn(usize) -> Value;

const MIXES: [(&str, usize, Mix); 3] = [
    (
        "1,000 of the cluster, each for one namespace",
        1000,
        |n| json!({"action": "Enable", "match": {"namespaces": {"include": [format!("team-{}", n % NAMESPACES)]}}}),
    ),
    ("1,000 of the cluster, each for everything, half of them rivals", 1000, |n| {
        let action = if n % 2 == 0 { "Enable" } else { "Disable" };
        json!({"action": action, "match": {"podSelector": {"matchLabels": {"app": "web"}}}})
    }),
    ("100 of the cluster, each for everything, in mode Audit", 100, |_| json!({"action": "Disable", "mode": "Audit"})),
];

fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let workloads = if quick { 1000 } else { 10_000 };
    for (what, policies, mix) in MIXES {
        let Flags { decision_args } = Flags::parse_from(["bench"]);
        let inventory = decision_args.new_inventory();
        let problems = files::replace_all(&inventory, &decision_args.rule_limits(), &objects(workloads, policies, mix));
        assert!(problems.is_empty(), "{problems:?}");
        let began = Instant::now();
        let writes = plan(&inventory, "2026-11-22T12:00:00Z".parse().expect("it is a time")).writes.len();
        println!("{policies} policies x {workloads} workloads ({what}): {:?}, {writes} statuses", began.elapsed());
    }
}

fn objects(workloads: usize, policies: usize, mix: Mix) -> Vec<Value> {
    let namespaces = (0..NAMESPACES).map(|n| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("team-{n}"), "labels": {"istio-injection": "enabled"}}})
    });
    let deployments = (0..workloads).map(|n| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("web-{n}"), "namespace": format!("team-{}", n % NAMESPACES), "uid": format!("web-{n}")},
            "spec": {"template": {"metadata": {"labels": {"app": "web", "version": "v1"}}}},
        })
    });
    let policies = (0..policies).map(|n| {
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy",
            "metadata": {"name": format!("policy-{n}")}, "spec": mix(n),
        })
    });
    let injector = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default"}},
        "webhooks": [{
            "name": "namespace.sidecar-injector.istio.io", "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
            "objectSelector": {"matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]},
        }],
    });
    namespaces.chain(deployments).chain(policies).chain([injector]).collect()
}
