//! The page against a real cluster: an override is written, and a workload restarted, by somebody who may.

use anyhow::ensure;
use serde_json::json;

use super::TIMEOUT;
use super::api::{account, binding};
use super::installed::{Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};
use crate::page::browser::Browser;

#[tokio::test]
async fn somebody_writes_an_override_and_restarts_a_workload_and_sees_before_what_follows() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: false }).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "page-acts").await;
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&web(namespace)).await;
        plane.kubectl(&["rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s"]).await;
        let token = account(&plane, namespace, "editor").await;
        for role in ["edit", "outrigger-restart", "outrigger-view"] {
            let bound =
                binding(namespace, "editor", role).replacen("\"name\":\"editor\"", &format!("\"name\":\"{role}\""), 1);
            plane.apply(&bound).await;
        }
        let browser = Browser::start("cluster-acts");
        browser.go(&format!("{}#/ns/{namespace}", outrigger.api().replace("/api/v1", "/")));
        browser.until_shown("#token").await;
        browser.write("#token", &token);
        browser.click("button.main").await;
        browser.until_shown("a.tile").await;
        browser.follow(&format!("#/ns/{namespace}/Deployment/web"));
        browser.click("dialog .acts button:nth-of-type(2)").await;
        browser.until_shown("#action").await;
        browser.write("#reason", "loop");
        browser.click(".act button.main").await;
        browser.until_text(".summary", "New pods get").await;
        browser.picture("override");
        browser.click(".act button.main").await;
        browser.until_text("#toast", "Written on web").await;
        let shown = plane
            .kubectl(&["get", "deployment", "web", "-n", namespace, "-o", "jsonpath={.metadata.annotations}"])
            .await;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(
            shown.contains("\"outrigger.dev/inject\":\"false\"") && shown.contains("\"outrigger.dev/reason\":\"loop\""),
            "{shown}"
        );

        browser.click("dialog .acts button:nth-of-type(3)").await;
        browser.until_text("#act-title", "Restart web").await;
        browser.click(".act button.main").await;
        browser.until_text(".summary", "1 workload would be restarted").await;
        browser.picture("restart");
        browser.click(".act button.main").await;
        browser.until_text(".act [role=status]", "It is complete: 1 of 1 workload").await;
        browser.picture("restarted");
        browser.click(".act footer button:nth-of-type(1)").await;
        browser.until_text("#toast", "is complete").await;
        await_condition("the pods to be new", TIMEOUT, async || {
            let restarted = "jsonpath={.spec.template.metadata.annotations}";
            let shown = plane.kubectl(&["get", "deployment", "web", "-n", namespace, "-o", restarted]).await;
            ensure!(String::from_utf8_lossy(&shown.stdout).contains("kubectl.kubernetes.io/restartedAt"), "{shown:?}");
            Ok(())
        })
        .await;
        assert_eq!(browser.complaints(&["403 (Forbidden)"]), [""; 0]);
    })
    .await;
}

fn web(namespace: &str) -> String {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}},
        },
    })
    .to_string()
}
