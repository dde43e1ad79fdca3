//! Tests of `outrigger suspend`, `extend` and `resume` on a directory.

use serde_json::{Value, json};

use super::{CommandOutput, StateDirectory, outrigger};

pub(crate) const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: strict, labels: {istio-injection: enabled}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, version: v1}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: strict, uid: u2}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: far, namespace: strict}, spec: {hosts: [taken.shop.svc.cluster.local]}}
---
{apiVersion: v1, kind: Service, metadata: {name: taken, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: always}, spec: {match: {namespaces: {include: [strict]}}, action: Enable, overrides: Deny}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: SuspensionPolicy, metadata: {name: hand, namespace: shop}, spec: {suspend: Injection, workloads: [{kind: Job}], reason: written by hand, startsAt: "2026-11-22T11:00:00Z", for: 3h}}
"#;

impl StateDirectory {
    /// Runs a command at the given time.
    fn run_at(&self, now: &str, arguments: &[&str]) -> CommandOutput {
        let state = self.0.path().display().to_string();
        outrigger(&[arguments, &["--state", &state, "--now", now]].concat(), None, "")
    }

    fn list_suspensions(&self) -> Vec<Value> {
        let output = self.run(&["suspend", "--list", "-o", "json"], "").json();
        let row = |one: &Value| json!([one["name"], one["suspend"], one["state"], one["endsAt"], one["what"]]);
        output["suspensions"].as_array().unwrap().iter().map(row).collect()
    }
}

const HAND: [&str; 5] = ["hand", "Injection", "InForce", "2026-11-22T14:00:00Z", "job/*"];

#[test]
fn a_suspension_is_made_extended_and_ended_and_decisions_follow() {
    let state = StateDirectory::of(OBJECTS);
    let made = [
        "suspend",
        "injection",
        "-n",
        "shop",
        "--for",
        "2h30m",
        "--reason",
        "loop",
        "--ticket",
        "INC-1",
        "--name",
        "debug",
    ];
    let told = state.run(&[&made[..], &["--yes"]].concat(), "");
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "SuspensionPolicy shop/debug is created. End it with: outrigger resume debug -n shop\n")
    );
    assert!(told.err.contains("until 2026-11-22T14:30:00Z"), "{}", told.err);
    assert!(told.err.contains("New pods of 1 workloads get no sidecar:\n  deployment/web in shop\n"), "{}", told.err);
    assert_eq!(
        state.list_suspensions()[0],
        json!(["debug", "Injection", "InForce", "2026-11-22T14:30:00Z", "all workloads"])
    );
    let again = state.run(&[&made[..], &["--yes"]].concat(), "");
    assert_eq!(again.code, 0, "the same request is no conflict: {}", again.err);
    assert!(again.out.starts_with("SuspensionPolicy shop/debug exists already; nothing is stored."), "{}", again.out);
    let other = state.run(&[&made[..], &["--yes", "--starts", "2026-11-22T13:00:00Z"]].concat(), "");
    assert_eq!((other.code, other.out.as_str()), (2, ""));
    assert!(
        other.err.contains("SuspensionPolicy shop/debug exists already, and differs from this request"),
        "{}",
        other.err
    );
    let action = |now: &str| {
        state.run_at(now, &["explain", "deployment/web", "-n", "shop", "-o", "json"]).json()["decision"]["action"]
            .clone()
    };
    assert_eq!((action("2026-11-22T14:29:59Z"), action("2026-11-22T14:30:00Z")), (json!("Disable"), json!("Leave")));
    let longer = state.run(&["extend", "debug", "-n", "shop", "--by", "1h", "--yes"], "");
    assert_eq!(longer.code, 0, "{}", longer.err);
    assert_eq!(action("2026-11-22T15:29:59Z"), "Disable");
    let over = state.run_at("2026-11-22T13:00:00Z", &["resume", "debug", "-n", "shop", "--yes"]);
    assert_eq!((over.code, over.out.as_str()), (0, "SuspensionPolicy shop/debug is over.\n"), "{}", over.err);
    assert_eq!(action("2026-11-22T13:00:00Z"), "Leave");
    let twice = state.run_at("2026-11-22T13:00:01Z", &["resume", "debug", "-n", "shop", "--yes"]);
    assert!(twice.refusal().contains("ended at 2026-11-22T13:00:00Z"), "{}", twice.err);
}

