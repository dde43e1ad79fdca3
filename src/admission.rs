//! Answers an AdmissionReview: bytes in, bytes out, with the audit entry and the metrics beside it.

mod answer;
pub(crate) mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use json_patch::PatchOperation;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::audit::{self, entry};
use crate::decision::effect::{Consequence, consequence};
use crate::decision::facts::Facts;
use crate::decision::marks::{Mark, Marks};
use crate::decision::reason::Rule;
use crate::decision::{Decision, decide};
use crate::kernel::clock::Clock;
use crate::kernel::text::Clean;
use crate::kubernetes::inventory::reads::{Outcome, Reads, Wanted};
use crate::kubernetes::inventory::{Inventory, Question};
use crate::metrics::Metrics;
pub use request::BadReview;
use request::PodRequest;

/// Short reads may take this long in all, of the three seconds that the API server waits.
const READS_DEADLINE: Duration = Duration::from_millis(300);
/// A pod's namespace, and its owner's owner.
const MOST_READS: usize = 3;

/// More labels than this are read by one review at a time.
const MANY_LABELS: usize = 4096;
/// More are not read at all. A tenant could otherwise pass us by with a pod that the API server takes and we refuse:
/// it stores objects of up to 1.5 MiB, and each label takes nine bytes of that or more.
pub(crate) const MOST_LABELS: usize = 180_000;
/// A larger body is read by one review at a time.
const LARGE_BODY: usize = 256 * 1024;
/// What is read from one large body can take 45 MiB: a copy of the body where it holds escapes, and 48 bytes for each
/// label, twice while they are gathered.
static LARGE: Semaphore = Semaphore::const_new(1);

/// Answers reviews.
#[derive(Debug)]
pub struct Reviewer {
    /// What we believe about the cluster.
    pub inventory: Arc<Inventory>,
    /// How to read what it does not know; without a cluster there is nothing to read.
    pub reads: Option<Reads>,
    /// What time it is.
    pub clock: Clock,
    /// Where decisions are recorded, if anywhere.
    pub audit: Option<audit::Log>,
    /// What is counted.
    pub metrics: Metrics,
    /// Names the entries of this process.
    pub entries: EntryNames,
}

/// Gives audit entries names that no other entry has.
#[derive(Debug)]
pub struct EntryNames {
    process: String,
    next: AtomicU64,
}

