//! Tests of suspensions of traffic against a real API server and a real istiod: written objects, proxy configuration, clean-up.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::TIMEOUT;
use super::installed::{Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

const PORT: u16 = 9080;

#[tokio::test]
async fn traffic_is_suspended_for_a_while_and_everything_is_as_it_was() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&reviews(namespace)).await;
        let before = all_routing(plane).await;
        the_whole_service_answers_with_an_error(plane, namespace).await;
        what_is_changed_is_repaired(plane, namespace).await;
        deleting_it_removes_everything(plane, namespace, outrigger).await;
        some_versions_get_no_share_until_the_end(plane, namespace, outrigger).await;
        assert_eq!(all_routing(plane).await, before, "everything is as it was");
    })
    .await;
}

#[tokio::test]
async fn what_routes_a_service_already_is_named_left_alone_and_waited_for() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        with_temp_namespace(plane, &[], async |other| {
            plane.apply(&reviews(namespace)).await;
            let host = format!("reviews.{namespace}.svc.cluster.local");
            let theirs = json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "theirs", "namespace": other},
                "spec": {"hosts": [host], "gateways": ["mesh"], "http": [{"route": [{"destination": {"host": host}}]}]},
            });
            plane.apply(&theirs.to_string()).await;
            let stood = api(plane, VIRTUAL_SERVICE, other).get("theirs").await.unwrap();
            plane.apply(&suspension(namespace, "blocked", 3600, json!([{"name": "reviews"}]))).await;
            await_status(plane, namespace, "blocked", |status| {
                says(status, "Active", "False", "Taken")?;
                says(status, "Failed", "True", "Taken")?;
                let sentence = format!("VirtualService {other}/theirs routes it already");
                ensure!(
                    condition(status, "Failed")["message"].as_str().unwrap().contains(&sentence),
                    "another sentence"
                );
                Ok(())
            })
            .await;
            assert!(api(plane, VIRTUAL_SERVICE, namespace).get_opt("reviews").await.unwrap().is_none());
            let stands = api(plane, VIRTUAL_SERVICE, other).get("theirs").await.unwrap();
            assert_eq!(stands.metadata.resource_version, stood.metadata.resource_version, "it is untouched");
            delete(plane, VIRTUAL_SERVICE, other, "theirs").await;
            await_status(plane, namespace, "blocked", |status| says(status, "Active", "True", "InForce")).await;
            delete(plane, SUSPENSION, namespace, "blocked").await;
            await_gone(plane, SUSPENSION, namespace, "blocked").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_made_good_and_what_was_half_done_is_finished() {
    let plane = ControlPlane::start(Options { workloads: false, istiod: true }).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "first").await;
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&reviews(namespace)).await;
        plane.apply(&suspension(namespace, "short", 12, json!([{"name": "reviews"}]))).await;
        await_status(&plane, namespace, "short", |status| says(status, "Active", "True", "InForce")).await;
        outrigger.kill();
        let end = outrigger::kernel::clock::Clock::System.now() + SignedDuration::from_secs(13);
        await_condition("the end to pass", TIMEOUT, async || {
            ensure!(outrigger::kernel::clock::Clock::System.now() > end, "not yet");
            Ok(())
        })
        .await;
        assert!(api(&plane, VIRTUAL_SERVICE, namespace).get_opt("reviews").await.unwrap().is_some());
        // Half of it is gone already, as if the one that was killed had begun to end it.
        delete(&plane, VIRTUAL_SERVICE, namespace, "reviews").await;
        let outrigger = Outrigger::start(&plane, "second").await;
        await_status(&plane, namespace, "short", |status| says(status, "Active", "False", "Over")).await;
        assert_eq!(routing(&plane, namespace).await, Vec::<String>::new());
        let object = api(&plane, SUSPENSION, namespace).get("short").await.unwrap();
        assert_eq!(object.metadata.finalizers, None);
        let uid = object.metadata.uid.unwrap();
        let acts = await_acts(&outrigger, &uid, &["Unroute", "Over"]).await;
        assert!(
            acts.iter().all(|act| act["outcome"] == "Allowed" && act["object"]["namespace"] == *namespace),
            "{acts:?}"
        );
        let described = plane.kubectl(&["describe", "susp", "short", "-n", namespace]).await;
        let described = String::from_utf8_lossy(&described.stdout).into_owned();
        assert!(described.contains("Begun") && described.contains("Ended"), "{described}");
    })
    .await;
}

