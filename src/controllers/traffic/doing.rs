//! Does what is planned for a suspension of traffic, and tells of it.

use jiff::SignedDuration;
use serde_json::Value;
use tracing::{info, warn};

use super::failures::Failures;
use super::{Action, Plan};
use crate::audit::Log;
use crate::audit::act::{Act, Deed, Object, Outcome};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::traffic::Routes;
use crate::kubernetes::inventory::routing::{Kind, Standing};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// With what it is done.
pub(super) struct Doing<'d> {
    pub(super) clock: &'d Clock,
    pub(super) routes: &'d Routes,
    pub(super) audit: &'d Log,
}

impl Doing<'_> {
    /// Does what is planned, as far as it does not hang on what fails, and says what failed.
    pub(super) async fn carry_out(&self, plan: &Plan) -> Option<String> {
        let mut failures = Failures::default();
        for action in plan.actions.iter() {
            if failures.stop(action) {
                continue;
            }
            let done = self.act(plan, action).await;
            self.record(plan, action, done.as_ref().err());
            match done {
                Ok(()) => info!(uid = plan.uid, "did {}", told(action)),
                Err(why) => {
                    let named = plan.suspension.as_ref().map_or_else(|| plan.uid.clone(), |one| one.named());
                    let sentence = format!("cannot {}: {why}", told(action));
                    warn!(suspension = named, "{sentence}");
                    failures.note(action, sentence);
                }
            }
        }
        failures.told()
    }

    async fn act(&self, plan: &Plan, action: &Action) -> Result<(), ApiError> {
        match (action, &plan.suspension) {
            (Action::Hold, Some(suspension)) => self.routes.set_finalizer(suspension, true).await,
            (Action::LetGo, Some(suspension)) => self.routes.set_finalizer(suspension, false).await,
            (Action::Hold | Action::LetGo, None) => Ok(()),
            (Action::Create(kind, object), _) => self.routes.create(*kind, object).await,
            (Action::Repair(kind, object, uid, _), _) => self.routes.repair(*kind, object, uid).await,
            (Action::Remove(kind, Standing { namespace, name, uid, .. }), _) => {
                self.routes.remove(*kind, namespace, name, uid.as_deref()).await
            }
        }
    }

    fn record(&self, plan: &Plan, action: &Action, failed: Option<&ApiError>) {
        let (act, kind, namespace, name, uid, before, after) = match action {
            Action::Hold | Action::LetGo => return,
            Action::Create(kind, object) => {
                let [namespace, name] = place(object);
                (Deed::Route, kind, namespace, name, None, None, Some(object.clone()))
            }
            Action::Repair(kind, object, uid, before) => {
                let [namespace, name] = place(object);
                (Deed::Route, kind, namespace, name, Some(uid.clone()), before.clone(), Some(object.clone()))
            }
            Action::Remove(kind, Standing { namespace, name, uid, content, .. }) => {
                let (namespace, name) = (namespace.to_string(), name.to_string());
                let before = content.as_deref().cloned();
                (Deed::Unroute, kind, namespace, name, uid.as_deref().map(str::to_owned), before, None)
            }
        };
        let suspension = plan.suspension.as_deref();
        let standing = suspension.and_then(|one| one.period(SignedDuration::MAX).ok());
        self.audit.record(&Act {
            time: self.clock.now(),
            id: suspension.and_then(SuspensionObject::audit_id).unwrap_or_else(|| plan.uid.clone()),
            act,
            outcome: if failed.is_some() { Outcome::Failed } else { Outcome::Allowed },
            actor: None,
            object: Some(Object { kind: kind.as_str().to_owned(), namespace: Some(namespace), name: Some(name), uid }),
            before,
            after,
            reason: suspension.map(|one| one.spec.reason.clone()),
            ticket: suspension.and_then(|one| one.spec.ticket.clone()),
            until: standing.and_then(|period| period.ends_at),
            why: failed.map(ToString::to_string),
            dry_run: false,
        });
    }
}

fn place(object: &Value) -> [String; 2] {
    ["namespace", "name"].map(|key| object["metadata"][key].as_str().unwrap_or_default().to_owned())
}

/// An action in words.
fn told(action: &Action) -> String {
    let of = |kind: &Kind, object: &Value| format!("{} {}", kind.as_str(), place(object).join("/"));
    match action {
        Action::Hold => "put the finalizer on the suspension".to_owned(),
        Action::LetGo => "take the finalizer off the suspension".to_owned(),
        Action::Create(kind, object) => format!("create {}", of(kind, object)),
        Action::Repair(kind, object, ..) => format!("repair {}", of(kind, object)),
        Action::Remove(kind, Standing { namespace, name, .. }) => {
            format!("remove {} {namespace}/{name}", kind.as_str())
        }
    }
}
