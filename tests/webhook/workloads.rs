//! Pods of every kind of workload, under rules at every level: each gets the right label and receipt, and istiod obeys.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::installed::Outrigger;
use super::{INJECT, RECEIPT, annotation, await_label, await_label_of, bare_pod, create, is_injected, label, policy};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

/// Time for a CronJob to run, which it does at the full minute.
const A_MINUTE: Duration = Duration::from_secs(90);

const KINDS: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"];

/// Rules, workloads under them, and the expected outcome for their pods.
#[derive(Default)]
struct Scenario {
    name: &'static str,
    /// Labels of the namespace.
    labels: &'static [(&'static str, &'static str)],
    /// Objects to apply first, for the namespace of this name.
    rules: Option<fn(&str) -> String>,
    /// Label that a bare pod of the template gets once the rules have arrived.
    arrived: Option<&'static str>,
    /// Annotations of the workloads' own metadata.
    annotations: Value,
    /// Labels and annotations of their pod template.
    template: Value,
    action: &'static str,
    label: Option<&'static str>,
    /// With `{namespace}` and `{workload}` filled in.
    receipt: Option<&'static str>,
    injected: bool,
}

fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario { name: "without a rule nothing is touched", action: "Leave", ..Scenario::default() },
        Scenario {
            name: "without a rule an injected namespace stays injected",
            labels: &[("istio-injection", "enabled")],
            action: "Leave",
            injected: true,
            ..Scenario::default()
        },
        Scenario {
            name: "an enabling policy brings sidecars into a silent namespace",
            rules: Some(|namespace| policy(namespace, "Enable")),
            arrived: Some("true"),
            action: "Enable",
            label: Some("true"),
            receipt: Some("Enable by InjectionPolicy all"),
            injected: true,
            ..Scenario::default()
        },
        Scenario {
            name: "a disabling policy keeps sidecars out of an injected namespace",
            labels: &[("istio-injection", "enabled")],
            rules: Some(|namespace| policy(namespace, "Disable")),
            arrived: Some("false"),
            action: "Disable",
            label: Some("false"),
            receipt: Some("Disable by InjectionPolicy all"),
            ..Scenario::default()
        },
        Scenario {
            name: "a removing cluster policy strips the template's label and leaves it to the namespace",
            rules: Some(|namespace| {
                let spec = json!({"action": "Remove", "match": {"namespaces": {"include": [namespace]}}});
                cluster("ClusterInjectionPolicy", namespace, spec)
            }),
            template: json!({"labels": {INJECT: "true"}}),
            action: "Remove",
            ..Scenario::default()
        },
        Scenario {
            name: "a cluster policy that allows no exception wins over template and workload",
            rules: Some(|namespace| {
                let matching = json!({"namespaces": {"include": [namespace]}});
                let spec = json!({"action": "Enable", "overrides": "Deny", "match": matching});
                cluster("ClusterInjectionPolicy", namespace, spec)
            }),
            arrived: Some("true"),
            annotations: json!({"outrigger.dev/inject": "false"}),
            template: json!({"labels": {INJECT: "false"}, "annotations": {"outrigger.dev/inject": "false"}}),
            action: "Enable",
            label: Some("true"),
            receipt: Some("Enable by ClusterInjectionPolicy {namespace}"),
            injected: true,
            ..Scenario::default()
        },
        Scenario {
            name: "a suspension of the namespace stops sidecars",
            labels: &[("istio-injection", "enabled")],
            rules: Some(|namespace| {
                let suspension = json!({
                    "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy",
                    "metadata": {"name": "stop", "namespace": namespace},
                    "spec": {"suspend": "Injection", "reason": "the test says so", "for": "1h"},
                });
                format!("{}\n---\n{suspension}", policy(namespace, "Enable"))
            }),
            arrived: Some("false"),
            action: "Disable",
            label: Some("false"),
            receipt: Some("Disable by SuspensionPolicy stop"),
            ..Scenario::default()
        },
        Scenario {
            name: "a suspension of the cluster stops sidecars",
            labels: &[("istio-injection", "enabled")],
            rules: Some(|namespace| {
                let namespaces = json!({"include": [namespace]});
                let spec = json!({"suspend": "Injection", "reason": "r", "for": "1h", "namespaces": namespaces});
                cluster("ClusterSuspensionPolicy", namespace, spec)
            }),
            arrived: Some("false"),
            action: "Disable",
            label: Some("false"),
            receipt: Some("Disable by ClusterSuspensionPolicy {namespace}"),
            ..Scenario::default()
        },
        Scenario {
            name: "an override in the template counts",
            rules: Some(|namespace| policy(namespace, "Enable")),
            arrived: Some("false"),
            template: json!({"annotations": {"outrigger.dev/inject": "false"}}),
            action: "Disable",
            label: Some("false"),
            receipt: Some("Disable by override on the pod"),
            ..Scenario::default()
        },
        Scenario {
            name: "an override on the workload counts",
            rules: Some(|namespace| policy(namespace, "Enable")),
            arrived: Some("true"),
            annotations: json!({"outrigger.dev/inject": "false", "outrigger.dev/reason": "the test says so"}),
            action: "Disable",
            label: Some("false"),
            receipt: Some("Disable by override on {workload}"),
            ..Scenario::default()
        },
        Scenario {
            name: "an override on the namespace counts",
            rules: Some(|namespace| {
                let annotations = json!({"outrigger.dev/inject": "true"});
                let metadata = json!({"name": namespace, "annotations": annotations});
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string()
            }),
            arrived: Some("true"),
            action: "Enable",
            label: Some("true"),
            receipt: Some("Enable by override on namespace {namespace}"),
            injected: true,
            ..Scenario::default()
        },
    ]
}

