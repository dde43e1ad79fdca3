//! Suspensions as they begin, change and end, as server-sent events: by the clock, within half a second.
//!
//! The first event is all that there are; each further one is a single suspension.

use std::sync::Arc;

use axum::response::Response;
use serde_json::json;

use super::listener::{Feed, Listener, Telling};
use super::problem::Problem;
use super::session::Session;
use super::suspensions::told::Suspension;
use crate::features::suspension::turns::{Turn, Turns};
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// What has been told.
#[derive(Default)]
struct Suspensions {
    turns: Turns,
    number: u64,
}

/// The events of a namespace, or of the cluster's suspensions, for somebody who may list them.
pub(super) fn events(session: &Session<'_>, namespace: Option<String>) -> Result<Response, Problem> {
    let resource = Resource::suspensions(namespace.as_deref());
    Ok(Listener::new(session, resource, namespace)?.hear(Suspensions::default()))
}

impl Feed for Suspensions {
    fn look(&mut self, listener: &Listener, telling: &mut Telling) {
        let (all, now) = (all(listener), listener.api.clock.now());
        let turns = self.turns.look(&all, now);
        if self.number == 0 {
            let items: Vec<_> = all.iter().map(|(object, period)| Suspension::told(object, *period, now)).collect();
            self.number += 1;
            telling.say("snapshot", self.number, &json!({"items": items}));
            return;
        }
        for (turn, object) in turns {
            let event = match turn {
                Turn::Created => "created",
                Turn::Changed => "changed",
                Turn::Began => "began",
                Turn::Ended => "ended",
                Turn::Deleted(_) => "deleted",
            };
            let period = object.period(listener.api.terms.longest_suspension).ok();
            self.number += 1;
            telling.say(event, self.number, &Suspension::told(&object, period, now));
        }
    }
}

fn all(listener: &Listener) -> Vec<(Arc<SuspensionObject>, Option<Period>)> {
    let mut all = listener.api.inventory.standings.suspensions();
    all.retain(|(object, _)| object.namespace == listener.namespace);
    all
}
