//! `outrigger preview`: changes, and refusals.

use serde_json::json;

use super::StateDirectory;

pub(crate) const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bank, labels: {istio-injection: disabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, namespace: shop, uid: r1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1-a, namespace: shop, uid: p1, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]}
spec: {containers: [{name: web, image: a}, {name: istio-proxy, image: b}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1-b, namespace: shop, uid: p2, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]}
spec: {containers: [{name: web, image: a}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone, namespace: shop, uid: p3}
spec: {containers: [{name: web, image: a}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ledger, namespace: bank}
spec: {selector: {matchLabels: {app: ledger}}, template: {metadata: {labels: {app: ledger}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: proxy, namespace: kube-system}
spec: {selector: {matchLabels: {app: proxy}}, template: {metadata: {labels: {app: proxy}}}}
---
apiVersion: outrigger.dev/v1alpha1
kind: InjectionPolicy
metadata: {name: out, namespace: bank}
spec: {action: Disable}
"#;

fn policy(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {{name: {name}}}, spec: {spec}}}"
    )
}

#[test]
fn what_changes_is_told_by_namespace_with_the_pods_that_run() {
    let output =
        StateDirectory::of(OBJECTS).run(&["preview", "-f", "-", "-o", "json"], &policy("none", "{action: Disable}"));
    let json = output.json();
    assert_eq!(output.code, 1, "{}", output.err);
    assert_eq!(json["changes"], json!([{"kind": "ClusterInjectionPolicy", "name": "none", "change": "New"}]));
    assert_eq!(
        json["summary"],
        json!({
            "workloads": 4, "changed": 2, "otherRule": 0, "gaining": 0, "losing": 2, "unreachable": 0,
            "pods": 3, "changedPods": 3,
        })
    );
    assert_eq!(json["namespaces"].as_array().unwrap().len(), 1, "only shop changes: bank disables already");
    let workloads = &json["namespaces"][0]["workloads"];
    assert_eq!(
        (&workloads[0]["kind"], &workloads[0]["name"], &workloads[0]["pods"]),
        (&json!("Deployment"), &json!("web"), &json!(2))
    );
    assert_eq!(
        (&workloads[1]["kind"], &workloads[1]["name"], &workloads[1]["pods"]),
        (&json!("Pod"), &json!("alone"), &json!(1))
    );
    assert_eq!(
        (&workloads[0]["before"]["action"], &workloads[0]["after"]["action"]),
        (&json!("Leave"), &json!("Disable"))
    );
    assert_eq!(workloads[0]["after"]["effect"]["outcome"], "NotInjected");
}

#[test]
fn what_becomes_unreachable_is_told_with_why() {
    let state = StateDirectory::of(OBJECTS);
    let policy = policy("all", "{action: Enable, priority: 1}");
    let output = state.run(&["preview", "-f", "-"], &policy);
    assert_eq!(output.code, 1, "{}", output.err);
    assert!(output.out.contains("1 workload would become unreachable"), "{}", output.out);
    assert!(output.out.contains("Disable, NotInjected -> Enable, Unreachable"), "{}", output.out);
    assert!(output.out.contains("Unreachable: Namespace has istio-injection=disabled label"), "{}", output.out);
}

#[test]
fn a_policy_that_would_go_away_is_previewed_and_one_that_is_not_there_is_refused() {
    let state = StateDirectory::of(OBJECTS);
    let output = state.run(&["preview", "--delete", "inj/out", "-n", "bank", "-o", "json"], "");
    assert_eq!(output.code, 1, "{}", output.err);
    assert_eq!(output.json()["namespaces"][0]["workloads"][0]["after"]["action"], "Leave");
    let refused = state.run(&["preview", "--delete", "injectionpolicy/outt", "-n", "bank"], "");
    assert_eq!(refused.refusal(), "there is no InjectionPolicy bank/outt; did you mean out?");
    let refused = state.run(&["preview", "--delete", "injectionpolici/out", "-n", "bank"], "");
    assert!(refused.refusal().contains("did you mean injectionpolicy?"), "{}", refused.err);
}

#[test]
fn the_same_answer_by_another_rule_is_no_change() {
    let two = format!("{}\n---\n{}", policy("in-force", "{action: Disable}"), OBJECTS.trim_start());
    let output = StateDirectory::of(&two)
        .run(&["preview", "-f", "-", "-o", "json"], &policy("higher", "{action: Disable, priority: 9}"));
    assert_eq!(output.code, 0, "{}", output.out);
    assert_eq!((&output.json()["summary"]["changed"], &output.json()["summary"]["otherRule"]), (&json!(0), &json!(3)));
}

#[test]
fn a_policy_in_mode_audit_changes_nothing_unless_it_is_previewed_as_enforced() {
    let (state, audit) = (StateDirectory::of(OBJECTS), policy("later", "{action: Disable, mode: Audit}"));
    let output = state.run(&["preview", "-f", "-"], &audit);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("is in mode Audit, and changes nothing; --as-enforced shows"), "{}", output.out);
    assert_eq!(state.run(&["preview", "-f", "-", "--as-enforced"], &audit).code, 1);
}

