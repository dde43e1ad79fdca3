//! Server-sent events of suspensions that begin, change and end by the clock, within half a second.
//!
//! The first event lists all suspensions; each further one is about a single suspension.

use std::sync::Arc;

use axum::response::Response;
use serde_json::json;

use super::listener::{EventFeed, EventListener, EventQueue};
use super::problem::ApiProblem;
use super::session::ApiSession;
use super::suspensions::response::SuspensionResponse;
use crate::features::suspension::transitions::{SuspensionTransition, TransitionTracker};
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Stream of suspension events.
#[derive(Default)]
struct SuspensionFeed {
    transitions: TransitionTracker,
    number: u64,
}

/// Streams the events of a namespace, or of the cluster's suspensions, to a caller who may list them.
pub(super) fn stream_suspensions(session: &ApiSession<'_>, namespace: Option<String>) -> Result<Response, ApiProblem> {
    let resource = ProtectedResource::suspensions(namespace.as_deref());
    Ok(EventListener::new(session, resource, namespace)?.stream(SuspensionFeed::default()))
}

impl EventFeed for SuspensionFeed {
    fn push_news(&mut self, listener: &EventListener, queue: &mut EventQueue) {
        let (suspensions, now) = (suspensions_in_scope(listener), listener.api.clock.now());
        let transitions = self.transitions.observe(&suspensions, now);
        if self.number == 0 {
            let items: Vec<_> = suspensions
                .iter()
                .map(|(object, period)| SuspensionResponse::from_object(object, *period, now))
                .collect();
            self.number += 1;
            queue.push("snapshot", self.number, &json!({"items": items}));
            return;
        }
        for (transition, object) in transitions {
            let event = match transition {
                SuspensionTransition::Created => "created",
                SuspensionTransition::Changed => "changed",
                SuspensionTransition::Began => "began",
                SuspensionTransition::Ended => "ended",
                SuspensionTransition::Deleted(_) => "deleted",
            };
            let period = object.period(listener.api.terms.longest_suspension).ok();
            self.number += 1;
            queue.push(event, self.number, &SuspensionResponse::from_object(&object, period, now));
        }
    }
}

fn suspensions_in_scope(listener: &EventListener) -> Vec<(Arc<SuspensionObject>, Option<SuspensionPeriod>)> {
    let mut suspensions = listener.api.inventory.rule_records.suspensions();
    suspensions.retain(|(object, _)| object.namespace == listener.namespace);
    suspensions
}
