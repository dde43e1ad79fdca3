//! Finalizers that wait for a server that no longer runs: `resume` and `uninstall` remove them.

use std::path::PathBuf;

use anyhow::ensure;
use serde_json::{Value, json};

use super::TIMEOUT;
use super::installed::install;
use crate::commands::outrigger;
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn no_finalizer_is_left_by_those_who_resume_or_uninstall() {
    let plane = ControlPlane::start(Options { workloads: false, istiod: true }).await;
    install(&plane).await;
    let admin = plane.kubeconfig_path();
    with_temp_namespace(&plane, &[], async |namespace| {
        let stuck = suspension(
            namespace,
            "stuck",
            json!({"suspend": "Traffic", "services": [{"name": "web"}], "reason": "x", "for": "1h"}),
        );
        plane.apply(&stuck.to_string()).await;
        let deleted = plane.kubectl(&["delete", "susp", "stuck", "-n", namespace, "--wait=false"]).await;
        assert!(deleted.status.success());
        assert_eq!(held(&plane).await, ["stuck"], "it waits");
        let resumed = outrigger(&["resume", "stuck", "-n", namespace, "--yes"], Some(&admin), "");
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        assert_eq!(held(&plane).await, [] as [&str; 0], "nothing stood of it, and it was let go");

        an_unreadable_one_is_stored(&plane, namespace).await;
        let blind = somebody(&plane, namespace).await;
        let refused = outrigger(&["uninstall", "--yes"], Some(&blind), "");
        assert_eq!(refused.code, 2, "{}", refused.out);
        assert!(refused.err.contains("may not list") && refused.err.contains("are unknown"), "{}", refused.err);
        let webhook = plane.kubectl(&["get", "mutatingwebhookconfiguration", "0-outrigger"]).await;
        assert!(webhook.status.success(), "nothing is done by whoever cannot do all of it");
        assert_eq!(held(&plane).await, ["unreadable"]);

        let done = outrigger(&["uninstall", "--yes"], Some(&admin), "");
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        assert_eq!(held(&plane).await, [] as [&str; 0], "nothing that could make a removal hang");
    })
    .await;
}

/// Stores a suspension that we cannot read, as an older or newer version of the definition may have taken it.
async fn an_unreadable_one_is_stored(plane: &ControlPlane, namespace: &str) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let lenient = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]).to_string();
    let patched =
        plane.kubectl(&["patch", "crd", "suspensionpolicies.outrigger.dev", "--type=json", "--patch", &lenient]).await;
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let broken = suspension(namespace, "unreadable", json!({"suspend": "Sometimes"}));
    let file = file(plane, "unreadable.json", &broken);
    await_condition("the API server to take it", TIMEOUT, async || {
        let told = plane.kubectl(&["apply", "--validate=false", "-f", file.to_str().unwrap()]).await;
        ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        Ok(())
    })
    .await;
}

/// Returns the kubeconfig of a user who may do everything with our resources and see nothing of the mesh.
async fn somebody(plane: &ControlPlane, namespace: &str) -> PathBuf {
    let group = "rbac.authorization.k8s.io";
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "blind", "namespace": namespace}});
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "blind"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "outrigger-suspend"},
        "subjects": [{"kind": "ServiceAccount", "name": "blind", "namespace": namespace}],
    });
    for document in [account, binding] {
        plane.apply(&document.to_string()).await;
    }
    let token = plane.service_account_token(namespace, "blind").await;
    plane.kubeconfig_for_token("blind", &token)
}

/// Returns the suspensions that carry our finalizer.
async fn held(plane: &ControlPlane) -> Vec<String> {
    let told = plane.kubectl(&["get", "susp,csusp", "-A", "-o", "json"]).await;
    let listed: Value = serde_json::from_slice(&told.stdout).unwrap();
    let all = listed["items"].as_array().unwrap().iter().map(|one| &one["metadata"]);
    let held = all.filter(|metadata| metadata["finalizers"] == json!(["outrigger.dev/routing"]));
    held.map(|metadata| metadata["name"].as_str().unwrap().to_owned()).collect()
}

fn suspension(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy", "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "finalizers": ["outrigger.dev/routing"]},
    })
}

fn file(plane: &ControlPlane, name: &str, object: &Value) -> PathBuf {
    let path = plane.directory().join(name);
    std::fs::write(&path, object.to_string()).unwrap();
    path
}
