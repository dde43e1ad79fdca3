//! What one line of the audit log says of an act: somebody asked for something, or something began or ended by itself.
//!
//! Every attempt has one, also one that was refused or failed. What others wrote is cut to what can be shown, wherever it stands.

use crate::kernel::text::{clean, maybe_clean};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::kernel::text::sanitized;

/// One act.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// When, in RFC 3339.
    pub time: Timestamp,
    /// Ties together a request, the object that it made, what was made for that, and its end.
    pub id: String,
    /// What was done, or was to be done.
    pub act: Deed,
    /// What became of it.
    pub outcome: Outcome,
    /// Who did it; absent where nobody did, since a time was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What it is about, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// The object before, without its status.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_shown")]
    pub before: Option<Value>,
    /// The object after, without its status.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_shown")]
    pub after: Option<Value>,
    /// Why it was done, in the words of whoever did it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub reason: Option<String>,
    /// The ticket that they gave.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub ticket: Option<String>,
    /// Until when it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why it was refused or failed, or what else is to be said, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub why: Option<String>,
    /// Whether nothing was to be stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Deed {
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
    /// An object is written that carries out a suspension of traffic.
    Route,
    /// Such an object is removed.
    Unroute,
    /// Running pods of a workload are not as new ones would be.
    Drift,
    /// They are again, or are gone.
    DriftOver,
    /// A pod is evicted so that one that is as it should be takes its place.
    Evict,
    /// An override is written on an object, changed, or taken away.
    Override,
    /// A restart of workloads begins, or is gone on with.
    Restart,
    /// It ends, whatever has come of it.
    RestartOver,
    /// It is stopped.
    RestartCancel,
    /// It is given up: what it has not done bears its mark no longer.
    RestartForget,
    /// Something is read.
    Read,
}

/// What can become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was not done, because it may not or makes no sense.
    Refused,
    /// It was not done, though it may be.
    Failed,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Their name, as the cluster knows it; absent where it was not proven.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub user: Option<String>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its kind.
    #[serde(serialize_with = "clean")]
    pub kind: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub name: Option<String>,
    /// Its UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

fn maybe_shown<S: Serializer>(object: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    object.as_ref().map(shown).serialize(serializer)
}

/// An object with all of its texts clean.
fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(sanitized(text)),
        Value::Array(all) => all.iter().map(shown).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (sanitized(key), shown(value))).collect(),
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
        let act = Act {
            time: Timestamp::UNIX_EPOCH,
            id: fresh_id(),
            act: Deed::Override,
            outcome: Outcome::Allowed,
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
