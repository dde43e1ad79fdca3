//! `outrigger enable`, `disable` and `remove` against a real API server and a real injector: sidecars of new pods, unchanged pods,
//! and fields that others hold.

mod conflicts;
mod kinds;
mod restart;
mod transitions;

use ::outrigger::kubernetes::client::metadata_edit::field::{MetadataField, MetadataMap};
use ::outrigger::kubernetes::client::metadata_edit::{EditTarget, MetadataEdit};
use ::outrigger::kubernetes::client::overrides::{OverrideWriteOptions, OverrideWriter};
use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::installed::Outrigger;
use super::{TIMEOUT, bare_pod, create, is_injected};
use crate::commands::{CommandOutput, outrigger};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

const OVERRIDE: &str = "outrigger.dev/inject";

fn value_after(command: &str) -> Option<&'static str> {
    match command {
        "enable" => Some("true"),
        "disable" => Some("false"),
        _ => None,
    }
}

pub(super) fn run(plane: &ControlPlane, arguments: &[&str]) -> CommandOutput {
    outrigger(arguments, Some(&plane.kubeconfig_path()), "")
}

/// Runs a command that must succeed.
#[track_caller]
pub(super) fn done(plane: &ControlPlane, arguments: &[&str]) -> CommandOutput {
    let told = run(plane, arguments);
    assert_eq!(told.code, 0, "{arguments:?}: {}{}", told.out, told.err);
    told
}

pub(super) async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}},
        },
    })
}

async fn deploy(plane: &ControlPlane, namespace: &str, name: &str, replicas: u32) {
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), namespace);
    let object = serde_json::from_value(deployment(name, replicas)).unwrap();
    deployments.create(&PostParams::default(), &object).await.unwrap();
}

async fn get(plane: &ControlPlane, namespace: &str, name: &str) -> Deployment {
    Api::namespaced(plane.client(), namespace).get(name).await.unwrap()
}

#[tokio::test]
async fn nothing_is_written_by_a_dry_run_nor_before_somebody_agrees_and_no_label_goes_unnoticed() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio.io/rev", "default")], async |namespace| {
        deploy(plane, namespace, "web", 0).await;
        let (object, own) = (format!("namespace/{namespace}"), ["deployment/web", "-n", namespace]);
        let namespaces: Api<Namespace> = Api::all(plane.client());
        let labels = async || namespaces.get(namespace).await.unwrap().metadata.labels.unwrap_or_default();
        await_condition("the Deployment to be seen", TIMEOUT, async || {
            let generation = get(plane, namespace, "web").await.status.and_then(|status| status.observed_generation);
            ensure!(generation == Some(1), "not yet");
            Ok(())
        })
        .await;
        let before = get(plane, namespace, "web").await.metadata;
        let told = done(plane, &[&["disable"], &own[..], &["--dry-run"]].concat());
        assert!(told.out.contains("would be written"), "{}", told.out);
        let asked = run(plane, &[&["disable"], &own[..]].concat());
        assert!(asked.code == 2 && asked.err.contains("pass --yes to confirm"), "{}", asked.err);
        done(plane, &["disable", &object, "--dry-run"]);
        done(plane, &["disable", &object, "--label", "--dry-run"]);
        let refused = run(plane, &["enable", &object, "--label", "--yes"]);
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{}", refused.err);
        assert!(
            refused.err.contains("has istio.io/rev=default") && refused.err.contains("--both-labels"),
            "{}",
            refused.err
        );
        assert_eq!(get(plane, namespace, "web").await.metadata.resource_version, before.resource_version);
        assert_eq!(labels().await.get("istio.io/rev").map(String::as_str), Some("default"));
        assert_eq!(labels().await.get("istio-injection"), None);
        // Nor does one that came while the question stood go unnoticed.
        let label = |key: &str, value: Option<&str>| MetadataField {
            map: MetadataMap::Label,
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        let edit = MetadataEdit {
            target: EditTarget {
                group: String::new(),
                version: "v1".to_owned(),
                plural: "namespaces".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: namespace.to_owned(),
            },
            field_manager: "outrigger-label",
            metadata_path: &["metadata"],
            fields: vec![label("istio-injection", Some("enabled"))],
            expected: vec![label("istio.io/rev", None)],
        };
        let how = OverrideWriteOptions { force_conflicts: true, dry_run: false };
        let departed = OverrideWriter::new(plane.client()).write(&edit, how).await.unwrap_err();
        let expected = "there is label istio.io/rev=\"default\" now, and was no label istio.io/rev";
        assert!(departed.to_string().starts_with(expected), "{departed}");
        assert_eq!(labels().await.get("istio-injection"), None);
        // To disable is no reason to take the revision away, and that is how it comes back.
        done(plane, &["disable", &object, "--label", "--yes"]);
        assert_eq!(labels().await.get("istio.io/rev").map(String::as_str), Some("default"));
        assert!(!is_injected(&create(plane.client(), namespace, bare_pod("next"), true).await));
        done(plane, &["remove", &object, "--label", "--yes"]);
        await_condition("the revision to inject again", TIMEOUT, async || {
            ensure!(is_injected(&create(plane.client(), namespace, bare_pod("next"), true).await), "not yet");
            Ok(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_override_ends_by_the_clock_and_one_that_a_policy_refuses_is_written_with_a_no() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let object = format!("namespace/{namespace}");
        let told = done(plane, &["disable", &object, "--for", "5s", "--reason", "a moment", "--yes", "-o", "json"]).json();
        let end = told["objects"][0]["fields"][2]["value"].as_str().unwrap();
        let end: jiff::Timestamp = end.parse().unwrap();
        await_condition("new pods without a sidecar", TIMEOUT, async || {
            ensure!(!is_injected(&create(plane.client(), namespace, bare_pod("next"), true).await), "it has one");
            Ok(())
        })
        .await;
        assert!(::outrigger::kernel::clock::Clock::System.now() < end + jiff::SignedDuration::from_secs(1));
        await_condition("new pods with a sidecar, once it is over", TIMEOUT, async || {
            ensure!(is_injected(&create(plane.client(), namespace, bare_pod("next"), true).await), "not yet");
            Ok(())
        })
        .await;
        let policy = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy", "metadata": {"name": namespace},
            "spec": {"match": {"namespaces": {"include": [namespace]}}, "action": "Enable", "overrides": "RequireReason"},
        });
        plane.apply(&policy.to_string()).await;
        let refused = run(plane, &["disable", &object, "--yes"]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(refused.err.contains("the override does not count") && refused.err.contains("wants a reason"), "{}", refused.err);
        assert!(refused.out.contains("  written   Enable, Injected"), "{}", refused.out);
        let listed = done(plane, &["status", "--overrides", "-n", namespace]);
        assert!(listed.out.contains("refused by ClusterInjectionPolicy"), "{}", listed.out);
        done(plane, &["disable", &object, "--reason", "there is one", "--yes"]);
        await_condition("the reason to count", TIMEOUT, async || {
            ensure!(!is_injected(&create(plane.client(), namespace, bare_pod("next"), true).await), "it has one");
            Ok(())
        })
        .await;
        kubectl(plane, &["delete", "clusterinjectionpolicy", namespace]).await;
    })
    .await;
}
