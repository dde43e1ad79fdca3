//! Answers an AdmissionReview: bytes in, bytes out. Also writes the audit entry and the metrics.

pub(crate) mod request;
mod response;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use json_patch::PatchOperation;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::audit::{self, decision_entry};
use crate::decision::effect::{Consequence, consequence};
use crate::decision::facts::Facts;
use crate::decision::marks::{MarkChange, PodMarks};
use crate::decision::patch::marks_patch;
use crate::decision::reason::DecisionRule;
use crate::decision::{Decision, decide};
use crate::kernel::clock::Clock;
use crate::kernel::text::CleanText;
use crate::kubernetes::inventory::reads::{ReadLog, ReadOutcome, ReadTarget, ShortReads};
use crate::kubernetes::inventory::{DecisionRequest, Inventory};
use crate::metrics::Metrics;
use request::PodRequest;
pub use request::ReviewError;

/// Time limit of all short reads of one review. The API server waits three seconds.
const READS_TIMEOUT: Duration = Duration::from_millis(300);
/// Maximum of short reads for one review: the pod's namespace, its owner, and the owner of that.
const MAX_READS: usize = 3;

/// Pods with more labels are reviewed one at a time.
const MANY_LABELS: usize = 4096;
/// Pods with more labels are refused. The limit must be above that of an API server, or a tenant could evade us with a
/// pod that it takes and we refuse. It stores objects of up to 1.5 MiB, and each label takes at least nine bytes of
/// that.
pub(crate) const MAX_LABELS: usize = 180_000;
/// Larger bodies are reviewed one at a time.
const LARGE_BODY: usize = 256 * 1024;
/// Permit for the one large review at a time. Its facts can take 45 MiB: a copy of the body if it holds escapes, and 48
/// bytes for each label, twice while they are gathered.
static LARGE_REVIEWS: Semaphore = Semaphore::const_new(1);

/// Answers admission reviews.
#[derive(Debug)]
pub struct Reviewer {
    /// Known state of the cluster.
    pub inventory: Arc<Inventory>,
    /// Short reads of objects that the inventory lacks; `None` without a cluster.
    pub reads: Option<ShortReads>,
    pub clock: Clock,
    pub audit: Option<audit::AuditLog>,
    pub metrics: Metrics,
    /// Source of unique ids of audit entries.
    pub entries: AuditEntryIds,
}

/// Source of unique ids of audit entries.
#[derive(Debug)]
pub struct AuditEntryIds {
    process: String,
    next: AtomicU64,
}

impl AuditEntryIds {
    /// Makes ids that begin with `process`, which must be unique to this process.
    pub fn for_process(process: impl Into<String>) -> Self {
        Self { process: process.into(), next: AtomicU64::new(0) }
    }

