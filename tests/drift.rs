//! Drift as data: every case of `cases/drift/*.yaml` is a world at one instant, what drifts in it, and what is repaired first.
//!
//! How it goes on from there is told step by step below.

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
use outrigger::cli::deciding::DecidingArgs;
use outrigger::controllers::drift::repair::{Came, Repairs};
use outrigger::controllers::drift::telling::{Ledger, News};
use outrigger::controllers::drift::{Watching, keep, keeps_from_repairing};
use outrigger::features::drift::{Found, drifting, still_drifts};
use outrigger::features::explain::explanation::Explanation;
use outrigger::features::status::states::standings;
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::client::events::Events;
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use outrigger::metrics::Metrics;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control_plane::await_condition;
use crate::decisions::injectors;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    /// A sentence.
    name: String,
    /// Kubernetes objects, on top of those of the file.
    #[serde(default)]
    state: Vec<Value>,
    /// A file of `cases/injectors`; the default control plane if absent.
    injectors: Option<String>,
    workloads: Vec<Workload>,
    pods: Vec<Pod>,
    /// By kind, namespace and name a part of the sentence; all that drift.
    #[serde(default)]
    drift: BTreeMap<String, String>,
    /// How many pods differ and are excused; all of which that is so.
    #[serde(default)]
    excused: BTreeMap<String, usize>,
    /// Of how many it is certain that a webhook missed them, if that is told here; all of which that is so.
    missed: Option<BTreeMap<String, usize>>,
    /// By kind, namespace and name a workload's state, and the end of the sentence that says why, if that is told here.
    #[serde(default)]
    states: BTreeMap<String, String>,
    /// The pod that is evicted first, if any is.
    evicts: Option<String>,
    /// When the answer changes by itself.
    changes_at: Option<Timestamp>,
}

/// A workload: its kind, namespace and name, or that and more.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Workload {
    Named(String),
    Full(FullWorkload),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullWorkload {
    kind: String,
    name: String,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    labels: Value,
    /// When its labels and its template were written last.
    written: Option<String>,
    /// The proxy that its template brings, if it does.
    #[serde(default)]
    proxy: String,
}

/// A pod: what is left out is usual.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pod {
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
struct CaseFile {
    state: Vec<Value>,
    cases: Vec<Case>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    deciding: DecidingArgs,
}

const NOW: &str = "2026-11-22T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

impl Workload {
    fn full(&self) -> FullWorkload {
        match self {
            Self::Full(full) => full.clone(),
            Self::Named(named) => {
                let (kind, name) = named.split_once(' ').unwrap();
                FullWorkload { kind: kind.to_owned(), name: name.to_owned(), ..FullWorkload::default() }
            }
        }
    }
}

