//! A service whose routing the API server refuses does not keep other services from being suspended.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::installed::Outrigger;
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn what_cannot_be_written_for_one_service_is_written_for_the_others() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |first| {
        with_temp_namespace(plane, &[], async |second| {
            // The service that comes first is the one that fails.
            let (blocked, open) = if first < second { (first, second) } else { (second, first) };
            let name = format!("blocked-{blocked}");
            for document in denial(&name, blocked) {
                plane.apply(&document.to_string()).await;
            }
            await_denial(plane, blocked).await;
            for namespace in [blocked, open] {
                plane.apply(&service(namespace).to_string()).await;
            }
            let suspended = json!({
                "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSuspensionPolicy", "metadata": {"name": name},
                "spec": {
                    "suspend": "Traffic", "services": [{"name": "web"}], "reason": "test", "for": "1h",
                    "namespaces": {"include": [blocked, open]},
                },
            });
            plane.apply(&suspended.to_string()).await;
            await_condition("the other service to be suspended", PATIENCE, async || {
                let status = get(plane, &["csusp", &name]).await?["status"].clone();
                let [active, failed] = [1, 3].map(|index| status["conditions"][index].clone());
                ensure!(
                    active["message"] == "1 of 2 services are suspended so far" && active["status"] == "True",
                    "{status}"
                );
                ensure!(
                    failed["reason"] == "Unwritten" && failed["message"].to_string().contains("not here"),
                    "{status}"
                );
                Ok(())
            })
            .await;
            assert!(get(plane, &["vs", "web", "-n", open]).await.is_ok());
            assert!(get(plane, &["vs", "web", "-n", blocked]).await.is_err());
            let kinds = ["validatingadmissionpolicybindings", "validatingadmissionpolicies"];
            for kind in kinds {
                assert!(plane.kubectl(&["delete", kind, &name]).await.status.success());
            }
            await_condition("both to be suspended", PATIENCE, async || {
                let status = get(plane, &["csusp", &name]).await?["status"].clone();
                let [active, failed] = [1, 3].map(|index| status["conditions"][index].clone());
                ensure!(active["reason"] == "InForce" && failed["status"] == "False", "{status}");
                Ok(())
            })
            .await;
            let deleted = plane.kubectl(&["delete", "csusp", &name, "--timeout=40s"]).await;
            assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
        })
        .await;
    })
    .await;
}

/// Returns an admission policy and its binding that deny routing objects in a namespace.
fn denial(name: &str, namespace: &str) -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let rule = json!({
        "apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE"],
        "resources": ["virtualservices", "destinationrules"],
    });
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "not here"}],
        },
    });
    let binding = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

async fn await_denial(plane: &ControlPlane, namespace: &str) {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"host": "probe.example.com"},
    });
    let file = plane.directory().join(format!("{namespace}-probe.json"));
    std::fs::write(&file, rule.to_string()).unwrap();
    await_condition("the API server to deny it", PATIENCE, async || {
        let told = plane.kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()]).await;
        ensure!(String::from_utf8_lossy(&told.stderr).contains("not here"), "it takes it");
        Ok(())
    })
    .await;
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

async fn get(plane: &ControlPlane, what: &[&str]) -> anyhow::Result<Value> {
    let told = plane.kubectl(&[&["get", "-o", "json"], what].concat()).await;
    serde_json::from_slice(&told.stdout).with_context(|| String::from_utf8_lossy(&told.stderr).into_owned())
}