    fn next_id(&self) -> String {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Reviewer {
    /// Reviews a body. `caller_verified` tells whether the caller showed a client certificate.
    pub async fn review(&self, body: &[u8], caller_verified: bool) -> Result<Vec<u8>, ReviewError> {
        let started = Instant::now();
        let mesh = self.inventory.settings.mesh;
        let permit_for_large = async || LARGE_REVIEWS.acquire().await.ok();
        let mut permit = if body.len() > LARGE_BODY { permit_for_large().await } else { None };
        let mut request = request::parse_review::<MANY_LABELS>(body, mesh);
        if matches!(request, Err(ReviewError::Labels(_))) {
            permit = if permit.is_none() { permit_for_large().await } else { permit };
            request = request::parse_review::<MAX_LABELS>(body, mesh);
        }
        let request = request.inspect_err(|_| {
            self.metrics.bad_reviews.inc();
        })?;
        let decision_request = self.decision_request(&request);
        let now = self.clock.now();
        let facts = self.gather_facts(decision_request, now).await;
        let decision = decide(&facts, now);
        let consequence = consequence(&facts, &decision);
        let patch = marks_patch(&request.pod, mesh, &consequence.marks);
        let context = ReviewContext {
            request: &request,
            facts: &facts,
            decision: &decision,
            consequence: &consequence,
            patch: &patch,
        };
        let answer = self.record_and_answer(&context, now, caller_verified);
        drop(permit);
        self.metrics.review_seconds.observe(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    fn decision_request<'r, 'a>(&self, request: &'r PodRequest<'a>) -> DecisionRequest<'r, 'a> {
        let PodRequest { kind, pod, controller, username, .. } = request;
        let requester_is_trusted = self.inventory.trusts(username);
        DecisionRequest { kind, pod, controller: controller.as_ref(), requester_is_trusted }
    }

    /// Gathers the facts for a decision. Reads objects that the caches lack, if a read is allowed; nearly always there
    /// are none.
    async fn gather_facts<'q>(&'q self, decision_request: DecisionRequest<'q, 'q>, now: jiff::Timestamp) -> Facts<'q> {
        let mut facts = self.inventory.facts_for(decision_request);
        let Some(reads) = &self.reads else { return facts };
        let deadline = Instant::now() + READS_TIMEOUT;
        let mut read = ReadLog::default();
        // A read beyond the limit counts as failed: only an object that was looked for and not found does not exist.
        while let Some(key) = self.next_read(decision_request, &facts, &read, now) {
            let outcome = match read.count() {
                0..MAX_READS => timeout_at(deadline, reads.read(key.clone()))
                    .await
                    .unwrap_or_else(|_| ReadOutcome::Failed("the deadline of 300 ms passed".to_owned())),
                _ => ReadOutcome::Failed(format!("the limit of {MAX_READS} reads for one review is reached")),
            };
            match &outcome {
                ReadOutcome::Found(_) => self.metrics.reads.found.inc(),
                ReadOutcome::NotFound => self.metrics.reads.not_found.inc(),
                ReadOutcome::Failed(why) => {
                    tracing::warn!(namespace = %CleanText(&decision_request.pod.namespace), "failed to read an object that a decision needs: {why}");
                    self.metrics.reads.failed.inc()
                }
            };
            read.push(key, outcome);
            facts = self.inventory.facts_after_reads(decision_request, &read);
        }
        facts
    }

    fn next_read(
        &self,
        decision_request: DecisionRequest<'_, '_>,
        facts: &Facts<'_>,
        read: &ReadLog,
        now: jiff::Timestamp,
    ) -> Option<ReadTarget> {
        self.inventory.next_read(decision_request, facts, read).or_else(|| {
            let selector = self.inventory.selector_read(decision_request, facts, read)?;
            // A selector matters only if a mark is written that it could use.
            let decision = decide(facts, now);
            let Consequence { marks: PodMarks { marker, revision, .. }, withheld, .. } = consequence(facts, &decision);
            (marker != MarkChange::Keep || revision != MarkChange::Keep || withheld.is_some()).then_some(selector)
        })
    }

    fn record_and_answer(&self, context: &ReviewContext<'_>, now: jiff::Timestamp, caller_verified: bool) -> Vec<u8> {
        let ReviewContext { request, facts, decision, consequence, patch } = context;
        let Consequence { effect, withheld, .. } = consequence;
        self.metrics.decisions(decision.action, decision.rule.kind()).inc();
        if matches!(decision.rule, DecisionRule::Unknown(..)) {
            self.metrics.unknown.inc();
        }
        if withheld.is_some() {
            self.metrics.withheld.inc();
        }
        self.metrics.effects(effect.outcome).inc();
        let uid = self.entries.next_id();
        let reason = decision.rule.sentence().to_string();
        let workload = facts.owners.workload();
        if let Some(audit) = &self.audit {
            audit.record(&decision_entry::DecisionEntry {
                time: now,
                uid: &uid,
                request_uid: &request.uid,
                dry_run: request.dry_run,
                requester: &request.username,
                caller_verified,
                namespace: &request.pod.namespace,
                pod: request.pod.name.as_deref(),
                generate_name: request.pod.generate_name.as_deref(),
                workload: workload.map(|owner| decision_entry::EntryWorkload { kind: &owner.kind, name: &owner.name }),
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: &reason,
                until: decision.until,
                effect: effect.into(),
                considered: decision_entry::notable_rules(&decision.considered),
                written: patch,
            });
        }
        response::write_response(context, &uid, &reason)
    }
}

/// Everything that the answer and the audit entry of one review need.
struct ReviewContext<'r> {
    request: &'r PodRequest<'r>,
    facts: &'r Facts<'r>,
    decision: &'r Decision<'r>,
    consequence: &'r Consequence<'r>,
    patch: &'r [PatchOperation],
}
