//! Nodes without machines: kwok plays their kubelets, so pods become Running and roll-outs complete.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::process::Program;
use super::{ControlPlane, build_directory, kubernetes::options};

const NODE: &str = "node-1";
const START_TIMEOUT: Duration = Duration::from_secs(60);

impl ControlPlane {
    pub(super) async fn start_nodes(&self) {
        self.run(Program {
            name: "kwok",
            arguments: options(&[
                ("kubeconfig", &self.credentials.file("kwok.kubeconfig")),
                ("manage-all-nodes", "true"),
                ("config", &build_directory().join("kwok/stages.yaml").to_string_lossy()),
                ("node-ip", "127.0.0.1"),
                // Addresses for all pods that a long test run makes.
                ("cidr", "10.64.0.0/16"),
            ]),
            environment: Vec::new(),
        });
        self.add_node(NODE).await;
    }

    /// Returns when a further node is ready.
    pub(crate) async fn add_node(&self, name: &str) {
        let version = self.client().apiserver_version().await.expect("the API server knows its version").git_version;
        let nodes: Api<Node> = Api::all(self.client());
        nodes.create(&PostParams::default(), &node(name, &version)).await.expect("failed to create the node");
        self.await_ready("the node to be ready", START_TIMEOUT, async || {
            let status = nodes.get(name).await?.status.context("the node has no status")?;
            let conditions = status.conditions.unwrap_or_default();
            let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
            ensure!(ready, "the node's conditions are {conditions:?}");
            Ok(())
        })
        .await;
    }
}

/// istiod injects a native sidecar only where it can read from the nodes that their kubelets know such.
fn node(name: &str, kubelet_version: &str) -> Node {
    let resources = json!({ "cpu": "64", "memory": "256Gi", "pods": "10000" });
    let node = json!({
        "metadata": {
            "name": name,
            "annotations": { "kwok.x-k8s.io/node": "fake" },
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
        },
        "status": { "allocatable": resources, "capacity": resources, "nodeInfo": { "kubeletVersion": kubelet_version } },
    });
    serde_json::from_value(node).expect("this is a node")
}
