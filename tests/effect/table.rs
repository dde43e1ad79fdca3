//! Table of namespaces, pods and the policies that apply to them.

use outrigger::kernel::names;
use serde_json::{Map, Value, json};

use crate::webhook::INJECT;

type Pairs = &'static [(&'static str, &'static str)];

const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
/// Label of a pod that names its policy.
const POLICY: &str = "policy";

/// Namespaces and their labels.
pub(super) const NAMESPACES: [(&str, Pairs); 13] = [
    ("silent", &[]),
    ("enabled", &[(INJECTION, "enabled")]),
    ("disabled", &[(INJECTION, "disabled")]),
    ("other", &[(INJECTION, "other")]),
    ("empty", &[(INJECTION, "")]),
    ("rev-default", &[(REVISION, "default")]),
    ("rev-canary", &[(REVISION, "canary")]),
    ("rev-prod", &[(REVISION, "prod")]),
    ("rev-absent", &[(REVISION, "absent")]),
    ("enabled-rev-canary", &[(INJECTION, "enabled"), (REVISION, "canary")]),
    ("enabled-rev-absent", &[(INJECTION, "enabled"), (REVISION, "absent")]),
    ("disabled-rev-canary", &[(INJECTION, "disabled"), (REVISION, "canary")]),
    ("disabled-rev-default", &[(INJECTION, "disabled"), (REVISION, "default")]),
];

/// Labels and annotations of a pod.
pub(super) struct PodCase {
    pub(super) name: &'static str,
    labels: Pairs,
    annotations: Pairs,
    host_network: bool,
}

const fn pod(name: &'static str, labels: Pairs, annotations: Pairs) -> PodCase {
    PodCase { name, labels, annotations, host_network: false }
}

const fn on_host_network(name: &'static str, labels: Pairs) -> PodCase {
    PodCase { name, labels, annotations: &[], host_network: true }
}

/// Pods that are created under every policy.
const USUAL_PODS: [PodCase; 9] = [
    pod("silent", &[], &[]),
    pod("true", &[(INJECT, "true")], &[]),
    pod("false", &[(INJECT, "false")], &[]),
    pod("rev default", &[(REVISION, "default")], &[]),
    pod("rev canary", &[(REVISION, "canary")], &[]),
    pod("rev absent", &[(REVISION, "absent")], &[]),
    pod("true, rev canary", &[(INJECT, "true"), (REVISION, "canary")], &[]),
    pod("false, rev canary", &[(INJECT, "false"), (REVISION, "canary")], &[]),
    pod("annotation false", &[], &[(INJECT, "false")]),
];

/// Pods that are created under the usual policies only.
const RARE_PODS: [PodCase; 13] = [
    pod("True", &[(INJECT, "True")], &[]),
    pod("empty", &[(INJECT, "")], &[]),
    pod("rev prod", &[(REVISION, "prod")], &[]),
    pod("true, rev default", &[(INJECT, "true"), (REVISION, "default")], &[]),
    pod("true, rev absent", &[(INJECT, "true"), (REVISION, "absent")], &[]),
    pod("True, rev canary", &[(INJECT, "True"), (REVISION, "canary")], &[]),
    pod("annotation true", &[], &[(INJECT, "true")]),
    pod("true, annotation false", &[(INJECT, "true")], &[(INJECT, "false")]),
    pod("rev canary, annotation false", &[(REVISION, "canary")], &[(INJECT, "false")]),
    pod("override true", &[], &[(names::INJECT, "true")]),
    pod("override false", &[], &[(names::INJECT, "false")]),
    on_host_network("host network", &[]),
    on_host_network("host network, true", &[(INJECT, "true")]),
];

const USUAL_POLICIES: [&str; 5] = ["none", "enable", "enable-canary", "disable", "remove"];
const RARE_POLICIES: [&str; 4] = ["enable-prod", "enable-absent", "always-enable", "always-enable-canary"];

fn spec(policy: &str) -> Option<Value> {
    let (always, action) = policy.strip_prefix("always-").map_or((false, policy), |action| (true, action));
    let mut spec = match action {
        "none" => return None,
        "disable" => json!({"action": "Disable"}),
        "remove" => json!({"action": "Remove"}),
        enable => match enable.strip_prefix("enable-") {
            Some(revision) => json!({"action": "Enable", "revision": revision}),
            None => json!({"action": "Enable"}),
        },
    };
    spec["overrides"] = json!(if always { "Deny" } else { "Allow" });
    spec["match"] = json!({"podSelector": {"matchLabels": {POLICY: policy}}});
    Some(spec)
}

/// Row of the table.
#[derive(Clone, Copy)]
pub(super) struct TableRow {
    pub(super) namespace: &'static str,
    pub(super) pod: &'static PodCase,
    pub(super) policy: &'static str,
}

pub(super) fn rows() -> Vec<TableRow> {
    let mut rows = Vec::new();
    for (namespace, _) in NAMESPACES {
        let mut add = |pods: &'static [PodCase], policies: &[&'static str]| {
            for pod in pods {
                rows.extend(policies.iter().map(|&policy| TableRow { namespace, pod, policy }));
            }
        };
        add(&USUAL_PODS, &USUAL_POLICIES);
        add(&USUAL_PODS, &RARE_POLICIES);
        add(&RARE_PODS, &USUAL_POLICIES);
    }
    rows
}

/// Returns the policies, the namespaces and one more, and the service accounts of the pods.
pub(super) fn objects(one_more: &'static str) -> String {
    let mut objects = Vec::new();
    for (name, labels) in NAMESPACES.into_iter().chain([(one_more, &[][..])]) {
        let metadata = json!({"name": name, "labels": map(labels)});
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
        // There is no controller manager that would create the account.
        let metadata = json!({"name": "default", "namespace": name});
        objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
    }
    for name in USUAL_POLICIES.into_iter().chain(RARE_POLICIES) {
        let Some(spec) = spec(name) else { continue };
        let (api_version, kind) = ("outrigger.dev/v1alpha1", "ClusterInjectionPolicy");
        objects.push(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}));
    }
    objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

impl TableRow {
    /// Builds the pod under this name.
    pub(super) fn pod(&self, name: &str) -> Value {
        let PodCase { name: _, labels, annotations, host_network } = self.pod;
        let mut labels = map(labels);
        labels.insert(POLICY.to_owned(), json!(self.policy));
        json!({
            "metadata": {"name": name, "labels": labels, "annotations": map(annotations)},
            "spec": {"hostNetwork": host_network, "containers": [{"name": "main", "image": "example.test/main:1"}]},
        })
    }
}

fn map(pairs: Pairs) -> Map<String, Value> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), json!(value))).collect()
}
