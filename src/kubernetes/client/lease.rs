//! Which replica leads: the Lease is taken, renewed and given up by the rules of client-go's leader election.
//!
//! Guarantees: a leader that cannot renew stops before another can begin, whatever the API server does; no clock of
//! another machine is believed; every write carries the version that was read; on a stop the Lease is given up as soon
//! as nothing runs on it any more. It is never created here: `install` prints it, so that nobody needs the right to.
//! Limits: no fencing. A request that is under way when leadership ends may still be served, so a leader's writes must carry
//! versions too, or do no harm when somebody else makes them as well.
//! Cost: one request per [`Timing::retry`].

pub mod election;
pub mod leadership;

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::CALL_TIMEOUT;
use crate::kernel::clock::Clock;
use crate::kernel::names::LEASE;
use election::{Election, Timing, holder};
use leadership::{Granting, Leadership};

/// The time to give the Lease up in. It runs out by itself if that fails.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);
/// By how much of itself a pause is lengthened at most, so that replicas that start together do not stay together.
const JITTER: f64 = 0.2;

/// One candidate for the Lease.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    timing: Timing,
    election: Election,
    clock: Clock,
    granting: Granting,
    leader: Gauge,
    /// What we wrote last, to be renewed without being read again.
    written: Option<Lease>,
    /// Who held it when we last looked.
    last_holder: Option<String>,
    /// The kinds of trouble that were reported since all was well.
    reported: Vec<Discriminant<Trouble>>,
}

/// Why the Lease is not settled.
#[derive(Debug, Error)]
enum Trouble {
    /// It is not there.
    #[error("there is none; apply what `outrigger install` prints")]
    Gone,
    /// Somebody wrote it since it was read.
    #[error("somebody else was faster")]
    Outrun,
    /// The API server says no.
    #[error(transparent)]
    Refused(kube::Error),
    /// It cannot be asked.
    #[error(transparent)]
    Unreachable(kube::Error),
    /// It takes too long to answer.
    #[error("the API server does not answer")]
    Silent,
}

impl Elector {
    /// A candidate of this name for the Lease in this namespace, not yet running; the gauge tells whether it leads.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, timing: Timing, clock: Clock, leader: Gauge) -> Self {
        // A container that is started again in its pod is another candidate: its predecessor may still be writing.
        let identity = format!("{name}_{:016x}", random());
        Self {
            api: Api::namespaced(client, namespace),
            timing,
            election: Election::new(identity, timing),
            clock,
            granting: Granting::default(),
            leader,
            written: None,
            last_holder: None,
            reported: Vec::new(),
        }
    }

    /// Tells whether this candidate leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.granting.leadership()
    }

    /// Stands for election until it is told to stop, and then gives the Lease up.
    pub async fn run(mut self, stopping: CancellationToken) {
        let announcing = announce(self.leadership(), self.leader.clone());
        let standing = async {
            stopping.run_until_cancelled(self.stand()).await;
            self.give_up().await;
        };
        tokio::select! { () = announcing => {}, () = standing => {} }
    }

    async fn stand(&mut self) {
        loop {
            let settled = self.settle().await;
            self.report(settled);
            sleep(self.timing.retry.mul_f64(1.0 + JITTER * random_fraction())).await;
        }
    }

    /// Renews what we hold, else looks who does.
    async fn settle(&mut self) -> Result<(), Trouble> {
        if let Some(written) = self.written.take() {
            match self.claim(written).await {
                Err(Trouble::Outrun) => {}
                settled => return settled,
            }
        }
        let lease = self.answer(self.api.get(LEASE)).await?;
        self.claim(lease).await
    }

    async fn claim(&mut self, mut lease: Lease) -> Result<(), Trouble> {
        let now = Instant::now();
        let claim = self.election.claim(record(&mut lease), now, self.clock.now());
        let is_ours = claim.is_some();
        if let Some(claim) = claim {
            lease.spec = Some(claim);
            lease = self.replace(lease).await?;
            // From before it was sent: others count from when they see it.
            self.granting.grant(now + self.timing.renew);
        } else {
            self.granting.withdraw();
        }
        self.note_holder(record(&mut lease), is_ours);
        self.written = is_ours.then_some(lease);
        Ok(())
    }

    async fn give_up(&mut self) {
        self.granting.withdraw();
        let releasing = async {
            self.granting.is_unused().await;
            self.release().await
        };
        match timeout(GIVE_UP_WITHIN, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => warn!("cannot give up Lease {LEASE}, which will run out: {trouble}"),
            Err(_) => warn!("cannot give up Lease {LEASE} in time; it will run out"),
        }
    }

    /// Reads it first: a renewal that was under way may have been written or not.
    async fn release(&self) -> Result<(), Trouble> {
        loop {
            let mut lease = self.answer(self.api.get(LEASE)).await?;
            let Some(released) = self.election.release(record(&mut lease), self.clock.now()) else { return Ok(()) };
            lease.spec = Some(released);
            match self.replace(lease).await {
                Err(Trouble::Outrun) => {}
                Err(trouble) => return Err(trouble),
                Ok(_) => {
                    info!("gave up Lease {LEASE}");
                    return Ok(());
                }
            }
        }
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, Trouble> {
        self.answer(self.api.replace(LEASE, &PostParams::default(), &lease)).await
    }

    /// Time for two calls before a leadership that is not renewed is over.
    async fn answer<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
        let answer = timeout(CALL_TIMEOUT.min(self.timing.renew / 2), call).await;
        answer.map_err(|_| Trouble::Silent)?.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 404 => Trouble::Gone,
            kube::Error::Api(status) if status.code == 409 => Trouble::Outrun,
            kube::Error::Api(_) => Trouble::Refused(error),
            _ => Trouble::Unreachable(error),
        })
    }

    fn note_holder(&mut self, record: &LeaseSpec, is_ours: bool) {
        let now_held_by = holder(record);
        if self.last_holder.as_deref() != now_held_by {
            self.last_holder = now_held_by.map(str::to_owned);
            if let Some(other) = now_held_by.filter(|_| !is_ours) {
                info!(holder = other, "another replica leads: {other:?}");
            }
        }
    }

    /// Each kind of trouble once, until all is well again.
    fn report(&mut self, settled: Result<(), Trouble>) {
        let trouble = match settled {
            Ok(()) if self.reported.is_empty() => return,
            Ok(()) => {
                self.reported.clear();
                return info!("looking after Lease {LEASE} again");
            }
            Err(Trouble::Outrun) => return debug!("somebody else was faster at Lease {LEASE}"),
            Err(trouble) => trouble,
        };
        if let Trouble::Gone = trouble {
            // The next that is made is free to all.
            self.granting.withdraw();
        }
        let kind = discriminant(&trouble);
        if self.reported.contains(&kind) {
            return debug!("still cannot look after Lease {LEASE}: {trouble}");
        }
        warn!("cannot look after Lease {LEASE}, and try on: {trouble}");
        self.reported.push(kind);
    }
}

async fn announce(mut leadership: Leadership, leader: Gauge) {
    while leadership.begun().await {
        leader.set(1);
        info!("this replica leads");
        leadership.ended().await;
        leader.set(0);
        info!("this replica leads no more");
    }
}

fn record(lease: &mut Lease) -> &LeaseSpec {
    lease.spec.get_or_insert_default()
}

/// The standard library keys its maps with random numbers; nothing here must be hard to guess.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_fraction() -> f64 {
    random() as f64 / u64::MAX as f64
}
