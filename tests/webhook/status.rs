//! Statuses of policies and suspensions that the leader writes, and how often it writes.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::installed::{NAMESPACE, OUR_USER, Outrigger, install};
use super::{TIMEOUT, policy};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

/// Time in which nothing may be written.
const QUIET: SignedDuration = SignedDuration::from_secs(60);

#[tokio::test]
async fn statuses_say_what_rules_do_and_are_written_only_when_that_changes() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "status").await;
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&deployment(namespace)).await;
        a_policy_says_whom_it_is_about_and_follows_an_edit(&plane, namespace).await;
        two_that_differ_name_each_other(&plane, namespace).await;
        one_about_nothing_says_so(&plane, namespace).await;
        one_that_slipped_through_says_what_is_wrong(&plane, namespace).await;
        a_suspension_begins_and_ends_by_the_clock(&plane, namespace).await;
        an_injector_before_us_is_told_of_everywhere(&plane, namespace, &outrigger).await;
        what_somebody_wipes_is_written_again(&plane, namespace).await;
        kubectl_shows_what_they_do(&plane, namespace).await;
        nothing_is_written_for_a_minute(&plane).await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_istio_defeats_says_so_in_istio_s_words() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "disabled")], async |namespace| {
        plane.apply(&deployment(namespace)).await;
        plane.apply(&policy(namespace, "Enable")).await;
        let sentence = format!(
            "Enable cannot have its effect on 1 of 1 workload: Deployment {namespace}/web: Namespace has istio-injection=disabled label, preventing injection"
        );
        await_status(plane, "InjectionPolicy", namespace, "all", |status| {
            says(status, "Ineffective", "True", "Unreachable", &sentence)
        })
        .await;
    })
    .await;
}

async fn a_policy_says_whom_it_is_about_and_follows_an_edit(plane: &ControlPlane, namespace: &str) {
    plane.apply(&policy(namespace, "Enable")).await;
    let first = await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        ensure!(status["matchedWorkloads"] == 1, "matched");
        says(status, "Ready", "True", "Enforced", "1 workload matches")?;
        says(status, "Conflict", "False", "NoConflict", "")?;
        says(status, "Ineffective", "Unknown", "Unforeseen", "no webhook configuration calls an injector")
    })
    .await;
    assert_eq!(first["observedGeneration"], 1);
    plane.apply(&policy(namespace, "Disable")).await;
    let second = await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        ensure!(status["observedGeneration"] == 2, "not observed");
        Ok(())
    })
    .await;
    let began = |status: &Value| condition(status, "Ready")["lastTransitionTime"].clone();
    assert_eq!(began(&first), began(&second), "what stays true keeps its time");
}

async fn two_that_differ_name_each_other(plane: &ControlPlane, namespace: &str) {
    plane.apply(&policy(namespace, "Enable").replace("\"all\"", "\"other\"")).await;
    for (one, other) in [("all", "InjectionPolicy other asks for Enable"), ("other", "InjectionPolicy all asks for")] {
        await_status(plane, "InjectionPolicy", namespace, one, |status| {
            says(status, "Conflict", "True", "SameRank", other)?;
            says(status, "Conflict", "True", "SameRank", &format!("as for Deployment {namespace}/web"))
        })
        .await;
    }
    delete(plane, "InjectionPolicy", namespace, "other").await;
    await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        says(status, "Conflict", "False", "NoConflict", "")
    })
    .await;
}

async fn one_about_nothing_says_so(plane: &ControlPlane, namespace: &str) {
    let mut nothing: Value = serde_json::from_str(&policy(namespace, "Enable")).unwrap();
    nothing["metadata"]["name"] = json!("nothing");
    nothing["spec"]["match"] = json!({"workloads": [{"kind": "Rollout"}]});
    plane.apply(&nothing.to_string()).await;
    await_status(plane, "InjectionPolicy", namespace, "nothing", |status| {
        ensure!(status["matchedWorkloads"] == 0, "matched");
        says(status, "Ready", "True", "Enforced", "0 workloads match")
    })
    .await;
}

