//! Short reads for objects that no cache knows yet, such as the ReplicaSet of the first pods after a roll-out.
//!
//! Guarantees: concurrent requests for one object share one read. An object that was not found is not read again for a
//! moment. The number of reads under way and of remembered results is bounded, whatever requests claim.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::decision::facts::{NamespaceFacts, Owner, OwnerReference, SelectorUse};
use crate::kernel::ttl_map::BoundedTtlMap;

/// Object to read, by namespace and reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReadTarget {
    Namespace(Box<str>),
    Owner(Box<str>, OwnerReference),
    Selector(Box<str>, OwnerReference),
}

/// Object, or part of one, that a read returned.
#[derive(Debug, Clone)]
pub enum ReadObject {
    Namespace(Arc<NamespaceFacts>),
    /// Owner and its UID.
    Owner(Box<str>, Arc<Owner>),
    /// Markers that the owner's selector uses.
    Selector(SelectorUse),
}

impl ReadObject {
    pub(super) fn namespace(&self) -> Option<Arc<NamespaceFacts>> {
        match self {
            Self::Namespace(namespace) => Some(Arc::clone(namespace)),
            Self::Owner(..) | Self::Selector(_) => None,
        }
    }

    pub(super) fn owner(&self, reference: &OwnerReference) -> Option<Arc<Owner>> {
        match self {
            Self::Owner(uid, owner) if *uid == reference.uid => Some(Arc::clone(owner)),
            Self::Owner(..) | Self::Namespace(_) | Self::Selector(_) => None,
        }
    }

    pub(super) fn selector(&self) -> Option<SelectorUse> {
        match self {
            Self::Selector(used) => Some(*used),
            Self::Namespace(_) | Self::Owner(..) => None,
        }
    }
}

/// Function that reads one object from the API server. `None` means that there is none; an error says why that is
/// unknown.
pub type ReadFn = Box<dyn Fn(ReadTarget) -> BoxFuture<'static, Result<Option<ReadObject>, String>> + Send + Sync>;

#[derive(Debug, Clone)]
pub enum ReadOutcome {
    Found(ReadObject),
    NotFound,
    /// The read failed or timed out; the text says why.
    Failed(String),
}

/// Outcomes of the reads for one request.
#[derive(Debug, Default)]
pub struct ReadLog(Vec<(ReadTarget, ReadOutcome)>);

impl ReadLog {
    pub fn push(&mut self, target: ReadTarget, outcome: ReadOutcome) {
        self.0.push((target, outcome));
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the target, unless it was read.
    pub(super) fn unless_read(&self, target: ReadTarget) -> Option<ReadTarget> {
        let is_read = self.0.iter().any(|(read, _)| *read == target);
        (!is_read).then_some(target)
    }

    /// Returns the outcome of the read of an owner.
    pub(super) fn owner_outcome(&self, reference: &OwnerReference) -> Option<&ReadOutcome> {
        let is_owner = |read: &ReadTarget| matches!(read, ReadTarget::Owner(_, other) if other == reference);
        self.0.iter().find(|(read, _)| is_owner(read)).map(|(_, outcome)| outcome)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &ReadObject> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            ReadOutcome::Found(found) => Some(found),
            ReadOutcome::NotFound | ReadOutcome::Failed(_) => None,
        })
    }
}

/// Deduplicated, remembered reads of one process.
pub struct ShortReads {
    read_fn: ReadFn,
    state: Mutex<ReadState>,
}

struct ReadState {
    in_flight: HashMap<ReadTarget, Shared<BoxFuture<'static, ReadOutcome>>>,
    remembered: BoundedTtlMap<ReadTarget, ReadOutcome>,
}

/// Limit of concurrent reads; further ones fail at once.
const MAX_CONCURRENT_READS: usize = 64;
/// Limit of remembered results; further ones are read again.
const MAX_REMEMBERED: usize = 4096;
/// Long enough for a watch to bring the object, or to see it end.
const FOUND_TTL: Duration = Duration::from_secs(60);
/// Long enough for a burst of pods of one owner, short enough that a late owner counts soon.
const NOT_FOUND_TTL: Duration = Duration::from_secs(2);

impl std::fmt::Debug for ShortReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").finish_non_exhaustive()
    }
}

impl ShortReads {
    /// Creates the reads around a function that does one.
    pub fn new(read_fn: ReadFn) -> Self {
        let state = ReadState { in_flight: HashMap::new(), remembered: BoundedTtlMap::new(MAX_REMEMBERED) };
        Self { read_fn, state: Mutex::new(state) }
    }

