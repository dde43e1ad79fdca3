//! Events that are published one after the other, beside what has something to tell.
//!
//! Guarantees: whoever tells something waits for nobody. Limits: at most [`QUEUE`] wait; what comes while they do, and what has
//! waited for longer than [`STALE`], is lost.

use std::time::Duration;

use kube::runtime::events::EventType;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::features::drift::Subject;
use crate::kubernetes::client::events::{Events, Unpublished};

/// So many wait at most.
const QUEUE: usize = 1000;
/// What has waited for longer is no news.
const STALE: Duration = Duration::from_secs(600);
/// Events keep this distance.
const BETWEEN_EVENTS: Duration = Duration::from_millis(50);

/// Takes events; nobody publishes them where there is no cluster.
#[derive(Debug)]
pub(super) struct Teller(Option<mpsc::Sender<Telling>>);

/// Publishes them.
pub(super) struct Publisher {
    queue: mpsc::Receiver<Telling>,
    events: Option<Events>,
}

#[derive(Debug)]
struct Telling {
    subject: Subject,
    of: EventType,
    reason: (&'static str, &'static str),
    note: String,
    since: Instant,
}

/// A queue and its two ends.
pub(super) fn queue(events: Option<Events>) -> (Teller, Publisher) {
    let (sender, queue) = mpsc::channel(QUEUE);
    (Teller(events.is_some().then_some(sender)), Publisher { queue, events })
}

impl Teller {
    /// Tells something of an object.
    pub(super) fn tell(&self, subject: &Subject, of: EventType, reason: (&'static str, &'static str), note: &str) {
        let Some(queue) = &self.0 else { return };
        let telling = Telling { subject: subject.clone(), of, reason, note: note.to_owned(), since: Instant::now() };
        if let Err(unqueued) = queue.try_send(telling) {
            unqueued.into_inner().is_lost("too many others wait");
        }
    }
}

impl Publisher {
    /// Publishes what is told, for as long as it is polled.
    pub(super) async fn run(mut self) {
        let Some(events) = self.events else { return std::future::pending().await };
        while let Some(telling) = self.queue.recv().await {
            if telling.since.elapsed() > STALE {
                telling.is_lost("it has waited for too long");
                continue;
            }
            telling.publish(&events).await;
            sleep(BETWEEN_EVENTS).await;
        }
    }
}

impl Telling {
    async fn publish(self, events: &Events) {
        let Self { subject, of, reason, note, since: _ } = self;
        match events.tell_of(&subject, of, reason, &note).await {
            Ok(()) => {}
            // Its namespace is gone, and it with it.
            Err(Unpublished::Refused(kube::Error::Api(answer))) if answer.code == 404 => {}
            Err(why) => warn!(workload = subject.named(), "cannot publish an event: {why}"),
        }
    }

    fn is_lost(&self, why: &str) {
        let Self { subject, reason: (reason, _), .. } = self;
        warn!(workload = subject.named(), "an event {reason} is not published: {why}");
    }
}
