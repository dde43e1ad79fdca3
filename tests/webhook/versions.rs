//! Versions of a suspended service, as the control plane of the real mesh takes them.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::installed::Outrigger;
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

const PORT: u16 = 9080;

#[tokio::test]
async fn versions_that_are_no_names_are_suspended_and_stay_so_when_one_of_them_goes() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        for version in ["1.0.0", "v1_2", "V3"] {
            plane.apply(&deployment(namespace, version).to_string()).await;
        }
        plane.apply(&service(namespace).to_string()).await;
        let suspended = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy",
            "metadata": {"name": "pause", "namespace": namespace},
            "spec": {
                "suspend": "Traffic", "services": [{"name": "store", "versions": ["1.0.0", "v1_2"]}],
                "reason": "test", "for": "1d1h",
            },
        });
        plane.apply(&suspended.to_string()).await;
        await_weights(plane, namespace, &[("1-0-0-92521fc3", 0), ("V3", 100), ("v1-2-614edb1f", 0)]).await;
        await_condition("istiod to tell callers", Duration::from_secs(30), async || {
            let told = plane.routes_of_sidecar(namespace, PORT).await;
            ensure!(told.contains("|V3|store"), "{told}");
            Ok(())
        })
        .await;
        let uid = uid(plane, namespace).await;
        let deleted = plane.kubectl(&["delete", "deployment", "store-v1-2", "-n", namespace]).await;
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
        await_weights(plane, namespace, &[("1-0-0-92521fc3", 0), ("V3", 100)]).await;
        assert_eq!(self::uid(plane, namespace).await, uid, "it is the same route, with one version less");
        let status = get(plane, "susp/pause", namespace).await.unwrap()["status"].clone();
        assert_eq!(status["conditions"][1]["reason"], "InForce", "{status}");
        let deleted = plane.kubectl(&["delete", "susp", "pause", "-n", namespace, "--timeout=30s"]).await;
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    })
    .await;
}

async fn await_weights(plane: &ControlPlane, namespace: &str, wanted: &[(&str, i64)]) {
    await_condition("the shares of versions", Duration::from_secs(40), async || {
        let route = get(plane, "vs/store", namespace).await?;
        let shares = route["spec"]["http"][0]["route"].as_array().context("no route")?;
        let found: Vec<_> = shares
            .iter()
            .map(|one| Some((one["destination"]["subset"].as_str()?, one["weight"].as_i64().unwrap_or_default())))
            .collect();
        ensure!(found == wanted.iter().map(|one| Some(*one)).collect::<Vec<_>>(), "{found:?}");
        Ok(())
    })
    .await;
}

async fn uid(plane: &ControlPlane, namespace: &str) -> Value {
    get(plane, "vs/store", namespace).await.unwrap()["metadata"]["uid"].clone()
}

async fn get(plane: &ControlPlane, what: &str, namespace: &str) -> anyhow::Result<Value> {
    let told = plane.kubectl(&["get", what, "-n", namespace, "-o", "json"]).await;
    serde_json::from_slice(&told.stdout).with_context(|| String::from_utf8_lossy(&told.stderr).into_owned())
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "store", "namespace": namespace},
        "spec": {"selector": {"app": "store"}, "ports": [{"name": "http", "port": PORT}]},
    })
}

fn deployment(namespace: &str, version: &str) -> Value {
    let name = format!("store-{}", version.to_lowercase().replace(['.', '_'], "-"));
    let labels = json!({"app": "store", "version": version});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}},
        },
    })
}
