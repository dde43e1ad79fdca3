//! Drift on a real cluster: pods that the webhook missed, or that are older than a rule, are reported, and repaired on request.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use outrigger::kernel::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::installed::{NAMESPACE, OUR_USER, Outrigger, install, install_with};
use super::{TIMEOUT, await_label, bare_pod, create, is_injected, policy};
use crate::commands::outrigger;
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

/// Time within which drift is found after an outage.
pub(super) const A_MINUTE: Duration = Duration::from_secs(60);
/// Time within which everything is repaired.
pub(super) const REPAIRED: Duration = Duration::from_secs(120);

#[tokio::test]
async fn what_an_outage_missed_is_found_within_a_minute_and_repaired_only_on_request() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: true }).await;
    install_with(&plane, &["--repair-drift"]).await;
    with_temp_namespace(&plane, &[], async |namespace| {
        let outrigger = Outrigger::start(&plane, "before").await;
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(&plane, namespace, Some("true")).await;
        plane.apply(&deployment(namespace, "web", 2)).await;
        await_pods(&plane, namespace, "web", |pods| pods.len() == 2 && pods.iter().all(is_whole)).await;
        let native = pods(&plane, namespace, "web").await.unwrap().iter().filter(|pod| has_native(pod)).count();
        assert_eq!(native, 2, "istiod gives native sidecars here");
        outrigger.kill();
        // Times are told in whole seconds: what is missed in that of the last change could be older.
        await_condition("the second after the Deployment was written", TIMEOUT, async || {
            let deployments: Api<Deployment> = Api::namespaced(plane.client(), namespace);
            let written = deployments.get("web").await?.metadata.creation_timestamp.context("it has no time")?.0;
            ensure!(Clock::System.now().as_second() > written.as_second(), "it is still that one");
            Ok(())
        })
        .await;
        // Nobody answers: the API server goes on without us.
        scaled(&plane, namespace, "web", 4).await;
        plane.apply(&deployment(namespace, "held", 1)).await;
        plane.apply(&budget(namespace, "held")).await;
        create(plane.client(), namespace, bare_pod("bare"), false).await;
        await_pods(&plane, namespace, "web", |pods| pods.len() == 4 && pods.iter().all(is_ready)).await;
        await_pods(&plane, namespace, "held", |pods| pods.len() == 1 && pods.iter().all(is_ready)).await;
        let missed = pods(&plane, namespace, "web").await.unwrap();
        assert_eq!(missed.iter().filter(|pod| is_injected(pod)).count(), 2);
        whoever_restarts_for_an_override_is_told_that_pods_do_not_follow(&plane, namespace).await;
        it_is_found_and_nothing_is_evicted(&plane, namespace).await;
        it_is_repaired(&plane, namespace).await;
    })
    .await;
}

async fn whoever_restarts_for_an_override_is_told_that_pods_do_not_follow(plane: &ControlPlane, namespace: &str) {
    plane.apply(&deployment(namespace, "late", 1)).await;
    await_pods(plane, namespace, "late", |pods| pods.len() == 1 && pods.iter().all(is_ready)).await;
    let asked = ["enable", "deployment/late", "-n", namespace, "--restart", "--yes", "-o", "json"];
    let told = outrigger(&asked, Some(&plane.kubeconfig_path()), "");
    assert_eq!(told.code, 1, "{}{}", told.out, told.err);
    let still = json!([{"namespace": namespace, "kind": "Deployment", "name": "late"}]);
    assert_eq!((&told.json()["restart"]["restarted"], &told.json()["stillDiffering"]), (&still, &still));
    assert!(
        told.err.contains("some pods still differ from new ones after the restart: deployment/late in"),
        "{}",
        told.err
    );
    let gone = plane.kubectl(&["delete", "deployment/late", "-n", namespace, "--cascade=foreground"]).await;
    assert!(gone.status.success(), "{gone:?}");
}

async fn it_is_found_and_nothing_is_evicted(plane: &ControlPlane, namespace: &str) {
    let began = Instant::now();
    let outrigger = Outrigger::start(plane, "after").await;
    let before = uids(plane, namespace).await;
    await_metric(&outrigger, A_MINUTE, "outrigger_drifting_pods{expected=\"Injected\"}", 4.0).await;
    let note = "2 of 4 pods have no sidecar; a new pod would get one: InjectionPolicy all asks for Enable; \
        2 created under the present rule: the webhooks were not called, or did not answer";
    await_event(plane, namespace, "SidecarDrift", "Deployment/web", note).await;
    await_event(plane, namespace, "SidecarDrift", "Pod/bare", "1 of 1 pods has no sidecar").await;
    assert!(began.elapsed() < A_MINUTE, "it took {:?}", began.elapsed());
    assert_eq!(outrigger.metric("outrigger_drifting_workloads").unwrap(), 3.0);
    let described = plane.kubectl(&["describe", "deployment", "web", "-n", namespace]).await;
    assert!(String::from_utf8_lossy(&described.stdout).contains("SidecarDrift"), "describe does not tell it");
    let told = outrigger.entries_where(|entry| entry["act"] == "Drift" && entry["object"]["name"] == "web");
    assert_eq!((told.len(), &told[0]["object"]["kind"]), (1, &json!("Deployment")));
    await_condition("the policy's status to count them", TIMEOUT, async || {
        let shown =
            plane.kubectl(&["get", "inj", "all", "-n", namespace, "-o", "jsonpath={.status.driftingPods}"]).await;
        ensure!(shown.stdout == b"4", "it says {}", String::from_utf8_lossy(&shown.stdout));
        Ok(())
    })
    .await;
    assert_eq!(uids(plane, namespace).await, before, "nobody asked for a repair");
    assert_eq!(evictions(plane).len(), 0);
    outrigger.kill();
}

