//! Checks the API of a cluster against its own OpenAPI document, with the rights of a user who may suspend.

use std::process::Command;

use serde_json::{Value, json};

use super::TIMEOUT;
use super::api::{account, asked, binding};
use super::installed::{Outrigger, install};
use crate::conformance::{ConformanceRun, assert_conforms};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn the_api_of_a_cluster_is_what_its_document_says() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "conformance").await;
    with_temp_namespace(&plane, &[], async |namespace| {
        let token = account(&plane, namespace, "writer").await;
        plane.apply(&binding(namespace, "writer", "outrigger-suspend")).await;
        for role in ["outrigger-suspend-cluster", "outrigger-explain"] {
            plane.apply(&cluster_binding(namespace, role)).await;
        }
        await_condition("the rights to count", TIMEOUT, async || {
            for path in
                ["/suspensions".to_owned(), "/overview".to_owned(), format!("/namespaces/{namespace}/suspensions")]
            {
                let (status, answer) = asked(&outrigger, "GET", &path, &token, None, "").await;
                anyhow::ensure!(status == 200, "{status}: {answer}");
            }
            Ok(())
        })
        .await;
        let url = outrigger.api().replace("/api/v1", "");
        let document = document(&url).await;
        let (token, namespace) = (token.clone(), namespace.to_owned());
        let run = move || {
            let asked =
                ConformanceRun { url: &url, authority: None, token: &token, namespace: &namespace, examples: 15 };
            assert_conforms(&asked, &document);
        };
        tokio::task::spawn_blocking(run).await.unwrap();
        let made = outrigger.entries_where(|entry| entry["act"] == "Create" && entry["outcome"] == "Allowed");
        assert!(made.len() > 3, "hardly anything was accepted, so little was tried: {made:?}");
    })
    .await;
}

/// Returns the document that is served without authentication.
async fn document(url: &str) -> Value {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "20", &format!("{url}/openapi.json")]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn cluster_binding(namespace: &str, role: &str) -> String {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{role}-of-{namespace}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "writer", "namespace": namespace}],
    })
    .to_string()
}
