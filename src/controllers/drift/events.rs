//! Queue of events on drifting workloads, which are published one after the other.
//!
//! Guarantees: adding an event never waits. Limits: at most [`QUEUE`] events wait. Further events are lost, and so are events that
//! have waited for longer than [`STALE`].

use std::time::Duration;

use kube::runtime::events::EventType;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::features::drift::DriftSubject;
use crate::kubernetes::client::events::{EventError, EventPublisher, EventSubject};

/// Number of events that wait at most.
const QUEUE: usize = 1000;
/// Age at which a waiting event is dropped.
const STALE: Duration = Duration::from_secs(600);
/// Time between two events.
const BETWEEN_EVENTS: Duration = Duration::from_millis(50);

/// Sending end of the queue; without a cluster events are discarded.
#[derive(Debug)]
pub(super) struct DriftEventQueue(Option<mpsc::Sender<QueuedEvent>>);

/// Receiving end of the queue, which publishes the events.
pub(super) struct DriftEventWorker {
    queue: mpsc::Receiver<QueuedEvent>,
    events: Option<EventPublisher>,
}

#[derive(Debug)]
struct QueuedEvent {
    subject: DriftSubject,
    type_: EventType,
    reason: (&'static str, &'static str),
    note: String,
    queued_at: Instant,
}

/// Creates a queue, and returns its two ends.
pub(super) fn event_queue(events: Option<EventPublisher>) -> (DriftEventQueue, DriftEventWorker) {
    let (sender, queue) = mpsc::channel(QUEUE);
    (DriftEventQueue(events.is_some().then_some(sender)), DriftEventWorker { queue, events })
}

impl DriftEventQueue {
    /// Queues an event on an object, or logs that it is lost.
    pub(super) fn push(
        &self,
        subject: &DriftSubject,
        type_: EventType,
        reason: (&'static str, &'static str),
        note: &str,
    ) {
        let Some(queue) = &self.0 else { return };
        let event =
            QueuedEvent { subject: subject.clone(), type_, reason, note: note.to_owned(), queued_at: Instant::now() };
        if let Err(unqueued) = queue.try_send(event) {
            unqueued.into_inner().log_loss("too many events wait");
        }
    }
}

impl DriftEventWorker {
    /// Publishes queued events for as long as it is polled.
    pub(super) async fn run(mut self) {
        let Some(events) = self.events else { return std::future::pending().await };
        while let Some(event) = self.queue.recv().await {
            if event.queued_at.elapsed() > STALE {
                event.log_loss("it has waited for more than ten minutes");
                continue;
            }
            event.publish(&events).await;
            sleep(BETWEEN_EVENTS).await;
        }
    }
}

impl QueuedEvent {
    async fn publish(self, events: &EventPublisher) {
        let Self { subject, type_, reason, note, queued_at: _ } = self;
        match events.publish(&EventSubject::from(&subject), type_, reason, &note).await {
            Ok(()) => {}
            // The namespace is deleted, and the workload with it.
            Err(EventError::Refused(kube::Error::Api(answer))) if answer.code == 404 => {}
            Err(why) => warn!(workload = subject.display_name(), "cannot publish an event: {why}"),
        }
    }

    fn log_loss(&self, why: &str) {
        let Self { subject, reason: (reason, _), .. } = self;
        warn!(workload = subject.display_name(), "event {reason} is not published: {why}");
    }
}

impl From<&DriftSubject> for EventSubject {
    fn from(DriftSubject { key: (namespace, kind, name), api_version, uid }: &DriftSubject) -> Self {
        Self {
            api_version: api_version.clone(),
            kind: kind.to_string(),
            namespace: Some(namespace.to_string()),
            name: name.to_string(),
            uid: Some(uid.to_string()),
        }
    }
}