async fn the_whole_service_answers_with_an_error(plane: &ControlPlane, namespace: &str) {
    assert!(!caller_configuration(plane, namespace).await.contains("\"abort\""));
    plane.apply(&suspension(namespace, "pause", 3500, json!([{"name": "reviews"}]))).await;
    let status = await_status(plane, namespace, "pause", |status| says(status, "Active", "True", "InForce")).await;
    assert_eq!(status["left"], "50m");
    assert!(status["notReached"][0].as_str().unwrap().starts_with("callers without a sidecar"), "{status}");
    let routed = |kind| json!({"kind": kind, "namespace": namespace, "name": "reviews"});
    assert_eq!(status["routing"], json!([routed("DestinationRule"), routed("VirtualService")]));
    let host = format!("reviews.{namespace}.svc.cluster.local");
    let route = api(plane, VIRTUAL_SERVICE, namespace).get("reviews").await.unwrap();
    let abort = json!({"httpStatus": 503, "percentage": {"value": 100}});
    let http = json!([{"route": [{"destination": {"host": host}}], "fault": {"abort": abort}}]);
    assert_eq!(route.data["spec"], json!({"hosts": [host], "http": http}));
    assert_eq!(route.metadata.labels.as_ref().unwrap()["kiali_wizard"], "suspend_traffic");
    let owner = &route.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("SuspensionPolicy", "pause", Some(true)));
    let rule = api(plane, DESTINATION_RULE, namespace).get("reviews").await.unwrap();
    let subset = |version| json!({"name": version, "labels": {"version": version}});
    assert_eq!(rule.data["spec"], json!({"host": host, "subsets": [subset("v1"), subset("v2"), subset("v3")]}));
    await_condition("istiod to tell callers of the abort", TIMEOUT, async || {
        let told = caller_configuration(plane, namespace).await;
        ensure!(told.contains("\"abort\"") && told.contains("\"httpStatus\":503"), "{told}");
        Ok(())
    })
    .await;
    let shown = plane.kubectl(&["get", "susp", "-n", namespace]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("LEFT") && shown.contains("InForce") && shown.contains("50m"), "{shown}");
}

async fn what_is_changed_is_repaired(plane: &ControlPlane, namespace: &str) {
    let routes = api(plane, VIRTUAL_SERVICE, namespace);
    let theirs = json!({"spec": {"gateways": ["edge"], "http": [{"route": [{"destination": {"host": "elsewhere"}}]}]}});
    routes.patch("reviews", &PatchParams::default(), &Patch::Merge(&theirs)).await.unwrap();
    await_condition("the route to be repaired", TIMEOUT, async || {
        let spec = routes.get("reviews").await?.data["spec"].clone();
        ensure!(spec["gateways"].is_null() && spec["http"][0]["fault"]["abort"]["httpStatus"] == 503, "{spec}");
        Ok(())
    })
    .await;
    let (uid, rule) = (routes.get("reviews").await.unwrap().metadata.uid, api(plane, DESTINATION_RULE, namespace));
    let rule_uid = rule.get("reviews").await.unwrap().metadata.uid;
    let nobodys = json!({"metadata": {"ownerReferences": null}});
    routes.patch("reviews", &PatchParams::default(), &Patch::Merge(&nobodys)).await.unwrap();
    await_condition("the route to have its owner again", TIMEOUT, async || {
        let owners = routes.get("reviews").await?.metadata.owner_references;
        ensure!(owners.is_some_and(|owners| owners[0].name == "pause"), "it has none");
        Ok(())
    })
    .await;
    let stands = routes.get("reviews").await.unwrap().metadata.uid;
    assert_eq!(
        (stands, rule.get("reviews").await.unwrap().metadata.uid),
        (uid.clone(), rule_uid),
        "neither was removed"
    );
    delete(plane, VIRTUAL_SERVICE, namespace, "reviews").await;
    await_condition("the route to come again", TIMEOUT, async || {
        let again = routes.get("reviews").await?;
        ensure!(again.metadata.uid != uid, "it is the old one");
        Ok(())
    })
    .await;
}