/// All at once, since each has a CronJob, which waits for the full minute.
#[tokio::test]
async fn pods_of_every_kind_of_workload_get_what_the_rules_say_and_istiod_obeys() {
    let (plane, outrigger) = Outrigger::shared().await;
    let scenarios = scenarios();
    let run = |scenario| {
        with_temp_namespace(plane, scenario_labels(scenario), async |namespace| {
            play_scenario(plane, outrigger, namespace, scenario).await
        })
    };
    let failures = futures::future::join_all(scenarios.iter().map(run)).await.concat();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn scenario_labels(scenario: &Scenario) -> &'static [(&'static str, &'static str)] {
    scenario.labels
}

/// Creates one workload of each kind under the rules, and compares what became of its pod.
async fn play_scenario(
    plane: &ControlPlane,
    outrigger: &Outrigger,
    namespace: &str,
    scenario: &Scenario,
) -> Vec<String> {
    let Scenario { annotations, template, .. } = scenario;
    if let Some(rules) = scenario.rules {
        plane.apply(&rules(namespace)).await;
        await_label_of(plane, namespace, workload("Pod", namespace, &json!({}), template), scenario.arrived).await;
    }
    let workloads = KINDS.map(|kind| workload(kind, namespace, annotations, template).to_string());
    plane.apply(&workloads.join("\n---\n")).await;
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let mut failures = Vec::new();
    for kind in KINDS {
        let pod = await_condition(&format!("a pod of the {kind}"), A_MINUTE, async || {
            let found = pods.list(&ListParams::default().labels(&format!("kind={kind}"))).await?;
            found.items.into_iter().next().context("there is none")
        })
        .await;
        failures.extend(compare_pod(kind, namespace, &pod, outrigger, scenario).await);
    }
    failures
}