impl FullWorkload {
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

impl Pod {
    /// The pod, and the owner in between where there is one.
    fn objects(&self, workloads: &[FullWorkload]) -> Vec<Value> {
        let of = |one: &&FullWorkload| one.name.ends_with(&format!("/{}", self.of));
        let workload = workloads.iter().find(of).filter(|_| !self.of.is_empty());
        let Some(FullWorkload { kind, name, .. }) = workload else { return vec![self.object(&self.namespace, None)] };
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

fn case_file() -> CaseFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/drift/1-drift.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A world of these objects, workloads and pods.
fn world(state: &[Value], injected_by: &str, workloads: &[Workload], pods: &[Pod]) -> Inventory {
    let inventory = Flags::parse_from(["case"]).deciding.inventory();
    let objects = objects(state, injected_by, workloads, pods);
    let problems = files::fill(&inventory, &Default::default(), &objects);
    assert!(problems.is_empty(), "{problems:?}");
    inventory
}

fn objects(state: &[Value], injected_by: &str, workloads: &[Workload], pods: &[Pod]) -> Vec<Value> {
    let workloads: Vec<_> = workloads.iter().map(Workload::full).collect();
    let injectors = if injected_by == "none" { Vec::new() } else { injectors(injected_by) };
    let mut objects = [state, &injectors].concat();
    objects.extend(workloads.iter().map(FullWorkload::object));
    objects.extend(pods.iter().flat_map(|pod| pod.objects(&workloads)));
    objects
}

/// Of every case its name and its objects.
pub(crate) fn worlds() -> Vec<(String, Vec<Value>)> {
    let CaseFile { state, cases } = case_file();
    let of = |case: &Case| {
        let injectors = case.injectors.as_deref().unwrap_or("default");
        objects(&[&state[..], &case.state].concat(), injectors, &case.workloads, &case.pods)
    };
    cases.iter().map(|case| (case.name.clone(), of(case))).collect()
}

#[test]
fn every_case_drifts_as_it_says_and_repairs_what_it_says() {
    let CaseFile { state, cases } = case_file();
    let count = cases.len();
    let failures: Vec<_> = cases.iter().flat_map(|case| check(case, &state)).collect();
    assert!(failures.is_empty(), "of {count} cases:\n{}", failures.join("\n"));
    assert!(count >= 20, "only {count} cases were found");
}

fn check(case: &Case, shared: &[Value]) -> Vec<String> {
    let state = [shared, &case.state].concat();
    let inventory = world(&state, case.injectors.as_deref().unwrap_or("default"), &case.workloads, &case.pods);
    let found = drifting(&inventory, now()).expect("everything is known");
    let mut failures = Vec::new();
    let mut told = BTreeMap::new();
    let (mut excused, mut missed) = (BTreeMap::new(), BTreeMap::new());
    for drift in &found.drifts {
        if !drift.differing.is_empty() {
            told.insert(drift.subject.named(), drift.sentence());
        }
        if drift.excused > 0 {
            excused.insert(drift.subject.named(), drift.excused);
        }
        if drift.missed > 0 {
            missed.insert(drift.subject.named(), drift.missed);
        }
    }
    let mut fail = |what: String| failures.push(format!("{}: {what}", case.name));
    if told.keys().ne(case.drift.keys()) || case.drift.iter().any(|(name, part)| !told[name].contains(part)) {
        fail(format!("expected {:?} to drift, found {told:?}", case.drift));
    }
    if excused != case.excused {
        fail(format!("expected {:?} to be excused, found {excused:?}", case.excused));
    }
    if case.missed.as_ref().is_some_and(|expected| *expected != missed) {
        fail(format!("expected {:?} to be missed, found {missed:?}", case.missed));
    }
    let standings = standings(&inventory, now());
    for workload in inventory.workloads() {
        let explained = Explanation::of_workload(&inventory, &workload, &found.running, now());
        let standing = standings.iter().find(|one| *one.name == *workload.name).unwrap();
        let counted = explained.running.unwrap().differing;
        if counted.is_some_and(|counted| counted != standing.actual.as_ref().unwrap().differing.len()) {
            fail(format!("status has {:?} where explain counts {counted:?}", standing.actual));
        }
    }
    let states: BTreeMap<_, _> = standings
        .into_iter()
        .map(|one| (format!("{} {}/{}", one.kind, one.namespace, one.name), (one.state.words(), one.why)))
        .collect();
    for (workload, expected) in &case.states {
        let (state, why) = expected.split_once(": ").unwrap();
        if states.get(workload).is_none_or(|(found, sentence)| *found != state || !sentence.ends_with(why)) {
            fail(format!("expected {workload} to be {expected}, found {:?}", states.get(workload)));
        }
    }
    let next = Repairs::new(10).next(&found, |_| true, now());
    if next.is_some_and(|(drift, pod)| !still_drifts(&inventory, &drift.subject.uid, &pod.uid, now())) {
        fail("what is evicted does not drift".to_owned());
    }
    let evicted = next.map(|(_, pod)| pod.name.to_string());
    if evicted != case.evicts {
        fail(format!("expected {:?} to be evicted, found {evicted:?}", case.evicts));
    }
    if found.changes_at != case.changes_at {
        fail(format!("expected the answer to change at {:?}, found {:?}", case.changes_at, found.changes_at));
    }
    failures
}

/// What is there where these pods run; `workload-a` is one of that workload. Those with a `+` have a sidecar, and those with a
/// `~` are not ready.
fn running(pods: &[&str]) -> Inventory {
    let CaseFile { state, .. } = case_file();
    let pod = |text: &&str| {
        let name = text.trim_end_matches(['+', '~']);
        let sidecar = if text.contains('+') { "native" } else { "" };
        let (of, ready) = (name.split_once('-').unwrap().0.to_owned(), Some(!text.contains('~')));
        Pod { name: name.to_owned(), of, sidecar: sidecar.to_owned(), ready, ..Pod::default() }
    };
    let pods: Vec<Pod> = pods.iter().map(pod).collect();
    let workloads = ["api", "db", "web"].map(|name| Workload::Named(format!("Deployment shop/{name}")));
    world(&state, "default", &workloads, &pods)
}

/// What is found there.
fn found(pods: &[&str]) -> Found {
    drifting(&running(pods), now()).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

/// The pod that is evicted next, which is thereby under way.
fn evicted(repairs: &mut Repairs, found: &Found, seconds: i64) -> Option<String> {
    let (drift, pod) = repairs.next(found, |_| true, after(seconds))?;
    let (drift, name) = (drift.clone(), pod.name.to_string());
    repairs.began(found, &drift, after(seconds));
    Some(name)
}

fn came(repairs: &mut Repairs, found: &Found, seconds: i64) -> Vec<Came> {
    repairs.settle(found, after(seconds)).into_iter().map(|(_, came)| came).collect()
}

#[test]
fn one_pod_is_tried_first_and_then_as_many_as_the_rate_allows_one_of_each_workload() {
    let mut repairs = Repairs::new(10);
    let before = found(&["web-a", "web-b", "api-a", "api-b"]);
    assert_eq!(evicted(&mut repairs, &before, 0).as_deref(), Some("api-a"));
    assert_eq!(evicted(&mut repairs, &before, 60), None, "nothing has come back yet");
    let first = found(&["web-a", "web-b", "api-b", "api-c+"]);
    assert_eq!(came(&mut repairs, &first, 61), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &first, 61).as_deref(), Some("api-b"));
    assert_eq!(evicted(&mut repairs, &first, 66), None, "ten in a minute are one in six seconds");
    assert_eq!(evicted(&mut repairs, &first, 67).as_deref(), Some("web-a"), "another workload need not wait");
    assert_eq!(evicted(&mut repairs, &first, 99), None, "one pod of a workload at a time");
    let whole = found(&["web-b", "web-c+", "api-c+", "api-d+"]);
    assert_eq!(came(&mut repairs, &whole, 100), [Came::Right, Came::Right]);
    assert_eq!(evicted(&mut repairs, &whole, 100).as_deref(), Some("web-b"));
}

#[test]
fn a_workload_whose_new_pods_drift_again_is_left_alone_longer_and_longer() {
    let mut repairs = Repairs::new(10);
    let before = found(&["web-a", "web-b"]);
    let again = found(&["web-b", "web-c"]);
    let mut at = 0;
    for rest in [10, 20, 40, 80, 160, 320, 360, 360] {
        assert_eq!(evicted(&mut repairs, &before, at).as_deref(), Some("web-a"));
        assert_eq!(came(&mut repairs, &again, at + 5), [Came::Wrong]);
        let next = at + 5 + rest * 60;
        assert_eq!(evicted(&mut repairs, &before, next - 1), None, "after {rest} minutes");
        at = next;
    }
}

#[test]
fn what_does_not_become_ready_is_given_up_after_a_while_and_everything_pauses() {
    let mut repairs = Repairs::new(10);
    let before = found(&["web-a", "web-b", "api-a", "api-b"]);
    assert_eq!(evicted(&mut repairs, &before, 0).as_deref(), Some("api-a"));
    let fewer = found(&["web-a", "web-b", "api-b", "api-c+~"]);
    assert_eq!(came(&mut repairs, &fewer, 599), []);
    assert_eq!(evicted(&mut repairs, &fewer, 599), None, "that one has come proves nothing while it is not ready");
    assert_eq!(came(&mut repairs, &fewer, 600), [Came::Nothing]);
    assert_eq!(evicted(&mut repairs, &fewer, 1199), None, "what fails for one would fail for another");
    assert_eq!(evicted(&mut repairs, &fewer, 1200).as_deref(), Some("web-a"), "of the other one is tried");
    let again = found(&["web-b", "web-c+~", "api-b", "api-c+~"]);
    assert_eq!(came(&mut repairs, &again, 1800), [Came::Nothing]);
    let healed = found(&["web-b", "web-c+", "api-b", "api-c+"]);
    assert_eq!(evicted(&mut repairs, &healed, 2999), None, "the second time in a row it is twice as long");
    assert_eq!(evicted(&mut repairs, &healed, 3000).as_deref(), Some("api-b"));
    let right = found(&["web-b", "web-c+", "api-c+", "api-d+"]);
    assert_eq!(came(&mut repairs, &right, 3010), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &right, 3010).as_deref(), Some("web-b"), "and nothing pauses any more");
}

#[test]
fn only_pods_go_last_and_one_at_a_time_so_that_where_none_becomes_ready_one_workload_is_down() {
    let mut repairs = Repairs::new(10);
    let before = found(&["api-a", "db-a", "web-a", "web-b"]);
    assert_eq!(evicted(&mut repairs, &before, 0).as_deref(), Some("web-a"), "the trial is of one that has others");
    let first = found(&["api-a", "db-a", "web-b", "web-c+"]);
    assert_eq!(came(&mut repairs, &first, 10), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &first, 10).as_deref(), Some("web-b"));
    assert_eq!(
        evicted(&mut repairs, &first, 20),
        None,
        "no workload is left without a pod while another waits for one"
    );
    let second = found(&["api-a", "db-a", "web-c+", "web-d+"]);
    assert_eq!(came(&mut repairs, &second, 30), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &second, 30).as_deref(), Some("api-a"));
    let stuck = found(&["api-b+~", "db-a", "web-c+", "web-d+"]);
    assert_eq!(came(&mut repairs, &stuck, 40), []);
    assert_eq!(evicted(&mut repairs, &stuck, 600), None);
    assert_eq!(came(&mut repairs, &stuck, 630), [Came::Nothing]);
    assert_eq!(evicted(&mut repairs, &stuck, 1229), None);
}

