//! Statuses as data: every case of `cases/statuses/*.yaml` is a world at one instant, and the statuses of its rules.
//!
//! Over all cases hold: what was planned and then written is not planned again, and no generation is told of another spec.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use outrigger::cli::decision_args::DecisionArgs;
use outrigger::controllers::status::{StatusPlan, StatusWrite, plan};
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::Inventory;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::decisions::injectors;

/// Case of statuses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StatusCase {
    /// A sentence.
    name: String,
    /// The clock; noon of a day in November if absent.
    now: Option<jiff::Timestamp>,
    /// Flags as for `outrigger serve`.
    #[serde(default)]
    flags: Vec<String>,
    /// Kubernetes objects, on top of those of the file.
    #[serde(default)]
    state: Vec<Value>,
    /// A file of `cases/injectors` with the installed injectors; none are installed if absent.
    injectors: Option<String>,
    /// By kind and name: the conditions by type, as status, reason and part of the message, and the other fields that are to be
    /// written. What is left out is not compared; null where nothing is to be written.
    expect: BTreeMap<String, Value>,
    /// Instant at which the plan changes by itself.
    changes_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StatusCaseFile {
    #[serde(default)]
    state: Vec<Value>,
    cases: Vec<StatusCase>,
}

#[derive(Parser)]
struct StatusFlags {
    #[command(flatten)]
    decision_args: DecisionArgs,
}

const NOW: &str = "2026-11-22T12:00:00Z";

#[test]
fn every_rule_is_told_of_as_its_case_says() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/statuses");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut failures, mut count) = (Vec::new(), 0);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: StatusCaseFile =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.cases {
            count += 1;
            let found = check(&case, &file.state);
            failures.extend(found.into_iter().map(|why| format!("{}: {}\n    {why}", path.display(), case.name)));
        }
    }
    assert!(failures.is_empty(), "of {count} cases:\n{}", failures.join("\n"));
    assert!(count >= 20, "only {count} cases were found");
}

fn check(case: &StatusCase, shared: &[Value]) -> Vec<String> {
    let StatusFlags { decision_args } = StatusFlags::parse_from([&["case".to_owned()], &case.flags[..]].concat());
    let inventory = decision_args.new_inventory();
    let injectors = case.injectors.as_deref().map(injectors).unwrap_or_default();
    // The status of an object reports that it cannot be read.
    let _ = files::replace_all(&inventory, &decision_args.rule_limits(), &[shared, &case.state, &injectors].concat());
    let now = case.now.unwrap_or_else(|| NOW.parse().unwrap());
    let StatusPlan { writes, changes_at } = plan(&inventory, now);
    let mut failures = Vec::new();
    let statuses: BTreeMap<String, Value> = writes.iter().map(summarize_write).collect();
    for (object, expected) in &case.expect {
        let found = statuses.get(object).cloned().unwrap_or_default();
        for (field, expected) in expected.as_object().into_iter().flatten() {
            let found = &found[field];
            let is_so = match (expected, found) {
                (Value::String(expected), Value::String(found)) => found.contains(expected.as_str()),
                (expected, found) => expected == found,
            };
            if !is_so {
                failures.push(format!("{object}, {field}: expected {expected}, found {found}"));
            }
        }
        if expected.is_null() != found.is_null() {
            failures.push(format!("{object}: expected {expected}, found {found}"));
        }
    }
    if case.changes_at.is_some() && case.changes_at != changes_at {
        failures.push(format!("expected something to change at {:?}, found {changes_at:?}", case.changes_at));
    }
    failures.extend(planned_again(&inventory, writes, now));
    failures
}

/// Summarizes a write: the name of the object, and the status with its conditions by type.
fn summarize_write(StatusWrite { kind, name: (namespace, name), status, .. }: &StatusWrite) -> (String, Value) {
    let slash = if namespace.is_empty() { "" } else { "/" };
    let mut summary = json!(status);
    let conditions = summary["conditions"].take();
    for condition in conditions.as_array().unwrap() {
        let part = |key: &str| condition[key].as_str().unwrap();
        summary[part("type")] = json!(format!("{} {}: {}", part("status"), part("reason"), part("message")));
    }
    (format!("{} {namespace}{slash}{name}", kind.as_str()), summary)
}

/// Returns what would be written again a moment later, although nothing has changed.
fn planned_again(inventory: &Inventory, writes: Vec<StatusWrite>, now: jiff::Timestamp) -> Vec<String> {
    for StatusWrite { kind, name, uid, status } in writes {
        inventory.rule_records.record_status(kind, &name, uid.as_deref(), status);
    }
    let later = now + jiff::SignedDuration::from_millis(1);
    plan(inventory, later)
        .writes
        .iter()
        .map(|action| format!("it is planned again: {:?}", summarize_write(action)))
        .collect()
}