#[test]
fn a_suspension_counts_from_now_and_one_that_begins_later_says_so() {
    let suspension = |spec: &str| {
        format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: SuspensionPolicy, metadata: {{name: stop}}, spec: {{suspend: Injection, reason: why, {spec}}}}}"
        )
    };
    let state = StateDirectory::of(OBJECTS);
    let output = state.run(&["preview", "-f", "-", "-n", "shop"], &suspension("for: 1h"));
    assert!(output.code == 1 && output.out.contains("until 2026-11-22T13:00:00Z: why"), "{}{}", output.out, output.err);
    let output =
        state.run(&["preview", "-f", "-", "-n", "shop"], &suspension("startsAt: 2026-11-22T15:00:00Z, for: 1h"));
    assert!(
        output.code == 0 && output.out.contains("begins at 2026-11-22T15:00:00Z; --now"),
        "{}{}",
        output.out,
        output.err
    );
    let output = state.run(&["preview", "-f", "-", "-n", "shpo"], &suspension("for: 1h"));
    assert_eq!(output.refusal(), "there is no namespace shpo; did you mean shop?");
}

#[test]
fn what_is_no_policy_is_refused_with_a_sentence() {
    let state = StateDirectory::of(OBJECTS);
    let refused = |manifest: &str| state.run(&["preview", "-f", "-"], manifest).refusal().to_owned();
    assert_eq!(
        refused("# nothing"),
        "-: nothing is proposed: send policies or suspensions, or name in delete those that would be deleted"
    );
    assert_eq!(
        refused(&policy("a", "{acton: Enable, match: {namespace: {}}}")),
        "ClusterInjectionPolicy a: spec.acton: unknown field; did you mean action?\n  \
         spec.match.namespace: unknown field; did you mean namespaces?"
    );
    assert!(refused(&policy("a", "{priority: 1}")).contains("missing field `action`"));
    assert_eq!(
        refused(&policy("a", "{action: Disable, revision: stable}")),
        "ClusterInjectionPolicy a: spec.revision is only for action Enable"
    );
    assert!(
        refused("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")
            .starts_with("ConfigMap a is no policy and no suspension: ")
    );
    let kind = policy("a", "{action: Enable}").replace("ClusterInjectionPolicy", "ClusterInjectPolicy");
    assert!(refused(&kind).contains("did you mean ClusterInjectionPolicy?"));
    let version = policy("a", "{action: Enable}").replace("v1alpha1", "v1");
    assert!(refused(&version).contains("apiVersion is \"outrigger.dev/v1\": use outrigger.dev/v1alpha1"));
    let twice = format!("{0}\n---\n{0}", policy("a", "{action: Enable}"));
    assert_eq!(refused(&twice), "ClusterInjectionPolicy a is given twice");
}

const JOB: &str = r#"
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: night, namespace: bank}
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: b}]}}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: plain}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: day, namespace: plain}
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: b}]}}}}}
"#;

/// Previews a policy and returns the notes.
fn notes(objects: &str, policy: &str) -> Vec<String> {
    let output = StateDirectory::of(objects).run(&["preview", "-f", "-", "-o", "json"], policy);
    assert_eq!(output.code, 1, "{}{}", output.out, output.err);
    serde_json::from_value(output.json()["notes"].clone()).unwrap()
}