async fn one_that_slipped_through_says_what_is_wrong(plane: &ControlPlane, namespace: &str) {
    // An older or newer version of the definition may take what ours refuses.
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let lenient = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]).to_string();
    kubectl(plane, &["patch", "crd", "injectionpolicies.outrigger.dev", "--type=json", "--patch", &lenient]).await;
    for (name, spec) in [
        ("unreadable", json!({"action": "Sometimes"})),
        ("contradictory", json!({"action": "Disable", "revision": "stable"})),
    ] {
        let broken = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        await_condition("the API server to take a broken policy", TIMEOUT, async || {
            api(plane, "InjectionPolicy", namespace)
                .patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&broken))
                .await?;
            Ok(())
        })
        .await;
    }
    await_status(plane, "InjectionPolicy", namespace, "unreadable", |status| {
        says(status, "Ready", "False", "Invalid", "Sometimes")
    })
    .await;
    await_status(plane, "InjectionPolicy", namespace, "contradictory", |status| {
        says(status, "Ready", "False", "Invalid", "spec.revision is only for action Enable")
    })
    .await;
}

async fn a_suspension_begins_and_ends_by_the_clock(plane: &ControlPlane, namespace: &str) {
    let now = outrigger::kernel::clock::Clock::System.now();
    let at = |seconds| (now + SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (starts_at, expires_at) = (at(8), at(16));
    let suspension = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy",
        "metadata": {"name": "debug", "namespace": namespace},
        "spec": {"suspend": "Injection", "reason": "loop", "startsAt": starts_at, "expiresAt": expires_at},
    });
    plane.apply(&suspension.to_string()).await;
    for (active, expired, reason) in
        [("False", "False", "Scheduled"), ("True", "False", "InForce"), ("False", "True", "Over")]
    {
        let status = await_status(plane, "SuspensionPolicy", namespace, "debug", |status| {
            ensure!(status["matchedWorkloads"] == 1, "matched");
            says(status, "Active", active, reason, "")?;
            says(status, "Expired", expired, reason, "")
        })
        .await;
        assert_eq!((&status["startsAt"], &status["endsAt"]), (&json!(starts_at), &json!(expires_at)));
        let began: Timestamp = condition(&status, "Active")["lastTransitionTime"].as_str().unwrap().parse().unwrap();
        let due: Option<&String> = match reason {
            "InForce" => Some(&starts_at),
            "Over" => Some(&expires_at),
            _ => None,
        };
        let late = due.map(|due| began.duration_since(due.parse().unwrap()));
        assert!(late.is_none_or(|late| !late.is_negative()), "{reason} before its time: {late:?}");
    }
}

async fn an_injector_before_us_is_told_of_everywhere(plane: &ControlPlane, namespace: &str, outrigger: &Outrigger) {
    let before = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "0-istio", "labels": {"istio.io/rev": "default"}},
        "webhooks": [{
            "name": "namespace.sidecar-injector.istio.io", "clientConfig": {"url": "https://127.0.0.1:9/inject"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}},
            "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    plane.apply(&before.to_string()).await;
    await_gauge(outrigger, 1.0).await;
    let (status, body) = outrigger.get("/readyz?verbose").unwrap();
    assert_eq!(status, 200, "it does not take us out of service");
    assert!(body.contains("[!]order: the API server calls 0-istio before us\n"), "{body}");
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap();
    assert!(log.contains("WARN") && log.contains("calls 0-istio before us"), "the log does not say so");
    await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        says(status, "Ineffective", "True", "WrongOrder", "the API server calls 0-istio before us")
    })
    .await;
    await_event(plane, "Warning", "WrongOrder", "0-istio").await;
    kubectl(plane, &["delete", "mutatingwebhookconfiguration", "0-istio"]).await;
    await_gauge(outrigger, 0.0).await;
    assert!(!outrigger.get("/readyz?verbose").unwrap().1.contains("[!]"));
    await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        says(status, "Ineffective", "Unknown", "Unforeseen", "")
    })
    .await;
    await_event(plane, "Normal", "RightOrder", "").await;
    let described = kubectl(plane, &["describe", "deployment", "outrigger", "-n", NAMESPACE]).await;
    assert!(described.contains("WrongOrder") && described.contains("RightOrder"), "{described}");
}

