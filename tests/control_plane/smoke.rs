//! Smoke tests of the control plane itself.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{ControlPlane, Options, await_condition, with_temp_namespace};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn pods_of_a_deployment_become_running() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let deployments: Api<Deployment> = Api::namespaced(plane.client(), namespace);
        deployments.create(&PostParams::default(), &deployment("web", 2)).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
        await_condition("two running pods", TIMEOUT, async || {
            let found = pods.list(&ListParams::default().labels("app=web")).await?.items;
            let phases: Vec<_> = found.into_iter().map(|pod| pod.status.and_then(|status| status.phase)).collect();
            ensure!(phases == [Some("Running".into()), Some("Running".into())], "pods are {phases:?}");
            Ok(())
        })
        .await;
        let rolled_out =
            plane.kubectl(&["rollout", "status", "deployment/web", "--timeout=20s", "-n", namespace]).await;
        assert!(rolled_out.status.success(), "{rolled_out:?}");
    })
    .await;
}

#[tokio::test]
async fn istiod_injects_a_pod_that_asks_for_it() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let pod = create_pod(plane.client(), namespace, "asking", &[("sidecar.istio.io/inject", "true")]).await;
        assert!(init_containers(&pod).contains(&"istio-proxy"), "init containers are {:?}", init_containers(&pod));
    })
    .await;
}

#[tokio::test]
async fn istiod_leaves_a_pod_that_declines_in_an_injected_namespace() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let declining =
            create_pod(plane.client(), namespace, "declining", &[("sidecar.istio.io/inject", "false")]).await;
        assert_eq!(init_containers(&declining), [""; 0]);
        let silent = create_pod(plane.client(), namespace, "silent", &[]).await;
        assert!(
            init_containers(&silent).contains(&"istio-proxy"),
            "init containers are {:?}",
            init_containers(&silent)
        );
    })
    .await;
}

#[tokio::test]
async fn audit_log_carries_the_creation_of_a_pod() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        create_pod(plane.client(), namespace, "seen", &[]).await;
        let created = await_condition("the creation in the audit log", TIMEOUT, async || {
            let events = plane.audit_log_of(namespace);
            let is_creation = |event: &&Value| event["verb"] == "create" && event["objectRef"]["resource"] == "pods";
            let found = events.iter().find(is_creation).cloned();
            found.with_context(|| format!("{} events of the namespace", events.len()))
        })
        .await;
        assert_eq!(created["user"]["username"], "admin");
        assert_eq!(created["objectRef"]["name"], "seen");
        assert!(plane.audit_log().contains(&created));
    })
    .await;
}

#[tokio::test]
async fn each_identity_has_only_its_own_rights() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let token = plane.service_account_token(namespace, "default").await;
        let bystander = plane.client_impersonating("bystander", &["system:authenticated"]);
        for client in [plane.client_for_token(&token), bystander] {
            let pods: Api<Pod> = Api::namespaced(client, namespace);
            let refused = pods.list(&ListParams::default()).await.unwrap_err();
            assert!(matches!(&refused, kube::Error::Api(status) if status.is_forbidden()), "{refused}");
        }
        let kubeconfig = plane.kubeconfig_for_token(namespace, &token);
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let whoami = plane.kubectl(&[&kubeconfig, "auth", "whoami", "--output=name"]).await;
        let whoami = String::from_utf8_lossy(&whoami.stdout).into_owned();
        assert!(whoami.contains("selfsubjectreview"), "{whoami}");
    })
    .await;
}

#[tokio::test]
async fn service_has_the_loopback_address_that_was_asked_for() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let address = plane.free_cluster_ip();
        let metadata = json!({ "name": "webhook", "namespace": namespace });
        let spec = json!({ "clusterIP": address.to_string(), "ports": [{ "port": 443 }] });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec });
        plane.apply(&service.to_string()).await;
        assert_eq!(plane.service_address(namespace, "webhook").await, address);
        assert!(address.is_loopback());
        assert!(plane.istiod_debug_url().await.starts_with("http://127."));
    })
    .await;
}

#[tokio::test]
async fn api_server_keeps_what_it_stored_over_a_restart() {
    let plane = ControlPlane::start(Options::default()).await;
    let configmaps: Api<ConfigMap> = Api::namespaced(plane.client(), "default");
    let metadata = ObjectMeta { name: Some(String::from("kept")), ..ObjectMeta::default() };
    let kept = ConfigMap { metadata, ..ConfigMap::default() };
    configmaps.create(&PostParams::default(), &kept).await.unwrap();
    plane.restart_api_server().await;
    assert!(configmaps.get("kept").await.is_ok());
    plane.kill("kube-apiserver");
    assert!(configmaps.get("kept").await.is_err());
}

async fn create_pod(client: Client, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Pod {
    let labels: serde_json::Map<_, _> = labels.iter().map(|&(key, value)| (key.to_owned(), json!(value))).collect();
    let pod = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [{ "name": "main", "image": "example.test/main:1" }] },
    });
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let pod = serde_json::from_value(pod).expect("this is a pod");
    pods.create(&PostParams::default(), &pod).await.expect("the pod was refused")
}

fn deployment(name: &str, replicas: u32) -> Deployment {
    let labels = json!({ "app": name });
    let deployment = json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "example.test/main:1" }] },
            },
        },
    });
    serde_json::from_value(deployment).expect("this is a deployment")
}

fn init_containers(pod: &Pod) -> Vec<&str> {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.map(|container| container.name.as_str()).collect()
}
