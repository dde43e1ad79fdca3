//! Decisions as data: every case of `cases/decisions/*.yaml` goes through the whole review, bytes to bytes.
//!
//! A case names a state, a pod and the expected answer; absent fields are not compared. For all cases: the patch applies, a review
//! of the patched pod changes nothing, and the patch touches only markers and the receipt. `outrigger test` takes the same files.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use outrigger::admission::{AuditEntryIds, Reviewer};
use outrigger::audit;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use outrigger::kubernetes::inventory::rules::RuleLimits;
use outrigger::metrics::Metrics;
use serde::Deserialize;
use serde_json::{Value, json};

/// One case of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DecisionCase {
    name: String,
    /// Time of the decision; noon of a day in November by default.
    now: Option<jiff::Timestamp>,
    /// Flags as for `outrigger serve`.
    #[serde(default)]
    flags: Vec<String>,
    /// Kubernetes objects, added to those of the file.
    #[serde(default)]
    state: Vec<Value>,
    /// Name of a file of `cases/injectors` with the installed injectors; none by default.
    injectors: Option<String>,
    /// Caches that are not filled yet: `namespaces`, `policies`, `suspensions` or the plural of a kind of owner.
    #[serde(default)]
    not_synced: Vec<String>,
    /// Pod, as YAML; the usual fields are filled in.
    pod: Value,
    /// User who creates the pod; the ReplicaSet controller by default.
    requester: Option<String>,
    /// Fields of the request that differ from the usual ones.
    #[serde(default)]
    request: serde_json::Map<String, Value>,
    /// Expected audit entry, and expected labels and annotations of the patched pod.
    expect: ExpectedEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExpectedEntry {
    action: String,
    /// Kind and name of the rule, such as `Policy mesh-by-default`.
    rule: String,
    /// Part of the reason.
    reason: Option<String>,
    workload: Option<String>,
    until: Option<String>,
    /// `rule kind and name: outcome` of each other rule in the entry, in order.
    considered: Option<Vec<String>>,
    /// Effect of the injector; `effect_reason` is a part of its reason.
    effect: Option<String>,
    effect_reason: Option<String>,
    /// Webhook entry of the injector.
    webhook: Option<String>,
    /// Changed labels: a value, or null for a removed label. Nothing else may change.
    #[serde(default)]
    labels: serde_json::Map<String, Value>,
    /// Changed annotations, in the same form.
    #[serde(default)]
    annotations: serde_json::Map<String, Value>,
}

/// File of cases, and the state that they share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DecisionCaseFile {
    /// Namespace of pods that name none.
    namespace: String,
    #[serde(default)]
    state: Vec<Value>,
    cases: Vec<DecisionCase>,
}

#[derive(Parser)]
struct CaseFlags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

const NOW: &str = "2026-11-22T12:00:00Z";
const REPLICASET_CONTROLLER: &str = "system:serviceaccount:kube-system:replicaset-controller";

#[tokio::test]
async fn every_case_is_decided_as_it_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, DecisionCaseFile { namespace, state, cases }) in case_files() {
        for case in cases {
            count += 1;
            let label = format!("{file}: {}", case.name);
            failures
                .extend(check(&case, &namespace, &state).await.into_iter().map(|why| format!("{label}\n    {why}")));
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
    let text =
        "{name: a, pod: {metadata: {name: a}}, expect: {action: Disable, rule: Policy injectionpolicy-Enforce-0}}";
    let case: DecisionCase = serde_saphyr::from_str(text).unwrap();
    let answer = review_case(&case, &objects, &review_of(&case, "shop").1).await.unwrap();
    let considered = answer.entry["considered"].as_array().unwrap();
    let count = |name: &str, outcome: &str| {
        let is_counted =
            |one: &&Value| one["rule"]["name"].as_str().unwrap().starts_with(name) && one["outcome"] == outcome;
        considered.iter().filter(is_counted).count()
    };
    assert_eq!((count("injectionpolicy-Enforce", "Outranked"), count("injectionpolicy-Audit", "Would")), (24, 24));
    assert_eq!((count("cluster", "Outranked"), count("cluster", "Would")), (8, 8), "{considered:?}");
    assert_eq!((considered.len(), &answer.entry["moreConsidered"]), (64, &json!(40 + 40 - 1 - 24 - 24)));
    assert_eq!(compare_entry(&case.expect, &answer), Vec::<String>::new());
}

/// Of every case its file, its name, and the line of the audit log.
pub(crate) async fn lines() -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    for (file, DecisionCaseFile { namespace, state, cases }) in case_files() {
        for case in cases {
            let injectors = case.injectors.as_deref().map(injectors).unwrap_or_default();
            let objects = [&state[..], &case.state, &injectors].concat();
            let answer = review_case(&case, &objects, &review_of(&case, &namespace).1).await.unwrap();
            lines.push([file.clone(), case.name, answer.line]);
        }
    }
    lines
}

fn case_files() -> Vec<(String, DecisionCaseFile)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/decisions");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let file = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), file)
    };
    paths.iter().map(read).collect()
}

