//! Suspensions of traffic as data: every case of `cases/traffic/*.yaml` has objects, a suspension, and the expected routing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::controllers::suspension_watch::OverdueTracker;
use outrigger::controllers::traffic::{TrafficAction, plan_traffic};
use outrigger::features::suspension::traffic::{RoutingPlan, ServiceSuspension, TrafficObstacle, plan_routing};
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TrafficCase {
    name: String,
    /// Flags as for `outrigger serve`.
    #[serde(default)]
    flags: Vec<String>,
    /// Kubernetes objects, on top of those of the file.
    #[serde(default)]
    state: Vec<Value>,
    /// Services to suspend.
    services: Value,
    http_status: Option<u16>,
    /// Namespace fields; if present, the suspension is one of the cluster.
    cluster: Option<Value>,
    /// Expectations by service, prefixed with the namespace if there are several.
    expect: BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TrafficCaseFile {
    state: Vec<Value>,
    cases: Vec<TrafficCase>,
}

#[derive(Parser)]
struct TrafficCaseFlags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

const NOW: &str = "2026-11-22T12:00:00Z";
const UID: &str = "the-uid";

/// Builds an inventory with these objects, and a suspension of this spec.
fn world(flags: &[String], state: &[Value], namespace: Option<&str>, spec: &Value) -> Inventory {
    let TrafficCaseFlags { decision_args } = TrafficCaseFlags::parse_from([&["case".to_owned()], flags].concat());
    let inventory = decision_args.new_inventory();
    let kind = if namespace.is_some() { "SuspensionPolicy" } else { "ClusterSuspensionPolicy" };
    let suspension = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": "pause", "namespace": namespace, "uid": UID, "creationTimestamp": "2026-11-22T11:00:00Z"},
    });
    let objects = [state, &[suspension]].concat();
    let problems = files::replace_all(&inventory, &decision_args.rule_limits(), &objects);
    assert!(problems.is_empty(), "{problems:?}");
    inventory
}

fn plan_for_case(inventory: &Inventory) -> Vec<ServiceSuspension> {
    let all = inventory.rule_records.suspensions();
    let own = all.iter().find(|(object, _)| object.uid.as_deref() == Some(UID)).expect("it can be read");
    plan_routing(inventory, &own.0, NOW.parse().unwrap())
}

#[test]
fn every_suspension_of_traffic_comes_to_what_its_case_says() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/traffic");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut failures, mut count) = (Vec::new(), 0);
    for path in paths {
        let file: TrafficCaseFile = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.cases {
            count += 1;
            let found = check(&case, &file.state);
            failures.extend(found.into_iter().map(|why| format!("{}: {}\n    {why}", path.display(), case.name)));
        }
    }
    assert!(failures.is_empty(), "of {count} cases:\n{}", failures.join("\n"));
    assert!(count >= 25, "only {count} cases were found");
}

fn check(case: &TrafficCase, shared: &[Value]) -> Vec<String> {
    let TrafficCase { flags, state, services, http_status, cluster, expect, .. } = case;
    let mut spec = json!({"suspend": "Traffic", "reason": "x", "for": "3h", "services": services});
    if let Some(status) = http_status {
        spec["httpStatus"] = json!(status);
    }
    let namespace = cluster.is_none().then_some("shop");
    for (key, value) in cluster.iter().flat_map(|fields| fields.as_object().unwrap()) {
        spec[key] = value.clone();
    }
    // A case puts its own in place of an object of the same name.
    let id = |object: &Value| {
        [object["kind"].clone(), object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone()]
    };
    let kept = shared.iter().filter(|object| !state.iter().any(|own| id(own) == id(object)));
    let objects: Vec<Value> = kept.chain(state).cloned().collect();
    let inventory = world(flags, &objects, namespace, &spec);
    let found = plan_for_case(&inventory);
    let mut failures = Vec::new();
    if found.len() != expect.len() {
        failures.push(format!("{} services instead of {}", found.len(), expect.len()));
    }
    for ServiceSuspension { namespace, service, routing } in &found {
        let name = if cluster.is_some() { format!("{namespace}/{service}") } else { service.clone() };
        let Some(expected) = expect.get(&name) else {
            failures.push(format!("{name} was not expected"));
            continue;
        };
        failures.extend(expected.iter().filter_map(|(what, value)| compare_part(what, value, routing)));
    }
    failures
}

