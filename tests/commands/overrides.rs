//! `outrigger enable`, `disable` and `remove` on a directory: planned edits, forecasts and refusals.

use serde_json::{Value, json};

use super::{CommandOutput, StateDirectory, outrigger};

pub(crate) const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: quiet}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: strict, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: asks}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: pinned, labels: {istio.io/rev: default}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: closed, labels: {istio-injection: disabled}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1, labels: {team: a}}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: shop, uid: r1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: u1, controller: true}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1-a, namespace: shop, uid: p1, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]}, spec: {containers: [{name: main}, {name: istio-proxy}]}, status: {phase: Running}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop, uid: u2, labels: {team: b}, annotations: {outrigger.dev/inject: "false", outrigger.dev/reason: native protocol}}, spec: {selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop, uid: u3, labels: {team: a}}, spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}}}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: shop, uid: u4}, spec: {template: {metadata: {labels: {app: once}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: strict, uid: u5}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: front, namespace: asks, uid: u6}, spec: {selector: {matchLabels: {app: front}}, template: {metadata: {labels: {app: front}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: lone, namespace: closed, uid: u7}, spec: {selector: {matchLabels: {app: lone}}, template: {metadata: {labels: {app: lone}}}}}
---
{apiVersion: example.test/v1, kind: Fleet, metadata: {name: north, namespace: shop, uid: u8}, spec: {template: {metadata: {labels: {app: north}}}}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: always}, spec: {match: {namespaces: {include: [strict]}}, action: Enable, overrides: Deny}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: why}, spec: {match: {namespaces: {include: [asks]}}, action: Disable, overrides: RequireReason}}
"#;

fn dry(state: &StateDirectory, arguments: &[&str]) -> CommandOutput {
    state.run(&[arguments, &["--dry-run"]].concat(), "")
}

fn told(state: &StateDirectory, arguments: &[&str]) -> Value {
    dry(state, &[arguments, &["-o", "json"]].concat()).json()
}

/// Returns the fields of an edit as `key=value`, and `key-` for a removed one.
fn written(object: &Value) -> Vec<String> {
    let field = |field: &Value| {
        let value = field["value"].as_str().map(|value| format!("={value}")).unwrap_or("-".to_owned());
        format!("{} {}{value}", field["of"].as_str().unwrap(), field["key"].as_str().unwrap())
    };
    object["fields"].as_array().unwrap().iter().map(field).collect()
}

fn becomes(object: &Value) -> Value {
    let of = |answer: &Value| json!([answer["action"], answer["effect"]["outcome"]]);
    json!([of(&object["before"]), of(&object["after"])])
}

const INJECTED: [&str; 2] = ["Leave", "Injected"];
const ENABLED: [&str; 2] = ["Enable", "Injected"];
const DISABLED: [&str; 2] = ["Disable", "NotInjected"];
const OUTSIDE: [&str; 2] = ["Leave", "NotInjected"];

#[test]
fn an_override_is_told_with_what_new_pods_get_and_what_running_ones_are_then() {
    let state = StateDirectory::of(OBJECTS);
    let asked = ["disable", "deploy/web", "-n", "shop", "--reason", "proxy crash loop", "--for", "2h"];
    let shown = dry(&state, &asked);
    assert_eq!(shown.code, 0, "{}", shown.err);
    let summary = "Writes the override \"false\" on Deployment shop/web until 2026-11-22T14:00:00Z (proxy crash loop); \
                   starts no roll-out.\n  \
                   Deployment shop/web: new pods Leave, Injected (default) -> Disable, NotInjected\n\
                   1 of 1 running pods differs from new ones, and stays so until replaced.\n";
    assert_eq!(shown.err, summary);
    let row = "shop       Deployment/web  would be written  Disable, NotInjected  1 of 1 pods     \
               outrigger.dev/inject: \"false\" is set on Deployment web: proxy crash loop\n";
    assert!(shown.out.ends_with(row), "{}", shown.out);
    let object = &told(&state, &asked)["objects"][0];
    let fields = [
        "annotation outrigger.dev/inject=false",
        "annotation outrigger.dev/reason=proxy crash loop",
        "annotation outrigger.dev/until=2026-11-22T14:00:00Z",
    ];
    assert_eq!((written(object), &object["at"]), (fields.map(str::to_owned).to_vec(), &json!("metadata")));
    assert_eq!(object["after"]["rule"], json!({"kind": "Override", "name": "Deployment/web"}));
    assert_eq!(object["running"], json!({"pods": 1, "withSidecar": 1, "differing": 1}));
}

