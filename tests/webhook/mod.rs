//! Outrigger as a user runs it: installed by its own manifests, with its own rights, called by a real API server.

mod acting;
mod api;
mod api_reads;
mod blocked_service;
mod certificates;
mod conformance;
mod doctor;
mod drain;
mod drift;
mod failures;
mod finalizers;
mod injector_rules;
pub(crate) mod installed;
mod leader;
mod order;
mod overrides;
mod page_actions;
mod read_commands;
mod reads;
mod repairing;
mod replicas;
mod restarting;
mod rollouts;
mod status;
mod suspend;
mod traffic;
mod versions;
mod workloads;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, await_condition};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const INJECT: &str = "sidecar.istio.io/inject";
const RECEIPT: &str = "outrigger.dev/decision";

/// Returns a policy of one namespace that enables or disables every pod in it.
fn policy(namespace: &str, action: &str) -> String {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy",
        "metadata": {"name": "all", "namespace": namespace}, "spec": {"action": action},
    })
    .to_string()
}

pub(crate) fn bare_pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}})
}

async fn create(client: Client, namespace: &str, pod: Value, dry_run: bool) -> Pod {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let pod = serde_json::from_value(pod).expect("this is a pod");
    pods.create(&PostParams { dry_run, ..PostParams::default() }, &pod).await.expect("the pod was refused")
}

fn label<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    value(pod.metadata.labels.as_ref(), key)
}

pub(crate) fn annotation<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    value(pod.metadata.annotations.as_ref(), key)
}

fn value<'p>(pairs: Option<&'p BTreeMap<String, String>>, key: &str) -> Option<&'p str> {
    pairs.and_then(|pairs| pairs.get(key)).map(String::as_str)
}

/// Returns whether the real injector gave the pod its sidecar, in either form.
pub(crate) fn is_injected(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref().expect("a pod has a spec");
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|container| container.name == "istio-proxy")
}

/// Waits until the webhook knows the objects just applied to a namespace: until a dry run ends with this label.
async fn await_label(plane: &ControlPlane, namespace: &str, expected: Option<&str>) {
    await_label_of(plane, namespace, bare_pod("probe"), expected).await;
}

/// Does the same as [`await_label`] with another pod.
async fn await_label_of(plane: &ControlPlane, namespace: &str, pod: Value, expected: Option<&str>) {
    await_condition("the webhook to know the rules", TIMEOUT, async || {
        let pod = create(plane.client(), namespace, pod.clone(), true).await;
        let found = label(&pod, INJECT);
        ensure!(found == expected, "the label is {found:?}");
        Ok(())
    })
    .await;
}