/// Compares one part of a plan with its expectation; describes the difference, if any.
fn compare_part(what: &str, expected: &Value, found: &Result<RoutingPlan, TrafficObstacle>) -> Option<String> {
    let (Ok(routing), true) = (found, !["taken", "NoHttp", "NoService", "NoVersion", "Unsupported"].contains(&what))
    else {
        let reason = if what == "taken" { "Taken" } else { what };
        return match found {
            Err(obstacle) if obstacle.reason() == reason && obstacle.sentence().contains(expected.as_str()?) => None,
            other => Some(format!("{what} {expected}: {other:?}")),
        };
    };
    let RoutingPlan { virtual_service, destination_rule, not_reached } = routing;
    let spec = &virtual_service["spec"];
    let found = match what {
        "virtualService" => virtual_service.clone(),
        "destinationRule" => json!(destination_rule),
        "destinationRuleSpec" => destination_rule.as_ref().map(|rule| rule["spec"].clone()).unwrap_or_default(),
        "fault" => spec["http"][0]["fault"].clone(),
        "hosts" => spec["hosts"].clone(),
        "weights" => {
            let routes = spec["http"][0]["route"].as_array().unwrap();
            let weights = routes.iter().map(|route| Some((route["destination"]["subset"].as_str()?, &route["weight"])));
            json!(weights.collect::<Option<BTreeMap<_, _>>>())
        }
        "notReached" => {
            let parts: Vec<&str> = expected.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            let all = parts.len() == not_reached.len()
                && parts.iter().zip(not_reached).all(|(part, sentence)| sentence.contains(part));
            return (!all).then(|| format!("not reached: {not_reached:#?}"));
        }
        other => panic!("a case cannot expect {other}"),
    };
    (found != *expected).then(|| format!("{what}\n      {expected}\n    but\n      {found}"))
}

const SERVICE: &str = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}"#;

fn planned_actions(finalizers: &[&str], state: &[Value], now: &str) -> Vec<String> {
    planned_actions_knowing(finalizers, state, now, |_| true)
}

/// Like `planned_actions`, with only the caches of these names filled.
fn planned_actions_knowing(
    finalizers: &[&str],
    state: &[Value],
    now: &str,
    is_known: impl Fn(&str) -> bool,
) -> Vec<String> {
    let plans = plan_traffic(&inventory_with(finalizers, state, is_known), now.parse().unwrap());
    plans.iter().flat_map(|plan| &plan.actions).map(describe_action).collect()
}

/// Builds an inventory in which a suspension of the service exists.
fn inventory_with(finalizers: &[&str], state: &[Value], is_known: impl Fn(&str) -> bool) -> Inventory {
    let spec = json!({"suspend": "Traffic", "reason": "x", "for": "3h", "services": [{"name": "web"}]});
    let suspension = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy", "spec": spec,
        "metadata": {
            "name": "pause", "namespace": "shop", "uid": UID, "creationTimestamp": "2026-11-22T11:00:00Z",
            "finalizers": finalizers,
        },
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let TrafficCaseFlags { decision_args } = TrafficCaseFlags::parse_from(["case"]);
    let inventory = decision_args.new_inventory();
    let service = serde_json::from_str(SERVICE).unwrap();
    let objects = [&[namespace, service, suspension], state].concat();
    assert!(files::replace_listed(&inventory, &decision_args.rule_limits(), &objects, is_known).is_empty());
    inventory
}

