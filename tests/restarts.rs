//! Restarts as data: every case of `cases/restarts/*.yaml` is objects as a cluster has them, and what that comes to.

mod reading;

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use outrigger::features::restart::budget::Budget;
use outrigger::features::restart::left::{Left, unfinished_run};
use outrigger::features::restart::plan::{Chosen, plan};
use outrigger::features::restart::pods::{PodSeen, Warning, why_not_up};
use outrigger::features::restart::progress::{Progress, Reached, progress};
use outrigger::features::restart::wave::{Claim, claim, next_wave};
use outrigger::features::restart::way::Way;
use outrigger::features::restart::workload::{Name, Workload};
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
    OwnerKinds::default().and(further.map(|kind| kind.parse().unwrap()))
}

/// An object that says no more than a case is about.
fn workload(object: &Value) -> Workload {
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
    Workload::read(kind, &metadata, &object).expect("it has a template")
}

/// A pod: ready, unless it says something else.
fn pod(object: &Value) -> PodSeen {
    let mut object = object.clone();
    if object["status"].is_null() {
        object["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    }
    let pod: Pod = serde_json::from_value(object).unwrap();
    PodSeen::of(&pod).expect("it has not run to its end")
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

/// When the workloads of the cases were told to replace their pods.
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
        let is_own = |pod: &PodSeen| match workload.way {
            Way::Rollout => pod.is_of_sets(&sets),
            _ => pod.is_of(&workload),
        };
        let pods: Vec<PodSeen> = pods.iter().map(pod).filter(is_own).collect();
        let found = match progress(&workload, &pods, since) {
            Progress::Done => "done".to_owned(),
            Progress::Waiting(what) => format!("waiting: {what}"),
            Progress::Evict { name, old, .. } => format!("evict {name} of {old}"),
            Progress::GivenUp(why) => format!("given up: {why}"),
            Progress::PutBack => "put back".to_owned(),
            Progress::Moot(why) => format!("moot: {why}"),
        };
        assert_eq!(found, expect, "{name}");
    }
}

#[test]
fn a_rollout_is_restarted_at_a_second_that_no_pod_of_it_is_made_in_yet() {
    let since = |kind: &str| {
        let metadata = json!({"labels": {"outrigger.dev/restart": "3f2a9c01.pending.1"}});
        let pending = workload(&json!({"kind": kind, "metadata": metadata, "spec": {"replicas": 1}}));
        pending.mark_to_roll("2026-11-25T12:00:00.7Z".parse().unwrap()).unwrap().written()
    };
    assert_eq!(since("Deployment"), "3f2a9c01.rolling.1.1795608000");
    assert_eq!(since("Rollout"), "3f2a9c01.rolling.1.1795608001");
}

/// How far it is at one look after another: how many pods there are, are new, and are available.
fn moves(kind: &str, looks: &[[i64; 3]]) -> Vec<bool> {
    let reached = |[replicas, updated, available]: &[i64; 3]| {
        let status = json!({"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available});
        Reached::of(&workload(&json!({"kind": kind, "spec": {"replicas": 3}, "status": status})), &[]).unwrap()
    };
    let mut so_far = reached(&looks[0]);
    looks[1..].iter().map(|look| so_far.moves_to(reached(look))).collect()
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
    assert_eq!(Reached::of(&workload(&past), &[]), None);
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

fn budget(value: &Value) -> Budget {
    let mut value = value.clone();
    value["metadata"]["namespace"] = "shop".into();
    Budget::from(&serde_json::from_value::<PodDisruptionBudget>(value).unwrap())
}

#[test]
fn a_wave_takes_no_more_than_budgets_allow() {
    for WaveCase { name, workloads, budgets, others, at_once, go, held } in cases("waves.yaml") {
        let all = |values: &[Value]| values.iter().map(workload).collect::<Vec<_>>();
        let (workloads, others) = (all(&workloads), all(&others));
        let wave = next_wave(&workloads, &budgets.iter().map(budget).collect::<Vec<_>>(), &others, at_once);
        let named = |place: usize| workloads[place].name.to_string();
        assert_eq!(wave.go.into_iter().map(named).collect::<Vec<_>>(), go, "{name}");
        let found: Vec<String> = wave.held.into_iter().map(|(place, why)| format!("{}: {why}", named(place))).collect();
        assert_eq!(found, held, "{name}");
    }
}

/// A StatefulSet that a restart has marked as rolling, and told so, or only claimed.
fn marked(name: &str, run: &str, told: bool) -> Workload {
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
            "restart {run} replaces pods of statefulset/db, which PodDisruptionBudget all covers too; if it is not under way any \
             more, `outrigger restart --resume {run} -n shop` goes on with it, and --forget gives it up"
        )
    };
    let (lesser, greater) = ("1aaaaaaa", "3ccccccc");
    let [claimed, begun] = [false, true].map(|told| [lesser, greater].map(|run| marked("db", run, told)));
    let cases = [
        (&of_all, vec![], Claim::Holds),
        (&of_web, vec![claimed[0].clone(), begun[0].clone()], Claim::Holds),
        (&of_all, vec![claimed[1].clone()], Claim::Waits(why(greater))),
        (&of_all, vec![claimed[0].clone()], Claim::Yields(why(lesser))),
        (&of_all, vec![begun[1].clone()], Claim::Yields(why(greater))),
        (&of_all, vec![claimed[1].clone(), begun[0].clone()], Claim::Yields(why(lesser))),
    ];
    for (budget, others, expected) in cases {
        assert_eq!(claim(&marked("web", "2bbbbbbb", false), std::slice::from_ref(budget), &others), expected);
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

fn name(text: &str) -> Name {
    let (kind, name) = text.split_once('/').unwrap();
    Name { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

#[test]
fn a_plan_names_whom_it_is_about_and_whom_not() {
    for PlanCase { name, workloads, pods, chosen, except, expect } in cases("plans.yaml") {
        let names =
            |list: &Value| list.as_array().unwrap().iter().map(|one| self::name(one.as_str().unwrap())).collect();
        let chosen = match &chosen {
            Value::String(_) => Chosen::All,
            one if one["named"].is_array() => Chosen::Named(names(&one["named"])),
            one if one["changed"].is_array() => Chosen::Changed(names(&one["changed"])),
            one if one["drifted"].is_array() => {
                Chosen::Drifted(Vec::from_iter(names(&one["drifted"])).into_iter().collect())
            }
            one => {
                let selector: LabelSelector = serde_json::from_value(one["labelled"].clone()).unwrap();
                Chosen::Labelled(selector.compile("selector").unwrap())
            }
        };
        let except: Vec<Name> = except.iter().map(|one| self::name(one)).collect();
        let pods: Vec<PodSeen> = pods.iter().map(pod).collect();
        let found = match plan(workloads.iter().map(workload).collect(), &pods, &chosen, &except) {
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
        let except: Vec<Name> = except.iter().map(|one| self::name(one)).collect();
        let all: Vec<Workload> = workloads.iter().map(workload).collect();
        let names = |all: &[Workload]| all.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        let found = match unfinished_run(&all, "shop", run.as_deref()) {
            Err(why) => json!({"error": why.to_string()}),
            Ok(run) => match Left::of(all, &run, &except) {
                Err(why) => json!({"error": why.to_string()}),
                Ok(Left { workloads, excepted }) => {
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
    let warning = |about: &str, message: &str| Warning { about: about.to_owned(), message: message.to_owned() };
    let warnings = [
        warning("deployment/web: Older", "quota"),
        warning("pod/web-0: Failed", "new"),
        warning("pod/web-0: BackOff", "no such image"),
    ];
    let why = why_not_up("it still waits for 1 of 2 pods", &pods, &warnings);
    let of_pod = "pod/web-0: container main waits: ImagePullBackOff (no such image[2J)";
    assert_eq!(
        why,
        format!("it still waits for 1 of 2 pods; {of_pod}; pod/web-0: Failed: new; deployment/web: Older: quota")
    );
    assert_eq!(why_not_up("nothing", &[], &[]), "nothing");
}
