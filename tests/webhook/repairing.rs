//! Repair of a StatefulSet, a DaemonSet and Argo Rollouts after an outage, each with its real controller.
//!
//! Their pods wait at a scheduling gate until the test lets them in, so that the test sees whether repairs wait for them.

use std::collections::BTreeSet;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use outrigger::kernel::clock::Clock;
use serde_json::{Value, json};

use super::drift::{A_MINUTE, REPAIRED, await_event, await_metric, is_ready, pods};
use super::installed::{OUR_USER, Outrigger, install_with};
use super::restarting::{apply, workload};
use super::rollouts::rollout;
use super::{await_label, is_injected, policy};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

const FLAGS: [&str; 3] = ["--repair-drift", "--repair-per-minute=40", "--drift-interval=1s"];
/// Time between two evictions at forty in a minute.
const EVICTION_INTERVAL: SignedDuration = SignedDuration::from_millis(1500);
/// Time longer than that interval plus a scan, with times in whole seconds. Repairs that did not wait would evict in it.
const HELD_TIME: SignedDuration = SignedDuration::from_secs(4);

/// Workload of the test, and whether its pods should be injected.
struct RepairedWorkload<'n> {
    namespace: &'n str,
    object: &'static str,
    app: &'static str,
    is_injected: bool,
}

impl RepairedWorkload<'_> {
    /// Returns whether a pod is ready and has the expected sidecar, or none.
    fn is_right(&self, pod: &Pod) -> bool {
        is_ready(pod) && is_injected(pod) == self.is_injected
    }
}

fn repaired_workloads<'n>(enabled: &'n str, disabled: &'n str) -> [RepairedWorkload<'n>; 4] {
    [
        RepairedWorkload { namespace: enabled, object: "StatefulSet/db", app: "db", is_injected: true },
        RepairedWorkload { namespace: enabled, object: "Rollout/canary", app: "canary", is_injected: true },
        RepairedWorkload { namespace: disabled, object: "DaemonSet/agent", app: "agent", is_injected: false },
        RepairedWorkload { namespace: disabled, object: "Rollout/referring", app: "web", is_injected: false },
    ]
}

#[tokio::test]
async fn pods_of_every_kind_that_were_missed_are_evicted_one_at_a_time_and_come_back_right() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: true }).await;
    tokio::join!(install_with(&plane, &["--repair-drift"]), plane.start_rollouts());
    with_temp_namespace(&plane, &[], async |enabled| {
        with_temp_namespace(&plane, &[("istio-injection", "enabled")], async |disabled| {
            let repaired_workloads = repaired_workloads(enabled, disabled);
            let first = they_begin_right(&plane, &repaired_workloads).await;
            they_grow_while_nobody_answers(&plane, &repaired_workloads, &first).await;
            let outrigger = Outrigger::start_with(&plane, "after", &FLAGS).await;
            they_are_found(&plane, &outrigger, &repaired_workloads).await;
            let after = they_are_repaired(&plane, &outrigger, &repaired_workloads).await;
            assert!(
                first.iter().zip(&after).all(|(first, after)| uids(first).is_subset(&uids(after))),
                "those were right"
            );
            for ((subject, first), after) in repaired_workloads.iter().zip(&first).zip(&after) {
                each_was_evicted_when_the_one_before_was_back(&plane, subject, first, after);
            }
            they_were_evicted_in_no_haste(&plane);
        })
        .await;
    })
    .await;
}

