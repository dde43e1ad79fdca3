//! Tests of overrides and restarts through the API, without a cluster: previews, writes and refusals.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::api::{HttpAnswer, send_json};
use crate::control_plane::await_condition;
use crate::serve::EmbeddedServer;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Workloads that a policy enables; the policy of one namespace requires a reason for overrides.
const STATE: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: strict, labels: {istio-injection: enabled}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: shop, uid: u2, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: u1, controller: true}]}, spec: {template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1-a, namespace: shop, uid: p1, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: u2, controller: true}]}, spec: {containers: [{name: main}, {name: istio-proxy}]}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop, uid: u3, annotations: {outrigger.dev/inject: "true"}}, spec: {template: {metadata: {labels: {app: agent}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: till, namespace: strict, uid: u4}, spec: {selector: {matchLabels: {app: till}}, template: {metadata: {labels: {app: till}}}}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: mesh}, spec: {action: Enable}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: strict}, spec: {match: {namespaces: {include: [strict]}}, action: Enable, priority: 10, overrides: RequireReason}}
"#;

fn start_server() -> (tempfile::TempDir, EmbeddedServer) {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("state.yaml"), STATE).unwrap();
    let injectors = serde_json::to_string(&crate::decisions::injectors("default")).unwrap();
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": {injectors}}}"#);
    std::fs::write(state.path().join("injectors.json"), list).unwrap();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    (state, served)
}

const WEB: &str = "/namespaces/shop/workloads/deployment/web/override";

fn put(served: &EmbeddedServer, path: &str, body: &Value) -> HttpAnswer {
    send_json(served, "PUT", &format!("/api/v1{path}"), Some(body), &[])
}

async fn await_act(served: &EmbeddedServer, wanted: impl Fn(&Value) -> bool) -> Value {
    await_condition("the record", TIMEOUT, async || {
        let found = served.audit_entries(|entry| entry["act"].is_string() && wanted(entry));
        ensure!(!found.is_empty(), "it is not recorded");
        Ok(found[0].clone())
    })
    .await
}

