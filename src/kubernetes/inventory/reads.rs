//! The short reads for what no cache knows yet, such as the ReplicaSet of the first pods after a roll-out.
//!
//! Guarantees: at most one read of the same thing at a time, whoever waits for it; what was not found is not asked for again
//! for a moment; the number of reads under way and of things remembered is bounded, whatever requests claim.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::decision::facts::{Namespace, Owner, OwnerReference, SelectorUse};

/// Something to read, by namespace and reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A namespace.
    Namespace(Box<str>),
    /// An owner.
    Owner(Box<str>, OwnerReference),
    /// An owner's pod selector.
    Selector(Box<str>, OwnerReference),
}

/// What a read found.
#[derive(Debug, Clone)]
pub enum Found {
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// The owner of this UID.
    Owner(Box<str>, Arc<Owner>),
    /// What the owner's selector uses.
    Selector(SelectorUse),
}

impl Found {
    pub(super) fn namespace(&self) -> Option<Arc<Namespace>> {
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

/// How one thing is really read: what was found, nothing, or why that could not be told.
pub type Reading = Box<dyn Fn(Wanted) -> BoxFuture<'static, Result<Option<Found>, String>> + Send + Sync>;

/// What a read came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is there.
    Found(Found),
    /// It is not there.
    NotFound,
    /// It could not be told in time, or at all.
    Failed(String),
}

/// The reads of one process.
pub struct Reads {
    reading: Reading,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: HashMap<Wanted, Shared<BoxFuture<'static, Outcome>>>,
    remembered: HashMap<Wanted, (Outcome, Instant)>,
}

/// Reads under way at once; what comes on top fails at once.
const MOST_READS: usize = 64;
/// Things remembered; what comes on top is read again.
const MOST_REMEMBERED: usize = 4096;
/// By then a watch has brought what was found, or seen it end.
const FOUND_FOR: Duration = Duration::from_secs(60);
/// Long enough for a burst of pods of one owner, short enough that a late owner counts soon.
const NOT_FOUND_FOR: Duration = Duration::from_secs(2);

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").finish_non_exhaustive()
    }
}

impl Reads {
    /// Reads in this way.
    pub fn new(reading: Reading) -> Self {
        Self { reading, state: Mutex::default() }
    }

    /// Reads one thing, or takes what another request just read. A caller that stops waiting ends its part of the read.
    pub async fn read(&self, wanted: Wanted) -> Outcome {
        let flight = match self.flight(&wanted) {
            Ok(flight) => flight,
            Err(outcome) => return outcome,
        };
        let landing = Landing { reads: self, wanted };
        let outcome = flight.await;
        self.remember(&landing.wanted, &outcome);
        outcome
    }

    fn flight(&self, wanted: &Wanted) -> Result<Shared<BoxFuture<'static, Outcome>>, Outcome> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.remembered.get(wanted) {
            Some((outcome, until)) if Instant::now() < *until => return Err(outcome.clone()),
            Some(_) => drop(state.remembered.remove(wanted)),
            None => {}
        }
        if let Some(flight) = state.under_way.get(wanted) {
            return Ok(flight.clone());
        }
        if state.under_way.len() >= MOST_READS {
            return Err(Outcome::Failed("too many reads are under way".to_owned()));
        }
        let reading = (self.reading)(wanted.clone()).map(|read| match read {
            Ok(Some(found)) => Outcome::Found(found),
            Ok(None) => Outcome::NotFound,
            Err(why) => Outcome::Failed(why),
        });
        let flight = reading.boxed().shared();
        state.under_way.insert(wanted.clone(), flight.clone());
        Ok(flight)
    }

    fn remember(&self, wanted: &Wanted, outcome: &Outcome) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, kept_for) = match outcome {
            Outcome::Found(_) => (Instant::now(), FOUND_FOR),
            Outcome::NotFound => (Instant::now(), NOT_FOUND_FOR),
            Outcome::Failed(_) => return,
        };
        if state.remembered.len() >= MOST_REMEMBERED {
            state.remembered.retain(|_, (_, until)| now < *until);
        }
        if state.remembered.len() < MOST_REMEMBERED {
            state.remembered.insert(wanted.clone(), (outcome.clone(), now + kept_for));
        }
    }
}

/// Takes a read out of those under way when its first waiter is done, or gives up: nobody else would drive it on.
struct Landing<'r> {
    reads: &'r Reads,
    wanted: Wanted,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.reads.state.lock().unwrap_or_else(PoisonError::into_inner).under_way.remove(&self.wanted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Reads that wait until the semaphore lets them go, and how often one began.
    fn reads(found: bool) -> (Reads, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (waiting, counting) = (Arc::clone(&gate), Arc::clone(&begun));
        let reading = move |_| {
            let gate = Arc::clone(&waiting);
            counting.fetch_add(1, Ordering::Relaxed);
            async move {
                gate.acquire().await.map_err(|error| error.to_string())?.forget();
                Ok(found.then(|| Found::Selector(SelectorUse::default())))
            }
            .boxed()
        };
        (Reads::new(Box::new(reading)), gate, begun)
    }

    fn namespace(name: &str) -> Wanted {
        Wanted::Namespace(name.into())
    }

    #[tokio::test]
    async fn a_burst_of_the_same_question_is_one_read() {
        let (reads, gate, begun) = reads(true);
        gate.add_permits(1);
        let burst = futures::future::join_all((0..50).map(|_| reads.read(namespace("shop")))).await;
        assert!(burst.iter().all(|outcome| matches!(outcome, Outcome::Found(_))), "{burst:?}");
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(matches!(reads.read(namespace("shop")).await, Outcome::Found(_)));
        assert_eq!(begun.load(Ordering::Relaxed), 1, "what was found is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_found_is_asked_for_again_after_a_moment() {
        let (reads, gate, begun) = reads(false);
        gate.add_permits(2);
        for _ in 0..3 {
            assert!(matches!(reads.read(namespace("shop")).await, Outcome::NotFound));
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        tokio::time::advance(NOT_FOUND_FOR).await;
        assert!(matches!(reads.read(namespace("shop")).await, Outcome::NotFound));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_nobody_waits_for_any_more_make_room() {
        let (reads, _gate, begun) = reads(true);
        for round in 1..=3 {
            let stuck = (0..MOST_READS).map(|number| reads.read(namespace(&number.to_string())));
            let stuck = futures::future::join_all(stuck);
            tokio::select! {
                _ = stuck => panic!("the gate is closed"),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            assert_eq!(begun.load(Ordering::Relaxed), round * MOST_READS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_reads_than_the_bound_fail_at_once() {
        let (reads, _gate, _begun) = reads(true);
        let stuck = futures::future::join_all((0..MOST_READS).map(|number| reads.read(namespace(&number.to_string()))));
        let one_more = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            reads.read(namespace("one more")).await
        };
        tokio::select! {
            _ = stuck => panic!("the gate is closed"),
            outcome = one_more => assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}"),
        }
    }
}
