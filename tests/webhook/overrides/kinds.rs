//! Overrides on every kind of workload, including one that a setting adds.

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::super::installed::Outrigger;
use super::super::{RECEIPT, TIMEOUT, annotation, is_injected};
use super::{done, kubectl, run};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

#[tokio::test]
async fn workloads_of_every_kind_are_disabled_at_once_by_label_and_their_pods_obey() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let objects = kinds_at_rest().map(|mut object| {
            object["metadata"]["namespace"] = json!(namespace);
            object.to_string()
        });
        plane.apply(&objects.join("\n---\n")).await;
        let told =
            done(plane, &["disable", "-l", "set=kinds", "-n", namespace, "--reason", "no mesh", "--yes", "-o", "json"]);
        let told = told.json();
        let found: Vec<_> =
            told["objects"].as_array().unwrap().iter().map(|one| json!([one["kind"], one["outcome"]])).collect();
        let kinds = ["CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];
        assert_eq!(found, kinds.map(|kind| json!([kind, "Written"])), "{told}");
        for (verb, object) in [
            ("scale", "deployment/a-deployment"),
            ("scale", "statefulset/a-statefulset"),
            ("scale", "replicaset/a-replicaset"),
            ("scale", "replicationcontroller/a-replicationcontroller"),
        ] {
            kubectl(plane, &[verb, object, "-n", namespace, "--replicas=1"]).await;
        }
        for object in ["job/a-job", "cronjob/a-cronjob"] {
            kubectl(
                plane,
                &["patch", object, "-n", namespace, "--type=merge", "-p", r#"{"spec": {"suspend": false}}"#],
            )
            .await;
        }
        let spread = r#"[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]"#;
        kubectl(plane, &["patch", "daemonset/a-daemonset", "-n", namespace, "--type=json", "-p", spread]).await;
        kubectl(plane, &["create", "job", "by-hand", "-n", namespace, "--from=cronjob/a-cronjob"]).await;
        let of_namespace: Api<Pod> = Api::namespaced(plane.client(), namespace);
        for kind in kinds {
            let receipt = format!("Disable by override on {kind} a-{}", kind.to_lowercase());
            await_condition(&format!("a pod of the {kind}"), TIMEOUT, async || {
                let pods = of_namespace.list(&ListParams::default().labels("app=kinds")).await?.items;
                if let Some(pod) = pods.iter().find(|pod| annotation(pod, RECEIPT) == Some(&receipt)) {
                    ensure!(!is_injected(pod), "it is injected");
                    return Ok(());
                }
                // One that came before the webhook had seen the override is made anew.
                for pod in pods.iter().filter(|pod| annotation(pod, RECEIPT).is_none()) {
                    let _gone =
                        of_namespace.delete(pod.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await;
                }
                bail!("none of {} pods is", pods.len())
            })
            .await;
        }
    })
    .await;
}

/// Returns one object of each kind; none makes a pod yet.
fn kinds_at_rest() -> [Value; 7] {
    let spec = |restart: &str| json!({"containers": [{"name": "main", "image": "example.test/main:1"}], "restartPolicy": restart});
    let template = |restart: &str| json!({"metadata": {"labels": {"app": "kinds"}}, "spec": spec(restart)});
    let selector = json!({"matchLabels": {"app": "kinds"}});
    let object = |api_version: &str, kind: &str, spec: Value| {
        let name = format!("a-{}", kind.to_lowercase());
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"set": "kinds"}}, "spec": spec})
    };
    let mut nowhere = template("Always");
    nowhere["spec"]["nodeSelector"] = json!({"nowhere": "yet"});
    let job = json!({"spec": {"template": template("Never")}});
    [
        object("apps/v1", "Deployment", json!({"replicas": 0, "selector": selector, "template": template("Always")})),
        object(
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 0, "serviceName": "x", "selector": selector, "template": template("Always")}),
        ),
        object("apps/v1", "DaemonSet", json!({"selector": selector, "template": nowhere})),
        object("apps/v1", "ReplicaSet", json!({"replicas": 0, "selector": selector, "template": template("Always")})),
        object(
            "v1",
            "ReplicationController",
            json!({"replicas": 0, "selector": {"app": "kinds"}, "template": template("Always")}),
        ),
        object("batch/v1", "Job", json!({"suspend": true, "template": template("Never")})),
        object("batch/v1", "CronJob", json!({"suspend": true, "schedule": "* * * * *", "jobTemplate": job})),
    ]
}

/// Returns a CustomResourceDefinition without any validation.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> String {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": any}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
        },
    })
    .to_string()
}

async fn define(plane: &ControlPlane, [group, version, plural, kind]: [&str; 4]) {
    plane.apply(&definition(group, version, kind, plural)).await;
    plane.await_served(&format!("{plural}.{group}")).await;
}

#[tokio::test]
async fn a_kind_that_a_setting_adds_is_written_on_like_any_other() {
    let (plane, _outrigger) = Outrigger::shared().await;
    define(plane, ["example.test", "v1", "fleets", "Fleet"]).await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let template = json!({"metadata": {"labels": {"app": "north"}}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}});
        let fleet = json!({
            "apiVersion": "example.test/v1", "kind": "Fleet", "metadata": {"name": "north", "namespace": namespace},
            "spec": {"template": template},
        });
        plane.apply(&fleet.to_string()).await;
        let kind = ["--owner-kind", "example.test/v1/fleets/Fleet", "--yes", "-n", namespace];
        let stands = async |path: &str| kubectl(plane, &["get", "fleet/north", "-n", namespace, "-o", &format!("jsonpath={{{path}}}")]).await;
        let told = done(plane, &[&["disable", "fleet/north", "--reason", "own proxy"][..], &kind].concat());
        assert!(told.out.contains("Disable, NotInjected"), "{}", told.out);
        assert_eq!(stands(r".metadata.annotations.outrigger\.dev/inject").await, "false");
        done(plane, &[&["enable", "fleet/north", "--template"][..], &kind].concat());
        assert_eq!(stands(r".spec.template.metadata.labels").await, r#"{"app":"north","sidecar.istio.io/inject":"true"}"#);
        assert_eq!(stands(r".metadata.annotations.outrigger\.dev/inject").await, "false", "each place is held by itself");
        done(plane, &[&["remove", "fleet/north"][..], &kind].concat());
        assert_eq!(stands(r".metadata.annotations.outrigger\.dev/inject").await, "");
        let unknown = run(plane, &["disable", "fleet/north", "-n", namespace, "--yes"]);
        assert!(unknown.code == 2 && unknown.err.contains("--owner-kind adds one"), "{}", unknown.err);
        let absent = run(plane, &["disable", "rollout/web", "-n", namespace, "--yes"]);
        let sentence = "the cluster does not know the kind Rollout of argoproj.io";
        assert!(absent.code == 2 && absent.err.contains(sentence), "{}", absent.err);
    })
    .await;
}
