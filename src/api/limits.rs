//! Limits of the API, all in one place.
//!
//! Memory: the API takes at most 97 MiB, which is what `server::limits` leaves of the limit that `outrigger install`
//! prints. A test computes the sum: it counts connections with bodies, answers under way, events, kept restarts and
//! counted refusals. An answer that its client has not read yet is not in the sum; the listener's write timeout ends
//! it. The inventory belongs to the server, not to the API.

use std::time::Duration;

use jiff::SignedDuration;

/// Total of something at once, and the share of one user in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShareLimits {
    pub(super) total: usize,
    pub(super) per_user: usize,
}

/// Number of items in one answer: by default, and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLimits {
    pub(super) default: usize,
    pub(super) max: usize,
}

/// Open connections: half as many as the webhook has, because people and programs are fewer than pods.
pub(crate) const CONNECTIONS: usize = 512;
/// Bytes of one body, which holds a few policies. As many bodies as connections may be held at once.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Time for a body to arrive: the same as the webhook's.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads of the inventory at once. Each occupies a core for up to a second, and reviews of pods need the others.
pub(super) const READS: ShareLimits = ShareLimits { total: 2, per_user: 1 };
/// Long computations at once, for the same reason.
pub(super) const COMPUTATIONS: usize = 1;
/// Changes at once: each waits for the API server, and takes no core.
pub(super) const CHANGES: usize = 32;
/// Listeners to events: enough for some windows of a browser with some streams each.
pub(super) const LISTENERS: ShareLimits = ShareLimits { total: 32, per_user: 8 };
/// Longest wait for a turn: shorter than the timeouts of usual clients.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_secs(20);
/// Time that running changes have at shutdown, within the grace period of the pod.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between checks of a listener's rights: a lost right counts after it at the latest.
pub(super) const REAUTHORIZE_AFTER: Duration = Duration::from_secs(60);
/// Interval between polls of a feed: people take it for at once.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Audit entries that one poll sends to a listener; more are only counted.
pub(super) const EVENTS_PER_POLL: usize = 100;

/// Suspensions in one answer. The rest follows on further pages.
pub(super) const SUSPENSION_PAGE: PageLimits = PageLimits { default: 100, max: 500 };
/// Audit entries in one answer. The memory holds a thousand.
pub(super) const AUDIT_PAGE: PageLimits = PageLimits { default: 100, max: 1000 };
/// Workloads in a preview. The summary counts all of them.
pub(super) const PREVIEW_PAGE: PageLimits = PageLimits { default: 1000, max: 10_000 };
/// Workloads that are named for one suspension. The count tells the rest.
pub(super) const NAMED_WORKLOADS: usize = 20;
/// Forecasts that are listed for one override. The count tells the rest.
pub(super) const LISTED_FORECASTS: usize = 100;

/// Restarts that are planned at once: each reads a whole namespace from the API server.
pub(super) const RESTART_PLANS: ShareLimits = ShareLimits { total: 2, per_user: 1 };
/// Restarts that run at once, one in a namespace: each watches its pods every second.
pub(super) const RUNNING_RESTARTS: usize = 8;
/// Restarts that one user may run at once, so that others find room.
pub(super) const RESTARTS_OF_USER: usize = 2;
/// Restarts that are remembered. The oldest finished one makes room.
pub(super) const KEPT_RESTARTS: usize = 64;
/// Steps that are remembered of each restart. The oldest makes room.
pub(super) const KEPT_STEPS: usize = 500;
/// Names that a step about held workloads keeps.
pub(super) const HELD_NAMES: usize = 20;
/// Longest time without progress: each of the few restarts holds its place to its end.
pub(super) const MAX_RESTART_TIMEOUT: Duration = Duration::from_secs(3600);
/// Time limit for the reads of a namespace.
pub(super) const NAMESPACE_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Refusals of unknown callers that are recorded in each window. More are counted.
pub(super) const REFUSALS_OF_UNKNOWN: u32 = 100;
/// Refusals of one user that are recorded in each window. More are counted.
pub(super) const REFUSALS_OF_USER: u32 = 10;
/// Window of the refusals.
pub(super) const REFUSAL_WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// Users whose refusals are counted one by one. Others count as unknown.
pub(super) const COUNTED_USERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::Limits;

    const MIB: usize = 1024 * 1024;
    const MAX_MEMORY_BYTES: usize = 97 * MIB;
    /// Worst case of one connection, as `server::limits` has it.
    const CONNECTION_BYTES: usize = 70 * 1024;
    /// Row of the longest answer, a preview: two decisions with their reasons.
    const ROW_BYTES: usize = 600;
    /// Audit entry as an event.
    const EVENT_BYTES: usize = 1024;
    /// Step of a restart: a workload, and a sentence about it.
    const STEP_BYTES: usize = 256;
    /// Name and counts of a user.
    const USER_BYTES: usize = 512;

    #[test]
    fn the_memory_of_all_limits_fits_beside_that_of_the_webhook() {
        let connections = CONNECTIONS * (CONNECTION_BYTES + MAX_BODY_BYTES);
        let answers = READS.total * PREVIEW_PAGE.max * ROW_BYTES;
        let events = LISTENERS.total * EVENTS_PER_POLL * EVENT_BYTES;
        let restarts = KEPT_RESTARTS * KEPT_STEPS * STEP_BYTES;
        let refusals = COUNTED_USERS * USER_BYTES;
        let sum = connections + answers + events + restarts + refusals;
        assert!(sum <= MAX_MEMORY_BYTES, "the API may take {} MiB", sum / MIB);

        let Limits { connections, body_bytes_in_flight, .. } = Limits::default();
        let (inventory, facts) = (100 * MIB, 45 * MIB);
        let webhook = inventory + facts + body_bytes_in_flight + connections * CONNECTION_BYTES;
        assert!(webhook + MAX_MEMORY_BYTES <= 352 * MIB, "the webhook takes {} MiB", webhook / MIB);
    }

    #[test]
    fn no_user_can_take_all_there_is() {
        for ShareLimits { total, per_user } in [READS, LISTENERS, RESTART_PLANS] {
            assert!(per_user < total);
        }
        const { assert!(RESTARTS_OF_USER < RUNNING_RESTARTS && RUNNING_RESTARTS < KEPT_RESTARTS) };
    }
}