impl EntryNames {
    /// Names that begin with something that no other process has.
    pub fn of_process(process: impl Into<String>) -> Self {
        Self { process: process.into(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Reviewer {
    /// Reviews a body; `caller_verified` tells whether the caller showed a client certificate.
    pub async fn review(&self, body: &[u8], caller_verified: bool) -> Result<Vec<u8>, BadReview> {
        let started = Instant::now();
        let mesh = self.inventory.settings.mesh;
        let turn = async || LARGE.acquire().await.ok();
        let mut alone = if body.len() > LARGE_BODY { turn().await } else { None };
        let mut request = request::parse::<MANY_LABELS>(body, mesh);
        if matches!(request, Err(BadReview::Labels(_))) {
            alone = if alone.is_none() { turn().await } else { alone };
            request = request::parse::<MOST_LABELS>(body, mesh);
        }
        let request = request.inspect_err(|_| {
            self.metrics.bad_reviews.inc();
        })?;
        let question = self.question(&request);
        let now = self.clock.now();
        let facts = self.facts(question, now).await;
        let decision = decide(&facts, now);
        let consequence = consequence(&facts, &decision);
        let patch = crate::decision::patch::patch(&request.pod, mesh, &consequence.marks);
        let reviewed = Reviewed {
            request: &request,
            facts: &facts,
            decision: &decision,
            consequence: &consequence,
            patch: &patch,
        };
        let answer = self.answer(&reviewed, now, caller_verified);
        drop(alone);
        self.metrics.review_seconds.observe(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    fn question<'r, 'a>(&self, request: &'r PodRequest<'a>) -> Question<'r, 'a> {
        let PodRequest { kind, pod, controller, username, .. } = request;
        let requester_is_trusted = self.inventory.trusts(username);
        Question { kind, pod, controller: controller.as_ref(), requester_is_trusted }
    }

    /// The facts for a question. What the caches do not know of it is read, if it may be read: nearly always nothing.
    async fn facts<'q>(&'q self, question: Question<'q, 'q>, now: jiff::Timestamp) -> Facts<'q> {
        let mut facts = self.inventory.facts_for(question, &[]);
        let Some(reads) = &self.reads else { return facts };
        let deadline = Instant::now() + READS_DEADLINE;
        let mut read = Vec::new();
        // What is not asked for any more has failed as well: only what was looked for and is not there does not exist.
        while let Some(wanted) = self.wanted(question, &facts, &read, now) {
            let outcome = match read.len() {
                0..MOST_READS => timeout_at(deadline, reads.read(wanted.clone()))
                    .await
                    .unwrap_or_else(|_| Outcome::Failed("the deadline of 300 ms passed".to_owned())),
                _ => Outcome::Failed(format!("{MOST_READS} reads were made for it already")),
            };
            match &outcome {
                Outcome::Found(_) => self.metrics.reads.found.inc(),
                Outcome::NotFound => self.metrics.reads.not_found.inc(),
                Outcome::Failed(why) => {
                    tracing::warn!(namespace = %Clean(&question.pod.namespace), "cannot read what a decision needs: {why}");
                    self.metrics.reads.failed.inc()
                }
            };
            read.push((wanted, outcome));
            facts = self.inventory.facts_for(question, &read);
        }
        facts
    }

    fn wanted(
        &self,
        question: Question<'_, '_>,
        facts: &Facts<'_>,
        read: &[(Wanted, Outcome)],
        now: jiff::Timestamp,
    ) -> Option<Wanted> {
        self.inventory.wanted(question, facts, read).or_else(|| {
            let selector = self.inventory.wanted_selector(question, facts, read)?;
            // A selector matters only where something is written that it could use.
            let decision = decide(facts, now);
            let Consequence { marks: Marks { marker, revision, .. }, withheld, .. } = consequence(facts, &decision);
            (marker != Mark::Keep || revision != Mark::Keep || withheld.is_some()).then_some(selector)
        })
    }

    fn answer(&self, reviewed: &Reviewed<'_>, now: jiff::Timestamp, caller_verified: bool) -> Vec<u8> {
        let Reviewed { request, facts, decision, consequence, patch } = reviewed;
        let Consequence { effect, withheld, .. } = consequence;
        self.metrics.decisions(decision.action, decision.rule.kind()).inc();
        if matches!(decision.rule, Rule::Unknown(..)) {
            self.metrics.unknown.inc();
        }
        if withheld.is_some() {
            self.metrics.withheld.inc();
        }
        self.metrics.effects(effect.outcome).inc();
        let uid = self.entries.next();
        let reason = decision.rule.sentence().to_string();
        let workload = facts.owners.workload();
        if let Some(audit) = &self.audit {
            audit.record(&entry::Entry {
                time: now,
                uid: &uid,
                request_uid: &request.uid,
                dry_run: request.dry_run,
                requester: &request.username,
                caller_verified,
                namespace: &request.pod.namespace,
                pod: request.pod.name.as_deref(),
                generate_name: request.pod.generate_name.as_deref(),
                workload: workload.map(|owner| entry::Workload { kind: &owner.kind, name: &owner.name }),
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: &reason,
                until: decision.until,
                effect: effect.into(),
                considered: entry::worth_telling(&decision.considered),
                written: patch,
            });
        }
        answer::write(reviewed, &uid, &reason)
    }
}

/// Everything about one review.
struct Reviewed<'r> {
    request: &'r PodRequest<'r>,
    facts: &'r Facts<'r>,
    decision: &'r Decision<'r>,
    consequence: &'r Consequence<'r>,
    patch: &'r [PatchOperation],
}