async fn it_is_repaired(plane: &ControlPlane, namespace: &str) {
    let before = uids(plane, namespace).await;
    let flags = ["--repair-drift", "--repair-per-minute=60", "--drift-interval=2s"];
    let outrigger = Outrigger::start_with(plane, "repair", &flags).await;
    await_condition("the pods that were missed to be replaced", REPAIRED, async || {
        let pods = pods(plane, namespace, "web").await?;
        let right = pods.iter().filter(|pod| is_whole(pod)).count();
        ensure!((right, pods.len()) == (4, 4), "{right} of {}", pods.len());
        ensure!(outrigger.metric("outrigger_drifting_workloads")? == 2.0, "the metric lags");
        Ok(())
    })
    .await;
    await_event(plane, namespace, "SidecarDriftRepair", "Deployment/web", "evicted Pod web-").await;
    await_event(plane, namespace, "SidecarDriftResolved", "Deployment/web", "all 4 pods are as a new one").await;
    let after = uids(plane, namespace).await;
    let kept =
        |of: &str| before.iter().filter(|(name, uid)| name.starts_with(of) && after.get(*name) == Some(uid)).count();
    assert_eq!((kept("web-"), kept("held-"), kept("bare")), (2, 1, 1), "{before:?} became {after:?}");
    let of_web: Vec<_> = evictions(plane).into_iter().filter(|name| name.starts_with("web-")).collect();
    assert_eq!(of_web.len(), 2, "{of_web:?}");
    await_condition("the budget to be asked", TIMEOUT, async || {
        ensure!(outrigger.metric("outrigger_repairs_total{outcome=\"Held\"}")? >= 1.0, "it was not");
        Ok(())
    })
    .await;
    assert_eq!(outrigger.metric("outrigger_repairs_total{outcome=\"Evicted\"}").unwrap(), 2.0);
    assert_eq!(outrigger.metric("outrigger_repairs_total{outcome=\"Repaired\"}").unwrap(), 2.0);
    let acts: Vec<Value> = outrigger.entries_where(|entry| {
        entry["object"]["name"].as_str().is_some_and(|name| name.starts_with("web")) && entry["act"].is_string()
    });
    let words: Vec<_> = acts.iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(words, ["Drift", "Evict", "Evict", "DriftOver"]);
    assert!(acts.iter().all(|act| act["id"] == acts[0]["id"]), "one id ties them together: {acts:?}");
}

#[tokio::test]
async fn a_roll_out_in_progress_is_no_drift_and_pods_older_than_a_rule_are() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        let of = |name: &str, replicas| serde_json::from_str::<Value>(&deployment(namespace, name, replicas)).unwrap();
        let (mut rolling, mut older) = (of("rolling", 3), of("older", 1));
        // Its new pods do not count for an hour, so that the roll-out waits with the first of them.
        rolling["spec"]["minReadySeconds"] = json!(3600);
        rolling["spec"]["progressDeadlineSeconds"] = json!(7200);
        rolling["spec"]["template"]["metadata"]["annotations"] = json!({"outrigger.dev/inject": "false"});
        older["metadata"]["annotations"] = json!({"outrigger.dev/inject": "false"});
        plane.apply(&format!("{rolling}\n---\n{older}")).await;
        for (name, count) in [("rolling", 3), ("older", 1)] {
            let are_out =
                |pods: &[Pod]| pods.len() == count && pods.iter().all(|pod| is_ready(pod) && !is_injected(pod));
            await_pods(plane, namespace, name, are_out).await;
        }
        // Only the first of these is a change of a template, and brings new pods.
        rolling["spec"]["template"]["metadata"]["annotations"] = json!({"outrigger.dev/inject": "true"});
        older["metadata"]["annotations"] = json!({"outrigger.dev/inject": "true"});
        plane.apply(&format!("{rolling}\n---\n{older}")).await;
        await_pods(plane, namespace, "rolling", |pods| pods.iter().any(is_whole)).await;
        let note = "1 of 1 pods has no sidecar; a new pod would get one: outrigger.dev/inject: \"true\" is set on";
        await_event(plane, namespace, "SidecarDrift", "Deployment/older", note).await;
        let old = pods(plane, namespace, "rolling").await.unwrap().iter().filter(|pod| !is_injected(pod)).count();
        assert!(old > 0, "the roll-out goes on");
        assert_eq!(events(plane, namespace, "SidecarDrift").await.get("Deployment/rolling"), None);
    })
    .await;
}