async fn what_somebody_wipes_is_written_again(plane: &ControlPlane, namespace: &str) {
    let wiped = json!({"status": {"matchedWorkloads": 99}});
    let policies = api(plane, "InjectionPolicy", namespace);
    policies.patch_status("all", &PatchParams::default(), &Patch::Merge(&wiped)).await.unwrap();
    await_status(plane, "InjectionPolicy", namespace, "all", |status| {
        ensure!(status["matchedWorkloads"] == 1, "matched");
        Ok(())
    })
    .await;
}

async fn kubectl_shows_what_they_do(plane: &ControlPlane, namespace: &str) {
    let audited = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy", "metadata": {"name": "audited"},
        "spec": {"action": "Enable", "mode": "Audit", "priority": 7, "match": {"namespaces": {"include": [namespace]}}},
    });
    let indefinite = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSuspensionPolicy", "metadata": {"name": "ever"},
        "spec": {"suspend": "Injection", "namespaces": {"include": ["elsewhere"]}, "reason": "loop", "indefinite": true},
    });
    plane.apply(&audited.to_string()).await;
    plane.apply(&indefinite.to_string()).await;
    kubectl(plane, &["wait", "--for=condition=Ready", "--timeout=30s", "cinj/audited"]).await;
    kubectl(plane, &["wait", "--for=condition=Active", "--timeout=30s", "csusp/ever"]).await;
    let shown = kubectl(plane, &["get", "cinj,inj,csusp,susp", "-n", namespace]).await;
    println!("{shown}");
    let words_of = |name: &str| -> Vec<&str> {
        let line = shown.lines().find(|line| line.split(' ').next().is_some_and(|first| first.ends_with(name)));
        line.unwrap_or_else(|| panic!("no {name} in {shown}")).split_whitespace().skip(1).collect()
    };
    // The namespaced policy wins unless the other has a priority; and what an unknown injector makes of it is unknown.
    assert_eq!(words_of("/audited")[..9], ["Enable", "7", "Allow", "Audit", "True", "False", "Unknown", "1", "1"]);
    assert_eq!(words_of("/all")[..8], ["Disable", "0", "Allow", "Enforce", "True", "False", "Unknown", "1"]);
    assert_eq!(words_of("/nothing")[7], "0");
    assert_eq!(words_of("/ever")[..2], ["Injection", "InForce"]);
    assert_eq!(words_of("/debug")[..2], ["Injection", "Over"]);
}

/// Checks the API server's own audit log, which is older than a minute and continues.
async fn nothing_is_written_for_a_minute(plane: &ControlPlane) {
    let first = plane.audit_log().last().map(received).expect("something was audited");
    let a_minute_and_a_half = Duration::from_secs(90);
    await_condition("a quiet minute in the audit log", a_minute_and_a_half, async || {
        let events = plane.audit_log();
        let last = events.last().map(received).context("no events")?;
        let writes: Vec<_> = events.iter().filter(|event| is_status_write(event)).map(received).collect();
        let since = writes.iter().copied().max().unwrap_or(first).max(first);
        assert!(
            since.duration_since(first) < SignedDuration::from_secs(10),
            "a status was written, though nothing had happened"
        );
        ensure!(last.duration_since(since) > QUIET, "quiet since {since}, of {last}");
        Ok(())
    })
    .await;
    let writes: Vec<_> = plane.audit_log().into_iter().filter(is_status_write).collect();
    assert!(writes.len() < 40, "{} writes for some twenty changes", writes.len());
    let mut times: Vec<_> = writes.iter().map(received).collect();
    times.sort();
    let in_a_second = |start: &Timestamp| {
        times.iter().filter(|time| *start <= **time && **time < *start + SignedDuration::from_secs(1)).count()
    };
    let most = times.iter().map(in_a_second).max().unwrap_or_default();
    assert!(most <= 6, "{most} writes in one second");
}

