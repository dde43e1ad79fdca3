//! Drift as data: every case of `cases/drift/*.yaml` is a world at one instant, what drifts in it, and what is repaired first.
//!
//! Further steps of repairs and reports are tests in Rust, below the cases.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use outrigger::audit;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::controllers::drift::repair::{RepairOutcome, RepairPlanner};
use outrigger::controllers::drift::reports::{DriftChange, DriftLedger};
use outrigger::controllers::drift::{self, DriftController, repair_obstacle};
use outrigger::features::drift::{DriftScan, is_still_drifting, scan_drift};
use outrigger::features::explain::explanation::Explanation;
use outrigger::features::status::states::workload_statuses;
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::client::events::EventPublisher;
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use outrigger::metrics::Metrics;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control_plane::await_condition;
use crate::decisions::injectors;

/// Case of drift.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DriftCase {
    /// A sentence.
    name: String,
    /// Kubernetes objects, on top of those of the file.
    #[serde(default)]
    state: Vec<Value>,
    /// A file of `cases/injectors`; the default control plane if absent.
    injectors: Option<String>,
    workloads: Vec<WorkloadCase>,
    pods: Vec<PodCase>,
    /// Part of the sentence, by kind, namespace and name, for every workload that drifts.
    #[serde(default)]
    drift: BTreeMap<String, String>,
    /// Number of excused pods, for every workload that has some.
    #[serde(default)]
    excused: BTreeMap<String, usize>,
    /// Number of pods that a webhook certainly missed, for every workload that has some. Not compared if absent.
    missed: Option<BTreeMap<String, usize>>,
    /// State of a workload and the end of its sentence, by kind, namespace and name. Workloads that are left out are not compared.
    #[serde(default)]
    states: BTreeMap<String, String>,
    /// The pod that is evicted first, if any is.
    evicts: Option<String>,
    /// Instant at which the result changes by itself.
    changes_at: Option<Timestamp>,
}

/// Workload of a case: its kind, namespace and name, or all of its fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum WorkloadCase {
    Named(String),
    Full(WorkloadFields),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadFields {
    kind: String,
    name: String,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    labels: Value,
    /// Last write of the labels and the template.
    written: Option<String>,
    /// Proxy that the template brings, if any.
    #[serde(default)]
    proxy: String,
}

/// Pod of a case; fields that are left out have usual values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PodCase {
    name: String,
    namespace: String,
    of: String,
    template: String,
    sidecar: String,
    revision: Option<String>,
    receipt: Option<String>,
    created: Option<String>,
    phase: Option<String>,
    ready: Option<bool>,
    leaving: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DriftCaseFile {
    state: Vec<Value>,
    cases: Vec<DriftCase>,
}

#[derive(Parser)]
struct CaseFlags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

const NOW: &str = "2026-11-22T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

impl WorkloadCase {
    fn full(&self) -> WorkloadFields {
        match self {
            Self::Full(full) => full.clone(),
            Self::Named(named) => {
                let (kind, name) = named.split_once(' ').unwrap();
                WorkloadFields { kind: kind.to_owned(), name: name.to_owned(), ..WorkloadFields::default() }
            }
        }
    }
}

impl WorkloadFields {
    fn object(&self) -> Value {
        let Self { kind, name, annotations, labels, written, proxy } = self;
        let (namespace, name) = name.split_once('/').unwrap();
        let (mut containers, mut first) = (vec![json!({"name": "main"})], Vec::new());
        match proxy.as_str() {
            "ordinary" => containers.push(json!({"name": "istio-proxy", "image": "istio/proxyv2"})),
            "native" => first.push(json!({"name": "istio-proxy", "image": "istio/proxyv2", "restartPolicy": "Always"})),
            "" => {}
            other => panic!("{other} is no form of a proxy"),
        }
        let template = json!({"spec": {"containers": containers, "initContainers": first}});
        let (group, spec) = match kind.as_str() {
            "CronJob" => ("batch", json!({"jobTemplate": {"spec": {"template": template}}})),
            _ => ("apps", json!({"template": template})),
        };
        let fields = json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:template": {}}});
        let managed = written.iter().map(|time| json!({"manager": "kubectl", "time": time, "fieldsV1": fields}));
        let metadata = json!({
            "name": name, "namespace": namespace, "uid": name, "annotations": annotations, "labels": labels,
            "managedFields": managed.collect::<Vec<_>>(),
        });
        json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": metadata, "spec": spec})
    }
}

