//! Overrides by the API.

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::TIMEOUT;
use super::super::api::{account, asked, binding};
use super::super::installed::{OUR_USER, Outrigger};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

fn deployment(namespace: &str) -> Value {
    let labels = json!({"app": "web"});
    let containers = json!([{"name": "main", "image": "example.test/main:1"}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    })
}

async fn annotations(plane: &ControlPlane, namespace: &str) -> Value {
    let found = plane.kubectl(&["get", "deployment/web", "-n", namespace, "-o", "json"]).await;
    let object: Value = serde_json::from_slice(&found.stdout).unwrap();
    object["metadata"]["annotations"].clone()
}

#[tokio::test]
async fn whoever_may_edit_overrides_by_the_api_and_whoever_may_only_view_does_not() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let (editor, viewer) = (account(plane, namespace, "editor").await, account(plane, namespace, "viewer").await);
        plane.apply(&binding(namespace, "editor", "edit")).await;
        plane.apply(&binding(namespace, "viewer", "view")).await;
        plane.apply(&deployment(namespace).to_string()).await;
        let path = format!("/namespaces/{namespace}/workloads/deployment/web/override");
        let put = async |token: &str, query: &str, body: Value| {
            asked(outrigger, "PUT", &format!("{path}{query}"), token, Some(body), "").await
        };
        let disable = json!({"action": "Disable", "reason": "the proxy crashes", "for": "1h"});
        let told = await_condition("the right to count", TIMEOUT, async || {
            let (status, answer) = put(&editor, "?dryRun=true", disable.clone()).await;
            ensure!(status == 200, "{status}: {answer}");
            Ok(answer)
        })
        .await;
        assert_eq!(
            (&told["before"]["effect"]["outcome"], &told["after"]["action"]),
            (&json!("Injected"), &json!("Disable"))
        );
        assert_eq!(annotations(plane, namespace).await["outrigger.dev/inject"], Value::Null, "a dry run keeps nothing");

        let (status, refused) = put(&viewer, "", disable.clone()).await;
        assert_eq!(status, 403, "{refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("cannot patch resource") && detail.contains("patch deployments.apps"), "{detail}");
        assert_eq!(annotations(plane, namespace).await["outrigger.dev/inject"], Value::Null);
        let of_namespace = format!("/namespaces/{namespace}/override");
        let (status, answer) = asked(outrigger, "PUT", &of_namespace, &editor, Some(disable.clone()), "").await;
        assert_eq!(status, 403, "whoever edits what is in a namespace may not change the namespace: {answer}");

        let (status, written) = put(&editor, "", disable.clone()).await;
        assert_eq!((status, &written["outcome"]), (200, &json!("Written")), "{written}");
        let found = annotations(plane, namespace).await;
        assert_eq!(
            (&found["outrigger.dev/inject"], &found["outrigger.dev/reason"]),
            (&json!("false"), &json!("the proxy crashes"))
        );
        let (_, enabled) = put(&editor, "", json!({"action": "Enable"})).await;
        assert_eq!(enabled["after"]["action"], "Enable", "{enabled}");
        assert_eq!(
            annotations(plane, namespace).await["outrigger.dev/reason"],
            Value::Null,
            "a reason of another override"
        );
        let (_, removed) = put(&editor, "", json!({"action": "Remove"})).await;
        assert_eq!(removed["outcome"], "Written", "{removed}");
        assert_eq!(annotations(plane, namespace).await["outrigger.dev/inject"], Value::Null);
        let (_, again) = put(&editor, "", json!({"action": "Remove"})).await;
        assert_eq!(again["outcome"], "Unchanged", "{again}");
        recorded(plane, outrigger, namespace).await;
    })
    .await;
}

/// Checks the entries in our audit log and in the API server's own.
async fn recorded(plane: &ControlPlane, outrigger: &Outrigger, namespace: &str) {
    let acts = await_condition("the record", TIMEOUT, async || {
        let of = |entry: &Value| entry["act"] == "Override" && entry["object"]["namespace"] == namespace;
        let acts = outrigger.entries_where(of);
        let count =
            |outcome: &str| acts.iter().filter(|one| one["outcome"] == outcome && one["dryRun"] != true).count();
        ensure!(count("Allowed") == 4 && count("Refused") >= 2, "{acts:?}");
        Ok(acts)
    })
    .await;
    let written = acts.iter().find(|one| one["outcome"] == "Allowed" && one["dryRun"] != true).unwrap();
    assert_eq!(written["actor"]["user"], format!("system:serviceaccount:{namespace}:editor"));
    let stood = |key: &str| &written[key]["metadata"]["annotations"]["outrigger.dev/inject"];
    assert_eq!((stood("before"), stood("after")), (&Value::Null, &json!("false")), "{written}");
    let events = plane.audit_log_of(namespace);
    let patches =
        || events.iter().filter(|one| one["verb"] == "patch" && one["objectRef"]["resource"] == "deployments");
    let by_editor = patches().filter(|one| one["user"]["username"] == written["actor"]["user"]).count();
    assert!(by_editor >= 3, "{by_editor} patches are the editor's own");
    assert!(patches().all(|one| one["user"]["username"] != OUR_USER), "none is ours");
}

#[tokio::test]
async fn what_others_hold_is_a_conflict_that_names_them_until_it_is_taken_over() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let editor = account(plane, namespace, "editor").await;
        plane.apply(&binding(namespace, "editor", "edit")).await;
        plane.apply(&deployment(namespace).to_string()).await;
        let annotate = ["annotate", "deployment/web", "-n", namespace, "outrigger.dev/inject=false"];
        assert!(plane.kubectl(&annotate).await.status.success());
        let path = format!("/namespaces/{namespace}/workloads/Deployment/web/override");
        let put = async |body: Value| asked(outrigger, "PUT", &path, &editor, Some(body), "").await;
        let conflict = await_condition("the right to count", TIMEOUT, async || {
            let (status, answer) = put(json!({"action": "Enable"})).await;
            ensure!(status == 409, "{status}: {answer}");
            Ok(answer)
        })
        .await;
        let detail = conflict["detail"].as_str().unwrap();
        assert!(detail.contains("is held by kubectl-annotate") && detail.contains("\"force\": true"), "{detail}");
        assert_eq!(annotations(plane, namespace).await["outrigger.dev/inject"], "false");
        let (status, taken) = put(json!({"action": "Enable", "force": true})).await;
        assert_eq!(status, 200, "{taken}");
        assert_eq!(annotations(plane, namespace).await["outrigger.dev/inject"], "true");
    })
    .await;
}