#[test]
fn what_takes_long_to_become_ready_holds_up_everything_else() {
    let mut repairs = Repairs::new(10);
    assert_eq!(evicted(&mut repairs, &found(&["web-a", "web-b", "api-a", "api-b"]), 0).as_deref(), Some("api-a"));
    let proven = found(&["web-a", "web-b", "api-b", "api-c+"]);
    assert_eq!(came(&mut repairs, &proven, 5), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &proven, 6).as_deref(), Some("api-b"));
    let slow = found(&["web-a", "web-b", "api-c+", "api-d+~"]);
    assert_eq!(evicted(&mut repairs, &slow, 66), None);
    assert_eq!(came(&mut repairs, &found(&["web-a", "web-b", "api-c+", "api-d+"]), 70), [Came::Right]);
    assert_eq!(evicted(&mut repairs, &proven, 70).as_deref(), Some("api-b"));
}

#[test]
fn that_a_workload_is_scaled_down_meanwhile_is_no_failure() {
    let mut repairs = Repairs::new(10);
    let before = found(&["web-a", "web-b+", "web-c+"]);
    assert_eq!(evicted(&mut repairs, &before, 0).as_deref(), Some("web-a"));
    assert_eq!(came(&mut repairs, &found(&["web-b+", "web-d+"]), 30), [Came::Right], "one has come");
    assert_eq!(evicted(&mut repairs, &before, 30).as_deref(), Some("web-a"));
    let none = found(&["web-b+", "web-c+"]);
    assert_eq!(repairs.doubtful(&none, after(629)), []);
    let doubtful = repairs.doubtful(&none, after(630));
    assert_eq!(doubtful.iter().map(|subject| subject.named()).collect::<Vec<_>>(), ["Deployment shop/web"]);
    repairs.dismiss(&doubtful[0]);
    assert_eq!(came(&mut repairs, &none, 630), [], "as the workload itself says");
    assert_eq!(evicted(&mut repairs, &before, 630).as_deref(), Some("web-a"));
}