#[test]
fn every_kind_can_be_told_by_name_by_label_and_all_of_them() {
    let state = StateDirectory::of(OBJECTS);
    for (arguments, expected) in [
        (&["disable", "job/once", "-n", "shop"][..], &[("Job/once", INJECTED, DISABLED)][..]),
        (&["disable", "cj/nightly", "-n", "shop"], &[("CronJob/nightly", INJECTED, DISABLED)]),
        (&["disable", "deployment.apps/web", "-n", "shop"], &[("Deployment/web", INJECTED, DISABLED)]),
        (&["enable", "statefulset/db", "-n", "shop"], &[("StatefulSet/db", DISABLED, ENABLED)]),
        (&["remove", "statefulset/db", "-n", "shop"], &[("StatefulSet/db", DISABLED, INJECTED)]),
        (
            &["disable", "fleet/north", "-n", "shop", "--owner-kind", "example.test/v1/fleets/Fleet"],
            &[("Fleet/north", INJECTED, DISABLED)],
        ),
        (
            &["disable", "-l", "team=a", "-n", "shop"],
            &[("CronJob/nightly", INJECTED, DISABLED), ("Deployment/web", INJECTED, DISABLED)],
        ),
        (&["disable", "cronjobs", "-l", "team in (a, b)", "-A"], &[("CronJob/nightly", INJECTED, DISABLED)]),
        (&["enable", "statefulsets", "--all", "-n", "shop"], &[("StatefulSet/db", DISABLED, ENABLED)]),
        (
            &["disable", "deploy/web", "job/once", "deploy/web", "-n", "shop"],
            &[("Deployment/web", INJECTED, DISABLED), ("Job/once", INJECTED, DISABLED)],
        ),
        (&["enable", "ns/quiet"], &[("Namespace/quiet", OUTSIDE, ENABLED)]),
        (&["disable", "namespaces", "-l", "istio.io/rev"], &[("Namespace/pinned", INJECTED, DISABLED)]),
    ] {
        let told = told(&state, arguments);
        let found: Vec<_> = told["objects"].as_array().unwrap().iter().collect();
        let name = |one: &Value| format!("{}/{}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap());
        let found: Vec<_> = found.into_iter().map(|one| json!([name(one), becomes(one)])).collect();
        let expected: Vec<_> = expected.iter().map(|(name, before, after)| json!([name, [before, after]])).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }
}

#[test]
fn a_namespace_is_told_with_what_departs_from_it() {
    let state = StateDirectory::of(OBJECTS);
    let shown = dry(&state, &["enable", "namespace/shop", "--reason", "all of it"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(
        shown.err.contains("namespace shop: new pods Leave, Injected (default) -> Enable, Injected (default)"),
        "{}",
        shown.err
    );
    assert!(shown.err.contains("affects 4 workloads; new pods of 3 change"), "{}", shown.err);
    let departs = "except StatefulSet/db: new pods get Disable, NotInjected, because outrigger.dev/inject: \"false\" is set on StatefulSet db: native protocol";
    assert!(shown.err.contains(departs), "{}", shown.err);
}

#[test]
fn the_answer_is_no_where_new_pods_do_not_get_what_is_asked_for() {
    let state = StateDirectory::of(OBJECTS);
    for (arguments, code, part) in [
        (
            &["disable", "deployment/api", "-n", "strict"][..],
            1,
            "the override does not count: ClusterInjectionPolicy always allows no exception",
        ),
        (
            &["enable", "deployment/front", "-n", "asks"],
            1,
            "ClusterInjectionPolicy why wants a reason (outrigger.dev/reason)",
        ),
        (&["enable", "deployment/front", "-n", "asks", "--reason", "needs mTLS"], 0, "Enable, Injected"),
        (&["enable", "deployment/lone", "-n", "closed"], 1, "\n    but "),
        (&["enable", "ns/closed"], 1, "\n    but "),
        (&["remove", "deployment/api", "-n", "strict"], 0, "stay Enable, Injected"),
        (&["disable", "ns/strict", "--label"], 0, "Enable, Injected (default) -> Enable, Unreachable"),
        (&["enable", "ns/kube-system"], 1, "the namespace is excluded by a setting"),
    ] {
        let shown = dry(&state, arguments);
        assert!(
            shown.code == code && shown.err.contains(part),
            "{arguments:?} ended with {}: {}",
            shown.code,
            shown.err
        );
    }
}

#[test]
fn a_template_gets_what_kiali_writes_and_what_it_sets_off_is_told() {
    let state = StateDirectory::of(OBJECTS);
    let object = |arguments: &[&str]| told(&state, arguments)["objects"][0].clone();
    for (command, label, after) in [
        ("enable", "label sidecar.istio.io/inject=true", ENABLED),
        ("disable", "label sidecar.istio.io/inject=false", DISABLED),
        ("remove", "label sidecar.istio.io/inject-", INJECTED),
    ] {
        let object = object(&[command, "deployment/web", "-n", "shop", "--template"]);
        assert_eq!(written(&object), [label, "annotation sidecar.istio.io/inject-"], "{command}");
        assert_eq!((&object["at"], &becomes(&object)[1]), (&json!("spec.template.metadata"), &json!(after)));
    }
    let nightly = object(&["disable", "cronjob/nightly", "-n", "shop", "--template"]);
    assert_eq!(nightly["at"], "spec.jobTemplate.spec.template.metadata");
    let shown = dry(&state, &["disable", "cronjob/nightly", "deployment/web", "-n", "shop", "--template"]);
    assert!(shown.err.contains("CronJob: a changed template counts with its next Job."), "{}", shown.err);
    assert!(shown.err.contains("Deployment: a changed template rolls out at once."), "{}", shown.err);
}

#[test]
fn a_label_of_a_namespace_never_undoes_the_other_unnoticed() {
    let state = StateDirectory::of(OBJECTS);
    for (arguments, expected, after) in [
        (&["enable", "ns/quiet", "--label"][..], &["label istio-injection=enabled"][..], INJECTED),
        (&["enable", "ns/quiet", "--label", "--revision", "default"], &["label istio.io/rev=default"], INJECTED),
        (&["disable", "ns/shop", "--label"], &["label istio-injection=disabled"], OUTSIDE),
        (&["remove", "ns/shop", "--label"], &["label istio-injection-"], OUTSIDE),
        (&["disable", "ns/pinned", "--label"], &["label istio-injection=disabled"], OUTSIDE),
        (&["remove", "ns/pinned", "--label"], &["label istio.io/rev-"], OUTSIDE),
        (
            &["enable", "ns/pinned", "--label", "--both-labels"],
            &["label istio-injection=enabled", "label istio.io/rev-"],
            INJECTED,
        ),
    ] {
        let object = &told(&state, arguments)["objects"][0];
        assert_eq!(
            (written(object), &becomes(object)[1]),
            (expected.iter().map(|one| (*one).to_owned()).collect(), &json!(after)),
            "{arguments:?}"
        );
    }
    let refused = dry(&state, &["enable", "ns/pinned", "--label"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("has istio.io/rev=default: istio-injection=enabled would move the namespace"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("pass --both-labels to remove istio.io/rev"), "{}", refused.err);
    let not_served = dry(&state, &["enable", "ns/quiet", "--label", "--revision", "nowhere"]);
    assert!(not_served.code == 1 && not_served.err.contains("\n    but "), "{}", not_served.err);
}

#[test]
fn bad_input_is_refused_with_what_would_be_right_and_nothing_is_written() {
    let state = StateDirectory::of(OBJECTS);
    let long = "x".repeat(300);
    for (arguments, part) in [
        (
            &["disable", "deployment/wep", "-n", "shop"][..],
            "there is no deployment/wep in namespace shop; did you mean deployment/web?",
        ),
        (&["disable", "deployment/web", "deployment/wep", "-n", "shop"], "there is no deployment/wep"),
        (
            &["disable", "deploiment/web", "-n", "shop"],
            "\"deploiment\" is not a kind of workload; did you mean Deployment?",
        ),
        (
            &["disable", "deployment.example.test/web", "-n", "shop"],
            "Deployment is not a kind of the group example.test",
        ),
        (&["disable", "fleet/north", "-n", "shop"], "--owner-kind adds one"),
        (&["disable", "pod/web-1-a", "-n", "shop"], "a running pod cannot have an override; name its workload"),
        (
            &["disable", "rs/web-1", "-n", "shop"],
            "replicaset/web-1 belongs to deployment/web; name deployment/web instead",
        ),
        (&["disable", "gateway/public", "-n", "shop"], "a gateway is not a workload; name the Deployment"),
        (&["disable", "rollout/web", "-n", "shop"], "there is no rollout/web"),
        (&["disable", "deployment/Web!", "-n", "shop"], "\"Web!\" is not a name of a-z"),
        (&["disable", "deployment/web", "-n", "Shop_1"], "\"Shop_1\" is not the name of a namespace"),
        (&["disable", "ns/shpo"], "there is no namespace shpo; did you mean shop?"),
        (
            &["disable", "ns/shop", "deployment/web", "-n", "shop"],
            "the targets are namespaces and workloads: change one sort",
        ),
        (&["disable", "deployment", "-n", "shop"], "is not KIND/NAME, such as deployment/web"),
        (&["disable", "deployment/web", "--all", "-n", "shop"], "give one or the other"),
        (&["disable", "deployment/web", "-A"], "--all-namespaces needs --selector or --all"),
        (&["disable", "-l", "team=z", "-n", "shop"], "no workload in namespace shop matches"),
        (&["disable", "-l", "team=", "-n", "shop"], "no workload in namespace shop matches"),
        (&["disable", "-l", "=a", "-n", "shop"], "is not the key of a label"),
        (&["disable"], "required"),
        (&["disable", "deployment/web", "-n", "shop", "--until", "2020-01-01T00:00:00Z"], "which is past"),
        (&["disable", "deployment/web", "-n", "shop", "--until", "soon"], "\"soon\" is no time; one is written as"),
        (&["disable", "deployment/web", "-n", "shop", "--for", "1h", "--until", "18:00"], "cannot be used with"),
        (&["disable", "deployment/web", "-n", "shop", "--for", "40y"], "expected a positive duration of days"),
        (
            &["disable", "deployment/web", "-n", "shop", "--reason", &long],
            "the reason has 300 characters; at most 256 are allowed",
        ),
        (&["disable", "deployment/web", "-n", "shop", "--reason", " "], "the reason is empty"),
        (&["disable", "deployment/web", "-n", "shop", "--template", "--reason", "x"], "cannot be used with"),
        (&["disable", "job/once", "-n", "shop", "--template"], "has a pod template that cannot be changed"),
        (&["disable", "ns/shop", "--template"], "namespace shop has no pod template"),
        (&["disable", "deployment/web", "-n", "shop", "--label"], "is not a namespace: --label needs one"),
        (&["enable", "ns/quiet", "--label", "--revision", "Sta ble"], "is not a name of a-z, 0-9 and -"),
        (
            &["enable", "ns/quiet", "--label", "--mesh", "linkerd"],
            "--label needs Istio: the injector of linkerd reads no namespace labels",
        ),
    ] {
        let shown = dry(&state, arguments);
        assert_eq!((shown.code, shown.out.as_str()), (2, ""), "{arguments:?}: {}{}", shown.out, shown.err);
        assert!(shown.err.contains(part), "{arguments:?}: {}", shown.err);
    }
}

#[test]
fn what_else_there_is_to_know_is_told_before() {
    let state = StateDirectory::of(OBJECTS);
    let job = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: deep, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: load, namespace: deep, uid: u9}, spec: {template: {metadata: {labels: {app: load}}}}}
"#;
    std::fs::write(state.0.path().join("job.yaml"), job).unwrap();
    let shown = dry(&state, &["enable", "job/load", "-n", "deep"]);
    for part in
        ["Job/load in deep would get a sidecar, and its pods would never end", "namespace deep is in ambient mode"]
    {
        assert!(shown.code == 0 && shown.err.contains(&format!("Note: {part}")), "{part}: {}", shown.err);
    }
}

#[test]
fn what_cannot_be_told_is_no_refusal() {
    let state = StateDirectory::of(OBJECTS);
    std::fs::remove_file(state.0.path().join("injectors.json")).unwrap();
    for (arguments, row) in [
        (&["disable", "deployment/web", "-n", "shop"][..], "would be written  Disable, Unknown  ? of 1 pods"),
        (&["remove", "deployment/web", "-n", "shop"], "would be removed  Leave, Unknown  ? of 1 pods"),
        (&["enable", "ns/quiet", "--label"], "would be written  Leave, Unknown  -"),
        (&["enable", "ns/shop"], "would be written  Enable, Unknown  ? of 1 pods"),
    ] {
        let shown = dry(&state, arguments);
        assert!(shown.code == 0 && shown.out.contains(row), "{arguments:?}: {}{}", shown.out, shown.err);
    }
}

#[test]
fn where_it_cannot_be_told_who_has_to_be_restarted_nobody_says_that_nobody_has_to() {
    let bare = r#"
{apiVersion: v1, kind: Pod, metadata: {name: debug, namespace: shop, uid: p2}, spec: {containers: [{name: main}, {name: istio-proxy}]}, status: {phase: Running}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: old, namespace: shop, uid: r2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: old-a, namespace: shop, uid: p3, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: old, uid: r2, controller: true}]}, spec: {containers: [{name: main}, {name: istio-proxy}]}, status: {phase: Running}}
"#;
    let state = StateDirectory::of(OBJECTS);
    std::fs::write(state.0.path().join("bare.yaml"), bare).unwrap();
    let pods = "Will leave 2 pods without a known workload: pod/debug in shop, pod/old-a in shop.";
    let known = [
        (&["disable", "ns/shop", "--restart"][..], 0, "Will restart 1 workload: deployment/web in shop."),
        (&["disable", "ns/shop", "--restart"], 0, pods),
        (&["disable", "rs/old", "-n", "shop", "--restart"], 0, "Will restart 1 workload: replicaset/old in shop."),
        (&["enable", "deployment/web", "-n", "shop", "--restart"], 0, "No workload needs a restart."),
    ];
    let untold = "1 of them may not need it (running pods could not be compared): deployment/web in shop.";
    let left = "Will not restart 1 workload, since running pods could not be compared: deployment/web in shop.";
    let unknown = [
        (&["disable", "deployment/web", "-n", "shop", "--restart"][..], 0, untold),
        (&["disable", "deployment/web", "-n", "shop", "--restart", "--mesh", "kuma"], 0, untold),
        (&["disable", "ns/shop", "--restart"], 2, left),
        (&["disable", "ns/shop", "--restart"], 2, pods),
        (&["disable", "ns/shop"], 0, "3 running pods could not be compared with new ones"),
        (&["remove", "statefulset/db", "-n", "shop"], 0, "No workload needs a restart."),
        (&["remove", "deployment/web", "-n", "shop"], 0, "No workload needs a restart."),
    ];
    let check = |(arguments, code, part): (&[&str], i32, &str)| {
        let shown = dry(&state, arguments);
        assert!(
            shown.code == code && shown.err.contains(part),
            "{arguments:?} ended with {}: {}",
            shown.code,
            shown.err
        );
    };
    known.into_iter().for_each(check);
    std::fs::remove_file(state.0.path().join("injectors.json")).unwrap();
    unknown.into_iter().for_each(check);
    let told = dry(&state, &["disable", "ns/shop", "--restart", "-o", "json"]).json();
    assert_eq!(told["notRestarted"], json!([{"namespace": "shop", "kind": "Deployment", "name": "web"}]));
}

#[test]
fn files_are_changed_by_whoever_keeps_them() {
    let state = StateDirectory::of(OBJECTS);
    let told = state.run(&["disable", "deployment/web", "-n", "shop", "--yes"], "");
    assert_eq!((told.code, told.out.as_str()), (2, ""));
    let part = "on Deployment shop/web, under metadata, annotation outrigger.dev/inject=\"false\"";
    assert!(told.err.contains(part) && told.err.contains("--dry-run shows the effect"), "{}", told.err);
    let without = outrigger(&["disable", "deployment/web", "-n", "shop", "--yes"], None, "");
    assert_eq!((without.code, without.out.as_str()), (2, ""), "{}", without.err);
    assert!(without.err.contains("cannot find a cluster"), "{}", without.err);
}