async fn deleting_it_removes_everything(plane: &ControlPlane, namespace: &str, outrigger: &Outrigger) {
    let uid = api(plane, SUSPENSION, namespace).get("pause").await.unwrap().metadata.uid.unwrap();
    delete(plane, SUSPENSION, namespace, "pause").await;
    await_gone(plane, SUSPENSION, namespace, "pause").await;
    assert_eq!(routing(plane, namespace).await, Vec::<String>::new(), "the finalizer waited for it");
    let acts = await_acts(outrigger, &uid, &["Route", "Begin", "Unroute", "Over"]).await;
    let removed: Vec<_> = acts.iter().filter(|act| act["act"] == "Unroute").map(|act| &act["object"]["kind"]).collect();
    assert_eq!(removed, ["VirtualService", "DestinationRule"], "in this order");
    let made: Vec<_> = acts.iter().filter(|act| act["act"] == "Route").map(|act| &act["object"]["kind"]).collect();
    assert_eq!(made[..2], ["DestinationRule", "VirtualService"], "and in this");
    await_condition("istiod to tell callers that it is over", TIMEOUT, async || {
        ensure!(!caller_configuration(plane, namespace).await.contains("\"abort\""), "it still aborts");
        Ok(())
    })
    .await;
}

async fn some_versions_get_no_share_until_the_end(plane: &ControlPlane, namespace: &str, outrigger: &Outrigger) {
    plane.apply(&suspension(namespace, "shift", 8, json!([{"name": "reviews", "versions": ["v2"]}]))).await;
    await_status(plane, namespace, "shift", |status| says(status, "Active", "True", "InForce")).await;
    let told = caller_configuration(plane, namespace).await;
    assert!(told.contains("|v1|reviews") && told.contains("|v3|reviews") && told.contains("\"weight\":50"), "{told}");
    let over = await_status(plane, namespace, "shift", |status| says(status, "Active", "False", "Over")).await;
    let ended: jiff::Timestamp = over["endsAt"].as_str().unwrap().parse().unwrap();
    let told: jiff::Timestamp = condition(&over, "Expired")["lastTransitionTime"].as_str().unwrap().parse().unwrap();
    assert!(told.duration_since(ended) < SignedDuration::from_secs(5), "{over}");
    assert_eq!(routing(plane, namespace).await, Vec::<String>::new());
    assert_eq!(outrigger.metric("outrigger_suspensions_overdue").unwrap(), 0.0);
    delete(plane, SUSPENSION, namespace, "shift").await;
}

/// Waits until a suspension has audit entries of all these kinds, and returns its entries.
async fn await_acts(outrigger: &Outrigger, id: &str, wanted: &[&str]) -> Vec<Value> {
    await_condition("the acts in the audit log", TIMEOUT, async || {
        let acts = outrigger.entries_where(|entry| entry["id"] == id);
        let missing: Vec<_> = wanted.iter().filter(|deed| !acts.iter().any(|act| act["act"] == ***deed)).collect();
        ensure!(missing.is_empty(), "no {missing:?} in {acts:?}");
        Ok(acts)
    })
    .await
}