impl PodCase {
    /// The pod, and the owner in between where there is one.
    fn objects(&self, workloads: &[WorkloadFields]) -> Vec<Value> {
        let of = |one: &&WorkloadFields| one.name.ends_with(&format!("/{}", self.of));
        let workload = workloads.iter().find(of).filter(|_| !self.of.is_empty());
        let Some(WorkloadFields { kind, name, .. }) = workload else { return vec![self.object(&self.namespace, None)] };
        let (namespace, name) = name.split_once('/').unwrap();
        let owner = |group: &str, kind: &str, name: &str| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "name": name, "uid": name, "controller": true});
        let between = format!("{name}-{}", self.template);
        let (group, nearer) = match kind.as_str() {
            "Deployment" => ("apps", "ReplicaSet"),
            "CronJob" => ("batch", "Job"),
            _ => return vec![self.object(namespace, Some(owner("apps", kind, name)))],
        };
        let above = owner(group, kind, name);
        let metadata = json!({"name": between, "namespace": namespace, "uid": between, "ownerReferences": [above]});
        let nearest = json!({"apiVersion": format!("{group}/v1"), "kind": nearer, "metadata": metadata});
        vec![nearest, self.object(namespace, Some(owner(group, nearer, &between)))]
    }

    fn object(&self, namespace: &str, owner: Option<Value>) -> Value {
        let Self { name, template, sidecar, revision, receipt, created, phase, ready, leaving, .. } = self;
        let (mut containers, mut first) = (vec![json!({"name": "main"})], Vec::new());
        let revision = revision.as_deref().unwrap_or("default");
        let mut annotations = json!({"istio.io/rev": revision});
        let status = json!({"containers": ["my-proxy"], "initContainers": null, "revision": revision}).to_string();
        match sidecar.as_str() {
            "ordinary" => containers.push(json!({"name": "istio-proxy"})),
            "native" => first.push(json!({"name": "istio-proxy", "restartPolicy": "Always"})),
            "ends" => first.push(json!({"name": "istio-proxy"})),
            "custom" => {
                containers.push(json!({"name": "my-proxy"}));
                annotations = json!({"sidecar.istio.io/status": status});
            }
            "copied" => annotations = json!({"sidecar.istio.io/status": status}),
            "" => annotations = json!({}),
            other => panic!("{other} is no form of a sidecar"),
        }
        if let Some(receipt) = receipt {
            annotations["outrigger.dev/decision"] = json!(receipt);
        }
        let ready = if ready.unwrap_or(true) { "True" } else { "False" };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": namespace, "uid": name, "annotations": annotations,
                "creationTimestamp": created.as_deref().unwrap_or("2026-11-22T11:40:00Z"),
                "deletionTimestamp": leaving.then_some(NOW),
                "labels": {"controller-revision-hash": template},
                "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
            "spec": {"containers": containers, "initContainers": first},
            "status": {
                "phase": phase.as_deref().unwrap_or("Running"), "conditions": [{"type": "Ready", "status": ready}],
            },
        })
    }
}

fn case_file() -> DriftCaseFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/drift/1-drift.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A world of these objects, workloads and pods.
fn world(state: &[Value], injected_by: &str, workloads: &[WorkloadCase], pods: &[PodCase]) -> Inventory {
    let inventory = CaseFlags::parse_from(["case"]).decision_args.new_inventory();
    let objects = objects(state, injected_by, workloads, pods);
    let problems = files::replace_all(&inventory, &Default::default(), &objects);
    assert!(problems.is_empty(), "{problems:?}");
    inventory
}

fn objects(state: &[Value], injected_by: &str, workloads: &[WorkloadCase], pods: &[PodCase]) -> Vec<Value> {
    let workloads: Vec<_> = workloads.iter().map(WorkloadCase::full).collect();
    let injectors = if injected_by == "none" { Vec::new() } else { injectors(injected_by) };
    let mut objects = [state, &injectors].concat();
    objects.extend(workloads.iter().map(WorkloadFields::object));
    objects.extend(pods.iter().flat_map(|pod| pod.objects(&workloads)));
    objects
}

/// The name and the objects of every case.
pub(crate) fn worlds() -> Vec<(String, Vec<Value>)> {
    let DriftCaseFile { state, cases } = case_file();
    let case_objects = |case: &DriftCase| {
        let injectors = case.injectors.as_deref().unwrap_or("default");
        objects(&[&state[..], &case.state].concat(), injectors, &case.workloads, &case.pods)
    };
    cases.iter().map(|case| (case.name.clone(), case_objects(case))).collect()
}

