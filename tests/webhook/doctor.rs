//! `outrigger doctor` against a real cluster, in good order and in bad.

use std::process::{Command, Output};

use anyhow::ensure;
use serde_json::{Value, json};

use super::TIMEOUT;
use super::installed::{Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition};

#[tokio::test]
async fn doctor_tells_what_keeps_rules_from_their_effect() {
    let plane = ControlPlane::start(Options::default()).await;
    let (code, found) = doctor(&plane).await;
    assert_eq!(code, Some(1), "{found}");
    for check in ["registration", "server", "leader"] {
        assert_eq!(state(&found, check), "Problem", "{found}");
    }
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "doctor").await;
    // Nothing runs the Deployment's pods here; the process that stands for them is not counted.
    let ready = json!({"status": {"replicas": 2, "readyReplicas": 2}}).to_string();
    let patch = [
        "patch",
        "deployment/outrigger",
        "-n",
        "outrigger-system",
        "--subresource=status",
        "--type=merge",
        "-p",
        &ready,
    ];
    assert!(plane.kubectl(&patch).await.status.success());
    plane.apply(&injector("istio-sidecar-injector", "enabled")).await;
    await_condition("doctor to be content", TIMEOUT, async || {
        let (code, found) = doctor(&plane).await;
        ensure!(code == Some(0), "{found}");
        Ok(())
    })
    .await;
    plane.apply(&injector("0-early", "enabled")).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lost", "labels": {"istio.io/rev": "gone"}}});
    plane.apply(&namespace.to_string()).await;
    let (code, found) = doctor(&plane).await;
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(state(&found, "order"), "Problem", "{found}");
    assert!(sentence(&found, "order").contains("0-early"), "{found}");
    assert!(sentence(&found, "namespaces").contains("lost (istio.io/rev=gone)"), "{found}");
    drop(outrigger);
}

/// A webhook configuration that calls an injector for namespaces with this label.
fn injector(name: &str, label: &str) -> String {
    let selector = json!({"matchLabels": {"istio-injection": label}});
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let webhook = json!({
        "name": "namespace.sidecar-injector.istio.io", "namespaceSelector": selector, "rules": rules,
        "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}},
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
    });
    let (api_version, kind) = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration");
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]}).to_string()
}

async fn doctor(plane: &ControlPlane) -> (Option<i32>, Value) {
    let kubeconfig = plane.kubeconfig_path();
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["doctor", "-o", "json"]).env("KUBECONFIG", kubeconfig).output()
    };
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let found = serde_json::from_slice(&stdout);
    let found = found.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
    (status.code(), found)
}

fn of<'f>(found: &'f Value, check: &str) -> &'f Value {
    found.as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap()
}

fn state<'f>(found: &'f Value, check: &str) -> &'f str {
    of(found, check)["state"].as_str().unwrap()
}

fn sentence<'f>(found: &'f Value, check: &str) -> &'f str {
    of(found, check)["found"].as_str().unwrap()
}
