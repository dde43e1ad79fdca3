//! Audit entry of an act: somebody asked for something, or something began or ended by itself.
//!
//! Every attempt has an entry, also a refused or failed one. Texts of others are cleaned, wherever they stand.

use crate::kernel::text::{clean, maybe_clean};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::kernel::text::sanitize;

/// Audit entry of one act.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActEntry {
    /// Time of the act, in RFC 3339.
    pub time: Timestamp,
    /// Id shared by a request, the object it created, the routing of that object, and its end.
    pub id: String,
    /// Kind of act that was done, or attempted.
    pub act: ActKind,
    pub outcome: ActOutcome,
    /// Person or program that acted; absent where a time was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<AuditActor>,
    /// Object of the act, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<AuditObject>,
    /// Object before the act, without its status.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_cleaned")]
    pub before: Option<Value>,
    /// Object after the act, without its status.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_cleaned")]
    pub after: Option<Value>,
    /// Reason that the actor gave.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub reason: Option<String>,
    /// Ticket that the actor gave.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub ticket: Option<String>,
    /// End of the effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Cause of a refusal or failure, or another remark, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub why: Option<String>,
    /// True where nothing was to be stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Kind of act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ActKind {
    /// A suspension is made.
    Create,
    /// A suspension gets a later end.
    Extend,
    /// A suspension is ended before its time.
    End,
    /// A suspension begins to hold.
    Begin,
    /// A suspension is over, by the clock or because it is gone.
    Over,
    /// A routing object is written, which carries out a suspension of traffic.
    Route,
    /// A routing object of a suspension is removed.
    Unroute,
    /// Running pods of a workload drift: they differ from new ones.
    Drift,
    /// The drift of a workload is over, or its pods are gone.
    DriftOver,
    /// A drifting pod is evicted, so that a correct one takes its place.
    Evict,
    /// An override is written on an object, changed, or taken away.
    Override,
    /// A restart of workloads begins, or continues.
    Restart,
    /// A restart ends, with whatever outcome.
    RestartOver,
    /// A restart is cancelled.
    RestartCancel,
    /// A restart is forgotten: workloads that it has not restarted lose its mark.
    RestartForget,
    /// Something is read.
    Read,
}

/// Outcome of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ActOutcome {
    /// The act was done.
    Allowed,
    /// The act was not done: it is forbidden or makes no sense.
    Refused,
    /// The act was not done, although it is allowed.
    Failed,
}

/// Person or program that acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditActor {
    /// Name of the user in the cluster; absent where it was not proven.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub user: Option<String>,
    /// Address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Object that an act is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditObject {
    #[serde(serialize_with = "clean")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

fn serialize_cleaned<S: Serializer>(object: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    object.as_ref().map(clean_texts).serialize(serializer)
}

/// Copies a JSON value with all of its texts cleaned.
fn clean_texts(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(sanitize(text)),
        Value::Array(all) => all.iter().map(clean_texts).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (sanitize(key), clean_texts(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::ids::fresh_id;

    #[test]
    fn what_others_wrote_on_an_object_is_recorded_as_it_can_be_shown() {
        let long = "x".repeat(300);
        let stood = json!({"metadata": {"annotations": {"reason": "a\u{1b}[2J\u{202e}b\u{9b}c", "inject": null}}, "spec": [long, 1, true]});
        let act = ActEntry {
            time: Timestamp::UNIX_EPOCH,
            id: fresh_id(),
            act: ActKind::Override,
            outcome: ActOutcome::Allowed,
            actor: None,
            object: None,
            before: Some(stood.clone()),
            after: Some(stood),
            reason: None,
            ticket: None,
            until: None,
            why: None,
            dry_run: false,
        };
        let line = serde_json::to_value(&act).unwrap();
        let clean =
            json!({"metadata": {"annotations": {"reason": "a[2Jbc", "inject": null}}, "spec": [&long[..256], 1, true]});
        assert_eq!((&line["before"], &line["after"]), (&clean, &clean));
    }
}
