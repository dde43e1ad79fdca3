//! Restarts as data: every case of `cases/restarts/*.yaml` holds objects of a cluster, and the expected result.

mod reading;

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use outrigger::features::restart::plan::{RestartTargets, plan_restart};
use outrigger::features::restart::pods::{EventWarning, PodSnapshot, explain_not_up};
use outrigger::features::restart::prepare::{RemainingWork, find_unfinished_run};
use outrigger::features::restart::progress::{RolloutCounts, RolloutProgress, rollout_progress};
use outrigger::features::restart::strategy::RolloutStrategy;
use outrigger::features::restart::wave::{ClaimVerdict, DisruptionBudget, judge_claim, next_wave};
use outrigger::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use outrigger::features::restart::world::RestartWorld;
use outrigger::kubernetes::inventory::owner_kind::OwnerKinds;
use outrigger::kubernetes::resources::label_selector::LabelSelector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/restarts").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let cases: Vec<T> = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(cases.len() > 3, "{file} holds only {} cases", cases.len());
    cases
}

fn kinds() -> OwnerKinds {
    let further = ["argoproj.io/v1alpha1/rollouts/Rollout", "example.test/v1/sites/Site"];
    OwnerKinds::default().with_kinds(further.map(|kind| kind.parse().unwrap()))
}

/// Completes an object that a case only sketches.
fn workload(object: &Value) -> WorkloadSnapshot {
    let kinds = kinds();
    let wanted = object["kind"].as_str().unwrap();
    let kind = kinds.iter().find(|kind| kind.kind == wanted).unwrap_or_else(|| panic!("no kind {wanted}"));
    let mut metadata = object["metadata"].clone();
    for (key, value) in [("name", json!("web")), ("namespace", json!("shop"))] {
        if metadata[key].is_null() {
            metadata[key] = value;
        }
    }
    if metadata["uid"].is_null() {
        metadata["uid"] = format!("uid-of-{}", metadata["name"].as_str().unwrap()).into();
    }
    let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
    let mut object = object.clone();
    let template = if wanted == "CronJob" { "jobTemplate" } else { "template" };
    if object["spec"][template].is_null() {
        object["spec"][template] = json!({"metadata": {"labels": {"app": metadata.name}}});
    }
    WorkloadSnapshot::from_object(kind, &metadata, &object).expect("it has a template")
}