#[test]
fn drift_is_told_once_again_when_it_is_another_and_when_it_is_over() {
    let mut ledger = Ledger::new(SignedDuration::from_secs(15));
    let mut told = |found: &Found, seconds: i64| {
        let said = ledger.settle(found, after(seconds), 100);
        said.into_iter().map(|one| (one.news, one.subject.named(), one.sentence)).collect::<Vec<_>>()
    };
    let (one, two, none) = (found(&["web-a", "web-b+"]), found(&["web-a", "web-c"]), found(&["web-b+", "web-d+"]));
    assert_eq!(told(&one, 0), []);
    assert_eq!(told(&none, 10), [], "what does not last is not spoken of");
    assert_eq!(told(&one, 11), []);
    assert_eq!(told(&one, 25), []);
    let begun = told(&one, 26);
    assert_eq!((begun.len(), begun[0].0, begun[0].1.as_str()), (1, News::Begun, "Deployment shop/web"));
    assert!(begun[0].2.starts_with("1 of 2 pods has no sidecar"), "{begun:?}");
    assert_eq!(told(&one, 1000), [], "it is told once");
    let more = told(&two, 1001);
    assert_eq!((more[0].0, &more[0].2[..11]), (News::Changed, "2 of 2 pods"));
    assert_eq!(told(&one, 2000), [], "that it becomes less is no news");
    assert_eq!(told(&none, 2001), []);
    assert_eq!(
        told(&none, 2016)[0],
        (News::Ended, "Deployment shop/web".into(), "all 2 pods are as a new one would be".into())
    );
    assert_eq!(told(&none, 3000), []);
}

