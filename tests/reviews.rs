//! Recorded reviews: bodies that a real API server sent, with the objects that they refer to.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

const NOW: &str = "2026-11-23T12:00:00Z";

/// Makes a state directory with the recorded objects and these rules.
fn state(rules: &[Value]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(recorded("state.yaml"), directory.path().join("state.yaml")).unwrap();
    let rules: Vec<String> = rules.iter().map(Value::to_string).collect();
    std::fs::write(directory.path().join("rules.yaml"), rules.join("\n---\n")).unwrap();
    directory
}

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reviews").join(name)
}

fn review(state: &Path, body: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["review", "--now", NOW, "--state"])
        .arg(state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    child.wait_with_output().unwrap()
}

fn answered(state: &Path, name: &str) -> Value {
    let output = review(state, &std::fs::read(recorded(name)).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn enable_deployments() -> Value {
    let matching = json!({"workloads": [{"kind": "Deployment"}]});
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy",
        "metadata": {"name": "deployments"}, "spec": {"action": "Enable", "match": matching},
    })
}

#[test]
fn each_recorded_pod_of_a_deployment_is_enabled_by_its_workload() {
    let state = state(&[enable_deployments()]);
    for name in ["small", "typical", "large"] {
        let body: Value = serde_json::from_slice(&std::fs::read(recorded(&format!("{name}.json"))).unwrap()).unwrap();
        let answer = answered(state.path(), &format!("{name}.json"));
        let response = &answer["response"];
        assert_eq!(response["uid"], body["request"]["uid"]);
        assert_eq!(response["allowed"], true);
        assert_eq!(response["auditAnnotations"]["workload"], format!("Deployment/{name}"));
        let patch = BASE64_STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut pod = body["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch).unwrap();
        let mut expected = body["request"]["object"].clone();
        expected["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("true");
        if expected["metadata"]["annotations"].is_null() {
            expected["metadata"]["annotations"] = json!({});
        }
        expected["metadata"]["annotations"]["outrigger.dev/decision"] =
            json!("Enable by ClusterInjectionPolicy deployments");
        assert_eq!(pod, expected, "{name}");
    }
}

#[test]
fn a_recorded_pod_in_the_name_of_another_requester_is_treated_as_bare() {
    let bench = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}});
    let state = state(&[enable_deployments(), bench]);
    let answer = answered(state.path(), "small-untrusted-requester.json");
    let annotations = &answer["response"]["auditAnnotations"];
    assert_eq!(annotations["action"], "Leave");
    assert!(annotations["workload"].is_null());
    assert!(answer["response"]["patch"].is_null());
}

#[test]
fn the_built_in_sample_answers_the_recorded_review_with_a_patch() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["review", "--now", NOW])
        .stdin(std::fs::File::open(recorded("small.json")).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let answer: Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
    assert_eq!(answer["response"]["auditAnnotations"]["rule"], "ClusterInjectionPolicy mesh-by-default");
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
}

#[test]
fn what_is_no_review_ends_with_two_and_a_sentence() {
    let state = state(&[]);
    for (body, part) in [
        ("", "EOF"),
        ("{}", "send an AdmissionReview"),
        (r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}"#, "admissionReviewVersions"),
        (r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#, "request is missing"),
    ] {
        let output = review(state.path(), body.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{body}: {said}");
        assert!(said.starts_with("outrigger: ") && said.matches(part).count() == 1, "{body}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_state_that_cannot_be_read_is_named() {
    let missing = review(Path::new("/no/such/directory"), b"{}");
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/directory"));
    let state = state(&[]);
    std::fs::write(state.path().join("broken.yaml"), "a: [").unwrap();
    let broken = review(state.path(), b"{}");
    assert_eq!(broken.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("broken.yaml"));
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_the_others_count() {
    let broken = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy",
        "metadata": {"name": "broken"}, "spec": {"action": "Sometimes"},
    });
    let state = state(&[enable_deployments(), broken]);
    let output = review(state.path(), &std::fs::read(recorded("small.json")).unwrap());
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ClusterInjectionPolicy broken") && said.contains("Sometimes"), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["response"]["auditAnnotations"]["rule"], "ClusterInjectionPolicy deployments");
}