#[test]
fn every_case_drifts_as_it_says_and_repairs_what_it_says() {
    let DriftCaseFile { state, cases } = case_file();
    let count = cases.len();
    let failures: Vec<_> = cases.iter().flat_map(|case| check(case, &state)).collect();
    assert!(failures.is_empty(), "of {count} cases:\n{}", failures.join("\n"));
    assert!(count >= 20, "only {count} cases were found");
}

fn check(case: &DriftCase, shared: &[Value]) -> Vec<String> {
    let state = [shared, &case.state].concat();
    let inventory = world(&state, case.injectors.as_deref().unwrap_or("default"), &case.workloads, &case.pods);
    let scan = scan_drift(&inventory, now()).expect("everything is known");
    let mut failures = Vec::new();
    let mut sentences = BTreeMap::new();
    let (mut excused, mut missed) = (BTreeMap::new(), BTreeMap::new());
    for drift in &scan.drifts {
        if !drift.differing.is_empty() {
            sentences.insert(drift.subject.display_name(), drift.describe());
        }
        if drift.excused > 0 {
            excused.insert(drift.subject.display_name(), drift.excused);
        }
        if drift.missed > 0 {
            missed.insert(drift.subject.display_name(), drift.missed);
        }
    }
    let mut fail = |what: String| failures.push(format!("{}: {what}", case.name));
    if sentences.keys().ne(case.drift.keys()) || case.drift.iter().any(|(name, part)| !sentences[name].contains(part)) {
        fail(format!("expected {:?} to drift, found {sentences:?}", case.drift));
    }
    if excused != case.excused {
        fail(format!("expected {:?} to be excused, found {excused:?}", case.excused));
    }
    if case.missed.as_ref().is_some_and(|expected| *expected != missed) {
        fail(format!("expected {:?} to be missed, found {missed:?}", case.missed));
    }
    let statuses = workload_statuses(&inventory, now());
    for workload in inventory.workloads() {
        let explained = Explanation::for_workload(&inventory, &workload, &scan.running, now());
        let status = statuses.iter().find(|one| *one.name == *workload.name).unwrap();
        let counted = explained.running.unwrap().differing;
        if counted.is_some_and(|counted| counted != status.actual.as_ref().unwrap().differing.len()) {
            fail(format!("status has {:?} where explain counts {counted:?}", status.actual));
        }
    }
    let states: BTreeMap<_, _> = statuses
        .into_iter()
        .map(|one| (format!("{} {}/{}", one.kind, one.namespace, one.name), (one.state.as_words(), one.why)))
        .collect();
    for (workload, expected) in &case.states {
        let (state, why) = expected.split_once(": ").unwrap();
        if states.get(workload).is_none_or(|(actual, sentence)| *actual != state || !sentence.ends_with(why)) {
            fail(format!("expected {workload} to be {expected}, found {:?}", states.get(workload)));
        }
    }
    let next = RepairPlanner::new(10).next_eviction(&scan, |_| true, now());
    if next.is_some_and(|(drift, pod)| !is_still_drifting(&inventory, &drift.subject.uid, &pod.uid, now())) {
        fail("what is evicted does not drift".to_owned());
    }
    let evicted = next.map(|(_, pod)| pod.name.to_string());
    if evicted != case.evicts {
        fail(format!("expected {:?} to be evicted, found {evicted:?}", case.evicts));
    }
    if scan.changes_at != case.changes_at {
        fail(format!("expected the answer to change at {:?}, found {:?}", case.changes_at, scan.changes_at));
    }
    failures
}

/// Inventory in which these pods run; `web-a` belongs to the workload `web`. A `+` stands for a sidecar, a `~` for not ready.
fn running(pods: &[&str]) -> Inventory {
    let DriftCaseFile { state, .. } = case_file();
    let pod = |text: &&str| {
        let name = text.trim_end_matches(['+', '~']);
        let sidecar = if text.contains('+') { "native" } else { "" };
        let (of, ready) = (name.split_once('-').unwrap().0.to_owned(), Some(!text.contains('~')));
        PodCase { name: name.to_owned(), of, sidecar: sidecar.to_owned(), ready, ..PodCase::default() }
    };
    let pods: Vec<PodCase> = pods.iter().map(pod).collect();
    let workloads = ["api", "db", "web"].map(|name| WorkloadCase::Named(format!("Deployment shop/{name}")));
    world(&state, "default", &workloads, &pods)
}