#[test]
fn what_is_too_much_at_once_is_told_the_next_time() {
    let mut ledger = Ledger::new(SignedDuration::ZERO);
    let both = found(&["web-a", "api-a"]);
    let named = |ledger: &mut Ledger| -> Vec<_> {
        ledger.settle(&both, now(), 1).into_iter().map(|one| one.subject.named()).collect()
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
    let (log, _writer) = audit::log(Clock::Fixed(now()));
    let metrics = Metrics::new(log.lost().clone());
    let watching = Watching {
        interval: Duration::ZERO,
        metrics: metrics.clone(),
        audit: log,
        events: Some(Events::new(client, "outrigger", "outrigger-0")),
        repairing: None,
    };
    let counted = await_condition("both workloads to be counted", Duration::from_secs(15), async || {
        let drifting = metrics.drifting_workloads.get();
        ensure!(drifting == 2, "{drifting} are");
        Ok(())
    });
    tokio::select! {
        () = keep(Arc::new(running(&["web-a", "api-a"])), Clock::Fixed(now()), watching) => panic!("it ended"),
        () = counted => {}
    }
}

#[test]
fn nothing_is_told_while_pods_are_not_known() {
    let CaseFile { state, .. } = case_file();
    let inventory = world(&state, "default", &[], &[]);
    assert!(drifting(&inventory, now()).is_some());
    inventory.pods.forget();
    assert!(drifting(&inventory, now()).is_none());
}

#[test]
fn whoever_is_refused_keeps_nobody_waiting_and_is_asked_ever_more_rarely() {
    let mut repairs = Repairs::new(60);
    let both = found(&["web-a", "api-a"]);
    let mut at = 0;
    for rest in [30, 60, 120, 240, 480, 600, 600] {
        let alone = found(&["api-a"]);
        let (drift, _) = repairs.next(&alone, |_| true, after(at)).unwrap_or_else(|| panic!("after {rest} seconds"));
        repairs.refused(&drift.subject, after(at));
        assert!(repairs.next(&alone, |_| true, after(at + rest - 1)).is_none());
        let next = repairs.next(&both, |_| true, after(at + rest)).map(|(_, pod)| pod.name.to_string());
        assert_eq!(next.as_deref(), Some("web-a"), "though the other comes first by its name");
        at += rest;
    }
}

#[test]
fn nothing_is_repaired_while_pods_do_not_reach_us_before_the_injector() {
    let right = world(&[], "default", &[], &[]);
    assert_eq!(keeps_from_repairing(&right, true), None);
    let why = keeps_from_repairing(&right, false).unwrap();
    assert!(why.starts_with("the API server is not told to call us"), "{why}");
    let mut before_us = injectors("default");
    before_us[0]["metadata"]["name"] = json!("0-istio");
    let wrong = world(&before_us, "none", &[], &[]);
    let why = keeps_from_repairing(&wrong, true).unwrap();
    assert!(why.starts_with("the API server calls 0-istio before us"), "{why}");
}