async fn caller_configuration(plane: &ControlPlane, namespace: &str) -> String {
    plane.routes_of_sidecar(namespace, PORT).await
}

const VIRTUAL_SERVICE: [&str; 4] = ["networking.istio.io", "v1", "VirtualService", "virtualservices"];
const DESTINATION_RULE: [&str; 4] = ["networking.istio.io", "v1", "DestinationRule", "destinationrules"];
const SUSPENSION: [&str; 4] = ["outrigger.dev", "v1alpha1", "SuspensionPolicy", "suspensionpolicies"];

fn resource([group, version, kind, plural]: [&str; 4]) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn api(plane: &ControlPlane, kind: [&str; 4], namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(plane.client(), namespace, &resource(kind))
}

async fn delete(plane: &ControlPlane, kind: [&str; 4], namespace: &str, name: &str) {
    api(plane, kind, namespace).delete(name, &DeleteParams::default()).await.unwrap();
}

async fn await_gone(plane: &ControlPlane, kind: [&str; 4], namespace: &str, name: &str) {
    await_condition("it to be gone", TIMEOUT, async || {
        ensure!(api(plane, kind, namespace).get_opt(name).await?.is_none(), "it is still there");
        Ok(())
    })
    .await;
}

/// Returns the routing objects of one namespace.
pub(super) async fn routing(plane: &ControlPlane, namespace: &str) -> Vec<String> {
    let mut names = Vec::new();
    for kind in [VIRTUAL_SERVICE, DESTINATION_RULE] {
        let listed = api(plane, kind, namespace).list(&ListParams::default()).await.unwrap();
        names
            .extend(listed.items.iter().map(|object| format!("{}/{}", kind[2], object.metadata.name.clone().unwrap())));
    }
    names
}

/// Returns all routing objects of the cluster, with their state, except those of other tests.
async fn all_routing(plane: &ControlPlane) -> Vec<String> {
    let mut all = Vec::new();
    for kind in [VIRTUAL_SERVICE, DESTINATION_RULE] {
        let api: Api<DynamicObject> = Api::all_with(plane.client(), &resource(kind));
        let listed = api.list(&ListParams::default()).await.unwrap().items;
        let lasting =
            listed.into_iter().filter(|object| !object.metadata.namespace.as_deref().unwrap().starts_with("test-"));
        all.extend(lasting.map(|object| format!("{:?}", object.metadata.resource_version)));
    }
    all
}

pub(super) async fn await_status(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    wanted: impl Fn(&Value) -> anyhow::Result<()>,
) -> Value {
    await_condition(&format!("the status of {name}"), Duration::from_secs(40), async || {
        let object = api(plane, SUSPENSION, namespace).get(name).await?;
        let status = object.data["status"].clone();
        wanted(&status).with_context(|| status.to_string())?;
        Ok(status)
    })
    .await
}

pub(super) fn says(status: &Value, of: &str, truth: &str, reason: &str) -> anyhow::Result<()> {
    let found = condition(status, of);
    ensure!(found["status"] == truth && found["reason"] == reason, "{of} is another");
    Ok(())
}

fn condition(status: &Value, of: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == of).cloned().unwrap_or_default()
}

pub(super) fn suspension(namespace: &str, name: &str, seconds: i64, services: Value) -> String {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"suspend": "Traffic", "services": services, "reason": "test", "for": format!("{seconds}s")},
    })
    .to_string()
}

/// Objects of a service with three versions.
pub(super) fn reviews(namespace: &str) -> String {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews", "namespace": namespace},
        "spec": {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": PORT}]},
    });
    let deployment = |version: &str| {
        let labels = json!({"app": "reviews", "version": version});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("reviews-{version}"), "namespace": namespace},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}},
            },
        })
    };
    let documents = [service, deployment("v1"), deployment("v2"), deployment("v3")];
    documents.map(|document| document.to_string()).join("\n---\n")
}