#[test]
fn a_sidecar_for_a_job_that_is_no_native_one_is_warned_of() {
    let enable = policy("all", "{action: Enable}");
    let of_jobs =
        |objects: &str| notes(objects, &enable).into_iter().find(|note| note.starts_with("CronJob/day in plain"));
    let objects = format!("{OBJECTS}{JOB}");
    let ordinary = of_jobs(&objects).expect("the pod web-1-a has an ordinary sidecar");
    assert!(ordinary.contains("its pods would never end: of 1 sidecars that run, 1 are ordinary"), "{ordinary}");
    let native = "spec: {containers: [{name: web, image: a}], initContainers: [{name: istio-proxy, image: b, restartPolicy: Always}]}";
    let proxy = "spec: {containers: [{name: web, image: a}, {name: istio-proxy, image: b}]}";
    assert_eq!(of_jobs(&objects.replace(proxy, native)), None);
    let unknown = of_jobs(&objects.replace(", {name: istio-proxy, image: b}", "")).expect("no pod tells");
    assert!(unknown.contains("cannot be told, since no running pod has any"), "{unknown}");
}

#[test]
fn what_depends_on_the_mesh_from_then_on_is_said_once() {
    let notes = notes(&format!("{OBJECTS}{JOB}"), &policy("all", "{action: Enable}"));
    let waiting: Vec<_> = notes.iter().filter(|note| note.contains("while its control plane is down")).collect();
    assert_eq!(waiting.len(), 1, "{notes:?}");
}

#[test]
fn ambient_mode_is_warned_of_where_a_sidecar_goes_or_stays_away() {
    let ambient =
        OBJECTS.replace("istio-injection: enabled", "istio-injection: enabled, istio.io/dataplane-mode: ambient");
    let of = |action: &str| notes(&ambient, &policy("all", &format!("{{action: {action}}}"))).join("; ");
    assert!(
        of("Disable")
            .contains("namespace shop is in ambient mode (istio.io/dataplane-mode=ambient): Disable does not keep")
    );
    let marked = ambient.replace("labels: {app: web}", "labels: {app: web, sidecar.istio.io/inject: \"true\"}");
    let removed = notes(&marked, &policy("all", "{action: Remove}")).join("; ");
    assert!(removed.contains("Remove puts new pods into ambient mode"), "{removed}");
}

#[test]
fn markers_that_would_count_as_overrides_are_told_before_the_first_policy() {
    let marked = OBJECTS
        .replace("metadata: {labels: {app: web}}", "metadata: {labels: {app: web, sidecar.istio.io/inject: \"false\"}}")
        .replace("metadata: {labels: {app: ledger}}", "metadata: {annotations: {sidecar.istio.io/inject: \"false\"}}")
        .replace("metadata: {labels: {app: proxy}}", "metadata: {labels: {sidecar.istio.io/inject: \"false\"}}");
    let state = StateDirectory::of(&marked);
    let output = state.run(&["preview", "--adopt", "-o", "json"], "");
    assert_eq!(output.code, 1, "{}", output.err);
    let found: Vec<_> = output.json()["markers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            json!([
                one["kind"],
                one["name"],
                one["pods"],
                one["place"],
                one["value"],
                one["asks"],
                one["withoutIt"]["outcome"],
                one["agrees"]
            ])
        })
        .collect();
    assert_eq!(
        found,
        [
            json!(["Deployment", "ledger", 0, "annotation", "false", "Disable", "NotInjected", true]),
            json!(["Deployment", "web", 2, "label", "false", "Disable", "Injected", false]),
        ]
    );
    let table = state.run(&["preview", "--adopt"], "").out;
    assert!(table.contains("2 of 2 would count as overrides"), "{table}");
    assert!(table.contains("label sidecar.istio.io/inject=false"), "{table}");
    let none = StateDirectory::of(OBJECTS).run(&["preview", "--adopt"], "");
    assert!(none.code == 0 && none.out.starts_with("No marker of the mesh stands"), "{}{}", none.out, none.err);
}