    /// Reads one object, or returns what another request just read. A caller that stops waiting ends its part of the
    /// read.
    pub async fn read(&self, target: ReadTarget) -> ReadOutcome {
        let flight = match self.join_or_start(&target) {
            Ok(flight) => flight,
            Err(outcome) => return outcome,
        };
        let guard = FlightGuard { reads: self, target };
        let outcome = flight.await;
        self.remember(&guard.target, &outcome);
        outcome
    }

    fn join_or_start(&self, target: &ReadTarget) -> Result<Shared<BoxFuture<'static, ReadOutcome>>, ReadOutcome> {
        let mut state = self.state.lock();
        if let Some(outcome) = state.remembered.get(target, Instant::now()) {
            return Err(outcome.clone());
        }
        if let Some(flight) = state.in_flight.get(target) {
            return Ok(flight.clone());
        }
        if state.in_flight.len() >= MAX_CONCURRENT_READS {
            return Err(ReadOutcome::Failed("too many reads are under way".to_owned()));
        }
        let reading = (self.read_fn)(target.clone()).map(|read| match read {
            Ok(Some(found)) => ReadOutcome::Found(found),
            Ok(None) => ReadOutcome::NotFound,
            Err(why) => ReadOutcome::Failed(why),
        });
        let flight = reading.boxed().shared();
        state.in_flight.insert(target.clone(), flight.clone());
        Ok(flight)
    }

    fn remember(&self, target: &ReadTarget, outcome: &ReadOutcome) {
        let ttl = match outcome {
            ReadOutcome::Found(_) => FOUND_TTL,
            ReadOutcome::NotFound => NOT_FOUND_TTL,
            ReadOutcome::Failed(_) => return,
        };
        self.state.lock().remembered.insert(target.clone(), outcome.clone(), ttl, Instant::now());
    }
}

/// Removes a read from those under way when its first waiter is done or gives up: nobody else would drive it on.
struct FlightGuard<'r> {
    reads: &'r ShortReads,
    target: ReadTarget,
}

impl Drop for FlightGuard<'_> {
    fn drop(&mut self) {
        self.reads.state.lock().in_flight.remove(&self.target);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Returns reads that wait for the semaphore, and a counter of those that began.
    fn reads(found: bool) -> (ShortReads, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (waiting, counting) = (Arc::clone(&gate), Arc::clone(&begun));
        let reading = move |_| {
            let gate = Arc::clone(&waiting);
            counting.fetch_add(1, Ordering::Relaxed);
            async move {
                gate.acquire().await.map_err(|error| error.to_string())?.forget();
                Ok(found.then(|| ReadObject::Selector(SelectorUse::default())))
            }
            .boxed()
        };
        (ShortReads::new(Box::new(reading)), gate, begun)
    }

    fn namespace(name: &str) -> ReadTarget {
        ReadTarget::Namespace(name.into())
    }

    #[tokio::test]
    async fn a_burst_of_the_same_question_is_one_read() {
        let (reads, gate, begun) = reads(true);
        gate.add_permits(1);
        let burst = futures::future::join_all((0..50).map(|_| reads.read(namespace("shop")))).await;
        assert!(burst.iter().all(|outcome| matches!(outcome, ReadOutcome::Found(_))), "{burst:?}");
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(matches!(reads.read(namespace("shop")).await, ReadOutcome::Found(_)));
        assert_eq!(begun.load(Ordering::Relaxed), 1, "what was found is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_found_is_asked_for_again_after_a_moment() {
        let (reads, gate, begun) = reads(false);
        gate.add_permits(2);
        for _ in 0..3 {
            assert!(matches!(reads.read(namespace("shop")).await, ReadOutcome::NotFound));
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        tokio::time::advance(NOT_FOUND_TTL).await;
        assert!(matches!(reads.read(namespace("shop")).await, ReadOutcome::NotFound));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_nobody_waits_for_any_more_make_room() {
        let (reads, _gate, begun) = reads(true);
        for round in 1..=3 {
            let stuck = (0..MAX_CONCURRENT_READS).map(|number| reads.read(namespace(&number.to_string())));
            let stuck = futures::future::join_all(stuck);
            tokio::select! {
                _ = stuck => panic!("the gate is closed"),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            assert_eq!(begun.load(Ordering::Relaxed), round * MAX_CONCURRENT_READS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_reads_than_the_bound_fail_at_once() {
        let (reads, _gate, _begun) = reads(true);
        let stuck = futures::future::join_all(
            (0..MAX_CONCURRENT_READS).map(|number| reads.read(namespace(&number.to_string()))),
        );
        let one_more = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            reads.read(namespace("one more")).await
        };
        tokio::select! {
            _ = stuck => panic!("the gate is closed"),
            outcome = one_more => assert!(matches!(outcome, ReadOutcome::Failed(_)), "{outcome:?}"),
        }
    }
}