#[test]
fn nothing_happens_before_somebody_agrees() {
    let state = StateDirectory::of(OBJECTS);
    let asked = ["suspend", "injection", "-n", "shop", "--for", "1h", "--reason", "x"];
    let told = state.run(&asked, "");
    assert_eq!((told.code, told.out.as_str()), (2, ""));
    assert!(told.err.contains("pass --yes to confirm"), "{}", told.err);
    let dry = state.run(&[&asked[..], &["--dry-run", "-o", "json", "--name", "dry"]].concat(), "");
    assert_eq!((dry.code, dry.json()["metadata"]["name"].as_str()), (0, Some("dry")), "{}", dry.err);
    assert_eq!(dry.json()["spec"]["startsAt"], "2026-11-22T12:00:00Z");
    let resumed = state.run(&["resume", "hand", "-n", "shop", "--dry-run"], "");
    assert_eq!(resumed.code, 2, "what was written by hand is changed by hand: {}", resumed.err);
    assert!(resumed.err.contains("was written by hand in a file of the directory"), "{}", resumed.err);
    assert_eq!(state.list_suspensions(), [json!(HAND)]);
}

#[test]
fn what_it_comes_to_is_said_before() {
    let state = StateDirectory::of(OBJECTS);
    let told = |arguments: &[&str]| {
        let given = ["suspend", arguments[0], "--for", "1h", "--reason", "x", "--yes", "--dry-run"];
        let told = state.run(&[&given[..], &arguments[1..]].concat(), "");
        (told.code, told.err)
    };
    let refused = "has no effect on 1 of 1 workloads: ClusterInjectionPolicy always allows no exception";
    for (arguments, code, part) in [
        (&["injection", "-n", "strict"][..], 0, refused),
        (&["injection", "deployment/none", "-n", "shop"], 0, "No workload matches at present"),
        (
            &["injection", "--cluster", "--namespaces", "s*"],
            0,
            "New pods of 2 workloads of 2 namespaces get no sidecar",
        ),
        (&["traffic", "web", "-n", "shop"], 0, "Service shop/web: DestinationRule and VirtualService are written."),
        (&["traffic", "web", "-n", "shop"], 0, "callers without a sidecar are not affected"),
        (&["traffic", "taken", "-n", "shop"], 1, "VirtualService strict/far routes it already"),
        (&["traffic", "wep", "-n", "shop"], 1, "namespace shop has no service wep; did you mean web?"),
        (&["traffic", "web", "-n", "shop", "--versions", "v9"], 1, "service shop/web has no version v9: it has v1"),
    ] {
        let (found, err) = told(arguments);
        assert!(found == code && err.contains(part), "{arguments:?} ended with {found}: {err}");
    }
}

#[test]
fn bad_input_is_refused_with_what_would_be_right() {
    let state = StateDirectory::of(OBJECTS);
    for (arguments, part) in [
        (
            &["injection", "-n", "shop", "--until", "2020-01-01T00:00:00Z"][..],
            "spec.expiresAt is 2020-01-01T00:00:00Z, which is not after",
        ),
        (&["injection", "-n", "shop"], "give a duration with --for"),
        (&["injection", "-n", "shop", "--for", "40y"], "expected a positive duration of days"),
        (&["injection", "-n", "shop", "--until", "2026-11-24T18:00[Europe/Nowhere]"], "Europe/Nowhere"),
        (&["injection", "-n", "shop", "--until", "soon"], "\"soon\" is no time; one is written as"),
        (&["injection", "-n", "shop", "--for", "1h", "--name", "Not_A_Name"], "which is not a name of a-z"),
        (&["injection", "-n", "shop", "--for", "1h", "--name", "../../etc/passwd"], "which is not a name of a-z"),
        (&["injection", "-n", "nowhere", "--for", "1h"], "there is no namespace nowhere"),
        (&["injection", "deploiment/web", "-n", "shop", "--for", "1h"], "did you mean deployment?"),
        (&["injection", "--cluster", "--for", "1h"], "name the namespaces with --namespaces"),
        (&["injection", "-n", "shop", "--for", "1h", "--pod-selector", "web"], "\"web\" is not a label"),
        (&["traffic", "Web!", "-n", "shop", "--for", "1h"], "spec.services[0].name is \"Web!\""),
    ] {
        let told = state.run(&[&["suspend"], arguments, &["--reason", "x", "--yes"]].concat(), "");
        assert_eq!(told.code, 2, "{arguments:?}: {}{}", told.out, told.err);
        assert!(told.err.contains(part), "{arguments:?}: {}", told.err);
    }
    let forty_years =
        ["suspend", "injection", "-n", "shop", "--for", "99999h", "--reason", "x", "--yes", "--name", "long"];
    assert!(state.run(&forty_years, "").err.contains("The installation's maximum ends the suspension earlier"));
    let unknown = state.run(&["extend", "lang", "-n", "shop", "--by", "1h", "--yes"], "");
    assert!(
        unknown.err.contains("there is no SuspensionPolicy lang in namespace shop; did you mean long?"),
        "{}",
        unknown.err
    );
    let at_most = state.run(&["extend", "long", "-n", "shop", "--by", "1h", "--yes"], "");
    assert!(at_most.err.contains("already lasts as long as the installation allows"), "{}", at_most.err);
}
