//! Tests of the API against a real API server, with permitted and other users.

use std::process::Command;

use anyhow::ensure;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::TIMEOUT;
use super::installed::{OUR_USER, Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn who_may_suspends_with_their_own_rights_and_who_may_not_changes_nothing() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "api").await;
    with_temp_namespace(&plane, &[], async |namespace| {
        let (writer, reader) = (account(&plane, namespace, "writer").await, account(&plane, namespace, "reader").await);
        for (account, role) in [("writer", "outrigger-suspend"), ("reader", "outrigger-view")] {
            plane.apply(&binding(namespace, account, role)).await;
        }
        let path = format!("/namespaces/{namespace}/suspensions");
        let ask = async |method: &str, path: &str, token: &str, body: Option<Value>, header: &str| {
            asked(&outrigger, method, path, token, body, header).await
        };
        let body = |name: &str| Some(json!({"name": name, "suspend": "Injection", "for": "1h", "reason": "loop"}));
        await_condition("the right to count", TIMEOUT, async || {
            let (status, answer) = ask("POST", &format!("{path}?dryRun=true"), &writer, body("dry"), "").await;
            ensure!(status == 200, "{status}: {answer}");
            Ok(())
        })
        .await;
        assert_eq!(ask("GET", &format!("{path}/dry"), &writer, None, "").await.0, 404, "a dry run keeps nothing");

        let (status, made) = ask("POST", &path, &writer, body("debug"), "").await;
        assert_eq!(status, 201, "{made}");
        let (status, told) = ask("GET", &format!("{path}/debug"), &writer, None, "").await;
        assert_eq!((status, &told["uid"]), (200, &made["uid"]), "whoever has made it finds it at once");
        let other = "/namespaces/kube-public/suspensions";
        for (method, path, token, header, expected) in [
            ("POST", &*path, &*reader, "", 403),
            ("POST", other, &writer, "", 403),
            ("POST", "/suspensions", &writer, "", 403),
            ("GET", other, &writer, "", 403),
            ("GET", "/suspensions", &reader, "", 403),
            ("POST", &*path, "eyJhbGciOiJSUzI1NiJ9.e30.x", "", 401),
            ("POST", &*path, "", "", 401),
            ("POST", &*path, &writer, "Impersonate-User: admin", 403),
            ("POST", &*path, &writer, "X-Remote-User: admin", 403),
        ] {
            let (status, answer) =
                ask(method, path, token, body("forbidden").filter(|_| method == "POST"), header).await;
            assert_eq!(status, expected, "{method} {path} {header}: {answer}");
            assert!(answer["detail"].is_string(), "{answer}");
        }
        assert_eq!(ask("POST", &format!("{path}/debug/end"), &reader, None, "").await.0, 403);
        await_condition("the reader to see it", TIMEOUT, async || {
            let (status, answer) = ask("GET", &path, &reader, None, "").await;
            ensure!(status == 200 && answer["items"][0]["name"] == "debug", "{status}: {answer}");
            ensure!(answer["items"].as_array().unwrap().len() == 1, "{answer}");
            Ok(())
        })
        .await;
        let (status, longer) =
            ask("POST", &format!("{path}/debug/extend"), &writer, Some(json!({"by": "1h"})), "").await;
        assert_eq!(status, 200, "{longer}");
        assert_eq!(longer["generation"], 2);

        let gone = expired_token(&plane, namespace).await;
        await_condition("a token to be over with what it was bound to", TIMEOUT, async || {
            let (status, answer) = ask("POST", &path, &gone, body("late"), "").await;
            ensure!(status == 401, "{status}: {answer}");
            Ok(())
        })
        .await;
        check_records(&plane, &outrigger, namespace).await;
    })
    .await;
}

/// Checks the entries of our audit log, and of the API server's own.
async fn check_records(plane: &ControlPlane, outrigger: &Outrigger, namespace: &str) {
    let user = format!("system:serviceaccount:{namespace}:writer");
    let acts = await_condition("the record", TIMEOUT, async || {
        let acts = outrigger.entries_where(|entry| entry["actor"].is_object());
        let count =
            |outcome: &str, act: &str| acts.iter().filter(|one| one["outcome"] == outcome && one["act"] == act).count();
        ensure!(count("Allowed", "Create") >= 2 && count("Allowed", "Extend") == 1, "{acts:?}");
        ensure!(
            count("Refused", "Create") >= 7 && count("Refused", "End") == 1 && count("Refused", "Read") >= 2,
            "{acts:?}"
        );
        Ok(acts)
    })
    .await;
    let made = acts.iter().find(|act| act["object"]["name"] == "debug" && act["outcome"] == "Allowed").unwrap();
    assert_eq!(made["actor"]["user"], user);
    assert!(acts.iter().all(|act| act["outcome"] == "Allowed" || act["why"].is_string()), "{acts:?}");
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap_or_default();
    assert!(!log.contains("eyJ"), "no token is logged");
    let events = plane.audit_log();
    let ours = |event: &&Value| {
        event["objectRef"]["resource"] == "suspensionpolicies" && event["objectRef"]["namespace"] == namespace
    };
    let writes: Vec<_> = events.iter().filter(ours).filter(|event| event["verb"] == "create").collect();
    assert!(!writes.is_empty() && writes.iter().all(|event| event["user"]["username"] == user), "{writes:?}");
    assert!(events.iter().all(|event| event["impersonatedUser"].is_null()), "nobody acts as somebody else");
    let patches = events
        .iter()
        .filter(ours)
        .filter(|event| event["verb"] == "patch" && event["objectRef"]["subresource"].is_null());
    assert!(patches.clone().count() > 0 && patches.clone().all(|event| event["user"]["username"] != OUR_USER));
}

pub(super) async fn account(plane: &ControlPlane, namespace: &str, name: &str) -> String {
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
    plane.apply(&account.to_string()).await;
    plane.service_account_token(namespace, name).await
}

pub(super) fn binding(namespace: &str, account: &str, role: &str) -> String {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": account, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
    .to_string()
}

/// Returns a token of the writer that is no longer valid, since its bound object is gone.
async fn expired_token(plane: &ControlPlane, namespace: &str) -> String {
    let secrets: Api<Secret> = Api::namespaced(plane.client(), namespace);
    let secret = serde_json::from_value(json!({"metadata": {"name": "bound"}})).unwrap();
    let uid = secrets.create(&PostParams::default(), &secret).await.unwrap().metadata.uid;
    let reference = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some("bound".to_owned()),
        uid,
    };
    let spec = TokenRequestSpec { bound_object_ref: Some(reference), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), namespace);
    let answer = accounts.create_token_request("writer", &PostParams::default(), &request).await.unwrap();
    secrets.delete("bound", &DeleteParams::default()).await.unwrap();
    answer.status.unwrap().token.unwrap()
}

pub(super) async fn asked(
    outrigger: &Outrigger,
    method: &str,
    path: &str,
    token: &str,
    body: Option<Value>,
    header: &str,
) -> (u16, Value) {
    let url = format!("{}{path}", outrigger.api());
    // Its authority is in the Secret; that TLS is verified is what the tests of the webhook see to.
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--insecure",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code}",
        "--request",
        method,
    ]);
    if !token.is_empty() {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    if !header.is_empty() {
        command.args(["--header", header]);
    }
    if let Some(body) = body {
        command.args(["--header", "Content-Type: application/json", "--data", &body.to_string()]);
    }
    command.arg(url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    let status = status.parse().unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (status, serde_json::from_str(body).unwrap_or_default())
}
