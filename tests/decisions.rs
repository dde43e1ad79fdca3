//! Decisions as data: every case of `cases/decisions/*.yaml` goes through the whole review, bytes to bytes.
//!
//! A case names a state, a pod and the expected answer; absent fields are not compared, but for the action and the rule. For all cases: the patch applies, a review
//! of the patched pod changes nothing, and the patch touches only markers and the receipt. `outrigger test` takes the same files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use outrigger::admission::{AuditEntryIds, Reviewer};
use outrigger::audit;
use outrigger::cli::test::case::{CaseFile, TestCase};
use outrigger::cli::test::expectation::{CaseExpectation, FieldDifference, FoundDecision};
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::intake::files;
use outrigger::metrics::Metrics;
use serde_json::{Value, json};

#[tokio::test]
async fn every_case_is_decided_as_it_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, cases) in case_files() {
        for case in cases {
            count += 1;
            let label = format!("{file}: {}", case.name);
            failures.extend(check(&case).await.into_iter().map(|why| format!("{label}\n    {why}")));
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 60, "only {count} cases were found");
}

#[tokio::test]
async fn of_very_many_policies_an_entry_tells_the_first_and_the_platforms_before_the_tenants() {
    let policy = |number: usize, kind: &str, mode: &str| {
        let metadata = json!({"name": format!("{}-{mode}-{number}", kind.to_lowercase()), "namespace": "shop"});
        let spec =
            json!({"action": "Disable", "mode": mode, "priority": if kind == "InjectionPolicy" { 9 } else { 0 }});
        json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let modes = || ["Audit", "Enforce"].into_iter();
    let tenants = modes().flat_map(|mode| (0..40).map(move |number| policy(number, "InjectionPolicy", mode)));
    let platforms = modes().flat_map(|mode| (0..8).map(move |number| policy(number, "ClusterInjectionPolicy", mode)));
    let objects: Vec<Value> = [shop].into_iter().chain(tenants).chain(platforms).collect();
    let expect = json!({"action": "Disable", "rule": "Policy injectionpolicy-Enforce-0"});
    let case = json!({"name": "a", "state": objects, "pod": {"metadata": {"name": "a"}}, "expect": expect});
    let file = json!({"namespace": "shop", "cases": [case]}).to_string();
    let case = CaseFile::parse(&file, Path::new("")).unwrap().pop().unwrap();
    let answer = review_case(&case, &review_of(&case).1).await.unwrap();
    let considered = answer.entry["considered"].as_array().unwrap();
    let count = |name: &str, outcome: &str| {
        let is_counted =
            |one: &&Value| one["rule"]["name"].as_str().unwrap().starts_with(name) && one["outcome"] == outcome;
        considered.iter().filter(is_counted).count()
    };
    assert_eq!((count("injectionpolicy-Enforce", "Outranked"), count("injectionpolicy-Audit", "Would")), (24, 24));
    assert_eq!((count("cluster", "Outranked"), count("cluster", "Would")), (8, 8), "{considered:?}");
    assert_eq!((considered.len(), &answer.entry["moreConsidered"]), (64, &json!(40 + 40 - 1 - 24 - 24)));
    assert_eq!(case.expect.differences(&answer.found()), []);
}

/// Of every case its file, its name, and the line of the audit log.
pub(crate) async fn lines() -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    for (file, cases) in case_files() {
        for case in cases {
            let answer = review_case(&case, &review_of(&case).1).await.unwrap();
            lines.push([file.clone(), case.name, answer.line]);
        }
    }
    lines
}

fn case_files() -> Vec<(String, Vec<TestCase>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/decisions");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let cases = CaseFile::read(path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), cases)
    };
    paths.iter().map(read).collect()
}

