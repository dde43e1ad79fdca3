//! Leader election: takes, renews and releases a Lease by the rules of client-go.
//!
//! Guarantees: a leader that cannot renew stops before another can begin, whatever the API server does. The clocks of
//! other machines are not trusted. Every write carries the version that was read. On a stop, the Lease is released as
//! soon as no work runs under it any more. The Lease is never created here: `install` prints it, so that we need no
//! right to create it. Limits: no fencing. A request that is under way when leadership ends may still be served. A
//! leader's writes must carry versions too, or do no harm if another leader repeats them. Cost: one request per
//! [`LeaseTiming::retry`].

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
use election::{Election, LeaseTiming, holder};
use leadership::{Leadership, LeadershipGrant};

/// Time limit for releasing the Lease. It runs out by itself if that fails.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum fraction by which a pause is lengthened, so that replicas that start together do not stay in step.
const JITTER: f64 = 0.2;

/// Candidate for the Lease.
#[derive(Debug)]
pub struct LeaderElector {
    api: Api<Lease>,
    timing: LeaseTiming,
    election: Election,
    clock: Clock,
    granting: LeadershipGrant,
    leader: Gauge,
    /// Lease as we wrote it last, to be renewed without another read.
    written: Option<Lease>,
    last_holder: Option<String>,
    /// Kinds of errors that were reported since the last success.
    reported: Vec<Discriminant<LeaseError>>,
}

/// Failure to renew or claim the Lease.
#[derive(Debug, Error)]
enum LeaseError {
    /// The Lease does not exist.
    #[error("Lease {LEASE} does not exist: apply what `outrigger install` prints")]
    NotFound,
    /// Another candidate wrote the Lease since it was read.
    #[error("another replica changed Lease {LEASE} first")]
    Conflict,
    /// The API server refuses.
    #[error(transparent)]
    Refused(kube::Error),
    /// The API server is not reachable.
    #[error(transparent)]
    Unreachable(kube::Error),
    /// The API server takes too long to answer.
    #[error("the API server did not answer in time")]
    Timeout,
}

impl LeaderElector {
    /// Makes a candidate for the Lease in this namespace, not yet running. The gauge shows whether it leads.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, timing: LeaseTiming, clock: Clock, leader: Gauge) -> Self {
        // A container that restarts in its pod is another candidate: its predecessor may still be writing.
        let identity = format!("{name}_{:016x}", random());
        Self {
            api: Api::namespaced(client, namespace),
            timing,
            election: Election::new(identity, timing),
            clock,
            granting: LeadershipGrant::default(),
            leader,
            written: None,
            last_holder: None,
            reported: Vec::new(),
        }
    }

    /// Returns a handle that tells whether this candidate leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.granting.leadership()
    }

    /// Runs for leader until `stopping` is cancelled, then releases the Lease.
    pub async fn run(mut self, stopping: CancellationToken) {
        let announcing = announce_leadership(self.leadership(), self.leader.clone());
        let campaigning = async {
            stopping.run_until_cancelled(self.campaign()).await;
            self.withdraw().await;
        };
        tokio::select! { () = announcing => {}, () = campaigning => {} }
    }

    async fn campaign(&mut self) {
        loop {
            let result = self.renew_or_claim().await;
            self.report(result);
            sleep(self.timing.retry.mul_f64(1.0 + JITTER * random_fraction())).await;
        }
    }

    /// Renews the Lease if we hold it; else reads it and claims it if it is free.
    async fn renew_or_claim(&mut self) -> Result<(), LeaseError> {
        if let Some(written) = self.written.take() {
            match self.claim(written).await {
                Err(LeaseError::Conflict) => {}
                result => return result,
            }
        }
        let lease = self.call(self.api.get(LEASE)).await?;
        self.claim(lease).await
    }

    async fn claim(&mut self, mut lease: Lease) -> Result<(), LeaseError> {
        let now = Instant::now();
        let claim = self.election.claim(lease_record(&mut lease), now, self.clock.now());
        let is_ours = claim.is_some();
        if let Some(claim) = claim {
            lease.spec = Some(claim);
            lease = self.replace(lease).await?;
            // Counted from before the request was sent: others count from the time at which they see the record.
            self.granting.grant(now + self.timing.renew);
        } else {
            self.granting.withdraw();
        }
        self.note_holder(lease_record(&mut lease), is_ours);
        self.written = is_ours.then_some(lease);
        Ok(())
    }

    async fn withdraw(&mut self) {
        self.granting.withdraw();
        let releasing = async {
            self.granting.is_unused().await;
            self.release().await
        };
        match timeout(RELEASE_TIMEOUT, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("failed to release Lease {LEASE}, leaving it to expire: {error}"),
            Err(_) => warn!("failed to release Lease {LEASE} in time, leaving it to expire"),
        }
    }

    /// Releases the Lease. Reads it first: a renewal that was under way may or may not have been written.
    async fn release(&self) -> Result<(), LeaseError> {
        loop {
            let mut lease = self.call(self.api.get(LEASE)).await?;
            let Some(released) = self.election.release(lease_record(&mut lease), self.clock.now()) else {
                return Ok(());
            };
            lease.spec = Some(released);
            match self.replace(lease).await {
                Err(LeaseError::Conflict) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    info!("released Lease {LEASE}");
                    return Ok(());
                }
            }
        }
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.call(self.api.replace(LEASE, &PostParams::default(), &lease)).await
    }

    /// Bounds a call so that two calls fit in before a leadership that is not renewed ends.
    async fn call<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
        let answer = timeout(CALL_TIMEOUT.min(self.timing.renew / 2), request).await;
        answer.map_err(|_| LeaseError::Timeout)?.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 404 => LeaseError::NotFound,
            kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
            kube::Error::Api(_) => LeaseError::Refused(error),
            _ => LeaseError::Unreachable(error),
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

    /// Logs each kind of error once, until the next success.
    fn report(&mut self, result: Result<(), LeaseError>) {
        let error = match result {
            Ok(()) if self.reported.is_empty() => return,
            Ok(()) => {
                self.reported.clear();
                return info!("renewing Lease {LEASE} again");
            }
            Err(LeaseError::Conflict) => return debug!("another replica changed Lease {LEASE} first"),
            Err(error) => error,
        };
        if let LeaseError::NotFound = error {
            // A Lease that is created anew is free to all.
            self.granting.withdraw();
        }
        let kind = discriminant(&error);
        if self.reported.contains(&kind) {
            return debug!("failed again to renew Lease {LEASE}: {error}");
        }
        warn!("failed to renew Lease {LEASE}, retrying: {error}");
        self.reported.push(kind);
    }
}

async fn announce_leadership(mut leadership: Leadership, leader: Gauge) {
    while leadership.wait_until_leading().await {
        leader.set(1);
        info!("this replica leads");
        leadership.wait_until_ended().await;
        leader.set(0);
        info!("this replica no longer leads");
    }
}

fn lease_record(lease: &mut Lease) -> &LeaseSpec {
    lease.spec.get_or_insert_default()
}

/// Returns a random number from the keys of the standard library's maps. It need not be hard to guess.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_fraction() -> f64 {
    random() as f64 / u64::MAX as f64
}