fn describe_action(action: &TrafficAction) -> String {
    match action {
        TrafficAction::AddFinalizer => "hold".to_owned(),
        TrafficAction::RemoveFinalizer => "let go".to_owned(),
        TrafficAction::Create(kind, _) => format!("create {}", kind.as_str()),
        TrafficAction::Repair(kind, _, uid, _) => format!("repair {} {uid}", kind.as_str()),
        TrafficAction::Remove(kind, object) => format!("remove {} {}", kind.as_str(), object.name),
    }
}

/// Returns the objects of the suspension, as they should be.
fn expected_objects() -> [Value; 2] {
    let spec = json!({"suspend": "Traffic", "reason": "x", "for": "3h", "services": [{"name": "web"}]});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let service: Value = serde_json::from_str(SERVICE).unwrap();
    let inventory = world(&[], &[namespace, service], Some("shop"), &spec);
    let found = plan_for_case(&inventory);
    let RoutingPlan { virtual_service, destination_rule, .. } = found[0].routing.clone().unwrap();
    let with_uid = |mut object: Value| {
        object["metadata"]["uid"] = json!(format!("{}-uid", object["kind"].as_str().unwrap()));
        object
    };
    [with_uid(destination_rule.unwrap()), with_uid(virtual_service)]
}

const OURS: &[&str] = &["outrigger.dev/routing"];
const OVER: &str = "2026-11-22T14:00:00Z";

#[test]
fn the_rule_comes_before_the_route_and_goes_after_it_and_the_finalizer_is_around_both() {
    let begin = planned_actions(&[], &[], NOW);
    assert_eq!(begin, ["hold", "create DestinationRule", "create VirtualService"]);
    let [rule, route] = expected_objects();
    assert_eq!(
        planned_actions(OURS, std::slice::from_ref(&rule), NOW),
        ["create VirtualService"],
        "somebody died in between"
    );
    assert_eq!(planned_actions(OURS, &[rule.clone(), route.clone()], NOW), [] as [&str; 0]);
    let end = planned_actions(OURS, &[rule.clone(), route], OVER);
    assert_eq!(end, ["remove VirtualService web", "remove DestinationRule web"]);
    assert_eq!(planned_actions(OURS, &[rule], OVER), ["remove DestinationRule web"]);
    assert_eq!(planned_actions(OURS, &[], OVER), ["let go"]);
    assert_eq!(planned_actions(&[], &[], OVER), [] as [&str; 0]);
    let before = planned_actions(&[], &[], "2026-11-22T10:59:59Z");
    assert_eq!(before, [] as [&str; 0], "it has not begun");
}

#[test]
fn what_somebody_changes_of_ours_is_repaired_and_what_they_add_stays() {
    let [rule, route] = expected_objects();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut route = route.clone();
        change(&mut route);
        planned_actions(OURS, &[rule.clone(), route], NOW)
    };
    assert_eq!(
        changed(&|route| route["spec"]["http"][0]["fault"] = json!(null)),
        ["repair VirtualService VirtualService-uid"]
    );
    assert_eq!(
        changed(&|route| route["spec"]["gateways"] = json!(["edge"])),
        ["repair VirtualService VirtualService-uid"]
    );
    assert_eq!(
        changed(&|route| route["metadata"]["labels"]["kiali_wizard"] = json!("x")),
        ["repair VirtualService VirtualService-uid"]
    );
    assert_eq!(changed(&|route| route["metadata"]["labels"]["team"] = json!("a")), [] as [&str; 0]);
    assert_eq!(changed(&|route| route["metadata"]["deletionTimestamp"] = json!(NOW)), [] as [&str; 0]);
}