/// Reads the webhook configurations of one way to install a mesh.
pub(crate) fn injectors(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/injectors/{name}.yaml"));
    files::parse_objects(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn check(case: &TestCase) -> Vec<String> {
    let (pod, review) = review_of(case);
    let first = match review_case(case, &review).await {
        Ok(answer) => answer,
        Err(why) => return vec![why],
    };
    if case.expect.action.is_none() || case.expect.rule.is_none() {
        return vec!["each case expects an action and a rule".to_owned()];
    }
    // Labels and annotations are compared below, together with all that must not change.
    let mut expected = case.expect.clone();
    expected.labels.clear();
    expected.annotations.clear();
    let describe =
        |FieldDifference { field, expected, found }| format!("{field}: expected {expected:?}, found {found:?}");
    let mut failures: Vec<_> = expected.differences(&first.found()).into_iter().map(describe).collect();
    let Some(pod) = pod.is_object().then_some(pod) else { return failures };
    let mut patched = pod.clone();
    if let Err(error) = json_patch::patch(&mut patched, &first.patch) {
        failures.push(format!("the patch does not apply: {error}"));
        return failures;
    }
    failures.extend(check_patched_pod(&case.expect, &pod, &patched));
    let mut again = review;
    again["request"]["object"] = patched;
    match review_case(case, &again).await {
        Ok(second) if second.patch.is_empty() => {}
        Ok(second) => failures.push(format!("the patched pod is patched again: {}", json!(second.patch))),
        Err(why) => failures.push(why),
    }
    failures
}

/// Returns the pod of a case, and its review.
fn review_of(case: &TestCase) -> (Value, Value) {
    case.review_of(case.pod.as_ref().expect("each case here has a pod"))
}

struct ReviewedCase {
    /// The line of the audit log, and what it says.
    line: String,
    entry: Value,
    patch: json_patch::Patch,
}

async fn review_case(case: &TestCase, review: &Value) -> Result<ReviewedCase, String> {
    let inventory = case.objects().and_then(|objects| case.inventory(&objects));
    let clock = Clock::Fixed(case.now());
    let (log, writer) = audit::audit_channel(clock.clone());
    let reviewer = Reviewer {
        inventory: Arc::new(inventory.map_err(|error| format!("{error:#}"))?),
        reads: None,
        metrics: Metrics::new(log.lost_counter().clone()),
        audit: Some(log),
        clock,
        entries: AuditEntryIds::for_process("case"),
    };
    let answer = reviewer.review(review.to_string().as_bytes(), true).await.map_err(|bad| bad.to_string())?;
    drop(reviewer);
    let mut written = Vec::new();
    writer.run(&mut written).await;
    let entry: Value = serde_json::from_slice(&written).map_err(|error| format!("the audit entry: {error}"))?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| format!("the answer: {error}"))?;
    let response = &answer["response"];
    if response["allowed"] != true
        || response["uid"] != "case"
        || response["patch"].is_null() != response["patchType"].is_null()
    {
        return Err(format!("the answer is not one: {answer}"));
    }
    let annotations = &response["auditAnnotations"];
    if annotations["action"] != entry["action"]
        || annotations["reason"] != entry["reason"]
        || annotations["effect"] != entry["effect"]["outcome"]
        || annotations["effect-reason"] != entry["effect"]["reason"]
    {
        return Err(format!("the answer tells another story than the audit log: {answer} {entry}"));
    }
    let patch = match response["patch"].as_str() {
        Some(encoded) => {
            serde_json::from_slice(&BASE64_STANDARD.decode(encoded).unwrap()).map_err(|e| e.to_string())?
        }
        None => json_patch::Patch::default(),
    };
    Ok(ReviewedCase { line: String::from_utf8(written).expect("it is JSON"), entry, patch })
}

impl ReviewedCase {
    /// Returns the decision as the audit log has it.
    fn found(&self) -> FoundDecision {
        let entry = &self.entry;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let or_none = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        let workload = &entry["workload"];
        let considered = entry["considered"].as_array().into_iter().flatten();
        let considered = considered.map(|one| format!("{}: {}", describe_rule(&one["rule"]), text(&one["outcome"])));
        FoundDecision {
            action: text(&entry["action"]),
            rule: describe_rule(&entry["rule"]),
            reason: text(&entry["reason"]),
            workload: match workload.is_null() {
                true => "none".to_owned(),
                false => format!("{}/{}", text(&workload["kind"]), text(&workload["name"])),
            },
            until: or_none(&entry["until"]),
            considered: considered.collect::<Vec<_>>().join("; "),
            effect: text(&entry["effect"]["outcome"]),
            effect_reason: text(&entry["effect"]["reason"]),
            webhook: or_none(&entry["effect"]["webhook"]),
            revision: or_none(&entry["effect"]["revision"]),
            metadata: Value::Null,
        }
    }
}

fn describe_rule(rule: &Value) -> String {
    format!("{} {}", rule["kind"].as_str().unwrap_or_default(), rule["name"].as_str().unwrap_or_default())
}

/// Describes a pod that was changed against the expectation, or not changed in spite of it.
fn check_patched_pod(expected: &CaseExpectation, before: &Value, after: &Value) -> Vec<String> {
    let mut expected_pod = before.clone();
    for (map, changes) in [("labels", &expected.labels), ("annotations", &expected.annotations)] {
        if changes.is_empty() {
            continue;
        }
        if expected_pod["metadata"][map].is_null() {
            expected_pod["metadata"][map] = json!({});
        }
        let found = expected_pod["metadata"][map].as_object_mut().unwrap();
        for (key, value) in changes {
            match value {
                Value::Null => drop(found.remove(key)),
                value => drop(found.insert(key.clone(), value.clone())),
            }
        }
    }
    let differs = expected_pod != *after;
    differs
        .then(|| format!("the pod: expected {}, found {}", expected_pod["metadata"], after["metadata"]))
        .into_iter()
        .collect()
}