async fn compare_pod(
    kind: &str,
    namespace: &str,
    pod: &Pod,
    outrigger: &Outrigger,
    scenario: &Scenario,
) -> Vec<String> {
    let name = format!("web-{}", kind.to_lowercase());
    let owner = if kind == "Pod" { "the pod".to_owned() } else { format!("{kind} {name}") };
    let fill = |text: &str| text.replace("{namespace}", namespace).replace("{workload}", &owner);
    let entry = await_condition("the audit entry", super::TIMEOUT, async || {
        let entries = outrigger.entries(namespace);
        let of_kind = |entry: &&Value| match kind {
            "Pod" => entry["pod"] == "web-pod" && entry["dryRun"] == false,
            kind => entry["workload"]["kind"] == kind,
        };
        entries.iter().find(of_kind).cloned().with_context(|| format!("{} entries", entries.len()))
    })
    .await;
    let workload = if kind == "Pod" { Value::Null } else { json!({"kind": kind, "name": name}) };
    let found = json!({
        "action": entry["action"], "workload": entry["workload"],
        "label": label(pod, INJECT), "receipt": annotation(pod, RECEIPT), "injected": is_injected(pod),
    });
    let expected = json!({
        "action": scenario.action, "workload": workload,
        "label": scenario.label, "receipt": scenario.receipt.map(fill), "injected": scenario.injected,
    });
    let differs = found != expected;
    differs.then(|| format!("{}: {kind}: expected {expected}, found {found}", scenario.name)).into_iter().collect()
}

fn cluster(kind: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
}

fn workload(kind: &str, namespace: &str, annotations: &Value, template: &Value) -> Value {
    let name = format!("web-{}", kind.to_lowercase());
    let mut labels = template["labels"].as_object().cloned().unwrap_or_default();
    labels.insert("kind".to_owned(), json!(kind));
    let mut metadata = json!({"labels": labels, "annotations": template["annotations"]});
    let restart = if ["Job", "CronJob"].contains(&kind) { "Never" } else { "Always" };
    let spec = json!({"containers": [{"name": "main", "image": "example.test/main:1"}], "restartPolicy": restart});
    if kind == "Pod" {
        // On a bare pod the workload's own metadata is the pod's.
        let mut own = annotations.as_object().cloned().unwrap_or_default();
        own.extend(template["annotations"].as_object().cloned().unwrap_or_default());
        metadata["annotations"] = json!(own);
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(namespace);
        return json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    }
    let template = json!({"metadata": metadata, "spec": spec});
    let selector = json!({"matchLabels": {"kind": kind}});
    let (api_version, spec) = match kind {
        "Job" => ("batch/v1", json!({"template": template})),
        "CronJob" => ("batch/v1", json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}})),
        "StatefulSet" => ("apps/v1", json!({"serviceName": "web", "selector": selector, "template": template})),
        _ => ("apps/v1", json!({"selector": selector, "template": template})),
    };
    let metadata = json!({"name": name, "namespace": namespace, "annotations": annotations});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

#[tokio::test]
async fn the_api_servers_own_audit_log_tells_the_decision() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        create(plane.client(), namespace, bare_pod("seen"), false).await;
        let annotations = await_condition("the creation in the API server's audit log", super::TIMEOUT, async || {
            let events = plane.audit_log_of(namespace);
            let created = events.iter().find(|event| {
                event["verb"] == "create"
                    && event["objectRef"]["resource"] == "pods"
                    && event["objectRef"]["name"] == "seen"
                    && event["stage"] == "ResponseComplete"
            });
            Ok(created.context("no such event")?["annotations"].clone())
        })
        .await;
        assert_eq!(annotations["pods.outrigger.dev/action"], "Enable", "{annotations}");
        assert_eq!(annotations["pods.outrigger.dev/rule"], "InjectionPolicy all");
        assert_eq!(annotations["pods.outrigger.dev/reason"], "InjectionPolicy all asks for Enable");
        let entries = outrigger.await_entries(namespace, 1, |entry| entry["pod"] == "seen").await;
        assert_eq!(annotations["pods.outrigger.dev/entry"], entries[0]["uid"]);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_shows_the_label_and_writes_nothing() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        let tried = create(plane.client(), namespace, bare_pod("tried"), true).await;
        assert_eq!(label(&tried, INJECT), Some("true"));
        let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
        assert!(pods.get_opt("tried").await.unwrap().is_none());
        await_condition("the audit entry of the dry run", super::TIMEOUT, async || {
            let entries = outrigger.entries(namespace);
            let entry = entries.iter().find(|entry| entry["pod"] == "tried").context("none yet")?;
            ensure!(entry["dryRun"] == true, "{entry}");
            Ok(())
        })
        .await;
    })
    .await;
}