#[test]
fn what_has_lost_one_of_its_two_marks_is_ours_still() {
    let [rule, route] = expected_objects();
    let without = |object: &Value, what: [&str; 2]| {
        let mut object = object.clone();
        match what {
            ["ownerReferences", ""] => object["metadata"].as_object_mut().unwrap().remove("ownerReferences"),
            [map, key] => object["metadata"][map].as_object_mut().unwrap().remove(key),
        };
        object
    };
    for mark in
        [["ownerReferences", ""], ["annotations", "outrigger.dev/made-for"], ["labels", "app.kubernetes.io/managed-by"]]
    {
        let state = [without(&rule, mark), without(&route, mark)];
        let repaired = ["repair DestinationRule DestinationRule-uid", "repair VirtualService VirtualService-uid"];
        assert_eq!(planned_actions(OURS, &state, NOW), repaired, "without {mark:?}");
        let ended = planned_actions(OURS, &state, OVER);
        assert_eq!(ended, ["remove VirtualService web", "remove DestinationRule web"], "without {mark:?}");
    }
}

#[test]
fn what_only_looks_like_ours_is_left_alone() {
    let [rule, route] = expected_objects();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut route = route.clone();
        change(&mut route["metadata"]);
        // It routes nothing of ours.
        route["spec"]["hosts"] = json!(["elsewhere.example.com"]);
        planned_actions(OURS, &[route], OVER)
    };
    let unowned = |metadata: &mut Value| drop(metadata.as_object_mut().unwrap().remove("ownerReferences"));
    let copied = changed(&|metadata| {
        unowned(metadata);
        metadata["name"] = json!("copy");
    });
    assert_eq!(copied, ["let go"], "a copy under another name");
    let elsewhere = changed(&|metadata| metadata["namespace"] = json!("other"));
    assert_eq!(elsewhere, ["let go"], "a suspension makes nothing in another namespace than its own");
    let adopted = changed(&|metadata| {
        metadata["ownerReferences"] =
            json!([{"apiVersion": "example.com/v1", "kind": "Route", "name": "web", "uid": "x", "controller": true}]);
    });
    assert_eq!(adopted, ["let go"], "another controller has it");
    let forgotten = changed(&|metadata| {
        unowned(metadata);
        drop(metadata.as_object_mut().unwrap().remove("annotations"));
    });
    assert_eq!(forgotten, ["let go"], "it is somebody else's by now");
    assert_eq!(planned_actions(OURS, &[rule, route], OVER).len(), 2, "as they are they would be removed");
}