#[tokio::test]
async fn a_dry_run_tells_what_new_pods_will_get_and_how_many_running_ones_differ() {
    let (_state, served) = start_server();
    let body = json!({"action": "Disable", "reason": "the proxy crashes", "for": "2h"});
    let answer = put(&served, &format!("{WEB}?dryRun=true"), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert_eq!(
        (&told["action"], &told["dryRun"], &told["outcome"]),
        (&json!("Disable"), &json!(true), &json!("Written"))
    );
    assert_eq!((&told["before"]["action"], &told["after"]["action"]), (&json!("Enable"), &json!("Disable")), "{told}");
    assert!(told["after"]["reason"].as_str().unwrap().contains("the proxy crashes"), "{told}");
    assert_eq!(told["running"], json!({"pods": 1, "withSidecar": 1, "differing": 1}));
    assert_eq!(told["fields"][0], json!({"of": "annotation", "key": "outrigger.dev/inject", "value": "false"}));
    assert!(told["fields"][2]["value"].as_str().unwrap().ends_with('Z'), "an end was asked for: {told}");
    assert_eq!((&told["hindrance"], &told["partial"]), (&Value::Null, &json!(false)));
    let entry = await_act(&served, |entry| entry["act"] == "Override" && entry["dryRun"] == true).await;
    assert_eq!(entry["id"], told["auditId"]);
    assert_eq!(entry["object"], json!({"kind": "Deployment", "namespace": "shop", "name": "web"}));
    assert_eq!((&entry["reason"], &entry["outcome"]), (&json!("the proxy crashes"), &json!("Allowed")));
    assert!(entry["until"].is_string(), "{entry}");
    assert_eq!(entry["after"]["metadata"]["annotations"]["outrigger.dev/inject"], "false");

    let removed =
        put(&served, "/namespaces/shop/workloads/DaemonSet/agent/override?dryRun=true", &json!({"action": "Remove"}));
    assert_eq!(removed.json()["fields"][0]["value"], Value::Null, "{removed:?}");
}

#[tokio::test]
async fn kind_may_be_a_plural_or_a_short_name_with_or_without_its_group_as_in_commands() {
    let (_state, served) = start_server();
    for kind in ["deployments", "deploy", "Deployment.apps", "deployments.apps"] {
        let path = format!("/namespaces/shop/workloads/{kind}/web/override?dryRun=true");
        let answer = put(&served, &path, &json!({"action": "Disable"}));
        assert_eq!((answer.status, &answer.json()["kind"]), (200, &json!("Deployment")), "{kind}: {answer:?}");
    }
}

#[tokio::test]
async fn a_namespace_is_told_of_with_everything_in_it_and_with_what_a_policy_refuses() {
    let (_state, served) = start_server();
    let told = put(&served, "/namespaces/shop/override?dryRun=true", &json!({"action": "Disable"})).json();
    assert_eq!((&told["kind"], &told["name"]), (&json!("Namespace"), &json!("shop")));
    let workloads = &told["workloads"];
    assert_eq!(
        (&workloads["count"], &workloads["changing"], &workloads["hindered"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(workloads["first"][0]["name"], "agent", "it has an override of its own: {told}");
    assert_eq!(workloads["running"]["differing"], 1, "{told}");
    let strict = "/namespaces/strict/workloads/deployment/till/override?dryRun=true";
    let refused = put(&served, strict, &json!({"action": "Disable"})).json();
    assert!(refused["hindrance"].as_str().unwrap().contains("wants a reason"), "{refused}");
    assert_eq!(refused["after"]["action"], "Enable");
    let taken = put(&served, strict, &json!({"action": "Disable", "reason": "there is one"})).json();
    assert_eq!((&taken["hindrance"], &taken["after"]["action"]), (&Value::Null, &json!("Disable")));
}

#[tokio::test]
async fn what_comes_from_files_is_not_written_and_the_answer_says_what_to_write_by_hand() {
    let (_state, served) = start_server();
    let answer = put(&served, WEB, &json!({"action": "Disable", "reason": "loop"}));
    assert_eq!(answer.status, 409, "{answer:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("the objects come from files") && detail.contains(r#"annotation outrigger.dev/inject="false""#),
        "{detail}"
    );
    assert!(detail.contains("on Deployment shop/web, under metadata"), "{detail}");
    let entry = await_act(&served, |entry| entry["act"] == "Override" && entry["outcome"] == "Refused").await;
    assert!(detail.starts_with(entry["why"].as_str().unwrap()), "{entry}");
    assert_eq!(entry["reason"], "loop");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_would() {
    let (_state, served) = start_server();
    let long = "x".repeat(257);
    for (body, status, part) in [
        (json!({"action": "Disable", "why": "x"}), 422, "why: unknown field; known fields: action, reason"),
        (json!({"action": "Disable", "raeson": "x"}), 422, "raeson: unknown field; did you mean reason?"),
        (json!({"action": "disable"}), 422, "unknown variant"),
        (json!({"reason": "x"}), 422, "missing field"),
        (
            json!({"action": "Disable", "for": "1h", "until": "2999-01-01T00:00:00Z"}),
            422,
            "until and for exclude each other",
        ),
        (json!({"action": "Disable", "for": "soon"}), 422, "for is not a positive duration"),
        (json!({"action": "Disable", "until": "2020-01-01T00:00:00Z"}), 422, "which is past"),
        (json!({"action": "Disable", "reason": long}), 422, "has 257 characters; at most 256 are allowed"),
        (json!({"action": "Disable", "reason": "a\u{1b}[2Jb"}), 422, "control characters"),
        (json!({"action": "Remove", "reason": "x"}), 422, "only an override that is an annotation"),
        (json!(["Disable"]), 422, "cannot be read"),
    ] {
        let answer = put(&served, WEB, &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{body}: {answer:?}");
    }
    let body = json!({"action": "Enable"});
    for (path, status, part) in [
        ("/namespaces/shop/workloads/deployment/wep/override", 404, "did you mean deployment/web?"),
        (
            "/namespaces/shop/workloads/deploiment/web/override",
            404,
            "is not a kind of workload; did you mean Deployment?",
        ),
        ("/namespaces/shop/workloads/replicaset/web-1/override", 422, "belongs to deployment/web; name deployment/web"),
        ("/namespaces/shop/workloads/rs/web-1/override", 422, "replicaset/web-1 belongs to deployment/web"),
        ("/namespaces/shop/workloads/pod/web-1-a/override", 422, "name its workload, such as deployment/web"),
        ("/namespaces/shop/workloads/gateway/public/override", 422, "a gateway is not a workload"),
        ("/namespaces/shop/workloads/deploy.example.test/web/override", 404, "is not a kind of the group example.test"),
        ("/namespaces/shob/override", 404, "there is no namespace shob; did you mean shop?"),
        ("/namespaces/shop/workloads/deployment/a%2Fb/override", 404, "no object has this name"),
        ("/namespaces/shop/override?dryrun=true", 400, "unknown field"),
    ] {
        let answer = put(&served, path, &body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{path}: {answer:?}");
    }
    let unknown = send_json(&served, "PUT", &format!("/api/v1{WEB}"), Some(&body), &["Authorization: Bearer wrong"]);
    assert_eq!(unknown.status, 401, "{unknown:?}");
}

#[tokio::test]
async fn what_comes_from_files_is_not_restarted_and_nonsense_is_refused_first() {
    let (_state, served) = start_server();
    let path = "/api/v1/namespaces/shop/restarts";
    let web = json!({"kind": "Deployment", "name": "web"});
    let with = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
    let one = "give exactly one of workloads, selector, drifted, all and resume";
    for (body, status, part) in [
        (json!({"all": true}), 409, "the state comes from files"),
        (json!({"drifted": true}), 409, "the state comes from files"),
        (json!({"selector": {"matchLabels": {"app": "web"}}, "except": [web]}), 409, "the state comes from files"),
        (json!({"resume": "3f2a9c01", "except": [web]}), 409, "the state comes from files"),
        (json!({}), 422, one),
        (json!({"except": [web]}), 422, one),
        (json!({"all": true, "selector": {"matchLabels": {"app": "web"}}}), 422, one),
        (json!({"selector": {}}), 422, "would select all; send {\"all\": true}"),
        (json!({"selector": {"matchLabels": {}, "matchExpressions": []}}), 422, "would select all"),
        (json!({"selector": {"matchLabels": {"a b": "c"}}}), 422, "selector.matchLabels is \"a b\", which is not"),
        (json!({"selector": with("In", &[])}), 422, "selector.matchExpressions[0].values is empty"),
        (json!({"selector": with("Exists", &["a"])}), 422, "is only for the operators In and NotIn"),
        (json!({"selector": with("in", &["a"])}), 422, "selector.matchExpressions[0].operator: unknown variant `in`"),
        (
            json!({"selector": {"matchlabels": {}}}),
            422,
            "selector.matchlabels: unknown field; did you mean matchLabels?",
        ),
        (json!({"selector": "app=web"}), 422, "selector: invalid type: string"),
        (json!({"selektor": {}}), 422, "selektor: unknown field; did you mean selector?"),
        (json!({"workloads": [web], "except": [web]}), 422, "except does not go with names of workloads"),
        (json!({"all": true, "except": [{"kind": "Deployment"}]}), 422, "except[0]: missing field `name`"),
        (json!({"all": true, "except": [{"kind": "Deployment", "nam": "web"}]}), 422, "did you mean name?"),
        (json!({"all": true, "except": "deployment/web"}), 422, "except: invalid type"),
        (json!({"all": true, "drifted": true}), 422, one),
        (json!({"workloads": []}), 422, one),
        (json!({"workloads": [{"kind": "Deployment"}]}), 422, "missing field"),
        (json!({"all": true, "atOnce": 0}), 422, "not between 1 and 1000"),
        (json!({"all": true, "timeout": "soon"}), 422, "timeout is not a positive duration"),
        (json!({"all": true, "timeout": "1h1s"}), 422, "of at most 1h"),
        (json!({"all": true, "now": true}), 422, "unknown field"),
    ] {
        let answer = send_json(&served, "POST", path, Some(&body), &[]);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{body}: {answer:?}");
    }
    let listed = send_json(&served, "GET", path, None, &[]).json();
    assert_eq!(listed, json!({"items": [], "partial": false}));
    for (method, rest) in [("GET", "/aa"), ("GET", "/aa?watch=true"), ("POST", "/aa/cancel")] {
        let answer = send_json(&served, method, &format!("{path}{rest}"), None, &[]);
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    for (rest, status, part) in [
        ("/aa/forget", 409, "the state comes from files"),
        ("/aa/forget?dryRun=true", 409, "the state comes from files"),
        ("/aa/forget?dryrun=true", 400, "unknown field"),
    ] {
        let answer = send_json(&served, "POST", &format!("{path}{rest}"), None, &[]);
        assert_eq!(answer.status, status, "{rest}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{rest}: {answer:?}");
    }
    await_act(&served, |entry| entry["act"] == "RestartForget" && entry["object"]["name"] == "aa").await;
    let refused = await_act(&served, |entry| entry["act"] == "Restart" && entry["outcome"] == "Refused").await;
    assert_eq!(refused["object"], json!({"kind": "Restart", "namespace": "shop"}));
    await_act(&served, |entry| entry["act"] == "RestartCancel" && entry["object"]["name"] == "aa").await;
}
