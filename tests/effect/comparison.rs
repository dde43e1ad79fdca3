//! Compares the prediction for each row with its pod, and with the calls that the API server recorded.

use std::collections::{HashMap, HashSet};

use anyhow::ensure;
use serde_json::Value;

use super::RowResult;
use crate::control_plane::{ControlPlane, await_condition};
use crate::webhook::TIMEOUT;
use crate::webhook::installed::Outrigger;

/// Returns a sentence for each row that differs from its prediction, and for each shape in which some outcome never came up.
pub(super) async fn mismatches(plane: &ControlPlane, outrigger: &Outrigger, tried: &[RowResult]) -> Vec<String> {
    let names: HashSet<&str> = tried.iter().map(|tried| tried.name.as_str()).collect();
    let entries = await_condition("an audit entry for each row", TIMEOUT, async || {
        let entries = outrigger.entries_where(|entry| entry["pod"].as_str().is_some_and(|name| names.contains(name)));
        ensure!(entries.len() == names.len(), "there are {} for {} rows", entries.len(), names.len());
        Ok(entries)
    })
    .await;
    let entries: HashMap<_, _> = entries.iter().map(|entry| (entry["pod"].as_str(), entry)).collect();
    let calls = injector_calls(plane);
    let mut mismatches = Vec::new();
    let needed = |tried: &RowResult| OUTCOMES.map(|outcome| (tried.shape, outcome));
    let mut missing: HashSet<_> = tried.iter().flat_map(needed).collect();
    for tried in tried {
        let entry = entries[&Some(tried.name.as_str())];
        let called = calls.get(&tried.name).map_or(&[][..], Vec::as_slice);
        if let Some(outcome) = entry["effect"]["outcome"].as_str() {
            missing.retain(|one| *one != (tried.shape, outcome));
        }
        mismatches.extend(mismatch(tried, entry, called));
    }
    mismatches.extend(missing.into_iter().map(|(shape, outcome)| format!("no row is {outcome} in {shape}")));
    mismatches
}

/// Outcomes that must come up in each shape, or the table proves nothing.
const OUTCOMES: [&str; 3] = ["Injected", "NotInjected", "Unreachable"];

/// Returns the webhooks of the injector that the API server called, by the name of the pod.
fn injector_calls(plane: &ControlPlane) -> HashMap<String, Vec<String>> {
    let mut calls = HashMap::new();
    for event in plane.audit_log() {
        let (Some(name), Some(annotations)) = (event["objectRef"]["name"].as_str(), event["annotations"].as_object())
        else {
            continue;
        };
        let records = annotations.iter().filter(|(key, _)| key.starts_with("mutation.webhook.admission.k8s.io/"));
        let webhooks = records.filter_map(|(_, record)| {
            let record: Value = serde_json::from_str(record.as_str()?).ok()?;
            record["webhook"].as_str().map(str::to_owned)
        });
        calls.insert(name.to_owned(), webhooks.filter(|name| name.ends_with("sidecar-injector.istio.io")).collect());
    }
    calls
}

fn mismatch(tried: &RowResult, entry: &Value, called: &[String]) -> Option<String> {
    let RowResult { shape, row, sidecar, .. } = tried;
    let (action, effect) = (entry["action"].as_str(), &entry["effect"]);
    let (is_right, found) = match sidecar {
        Ok(revision) => {
            let found = match revision {
                Some(revision) => format!("a sidecar of revision {revision} by {called:?}"),
                None => format!("no sidecar, {called:?} called"),
            };
            (is_right(action, effect, revision.as_deref(), called), found)
        }
        Err(error) => (false, format!("refused: {error}")),
    };
    let said = format!("{} by {}: {effect}", action.unwrap_or("no action"), entry["rule"]["name"]);
    let row = format!("namespace {}, pod {:?}, policy {}", row.namespace, row.pod.name, row.policy);
    (!is_right).then(|| format!("{shape}: {row}: said {said}; found {found}"))
}

fn is_right(action: Option<&str>, effect: &Value, sidecar: Option<&str>, called: &[String]) -> bool {
    let wants_sidecar = action == Some("Enable");
    match (effect["outcome"].as_str(), sidecar) {
        (Some("Injected"), Some(revision)) => {
            action != Some("Disable")
                && called.iter().any(|webhook| effect["webhook"] == *webhook)
                && effect["revision"] == revision
        }
        (Some("NotInjected"), None) => !wants_sidecar,
        (Some("Unreachable"), None) => wants_sidecar,
        _ => false,
    }
}