#[test]
fn a_rule_stays_as_long_as_somebody_who_took_the_route_needs_its_subsets() {
    let [rule, mut route] = expected_objects();
    route["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "theirs"});
    let host = "web.shop.svc.cluster.local";
    assert_eq!(planned_actions(OURS, &[rule.clone(), route.clone()], OVER), ["remove DestinationRule web"]);
    route["spec"]["http"] = json!([{"route": [{"destination": {"host": host, "subset": "v1"}}]}]);
    for now in [NOW, OVER] {
        assert_eq!(
            planned_actions(OURS, &[rule.clone(), route.clone()], now),
            [] as [&str; 0],
            "the finalizer stays too"
        );
    }
    assert_eq!(planned_actions(OURS, &[rule], OVER), ["remove DestinationRule web"]);
}

#[test]
fn a_suspension_is_not_let_go_while_its_routing_is_still_being_deleted() {
    let [mut rule, _] = expected_objects();
    rule["metadata"]["deletionTimestamp"] = json!(OVER);
    assert_eq!(planned_actions(OURS, &[rule], OVER), [] as [&str; 0]);
}

#[test]
fn what_stands_for_longer_than_an_end_takes_is_overdue() {
    let [rule, mut route] = expected_objects();
    route["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let inventory = inventory_with(OURS, &[rule, route], |_| true);
    let mut overdue = OverdueTracker::default();
    let mut at = |time: &str| overdue.count_overdue(&inventory, format!("2026-11-22T{time}Z").parse().unwrap());
    assert_eq!(at("13:59:59"), 0, "it holds");
    assert_eq!(at("14:00:00"), 0);
    assert_eq!(at("14:00:10"), 0, "an end takes a moment");
    assert_eq!(at("14:00:11"), 1, "both objects are of one suspension");
    assert_eq!(inventory_with(OURS, &[], |_| true).routing.suspension_objects().len(), 0);
    assert_eq!(
        overdue.count_overdue(&inventory_with(OURS, &[], |_| true), "2026-11-22T14:00:12Z".parse().unwrap()),
        0,
        "it is gone"
    );
}

#[test]
fn what_failed_is_told_no_more_once_there_is_nothing_to_do() {
    let inventory = inventory_with(OURS, &expected_objects(), |_| true);
    let troubles = &inventory.routing.failures;
    troubles.record(UID, Some("the API server does not answer".to_owned()));
    let before = inventory.routing.change_count();
    let plans = plan_traffic(&inventory, NOW.parse().unwrap());
    troubles.retain(|uid| plans.iter().any(|plan| plan.uid == uid));
    assert_eq!(troubles.get(UID), None, "it was written all the same");
    assert!(inventory.routing.change_count() > before, "whoever tells of it looks again");
}

#[test]
fn what_is_not_known_yet_takes_nothing_away() {
    let [rule, route] = expected_objects();
    for unknown in ["services", "httproutes", "deployments", "namespaces", "virtualservices", "SuspensionPolicy"] {
        let state = [rule.clone(), route.clone()];
        let planned = planned_actions_knowing(OURS, &state, NOW, |cache| cache != unknown);
        assert_eq!(planned, [] as [&str; 0], "without {unknown}");
    }
    let ends = planned_actions_knowing(OURS, &[rule, route], OVER, |cache| cache != "services");
    assert_eq!(ends, ["remove VirtualService web", "remove DestinationRule web"], "an end needs no service");
}

#[test]
fn what_comes_later_does_not_end_what_holds() {
    let [rule, route] = expected_objects();
    let mut rival = route.clone();
    rival["metadata"] = json!({"name": "theirs", "namespace": "shop", "uid": "theirs"});
    let mut pool = rule.clone();
    pool["metadata"] = json!({"name": "pool", "namespace": "shop", "uid": "pool"});
    let state = [rule, route, rival.clone(), pool.clone()];
    assert_eq!(planned_actions(OURS, &state, NOW), [] as [&str; 0]);
    assert_eq!(planned_actions(OURS, &[rival, pool], NOW), ["let go"], "it is not begun where somebody routes already");
}

#[test]
fn what_another_rule_of_our_group_owns_is_none_of_ours() {
    let [_, mut route] = expected_objects();
    route["metadata"]["ownerReferences"][0]["kind"] = json!("InjectionPolicy");
    route["metadata"]["name"] = json!("theirs");
    route["spec"]["hosts"] = json!(["elsewhere.example.com"]);
    assert_eq!(planned_actions(OURS, &[route], OVER), ["let go"]);
}

#[test]
fn what_was_made_for_a_suspension_that_is_gone_is_removed_and_nothing_else() {
    let [mut rule, mut route] = expected_objects();
    for object in [&mut rule, &mut route] {
        object["metadata"]["ownerReferences"][0]["uid"] = json!("gone");
        object["metadata"]["name"] = json!("old");
        object["spec"]["host"] = json!("old.shop.svc.cluster.local");
        object["spec"]["hosts"] = json!(["old.shop.svc.cluster.local"]);
    }
    let mut theirs = route.clone();
    theirs["metadata"]["ownerReferences"][0]["apiVersion"] = json!("example.com/v1");
    theirs["metadata"]["name"] = json!("theirs");
    let mut planned = planned_actions(&[], &[rule, route, theirs], NOW);
    planned.sort();
    assert_eq!(
        planned,
        [
            "create DestinationRule",
            "create VirtualService",
            "hold",
            "remove DestinationRule old",
            "remove VirtualService old"
        ]
    );
}