#[tokio::test]
async fn without_the_right_to_list_pods_it_serves_and_says_so_once() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let role = plane.kubectl(&["get", "clusterrole", "outrigger", "-o", "json"]).await;
    let mut role: Value = serde_json::from_slice(&role.stdout).unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    let without = rules.len() - 1;
    rules.retain(|rule| rule["resources"] != json!(["pods"]));
    assert_eq!(rules.len(), without);
    let rules = json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
    let patched = plane.kubectl(&["patch", "clusterrole", "outrigger", "--type=json", "--patch", &rules]).await;
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let outrigger = Outrigger::start(&plane, "blind").await;
    await_metric(&outrigger, TIMEOUT, "outrigger_pods_unread", 1.0).await;
    assert_eq!(outrigger.get("/readyz").unwrap().0, 200);
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap();
    assert_eq!(log.matches("outrigger may not list pods").count(), 1, "{log}");
    install(&plane).await;
    await_metric(&outrigger, TIMEOUT * 2, "outrigger_pods_unread", 0.0).await;
    assert!(plane.kubectl(&["get", "deployment", "outrigger", "-n", NAMESPACE]).await.status.success());
}

pub(super) async fn await_metric(outrigger: &Outrigger, timeout: Duration, name: &str, expected: f64) {
    await_condition(name, timeout, async || {
        let found = outrigger.metric(name)?;
        ensure!(found == expected, "it is {found}");
        Ok(())
    })
    .await;
}

/// Returns the notes of events by kind and name of their object, as `kubectl` shows them.
async fn events(plane: &ControlPlane, namespace: &str, reason: &str) -> BTreeMap<String, String> {
    let selector = format!("--field-selector=reason={reason}");
    let shown = plane.kubectl(&["get", "events", "-n", namespace, &selector, "-o", "json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("kubectl prints JSON");
    let events = shown["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = events.iter().map(|event| {
        let object = &event["involvedObject"];
        (format!("{}/{}", text(&object["kind"]), text(&object["name"])), text(&event["message"]))
    });
    told.collect()
}

pub(super) async fn await_event(plane: &ControlPlane, namespace: &str, reason: &str, object: &str, note: &str) {
    await_condition(&format!("an event {reason} on {object}"), A_MINUTE, async || {
        let events = events(plane, namespace, reason).await;
        let found = events.get(object).with_context(|| format!("there are {events:?}"))?;
        ensure!(found.starts_with(note), "it says {found}");
        Ok(())
    })
    .await;
}

/// Returns the pods that we asked to evict, by the API server's own audit log.
fn evictions(plane: &ControlPlane) -> Vec<String> {
    let is_ours = |event: &&Value| {
        event["objectRef"]["subresource"] == "eviction"
            && event["user"]["username"] == OUR_USER
            && event["responseStatus"]["code"] == 201
    };
    let log = plane.audit_log();
    log.iter().filter(is_ours).map(|event| event["objectRef"]["name"].as_str().unwrap().to_owned()).collect()
}

pub(super) async fn pods(plane: &ControlPlane, namespace: &str, app: &str) -> anyhow::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let mut pods = api.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(pods)
}

async fn uids(plane: &ControlPlane, namespace: &str) -> BTreeMap<String, String> {
    let api: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let pods = api.list(&ListParams::default()).await.unwrap().items;
    let named = |pod: Pod| (pod.metadata.name.unwrap_or_default(), pod.metadata.uid.unwrap_or_default());
    pods.into_iter().map(named).collect()
}

async fn await_pods(plane: &ControlPlane, namespace: &str, app: &str, wanted: impl Fn(&[Pod]) -> bool) {
    await_condition(&format!("the pods of {app}"), TIMEOUT, async || {
        let pods = pods(plane, namespace, app).await?;
        let seen: Vec<_> = pods.iter().map(|pod| (is_injected(pod), is_ready(pod))).collect();
        ensure!(wanted(&pods), "injected and ready are {seen:?}");
        Ok(())
    })
    .await;
}

async fn scaled(plane: &ControlPlane, namespace: &str, name: &str, replicas: u32) {
    let deployment = format!("deployment/{name}");
    let replicas = format!("--replicas={replicas}");
    let scaled = plane.kubectl(&["scale", &deployment, "-n", namespace, &replicas]).await;
    assert!(scaled.status.success(), "{}", String::from_utf8_lossy(&scaled.stderr));
}

pub(super) fn is_whole(pod: &Pod) -> bool {
    is_injected(pod) && is_ready(pod)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn has_native(pod: &Pod) -> bool {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.into_iter().any(|one| one.name == "istio-proxy" && one.restart_policy.as_deref() == Some("Always"))
}

fn deployment(namespace: &str, name: &str, replicas: u32) -> String {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": "main", "image": "example.test/main:1"}],
                    // As soon as it is told to end it has ended.
                    "terminationGracePeriodSeconds": 0,
                },
            },
        },
    })
    .to_string()
}

/// Returns a PodDisruptionBudget that allows no eviction of this app.
fn budget(namespace: &str, app: &str) -> String {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app, "namespace": namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": app}}},
    })
    .to_string()
}
