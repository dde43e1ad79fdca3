//! Carries out the plan of a suspension of traffic, with logs and audit entries.

use jiff::SignedDuration;
use serde_json::Value;
use tracing::{info, warn};

use super::failures::PlanFailures;
use super::{TrafficAction, TrafficPlan};
use crate::audit::AuditLog;
use crate::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditObject};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::inventory::routing::{RoutingKind, RoutingObject};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Executes plans with the rights of the leader.
pub(super) struct TrafficExecutor<'d> {
    pub(super) clock: &'d Clock,
    pub(super) routes: &'d RouteWriter,
    pub(super) audit: &'d AuditLog,
}

impl TrafficExecutor<'_> {
    /// Carries out a plan, except actions that depend on a failed one; returns a summary of the failures.
    pub(super) async fn carry_out(&self, plan: &TrafficPlan) -> Option<String> {
        let mut failures = PlanFailures::default();
        for action in plan.actions.iter() {
            if failures.blocks(action) {
                continue;
            }
            let done = self.perform(plan, action).await;
            self.record(plan, action, done.as_ref().err());
            match done {
                Ok(()) => info!(uid = plan.uid, "did {}", describe_action(action)),
                Err(why) => {
                    let named = plan.suspension.as_ref().map_or_else(|| plan.uid.clone(), |one| one.describe());
                    let sentence = format!("cannot {}: {why}", describe_action(action));
                    warn!(suspension = named, "{sentence}");
                    failures.record(action, sentence);
                }
            }
        }
        failures.summarize()
    }

    async fn perform(&self, plan: &TrafficPlan, action: &TrafficAction) -> Result<(), ApiError> {
        match (action, &plan.suspension) {
            (TrafficAction::AddFinalizer, Some(suspension)) => self.routes.set_finalizer(suspension, true).await,
            (TrafficAction::RemoveFinalizer, Some(suspension)) => self.routes.set_finalizer(suspension, false).await,
            (TrafficAction::AddFinalizer | TrafficAction::RemoveFinalizer, None) => Ok(()),
            (TrafficAction::Create(kind, object), _) => self.routes.create(*kind, object).await,
            (TrafficAction::Repair(kind, object, uid, _), _) => self.routes.repair(*kind, object, uid).await,
            (TrafficAction::Remove(kind, RoutingObject { namespace, name, uid, .. }), _) => {
                self.routes.remove(*kind, namespace, name, uid.as_deref()).await
            }
        }
    }

    fn record(&self, plan: &TrafficPlan, action: &TrafficAction, failed: Option<&ApiError>) {
        let (act, kind, namespace, name, uid, before, after) = match action {
            TrafficAction::AddFinalizer | TrafficAction::RemoveFinalizer => return,
            TrafficAction::Create(kind, object) => {
                let [namespace, name] = object_key(object);
                (ActKind::Route, kind, namespace, name, None, None, Some(object.clone()))
            }
            TrafficAction::Repair(kind, object, uid, before) => {
                let [namespace, name] = object_key(object);
                (ActKind::Route, kind, namespace, name, Some(uid.clone()), before.clone(), Some(object.clone()))
            }
            TrafficAction::Remove(kind, RoutingObject { namespace, name, uid, content, .. }) => {
                let (namespace, name) = (namespace.to_string(), name.to_string());
                let before = content.as_deref().cloned();
                (ActKind::Unroute, kind, namespace, name, uid.as_deref().map(str::to_owned), before, None)
            }
        };
        let suspension = plan.suspension.as_deref();
        let period = suspension.and_then(|one| one.period(SignedDuration::MAX).ok());
        self.audit.record(&ActEntry {
            time: self.clock.now(),
            id: suspension.and_then(SuspensionObject::audit_id).unwrap_or_else(|| plan.uid.clone()),
            act,
            outcome: if failed.is_some() { ActOutcome::Failed } else { ActOutcome::Allowed },
            actor: None,
            object: Some(AuditObject {
                kind: kind.as_str().to_owned(),
                namespace: Some(namespace),
                name: Some(name),
                uid,
            }),
            before,
            after,
            reason: suspension.map(|one| one.spec.reason.clone()),
            ticket: suspension.and_then(|one| one.spec.ticket.clone()),
            until: period.and_then(|period| period.ends_at),
            why: failed.map(ToString::to_string),
            dry_run: false,
        });
    }
}

fn object_key(object: &Value) -> [String; 2] {
    ["namespace", "name"].map(|key| object["metadata"][key].as_str().unwrap_or_default().to_owned())
}

fn describe_action(action: &TrafficAction) -> String {
    let of = |kind: &RoutingKind, object: &Value| format!("{} {}", kind.as_str(), object_key(object).join("/"));
    match action {
        TrafficAction::AddFinalizer => "put the finalizer on the suspension".to_owned(),
        TrafficAction::RemoveFinalizer => "take the finalizer off the suspension".to_owned(),
        TrafficAction::Create(kind, object) => format!("create {}", of(kind, object)),
        TrafficAction::Repair(kind, object, ..) => format!("repair {}", of(kind, object)),
        TrafficAction::Remove(kind, RoutingObject { namespace, name, .. }) => {
            format!("remove {} {namespace}/{name}", kind.as_str())
        }
    }
}