/// Reads the webhook configurations of one way to install a mesh.
pub(crate) fn injectors(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/injectors/{name}.yaml"));
    files::parse_objects(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn check(case: &DecisionCase, namespace: &str, shared: &[Value]) -> Vec<String> {
    let injectors = case.injectors.as_deref().map(injectors).unwrap_or_default();
    let objects = [shared, &case.state, &injectors].concat();
    let (pod, review) = review_of(case, namespace);
    let first = match review_case(case, &objects, &review).await {
        Ok(answer) => answer,
        Err(why) => return vec![why],
    };
    let mut failures = compare_entry(&case.expect, &first);
    let Some(pod) = pod.is_object().then_some(pod) else { return failures };
    let mut patched = pod.clone();
    if let Err(error) = json_patch::patch(&mut patched, &first.patch) {
        failures.push(format!("the patch does not apply: {error}"));
        return failures;
    }
    failures.extend(check_patched_pod(&case.expect, &pod, &patched));
    let mut again = review;
    again["request"]["object"] = patched;
    match review_case(case, &objects, &again).await {
        Ok(second) if second.patch.is_empty() => {}
        Ok(second) => failures.push(format!("the patched pod is patched again: {}", json!(second.patch))),
        Err(why) => failures.push(why),
    }
    failures
}

/// Builds the pod and its review.
fn review_of(case: &DecisionCase, namespace: &str) -> (Value, Value) {
    let mut pod = case.pod.clone();
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
    if pod.is_object() && pod["spec"].is_null() {
        pod["spec"] = json!({"containers": [{"name": "web", "image": "nginx"}]});
    }
    let mut request = json!({
        "uid": "case", "operation": "CREATE", "namespace": namespace, "dryRun": false, "object": pod,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": case.requester.as_deref().unwrap_or(REPLICASET_CONTROLLER)},
    });
    request.as_object_mut().unwrap().extend(case.request.clone());
    (pod, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}))
}

struct ReviewedCase {
    /// The line of the audit log, and what it says.
    line: String,
    entry: Value,
    patch: json_patch::Patch,
}

async fn review_case(case: &DecisionCase, objects: &[Value], review: &Value) -> Result<ReviewedCase, String> {
    // Whatever the environment says.
    let own = ["case", "--own-namespace=outrigger-system"].map(str::to_owned);
    let has_own_namespace = case.flags.iter().any(|flag| flag.starts_with("--own-namespace"));
    let given = [&own[..if has_own_namespace { 1 } else { 2 }], &case.flags].concat();
    let flags = CaseFlags::try_parse_from(given).map_err(|error| error.to_string())?;
    let clock = Clock::Fixed(case.now.unwrap_or_else(|| NOW.parse().unwrap()));
    let (log, writer) = audit::audit_channel(clock.clone());
    let reviewer = Reviewer {
        inventory: Arc::new(inventory(&flags.decision_args, objects, &case.not_synced)?),
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

fn inventory(decision_args: &DecisionArgs, objects: &[Value], not_synced: &[String]) -> Result<Inventory, String> {
    let inventory = decision_args.new_inventory();
    let problems = files::replace_all(&inventory, &RuleLimits::default(), objects);
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    if not_synced.is_empty() {
        return Ok(inventory);
    }
    // Everything else is listed into an empty inventory.
    let partial = decision_args.new_inventory();
    files::replace_listed(&partial, &RuleLimits::default(), objects, |cache| {
        !not_synced.iter().any(|one| one == cache)
    });
    Ok(partial)
}

fn compare_entry(expected: &ExpectedEntry, ReviewedCase { entry, .. }: &ReviewedCase) -> Vec<String> {
    let ExpectedEntry {
        action,
        rule,
        reason,
        workload,
        until,
        considered,
        effect,
        effect_reason,
        webhook,
        labels: _,
        annotations: _,
    } = expected;
    let mut failures = Vec::new();
    let mut compare = |what: &str, expected: &str, found: String| {
        if expected != found {
            failures.push(format!("{what}: expected {expected:?}, found {found:?} ({})", entry["reason"]));
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    compare("action", action, text(&entry["action"]));
    compare("rule", rule, describe_rule(&entry["rule"]));
    if let Some(workload) = workload {
        let found = &entry["workload"];
        let found = if found.is_null() {
            "none".to_owned()
        } else {
            format!("{}/{}", text(&found["kind"]), text(&found["name"]))
        };
        compare("workload", workload, found);
    }
    if let Some(until) = until {
        compare("until", until, text(&entry["until"]));
    }
    if let Some(considered) = considered {
        let found = entry["considered"].as_array().unwrap().iter();
        let found: Vec<_> =
            found.map(|one| format!("{}: {}", describe_rule(&one["rule"]), text(&one["outcome"]))).collect();
        compare("considered", &considered.join("; "), found.join("; "));
    }
    if let Some(effect) = effect {
        compare("effect", effect, text(&entry["effect"]["outcome"]));
    }
    if let Some(webhook) = webhook {
        compare("webhook", webhook, text(&entry["effect"]["webhook"]));
    }
    for (what, part, found) in
        [("reason", reason, &entry["reason"]), ("effect's reason", effect_reason, &entry["effect"]["reason"])]
    {
        if let Some(part) = part
            && !text(found).contains(part.as_str())
        {
            failures.push(format!("{what}: expected something with {part:?}, found {found}"));
        }
    }
    failures
}

fn describe_rule(rule: &Value) -> String {
    format!("{} {}", rule["kind"].as_str().unwrap_or_default(), rule["name"].as_str().unwrap_or_default())
}

/// Describes a pod that was changed against the expectation, or not changed in spite of it.
fn check_patched_pod(expected: &ExpectedEntry, before: &Value, after: &Value) -> Vec<String> {
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