/// Scan of an inventory in which these pods run.
fn scan_with(pods: &[&str]) -> DriftScan {
    scan_drift(&running(pods), now()).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

/// Returns the pod that is evicted next, and records its eviction.
fn evict_next(repairs: &mut RepairPlanner, scan: &DriftScan, seconds: i64) -> Option<String> {
    let (drift, pod) = repairs.next_eviction(scan, |_| true, after(seconds))?;
    let (drift, name) = (drift.clone(), pod.name.to_string());
    repairs.record_eviction(scan, &drift, after(seconds));
    Some(name)
}

fn outcomes(repairs: &mut RepairPlanner, scan: &DriftScan, seconds: i64) -> Vec<RepairOutcome> {
    repairs.take_outcomes(scan, after(seconds)).into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn one_pod_is_tried_first_and_then_as_many_as_the_rate_allows_one_of_each_workload() {
    let mut repairs = RepairPlanner::new(10);
    let before = scan_with(&["web-a", "web-b", "api-a", "api-b"]);
    assert_eq!(evict_next(&mut repairs, &before, 0).as_deref(), Some("api-a"));
    assert_eq!(evict_next(&mut repairs, &before, 60), None, "nothing has come back yet");
    let first = scan_with(&["web-a", "web-b", "api-b", "api-c+"]);
    assert_eq!(outcomes(&mut repairs, &first, 61), [RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &first, 61).as_deref(), Some("api-b"));
    assert_eq!(evict_next(&mut repairs, &first, 66), None, "ten in a minute are one in six seconds");
    assert_eq!(evict_next(&mut repairs, &first, 67).as_deref(), Some("web-a"), "another workload need not wait");
    assert_eq!(evict_next(&mut repairs, &first, 99), None, "one pod of a workload at a time");
    let whole = scan_with(&["web-b", "web-c+", "api-c+", "api-d+"]);
    assert_eq!(outcomes(&mut repairs, &whole, 100), [RepairOutcome::Repaired, RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &whole, 100).as_deref(), Some("web-b"));
}

#[test]
fn a_workload_whose_new_pods_drift_again_is_left_alone_longer_and_longer() {
    let mut repairs = RepairPlanner::new(10);
    let before = scan_with(&["web-a", "web-b"]);
    let again = scan_with(&["web-b", "web-c"]);
    let mut at = 0;
    for rest in [10, 20, 40, 80, 160, 320, 360, 360] {
        assert_eq!(evict_next(&mut repairs, &before, at).as_deref(), Some("web-a"));
        assert_eq!(outcomes(&mut repairs, &again, at + 5), [RepairOutcome::StillDrifting]);
        let next = at + 5 + rest * 60;
        assert_eq!(evict_next(&mut repairs, &before, next - 1), None, "after {rest} minutes");
        at = next;
    }
}

#[test]
fn what_does_not_become_ready_is_given_up_after_a_while_and_everything_pauses() {
    let mut repairs = RepairPlanner::new(10);
    let before = scan_with(&["web-a", "web-b", "api-a", "api-b"]);
    assert_eq!(evict_next(&mut repairs, &before, 0).as_deref(), Some("api-a"));
    let fewer = scan_with(&["web-a", "web-b", "api-b", "api-c+~"]);
    assert_eq!(outcomes(&mut repairs, &fewer, 599), []);
    assert_eq!(evict_next(&mut repairs, &fewer, 599), None, "that one has come proves nothing while it is not ready");
    assert_eq!(outcomes(&mut repairs, &fewer, 600), [RepairOutcome::NotReady]);
    assert_eq!(evict_next(&mut repairs, &fewer, 1199), None, "what fails for one would fail for another");
    assert_eq!(evict_next(&mut repairs, &fewer, 1200).as_deref(), Some("web-a"), "of the other one is tried");
    let again = scan_with(&["web-b", "web-c+~", "api-b", "api-c+~"]);
    assert_eq!(outcomes(&mut repairs, &again, 1800), [RepairOutcome::NotReady]);
    let healed = scan_with(&["web-b", "web-c+", "api-b", "api-c+"]);
    assert_eq!(evict_next(&mut repairs, &healed, 2999), None, "the second time in a row it is twice as long");
    assert_eq!(evict_next(&mut repairs, &healed, 3000).as_deref(), Some("api-b"));
    let right = scan_with(&["web-b", "web-c+", "api-c+", "api-d+"]);
    assert_eq!(outcomes(&mut repairs, &right, 3010), [RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &right, 3010).as_deref(), Some("web-b"), "and nothing pauses any more");
}

#[test]
fn only_pods_go_last_and_one_at_a_time_so_that_where_none_becomes_ready_one_workload_is_down() {
    let mut repairs = RepairPlanner::new(10);
    let before = scan_with(&["api-a", "db-a", "web-a", "web-b"]);
    assert_eq!(evict_next(&mut repairs, &before, 0).as_deref(), Some("web-a"), "the trial is of one that has others");
    let first = scan_with(&["api-a", "db-a", "web-b", "web-c+"]);
    assert_eq!(outcomes(&mut repairs, &first, 10), [RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &first, 10).as_deref(), Some("web-b"));
    assert_eq!(
        evict_next(&mut repairs, &first, 20),
        None,
        "no workload is left without a pod while another waits for one"
    );
    let second = scan_with(&["api-a", "db-a", "web-c+", "web-d+"]);
    assert_eq!(outcomes(&mut repairs, &second, 30), [RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &second, 30).as_deref(), Some("api-a"));
    let stuck = scan_with(&["api-b+~", "db-a", "web-c+", "web-d+"]);
    assert_eq!(outcomes(&mut repairs, &stuck, 40), []);
    assert_eq!(evict_next(&mut repairs, &stuck, 600), None);
    assert_eq!(outcomes(&mut repairs, &stuck, 630), [RepairOutcome::NotReady]);
    assert_eq!(evict_next(&mut repairs, &stuck, 1229), None);
}

#[test]
fn what_takes_long_to_become_ready_holds_up_everything_else() {
    let mut repairs = RepairPlanner::new(10);
    assert_eq!(
        evict_next(&mut repairs, &scan_with(&["web-a", "web-b", "api-a", "api-b"]), 0).as_deref(),
        Some("api-a")
    );
    let proven = scan_with(&["web-a", "web-b", "api-b", "api-c+"]);
    assert_eq!(outcomes(&mut repairs, &proven, 5), [RepairOutcome::Repaired]);
    assert_eq!(evict_next(&mut repairs, &proven, 6).as_deref(), Some("api-b"));
    let slow = scan_with(&["web-a", "web-b", "api-c+", "api-d+~"]);
    assert_eq!(evict_next(&mut repairs, &slow, 66), None);
    assert_eq!(
        outcomes(&mut repairs, &scan_with(&["web-a", "web-b", "api-c+", "api-d+"]), 70),
        [RepairOutcome::Repaired]
    );
    assert_eq!(evict_next(&mut repairs, &proven, 70).as_deref(), Some("api-b"));
}

#[test]
fn that_a_workload_is_scaled_down_meanwhile_is_no_failure() {
    let mut repairs = RepairPlanner::new(10);
    let before = scan_with(&["web-a", "web-b+", "web-c+"]);
    assert_eq!(evict_next(&mut repairs, &before, 0).as_deref(), Some("web-a"));
    assert_eq!(
        outcomes(&mut repairs, &scan_with(&["web-b+", "web-d+"]), 30),
        [RepairOutcome::Repaired],
        "one has come"
    );
    assert_eq!(evict_next(&mut repairs, &before, 30).as_deref(), Some("web-a"));
    let none = scan_with(&["web-b+", "web-c+"]);
    assert_eq!(repairs.stalled_but_ready(&none, after(629)), []);
    let stalled = repairs.stalled_but_ready(&none, after(630));
    assert_eq!(stalled.iter().map(|subject| subject.display_name()).collect::<Vec<_>>(), ["Deployment shop/web"]);
    repairs.forget(&stalled[0]);
    assert_eq!(outcomes(&mut repairs, &none, 630), [], "as the workload itself says");
    assert_eq!(evict_next(&mut repairs, &before, 630).as_deref(), Some("web-a"));
}

#[test]
fn drift_is_told_once_again_when_it_is_another_and_when_it_is_over() {
    let mut ledger = DriftLedger::new(SignedDuration::from_secs(15));
    let mut reports = |scan: &DriftScan, seconds: i64| {
        let reports = ledger.due_reports(scan, after(seconds), 100);
        reports.into_iter().map(|one| (one.change, one.subject.display_name(), one.sentence)).collect::<Vec<_>>()
    };
    let (one, two, none) =
        (scan_with(&["web-a", "web-b+"]), scan_with(&["web-a", "web-c"]), scan_with(&["web-b+", "web-d+"]));
    assert_eq!(reports(&one, 0), []);
    assert_eq!(reports(&none, 10), [], "what does not last is not spoken of");
    assert_eq!(reports(&one, 11), []);
    assert_eq!(reports(&one, 25), []);
    let begun = reports(&one, 26);
    assert_eq!((begun.len(), begun[0].0, begun[0].1.as_str()), (1, DriftChange::Begun, "Deployment shop/web"));
    assert!(begun[0].2.starts_with("1 of 2 pods has no sidecar"), "{begun:?}");
    assert_eq!(reports(&one, 1000), [], "it is told once");
    let more = reports(&two, 1001);
    assert_eq!((more[0].0, &more[0].2[..11]), (DriftChange::Changed, "2 of 2 pods"));
    assert_eq!(reports(&one, 2000), [], "that it becomes less is no news");
    assert_eq!(reports(&none, 2001), []);
    assert_eq!(
        reports(&none, 2016)[0],
        (DriftChange::Ended, "Deployment shop/web".into(), "all 2 pods are as a new one would be".into())
    );
    assert_eq!(reports(&none, 3000), []);
}

#[test]
fn what_is_too_much_at_once_is_told_the_next_time() {
    let mut ledger = DriftLedger::new(SignedDuration::ZERO);
    let both = scan_with(&["web-a", "api-a"]);
    let named = |ledger: &mut DriftLedger| -> Vec<_> {
        ledger.due_reports(&both, now(), 1).into_iter().map(|one| one.subject.display_name()).collect()
    };
    assert_eq!(named(&mut ledger), ["Deployment shop/api"]);
    assert_eq!(named(&mut ledger), ["Deployment shop/web"]);
    assert_eq!(named(&mut ledger), Vec::<String>::new());
}

#[tokio::test]
async fn drift_is_counted_and_recorded_while_no_event_is_taken() {
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
    let (log, _writer) = audit::audit_channel(Clock::Fixed(now()));
    let metrics = Metrics::new(log.lost_counter().clone());
    let controller = DriftController {
        interval: Duration::ZERO,
        metrics: metrics.clone(),
        audit: log,
        events: Some(EventPublisher::new(client, "outrigger", "outrigger-0")),
        repairing: None,
    };
    let counted = await_condition("both workloads to be counted", Duration::from_secs(15), async || {
        let drifting = metrics.drifting_workloads.get();
        ensure!(drifting == 2, "{drifting} are");
        Ok(())
    });
    tokio::select! {
        () = drift::run(Arc::new(running(&["web-a", "api-a"])), Clock::Fixed(now()), controller) => panic!("it ended"),
        () = counted => {}
    }
}

#[test]
fn nothing_is_told_while_pods_are_not_known() {
    let DriftCaseFile { state, .. } = case_file();
    let inventory = world(&state, "default", &[], &[]);
    assert!(scan_drift(&inventory, now()).is_some());
    inventory.pods.clear();
    assert!(scan_drift(&inventory, now()).is_none());
}

#[test]
fn whoever_is_refused_keeps_nobody_waiting_and_is_asked_ever_more_rarely() {
    let mut repairs = RepairPlanner::new(60);
    let both = scan_with(&["web-a", "api-a"]);
    let mut at = 0;
    for rest in [30, 60, 120, 240, 480, 600, 600] {
        let alone = scan_with(&["api-a"]);
        let (drift, _) =
            repairs.next_eviction(&alone, |_| true, after(at)).unwrap_or_else(|| panic!("after {rest} seconds"));
        repairs.record_refusal(&drift.subject, after(at));
        assert!(repairs.next_eviction(&alone, |_| true, after(at + rest - 1)).is_none());
        let next = repairs.next_eviction(&both, |_| true, after(at + rest)).map(|(_, pod)| pod.name.to_string());
        assert_eq!(next.as_deref(), Some("web-a"), "though the other comes first by its name");
        at += rest;
    }
}

#[test]
fn nothing_is_repaired_while_pods_do_not_reach_us_before_the_injector() {
    let right = world(&[], "default", &[], &[]);
    assert_eq!(repair_obstacle(&right, true), None);
    let why = repair_obstacle(&right, false).unwrap();
    assert!(why.starts_with("the API server does not call us yet"), "{why}");
    let mut before_us = injectors("default");
    before_us[0]["metadata"]["name"] = json!("0-istio");
    let wrong = world(&before_us, "none", &[], &[]);
    let why = repair_obstacle(&wrong, true).unwrap();
    assert!(why.starts_with("the API server calls 0-istio before us"), "{why}");
}