fn is_status_write(event: &Value) -> bool {
    event["objectRef"]["subresource"] == "status"
        && event["objectRef"]["apiGroup"] == "outrigger.dev"
        && event["user"]["username"] == OUR_USER
}

fn received(event: &Value) -> Timestamp {
    event["requestReceivedTimestamp"].as_str().expect("it has a time").parse().expect("it is one")
}

async fn await_gauge(outrigger: &Outrigger, expected: f64) {
    await_condition("the metric to tell", TIMEOUT, async || {
        let found = outrigger.metric("outrigger_injectors_before_us")?;
        ensure!(found == expected, "it is {found}");
        Ok(())
    })
    .await;
}

async fn await_event(plane: &ControlPlane, type_: &str, reason: &str, note: &str) {
    let events: Api<Event> = Api::namespaced(plane.client(), NAMESPACE);
    await_condition("the event on our Deployment", TIMEOUT, async || {
        let all = events.list(&ListParams::default()).await?.items;
        let found = all.iter().find(|event| event.reason.as_deref() == Some(reason)).context("no event")?;
        let about = found.regarding.as_ref().context("about nothing")?;
        ensure!(about.kind.as_deref() == Some("Deployment") && about.uid.is_some(), "{about:?}");
        ensure!(found.type_.as_deref() == Some(type_), "{found:?}");
        ensure!(found.note.as_deref().unwrap_or_default().contains(note), "{found:?}");
        Ok(())
    })
    .await;
}

/// Waits until the status of an object satisfies the check, and returns it.
async fn await_status(
    plane: &ControlPlane,
    kind: &str,
    namespace: &str,
    name: &str,
    wanted: impl Fn(&Value) -> anyhow::Result<()>,
) -> Value {
    await_condition(&format!("the status of {kind} {name}"), TIMEOUT, async || {
        let object = api(plane, kind, namespace).get(name).await?;
        let status = object.data["status"].clone();
        wanted(&status).with_context(|| status.to_string())?;
        Ok(status)
    })
    .await
}

/// Checks that a condition has this status and reason, and this part of a message.
fn says(status: &Value, of: &str, truth: &str, reason: &str, message: &str) -> anyhow::Result<()> {
    let found = condition(status, of);
    ensure!(found["status"] == truth && found["reason"] == reason, "{of} is another");
    ensure!(found["message"].as_str().unwrap_or_default().contains(message), "{of} says something else");
    ensure!(found["observedGeneration"] == status["observedGeneration"], "{of} is about another generation");
    Ok(())
}

fn condition(status: &Value, of: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == of).cloned().unwrap_or_default()
}

fn api(plane: &ControlPlane, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let plural = if kind == "SuspensionPolicy" { "suspensionpolicies" } else { "injectionpolicies" };
    let kind = GroupVersionKind::gvk("outrigger.dev", "v1alpha1", kind);
    Api::namespaced_with(plane.client(), namespace, &ApiResource::from_gvk_with_plural(&kind, plural))
}

async fn delete(plane: &ControlPlane, kind: &str, namespace: &str, name: &str) {
    api(plane, kind, namespace).delete(name, &DeleteParams::default()).await.unwrap();
}

async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let done = plane.kubectl(arguments).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn deployment(namespace: &str) -> String {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}},
        },
    })
    .to_string()
}
