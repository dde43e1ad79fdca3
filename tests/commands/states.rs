//! `outrigger status`: mesh membership of workloads, and whether it is intended.

use serde_json::{Value, json};

use super::StateDirectory;

/// Workload with its pods, each as creation time and revision of the sidecar.
struct WorkloadFixture {
    kind: &'static str,
    name: &'static str,
    namespace: &'static str,
    annotations: Value,
    pods: &'static [(&'static str, Option<&'static str>)],
}

const BEFORE: &str = "2026-11-20T10:00:00Z";
const AFTER: &str = "2026-11-21T10:00:00Z";
const DEFAULT: Option<&str> = Some("default");

impl WorkloadFixture {
    fn objects(&self) -> Vec<Value> {
        let Self { kind, name, namespace, annotations, pods } = self;
        let group = if ["Job", "CronJob"].contains(kind) { "batch" } else { "apps" };
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main"}]}});
        let spec = match *kind {
            "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"selector": {"matchLabels": {"app": name}}, "template": template}),
        };
        let mut objects = vec![json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "annotations": annotations},
        })];
        for (index, (created, sidecar)) in pods.iter().enumerate() {
            let mut containers = vec![json!({"name": "main"})];
            containers.extend(sidecar.map(|_| json!({"name": "istio-proxy"})));
            objects.push(json!({
                "apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}, "status": {"phase": "Running"},
                "metadata": {
                    "name": format!("{name}-{index}"), "namespace": namespace, "uid": format!("pod-{name}-{index}"),
                    "creationTimestamp": created, "labels": {"app": name},
                    "annotations": sidecar.map(|revision| json!({"istio.io/rev": revision})),
                    "ownerReferences": [{
                        "apiVersion": format!("{group}/v1"), "kind": kind, "name": name, "uid": format!("uid-{name}"),
                        "controller": true,
                    }],
                },
            }));
        }
        objects
    }
}

fn workload(
    kind: &'static str,
    name: &'static str,
    pods: &'static [(&'static str, Option<&'static str>)],
) -> WorkloadFixture {
    WorkloadFixture { kind, name, namespace: "shop", annotations: json!({}), pods }
}

/// Returns a policy written between the two times, which enables, and a workload for each state.
pub(crate) fn state() -> StateDirectory {
    let no = json!({"outrigger.dev/inject": "false", "outrigger.dev/reason": "legacy"});
    let workloads = [
        workload("StatefulSet", "meshed", &[(AFTER, DEFAULT), (BEFORE, DEFAULT)]),
        workload("StatefulSet", "missed", &[(AFTER, None), (BEFORE, DEFAULT)]),
        workload("StatefulSet", "older", &[(BEFORE, None), (BEFORE, None)]),
        workload("StatefulSet", "mixed", &[(BEFORE, None), (BEFORE, DEFAULT)]),
        workload("StatefulSet", "moved", &[(BEFORE, Some("canary")), (AFTER, DEFAULT)]),
        workload("CronJob", "nightly", &[]),
        WorkloadFixture { annotations: no.clone(), ..workload("DaemonSet", "out", &[(AFTER, None)]) },
        WorkloadFixture { annotations: no, ..workload("Job", "stays", &[(AFTER, DEFAULT)]) },
        WorkloadFixture { namespace: "closed", ..workload("StatefulSet", "shut", &[(AFTER, None)]) },
        WorkloadFixture { namespace: "paused", ..workload("StatefulSet", "asleep", &[(AFTER, DEFAULT)]) },
    ];
    let mut objects: Vec<Value> = [("shop", "enabled"), ("closed", "disabled"), ("paused", "enabled"), ("bare", "")]
        .map(|(name, label)| {
            let labels = if label.is_empty() { json!({}) } else { json!({"istio-injection": label}) };
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        })
        .to_vec();
    objects.push(json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy", "spec": {"action": "Enable"},
        "metadata": {"name": "mesh", "creationTimestamp": "2026-11-20T12:00:00Z"},
    }));
    objects.push(json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy",
        "metadata": {"name": "pause", "namespace": "paused"},
        "spec": {"suspend": "Injection", "reason": "loop", "startsAt": "2026-11-22T11:00:00Z", "for": "2h"},
    }));
    objects.extend(workloads.iter().flat_map(WorkloadFixture::objects));
    StateDirectory::of(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
}