/// One pod each, created while our webhook answers.
async fn they_begin_right(plane: &ControlPlane, repaired_workloads: &[RepairedWorkload<'_>]) -> Vec<Vec<Pod>> {
    let (enabled, disabled) = (repaired_workloads[0].namespace, repaired_workloads[3].namespace);
    let outrigger = Outrigger::start(plane, "before").await;
    plane.apply(&policy(enabled, "Enable")).await;
    await_label(plane, enabled, Some("true")).await;
    let [mut canary, mut referring] = ["canary", "referring"].map(|name| rollout(name, 1, json!({"canary": {}})));
    let [mut db, mut web] = [("StatefulSet", "db", 1), ("Deployment", "web", 0)]
        .map(|(kind, name, replicas)| workload(kind, name, json!({"replicas": replicas})));
    let mut agent = workload("DaemonSet", "agent", json!({}));
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    referring["spec"] = json!({"replicas": 1, "strategy": {"canary": {}}, "workloadRef": reference});
    [&mut db, &mut canary, &mut agent, &mut web].into_iter().for_each(gate);
    for overridden in [&mut agent, &mut referring] {
        overridden["metadata"]["annotations"] = json!({"outrigger.dev/inject": "false"});
    }
    apply(plane, enabled, vec![db, canary, budget("db"), budget("canary")]).await;
    apply(plane, disabled, vec![agent, web, referring, budget("agent"), budget("web")]).await;
    let first =
        await_pods(plane, repaired_workloads, 1, SignedDuration::ZERO, |subject, pod| subject.is_right(pod)).await;
    // It goes on for a second, and gives up its Lease: what is missed is younger than the last change, in whole seconds.
    outrigger.terminate();
    await_condition("it to be gone", A_MINUTE, async || {
        ensure!(outrigger.get("/livez").is_err(), "it answers");
        Ok(())
    })
    .await;
    first
}

/// The API server goes on without us.
async fn they_grow_while_nobody_answers(
    plane: &ControlPlane,
    repaired_workloads: &[RepairedWorkload<'_>],
    first: &[Vec<Pod>],
) {
    // A DaemonSet grows with its nodes.
    for subject in repaired_workloads.iter().filter(|subject| subject.app != "agent") {
        let scaled = plane.kubectl(&["scale", subject.object, "-n", subject.namespace, "--replicas=3"]).await;
        assert!(scaled.status.success(), "{}", String::from_utf8_lossy(&scaled.stderr));
    }
    tokio::join!(plane.add_node("node-2"), plane.add_node("node-3"));
    let grown = await_pods(plane, repaired_workloads, 3, SignedDuration::ZERO, |_, pod| is_ready(pod)).await;
    for ((subject, first), pods) in repaired_workloads.iter().zip(first).zip(&grown) {
        let missed = |pod: &&Pod| !uids(first).contains(uid(pod)) && !subject.is_right(pod);
        assert_eq!(pods.iter().filter(missed).count(), 2, "{}", subject.object);
    }
}

async fn they_are_found(plane: &ControlPlane, outrigger: &Outrigger, repaired_workloads: &[RepairedWorkload<'_>]) {
    await_metric(outrigger, A_MINUTE, "outrigger_drifting_workloads", 4.0).await;
    for expected in ["Injected", "NotInjected"] {
        let metric = format!("outrigger_drifting_pods{{expected=\"{expected}\"}}");
        await_metric(outrigger, A_MINUTE, &metric, 4.0).await;
    }
    for RepairedWorkload { namespace, object, is_injected, .. } in repaired_workloads {
        let own = format!("none: outrigger.dev/inject: \"false\" is set on {}", object.replace('/', " "));
        let (has, why, unasked) = if *is_injected {
            ("no", "one: InjectionPolicy all asks for Enable", "the webhooks were")
        } else {
            ("a", own.as_str(), "our webhook was")
        };
        let note = format!(
            "2 of 3 pods have {has} sidecar; a new pod would get {why}; \
             2 created under the present rule: {unasked} not called, or did not answer"
        );
        await_event(plane, namespace, "SidecarDrift", object, &note).await;
    }
}

async fn they_are_repaired(
    plane: &ControlPlane,
    outrigger: &Outrigger,
    repaired_workloads: &[RepairedWorkload<'_>],
) -> Vec<Vec<Pod>> {
    let after = await_pods(plane, repaired_workloads, 3, HELD_TIME, |subject, pod| subject.is_right(pod)).await;
    for RepairedWorkload { namespace, object, .. } in repaired_workloads {
        await_event(plane, namespace, "SidecarDriftRepair", object, "evicted Pod ").await;
        let note = "all 3 pods are as a new one would be";
        await_event(plane, namespace, "SidecarDriftResolved", object, note).await;
    }
    await_metric(outrigger, A_MINUTE, "outrigger_drifting_workloads", 0.0).await;
    for outcome in ["Evicted", "Repaired"] {
        await_metric(outrigger, A_MINUTE, &format!("outrigger_repairs_total{{outcome=\"{outcome}\"}}"), 8.0).await;
    }
    after
}

/// By the API server's own audit log, in which whoever does not wait is refused for the sake of the budget.
fn each_was_evicted_when_the_one_before_was_back(
    plane: &ControlPlane,
    RepairedWorkload { namespace, object, .. }: &RepairedWorkload<'_>,
    first: &[Pod],
    after: &[Pod],
) {
    let (_, name) = object.split_once('/').unwrap();
    let mut log = plane.audit_log_of(namespace);
    log.retain(|event| event["objectRef"]["name"].as_str().is_some_and(|pod| pod.starts_with(&format!("{name}-"))));
    let evicted: Vec<_> = log.iter().filter(|event| is_eviction(event)).collect();
    let granted = |event: &&&Value| event["responseStatus"]["code"] == 201;
    assert_eq!(evicted.iter().filter(granted).count(), 2, "{object}: {evicted:?}");
    for asked in &evicted {
        let before = evicted.iter().filter(granted).filter(|event| requested_at(event) < requested_at(asked)).count();
        let new = after.iter().filter(|pod| !uids(first).contains(uid(pod)));
        let back = new.filter(|pod| ready_at(pod) <= requested_at(asked)).count();
        assert_eq!(before, back, "{object}: {asked}");
    }
    // The node's agent ends what was evicted.
    let deleted = log.iter().filter(|event| event["verb"] == "delete" && event["objectRef"]["resource"] == "pods");
    let by_others: Vec<_> = deleted.filter(|event| event["user"]["username"] != "kwok").collect();
    assert!(by_others.is_empty(), "{object}: {by_others:?}");
}

fn they_were_evicted_in_no_haste(plane: &ControlPlane) {
    let log = plane.audit_log();
    let mut asked: Vec<_> = log.iter().filter(|event| is_eviction(event)).map(requested_at).collect();
    asked.sort();
    let distances: Vec<_> = asked.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    assert!(distances.iter().all(|distance| *distance >= EVICTION_INTERVAL), "{distances:?}");
}

fn is_eviction(event: &Value) -> bool {
    event["objectRef"]["subresource"] == "eviction" && event["user"]["username"] == OUR_USER
}

fn requested_at(event: &Value) -> Timestamp {
    event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap()
}

/// Waits until each has so many pods and all are as wanted; lets in those that have been held for so long.
async fn await_pods(
    plane: &ControlPlane,
    repaired_workloads: &[RepairedWorkload<'_>],
    count: usize,
    held: SignedDuration,
    wanted: impl Fn(&RepairedWorkload<'_>, &Pod) -> bool,
) -> Vec<Vec<Pod>> {
    await_condition(&format!("{count} pods of each"), REPAIRED, async || {
        let (mut all, mut seen) = (Vec::new(), Vec::new());
        for subject in repaired_workloads {
            let pods = pods(plane, subject.namespace, subject.app).await?;
            for pod in pods.iter().filter(|pod| is_gated(pod) && created_at(pod) + held <= now()) {
                let pods: Api<Pod> = Api::namespaced(plane.client(), subject.namespace);
                let opened = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
                pods.patch(name(pod), &PatchParams::default(), &opened).await?;
            }
            seen.push((subject.object, pods.iter().filter(|pod| wanted(subject, pod)).count(), pods.len()));
            all.push(pods);
        }
        ensure!(seen.iter().all(|(_, right, pods)| (*right, *pods) == (count, count)), "as wanted are {seen:?}");
        Ok(all)
    })
    .await
}

fn now() -> Timestamp {
    Clock::System.now()
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap()
}

fn uids(pods: &[Pod]) -> BTreeSet<&str> {
    pods.iter().map(uid).collect()
}

fn created_at(pod: &Pod) -> Timestamp {
    pod.metadata.creation_timestamp.as_ref().unwrap().0
}

fn ready_at(pod: &Pod) -> Timestamp {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|one| one.type_ == "Ready").unwrap().last_transition_time.as_ref().unwrap().0
}

fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()))
}

fn gate(workload: &mut Value) {
    workload["spec"]["template"]["spec"]["schedulingGates"] = json!([{"name": "outrigger.test/held"}]);
}

/// One pod of three may be away.
fn budget(app: &str) -> Value {
    let spec = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": app}}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}, "spec": spec})
}
