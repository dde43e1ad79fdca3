//! `outrigger explain`: strict reading of manifests.

use super::StateDirectory;

pub(crate) const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}
---
{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: mesh}, spec: {action: Enable}}
"#;

fn deployment(spec: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{selector: {{}}, template: {{spec: {spec}}}}}}}"
    )
}

#[test]
fn an_unknown_field_of_a_manifest_is_refused_with_its_path_and_the_nearest() {
    let state = StateDirectory::of(OBJECTS);
    let refused = |manifest: &str| state.run(&["explain", "-f", "-"], manifest).refusal().to_owned();
    assert_eq!(
        refused(&deployment("{hostnetwork: true, containers: [{name: a, image: b}]}")),
        "Deployment web: spec.template.spec.hostnetwork: unknown field; did you mean hostNetwork?"
    );
    let cron =
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: night}, spec: {schedule: '@daily', jobtemplate: {}}}";
    assert_eq!(refused(cron), "CronJob night: spec.jobtemplate: unknown field; did you mean jobTemplate?");
    for (version, kind) in [("v1", "Pod"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job")] {
        let manifest = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a, anotations: {{}}}}}}");
        let expected = format!("{kind} a: metadata.anotations: unknown field; did you mean annotations?");
        assert_eq!(refused(&manifest), expected);
    }
    assert_eq!(
        refused(&deployment("{containers: [{name: a, image: b, env: [{name: A, value: 1}]}]}")),
        "Deployment web: spec.template.spec.containers[0].env[0].value: invalid type: integer `1`, expected a string"
    );
}

#[test]
fn several_manifests_are_explained_and_other_kinds_are_said_and_passed_over() {
    let state = StateDirectory::of(OBJECTS);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: alone}, spec: {containers: [{name: a, image: b, resources: {limits: {cpu: 1}}}]}}";
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web}}";
    let output = state.run(&["explain", "-f", "-", "-o", "json"], &[&deployment("{}"), service, pod].join("\n---\n"));
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(output.json().as_array().unwrap().len(), 2);
    assert_eq!(output.err, "outrigger: Service is skipped, since it makes no pods\n");
    let output = state.run(&["explain", "-f", "-"], service);
    assert_eq!(output.code, 2);
    assert!(output.err.contains("the manifest has no pod and no workload"), "{}", output.err);
}