#[test]
fn every_workload_is_in_the_state_that_its_pods_and_its_rule_make() {
    let told = state().run(&["status", "-o", "json"], "");
    assert_eq!(told.code, 1, "something is not as it should be: {}", told.err);
    let json = told.json();
    let found: Vec<Value> = json["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|namespace| namespace["workloads"].as_array().unwrap())
        .map(|one| json!([one["kind"], one["name"], one["state"], one["actual"]["withSidecar"], one["actual"]["pods"]]))
        .collect();
    assert_eq!(
        found,
        [
            json!(["StatefulSet", "shut", "Unreachable", 0, 1]),
            json!(["StatefulSet", "asleep", "Suspended", 1, 1]),
            json!(["StatefulSet", "missed", "OutUnexpected", 1, 2]),
            json!(["StatefulSet", "mixed", "Mixed", 1, 2]),
            json!(["StatefulSet", "moved", "Mixed", 2, 2]),
            json!(["Job", "stays", "PendingRestart", 1, 1]),
            json!(["StatefulSet", "older", "PendingRestart", 0, 2]),
            json!(["StatefulSet", "meshed", "InMesh", 2, 2]),
            json!(["DaemonSet", "out", "OutIntended", 0, 1]),
            json!(["CronJob", "nightly", "NoPods", 0, 0]),
        ]
    );
    assert_eq!(json["totals"]["workloads"], 10);
    assert_eq!(json["totals"]["byState"]["PendingRestart"], 2);
    let shop = json["namespaces"].as_array().unwrap().iter().find(|one| one["namespace"] == "shop").unwrap();
    assert_eq!(shop["injectionLabels"], json!({"istio-injection": "enabled"}));
    assert_eq!(shop["unmarkedPods"]["outcome"], "Injected");
    let missed = &shop["workloads"][0];
    assert_eq!(missed["actual"]["differing"], json!(["missed-0"]));
    assert_eq!(missed["desired"]["rule"], json!({"kind": "Policy", "name": "mesh"}));
}

#[test]
fn people_see_the_cluster_a_namespace_or_one_workload() {
    let state = state();
    let cluster = state.run(&["status"], "").out;
    assert!(cluster.contains("NAMESPACE  INJECTION LABELS"), "{cluster}");
    assert!(cluster.contains("bare       -                         NotInjected    0/0       -"), "{cluster}");
    assert!(
        cluster.contains("10 workloads: 1 out (unexpected), 1 unreachable, 2 mixed, 2 pending restart"),
        "{cluster}"
    );
    let namespace = state.run(&["status", "-n", "shop"], "").out;
    let row = namespace.lines().find(|line| line.starts_with("statefulset/missed")).unwrap();
    assert!(row.contains("out (unexpected)") && row.contains("Policy mesh") && row.contains("1/2"), "{row}");
    let one = state.run(&["status", "sts/missed", "-n", "shop"], "");
    assert_eq!(one.code, 1);
    assert!(one.out.contains("Differing pod/missed-0\n"), "{}", one.out);
    let fine = state.run(&["status", "sts/meshed", "-n", "shop"], "");
    assert_eq!((fine.code, fine.err.as_str()), (0, ""));
    let problems = state.run(&["status", "--problems"], "").out;
    assert!(problems.contains("statefulset/older") && !problems.contains("statefulset/meshed"), "{problems}");
}

#[test]
fn a_name_that_is_not_there_is_refused_with_the_nearest() {
    let state = state();
    let workload = state.run(&["status", "statefulset/mised", "-n", "shop"], "");
    assert_eq!(workload.refusal(), "there is no statefulset/mised in namespace shop; did you mean statefulset/missed?");
    let namespace = state.run(&["status", "-n", "shp"], "");
    assert_eq!(namespace.refusal(), "there is no namespace shp; did you mean shop?");
    let kind = state.run(&["status", "deploiment/web", "-n", "shop"], "");
    assert!(kind.refusal().contains("did you mean deployment?"), "{}", kind.err);
}

#[test]
fn pods_that_differ_are_listed_by_name() {
    const OLD: &[(&str, Option<&str>)] = &[(BEFORE, None); 9];
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}},
    });
    let mut objects = vec![namespace];
    objects.extend(workload("StatefulSet", "web", OLD).objects());
    let state = StateDirectory::of(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    let told = state.run(&["status", "-o", "json"], "").json();
    let names: Vec<String> = (0..9).map(|index| format!("web-{index}")).collect();
    assert_eq!(told["namespaces"][0]["workloads"][0]["actual"]["differing"], json!(names));
}