/// Makes a pod, ready unless the case says otherwise.
fn pod(object: &Value) -> PodSnapshot {
    let mut object = object.clone();
    if object["status"].is_null() {
        object["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    }
    let pod: Pod = serde_json::from_value(object).unwrap();
    PodSnapshot::from_pod(&pod).expect("it has not run to its end")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressCase {
    name: String,
    workload: Value,
    #[serde(default)]
    pods: Vec<Value>,
    expect: String,
}

/// Time at which the workloads of the cases were told to replace their pods.
const SINCE: &str = "2026-11-25T12:00:00Z";

#[test]
fn a_workload_has_come_as_far_as_its_status_and_its_pods_say() {
    let since = SINCE.parse().unwrap();
    for ProgressCase { name, mut workload, pods, expect } in cases("progress.yaml") {
        let at = &mut workload["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
        if at.is_null() {
            *at = SINCE.into();
        }
        let workload = self::workload(&workload);
        let sets = BTreeSet::from(["set".to_owned()]);
        let is_own = |pod: &PodSnapshot| match workload.strategy {
            RolloutStrategy::Rollout => pod.is_owned_by_any(&sets),
            _ => pod.is_owned_by(&workload),
        };
        let pods: Vec<PodSnapshot> = pods.iter().map(pod).filter(is_own).collect();
        let found = match rollout_progress(&workload, &pods, since) {
            RolloutProgress::Done => "done".to_owned(),
            RolloutProgress::Waiting(what) => format!("waiting: {what}"),
            RolloutProgress::Evict { name, old, .. } => format!("evict {name} of {old}"),
            RolloutProgress::GivenUp(why) => format!("given up: {why}"),
            RolloutProgress::TemplateReverted => "put back".to_owned(),
            RolloutProgress::Obsolete(why) => format!("moot: {why}"),
        };
        assert_eq!(found, expect, "{name}");
    }
}

#[test]
fn a_rollout_is_restarted_at_a_second_that_no_pod_of_it_is_made_in_yet() {
    let since = |kind: &str| {
        let metadata = json!({"labels": {"outrigger.dev/restart": "3f2a9c01.pending.1"}});
        let pending = workload(&json!({"kind": kind, "metadata": metadata, "spec": {"replicas": 1}}));
        pending.rolling_mark("2026-11-25T12:00:00.7Z".parse().unwrap()).unwrap().label_value()
    };
    assert_eq!(since("Deployment"), "3f2a9c01.rolling.1.1795608000");
    assert_eq!(since("Rollout"), "3f2a9c01.rolling.1.1795608001");
}

/// Replays looks at a workload, each with its replicas, new pods and available pods. Returns whether each look shows
/// movement.
fn moves(kind: &str, looks: &[[i64; 3]]) -> Vec<bool> {
    let reached = |[replicas, updated, available]: &[i64; 3]| {
        let status = json!({"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available});
        RolloutCounts::count(&workload(&json!({"kind": kind, "spec": {"replicas": 3}, "status": status})), &[]).unwrap()
    };
    let mut so_far = reached(&looks[0]);
    looks[1..].iter().map(|look| so_far.advance_to(reached(look))).collect()
}

#[test]
fn a_workload_moves_with_each_pod_that_comes_and_not_with_one_that_comes_and_goes() {
    let (yes, no) = (true, false);
    assert_eq!(moves("StatefulSet", &[[3, 0, 3], [2, 0, 2], [3, 1, 2], [3, 1, 2], [3, 1, 3]]), [yes, yes, no, yes]);
    let recreated = [[3, 0, 3], [0, 0, 0], [3, 3, 0], [3, 3, 1], [3, 3, 2]];
    assert_eq!(moves("Deployment", &recreated), [yes, yes, yes, yes]);
    let crashing = [[4, 1, 3], [4, 1, 4], [4, 1, 3], [4, 1, 4], [4, 2, 3], [4, 1, 3]];
    assert_eq!(moves("Deployment", &crashing), [yes, no, no, yes, no]);
    let past = json!({"kind": "Deployment", "metadata": {"generation": 2}, "status": {"observedGeneration": 1}});
    assert_eq!(RolloutCounts::count(&workload(&past), &[]), None);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaveCase {
    name: String,
    workloads: Vec<Value>,
    budgets: Vec<Value>,
    #[serde(default)]
    others: Vec<Value>,
    at_once: usize,
    go: Vec<String>,
    #[serde(default)]
    held: Vec<String>,
}

fn budget(value: &Value) -> DisruptionBudget {
    let mut value = value.clone();
    value["metadata"]["namespace"] = "shop".into();
    DisruptionBudget::from(&serde_json::from_value::<PodDisruptionBudget>(value).unwrap())
}

#[test]
fn a_wave_takes_no_more_than_budgets_allow() {
    for WaveCase { name, workloads, budgets, others, at_once, go, held } in cases("waves.yaml") {
        let all = |values: &[Value]| values.iter().map(workload).collect::<Vec<_>>();
        let (workloads, others) = (all(&workloads), all(&others));
        let wave = next_wave(&workloads, &budgets.iter().map(budget).collect::<Vec<_>>(), &others, at_once);
        let named = |place: usize| workloads[place].name.to_string();
        assert_eq!(wave.starting.into_iter().map(named).collect::<Vec<_>>(), go, "{name}");
        let found: Vec<String> = wave.held.into_iter().map(|(place, why)| format!("{}: {why}", named(place))).collect();
        assert_eq!(found, held, "{name}");
    }
}

/// Makes a StatefulSet with a rolling mark of another restart, claimed only or also told.
fn marked(name: &str, run: &str, told: bool) -> WorkloadSnapshot {
    let mark = format!("{run}.rolling.1.{}", SINCE.parse::<jiff::Timestamp>().unwrap().as_second());
    let metadata = json!({"name": name, "labels": {"outrigger.dev/restart": mark}});
    let at = told.then_some(SINCE);
    let template =
        json!({"metadata": {"labels": {"app": name}, "annotations": {"kubectl.kubernetes.io/restartedAt": at}}});
    workload(&json!({"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": 3, "template": template}}))
}

#[test]
fn of_two_that_claim_one_budget_the_lesser_stands_unless_the_other_has_begun() {
    let of_all = budget(&json!({"metadata": {"name": "all"}, "spec": {"selector": {}}}));
    let of_web = budget(&json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}));
    let why = |run: &str| {
        format!(
            "restart {run} replaces pods of statefulset/db, which PodDisruptionBudget all covers too; if it has ended \
             early, resume it by `outrigger restart --resume {run} -n shop`, or give it up by --forget"
        )
    };
    let (lesser, greater) = ("1aaaaaaa", "3ccccccc");
    let [claimed, begun] = [false, true].map(|told| [lesser, greater].map(|run| marked("db", run, told)));
    let cases = [
        (&of_all, vec![], ClaimVerdict::Holds),
        (&of_web, vec![claimed[0].clone(), begun[0].clone()], ClaimVerdict::Holds),
        (&of_all, vec![claimed[1].clone()], ClaimVerdict::Waits(why(greater))),
        (&of_all, vec![claimed[0].clone()], ClaimVerdict::Yields(why(lesser))),
        (&of_all, vec![begun[1].clone()], ClaimVerdict::Yields(why(greater))),
        (&of_all, vec![claimed[1].clone(), begun[0].clone()], ClaimVerdict::Yields(why(lesser))),
    ];
    for (budget, others, expected) in cases {
        assert_eq!(judge_claim(&marked("web", "2bbbbbbb", false), std::slice::from_ref(budget), &others), expected);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanCase {
    name: String,
    workloads: Vec<Value>,
    #[serde(default)]
    pods: Vec<Value>,
    chosen: Value,
    #[serde(default)]
    except: Vec<String>,
    expect: Value,
}

fn name(text: &str) -> NamespacedWorkload {
    let (kind, name) = text.split_once('/').unwrap();
    NamespacedWorkload { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

#[test]
fn a_plan_names_whom_it_is_about_and_whom_not() {
    for PlanCase { name, workloads, pods, chosen, except, expect } in cases("plans.yaml") {
        let names =
            |list: &Value| list.as_array().unwrap().iter().map(|one| self::name(one.as_str().unwrap())).collect();
        let drifted = if chosen["drifted"].is_array() { names(&chosen["drifted"]) } else { Vec::new() };
        let chosen = match &chosen {
            Value::String(_) => RestartTargets::All,
            one if one["named"].is_array() => RestartTargets::Named(names(&one["named"])),
            one if one["changed"].is_array() => RestartTargets::Changed(names(&one["changed"])),
            one if one["drifted"].is_array() => RestartTargets::Drifted,
            one => {
                let selector: LabelSelector = serde_json::from_value(one["labelled"].clone()).unwrap();
                RestartTargets::Labelled(selector.compile("selector").unwrap())
            }
        };
        let except: Vec<NamespacedWorkload> = except.iter().map(|one| self::name(one)).collect();
        let world = RestartWorld {
            workloads: workloads.iter().map(workload).collect(),
            pods: pods.iter().map(pod).collect(),
            drifted: drifted.into_iter().collect(),
            ..RestartWorld::default()
        };
        let found = match plan_restart(world, &chosen, &except) {
            Err(why) => json!({"error": why.to_string()}),
            Ok(plan) => json!({
                "workloads": plan.workloads.iter().map(|one| one.name.to_string()).collect::<Vec<_>>(),
                "skipped": plan.skipped.iter().map(|one| format!("{}: {}", one.workload, one.why)).collect::<Vec<_>>(),
                "barePods": plan.bare_pods,
            }),
        };
        let mut whole = json!({"workloads": [], "skipped": [], "barePods": []});
        if expect["error"].is_string() {
            whole = expect;
        } else {
            expect.as_object().unwrap().iter().for_each(|(key, value)| whole[key] = value.clone());
        }
        assert_eq!(found, whole, "{name}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftCase {
    name: String,
    workloads: Vec<Value>,
    run: Option<String>,
    #[serde(default)]
    except: Vec<String>,
    expect: Value,
}

#[test]
fn what_a_restart_has_still_to_do_is_what_bears_its_mark_but_for_the_excepted() {
    for LeftCase { name, workloads, run, except, expect } in cases("left.yaml") {
        let except: Vec<NamespacedWorkload> = except.iter().map(|one| self::name(one)).collect();
        let all: Vec<WorkloadSnapshot> = workloads.iter().map(workload).collect();
        let names = |all: &[WorkloadSnapshot]| all.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        let found = match find_unfinished_run(&all, "shop", run.as_deref()) {
            Err(why) => json!({"error": why.to_string()}),
            Ok(run) => match RemainingWork::for_run(all, &run, &except) {
                Err(why) => json!({"error": why.to_string()}),
                Ok(RemainingWork { workloads, excepted }) => {
                    json!({"run": run, "workloads": names(&workloads), "excepted": names(&excepted)})
                }
            },
        };
        let mut whole = expect.clone();
        if expect.get("error").or(expect.get("excepted")).is_none() {
            whole["excepted"] = json!([]);
        }
        assert_eq!(found, whole, "{name}");
    }
}

#[test]
fn why_a_workload_is_not_up_is_told_by_its_pods_then_by_warnings_and_without_control_characters() {
    let waiting = json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image\u{1b}[2J"}}});
    let status = json!({"containerStatuses": [{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": waiting["state"],
    }]});
    let pods =
        [pod(&json!({"metadata": {"name": "web-0"}, "status": status})), pod(&json!({"metadata": {"name": "web-1"}}))];
    let warning = |about: &str, message: &str| EventWarning { about: about.to_owned(), message: message.to_owned() };
    let warnings = [
        warning("deployment/web: Older", "quota"),
        warning("pod/web-0: Failed", "new"),
        warning("pod/web-0: BackOff", "no such image"),
    ];
    let why = explain_not_up("it still waits for 1 of 2 pods", &pods, &warnings);
    let of_pod = "pod/web-0: container main waits: ImagePullBackOff (no such image[2J)";
    assert_eq!(
        why,
        format!("it still waits for 1 of 2 pods; {of_pod}; pod/web-0: Failed: new; deployment/web: Older: quota")
    );
    assert_eq!(explain_not_up("nothing", &[], &[]), "nothing");
}
