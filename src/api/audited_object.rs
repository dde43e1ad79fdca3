//! Objects of attempts, as the audit log tells of them: with their state before and after.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::audit::act_entry::AuditObject;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::client::metadata_edit::field::MetadataField;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Object of an attempt, as far as it is known.
#[derive(Debug, Clone)]
pub(super) enum AuditedObject {
    Suspension(Box<SuspensionAudit>),
    Override(OverrideAudit),
    Restart(RestartAudit),
    /// Whatever is read: the scope names it.
    Read,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SuspensionAudit {
    pub(super) before: Option<SuspensionObject>,
    pub(super) after: Option<SuspensionObject>,
    /// Reason of the caller, if it differs from the reason of the suspension.
    pub(super) reason: Option<String>,
    /// Note for the entry of a successful attempt.
    pub(super) note: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct OverrideAudit {
    /// Kind of the object that has the override, as the path names it until the object is found.
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) before: Option<Vec<MetadataField>>,
    pub(super) after: Option<Vec<MetadataField>>,
    /// Whether the object had this override already.
    pub(super) is_unchanged: bool,
}

#[derive(Debug, Clone)]
pub(super) struct RestartAudit {
    pub(super) namespace: String,
    pub(super) run: Option<String>,
    /// Numbers of workloads.
    pub(super) after: Option<Value>,
}

/// Part of an audit entry that the object decides.
#[derive(Debug)]
pub(super) struct ObjectDescription {
    /// Audit id of the object, if it has one of its own.
    pub(super) id: Option<String>,
    pub(super) object: AuditObject,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) note: Option<&'static str>,
}

impl AuditedObject {
    /// Describes the object for an audit entry. Longer suspensions than the longest one have no end.
    pub(super) fn describe(self, scope: RightScope, longest_suspension: SignedDuration) -> ObjectDescription {
        match self {
            Self::Suspension(audit) => audit.describe(scope, longest_suspension),
            Self::Override(audit) => audit.describe(),
            Self::Restart(RestartAudit { namespace, run, after }) => {
                ObjectDescription { after, ..ObjectDescription::new("Restart", Some(namespace), run) }
            }
            Self::Read => ObjectDescription::new(scope.resource.kind(), scope.namespace, scope.name),
        }
    }
}

impl ObjectDescription {
    fn new(kind: &str, namespace: Option<String>, name: Option<String>) -> Self {
        let object = AuditObject { kind: kind.to_owned(), namespace, name, uid: None };
        Self { id: None, object, before: None, after: None, reason: None, ticket: None, until: None, note: None }
    }
}

impl SuspensionAudit {
    fn describe(self, scope: RightScope, longest: SignedDuration) -> ObjectDescription {
        let Self { before, after, reason, note } = self;
        let id = before.as_ref().or(after.as_ref()).and_then(SuspensionObject::audit_id);
        let (old, new) =
            (before.as_ref().map(SuspensionObject::to_json), after.as_ref().map(SuspensionObject::to_json));
        let described = ObjectDescription::new(scope.resource.kind(), scope.namespace, scope.name);
        let described = ObjectDescription { id, before: old, after: new, reason, note, ..described };
        let Some(SuspensionObject { name, uid, spec, .. }) = after.as_ref().or(before.as_ref()) else {
            return described;
        };
        let period = after.as_ref().or(before.as_ref()).and_then(|suspension| suspension.period(longest).ok());
        ObjectDescription {
            object: AuditObject { name: Some(name.clone()), uid: uid.clone(), ..described.object },
            reason: described.reason.or_else(|| Some(spec.reason.clone())),
            ticket: spec.ticket.clone(),
            until: period.and_then(|period| period.ends_at),
            ..described
        }
    }
}

impl OverrideAudit {
    /// Creates the record of an override of which nothing else is known yet.
    pub(super) fn new(kind: &str, namespace: &str, name: &str) -> Self {
        let (kind, namespace, name) = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        Self { kind, namespace, name, reason: None, until: None, before: None, after: None, is_unchanged: false }
    }

    fn describe(self) -> ObjectDescription {
        let Self { kind, namespace, name, reason, until, before, after, is_unchanged } = self;
        ObjectDescription {
            reason,
            until,
            before: before.as_deref().map(annotations_json),
            after: after.as_deref().map(annotations_json),
            note: is_unchanged.then_some("it stood there already; nothing has changed"),
            ..ObjectDescription::new(&kind, Some(namespace), Some(name))
        }
    }
}

/// Returns annotations as in an object; null for a missing one.
fn annotations_json(fields: &[MetadataField]) -> Value {
    let fields: Map<_, _> = fields.iter().map(|field| (field.key.clone(), json!(field.value))).collect();
    json!({"metadata": {"annotations": fields}})
}

/// Place that a right is checked for.
#[derive(Debug, Clone)]
pub(crate) struct RightScope {
    pub(super) resource: ProtectedResource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}
