//! The process's metrics: registered once, handed down, with labels that no request can add to.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::decision::Action;
use crate::decision::effect::Outcome;

const ACTIONS: [Action; 4] = [Action::Enable, Action::Disable, Action::Remove, Action::Leave];
const RULES: [&str; 5] = ["Safety", "Suspension", "Override", "Policy", "None"];

/// Everything that is counted; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    decisions: Arc<[[Counter; RULES.len()]; ACTIONS.len()]>,
    effects: Arc<[Counter; Outcome::ALL.len()]>,
    /// Decisions that hung on something unknown.
    pub unknown: Counter,
    /// Time from a whole request to its answer, in seconds.
    pub review_seconds: Histogram,
    /// Requests that were no review.
    pub bad_reviews: Counter,
    /// Decisions that were not written in full, because the owner's selector uses the mark.
    pub withheld: Counter,
    /// Short reads, by what came of them.
    pub reads: Reads,
    /// Objects that cannot be read and therefore decide nothing.
    pub invalid_objects: Gauge,
    /// Seconds since the epoch at which the serving certificate ends.
    pub certificate_ends_seconds: Gauge,
    /// Whether the API server's webhook configuration is there and carries our certificate authority.
    pub registered: Gauge,
    /// Writes of our certificate authority into that configuration; many mean that somebody undoes them.
    pub registrations: Counter,
    /// Whether this replica leads.
    pub leader: Gauge,
    /// Webhook configurations of injectors that the API server calls before ours.
    pub injectors_before_us: Gauge,
    /// Suspensions that are over, or gone, and whose routing still stands.
    pub suspensions_overdue: Gauge,
    suspensions: Family<SuspensionLabels, Gauge>,
    /// Whether pods are wanted and we may not list them.
    pub pods_unread: Gauge,
    /// Workloads with running pods that are not as new ones would be.
    pub drifting_workloads: Gauge,
    drifting_pods: Family<ExpectedLabels, Gauge>,
    repairs: Family<OutcomeLabels, Counter>,
    api_requests: Family<ApiLabels, Counter>,
}

/// Counters of short reads.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    /// What was read is there.
    pub found: Counter,
    /// It is not there.
    pub not_found: Counter,
    /// It could not be told in time, or at all.
    pub failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    action: &'static str,
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SuspensionLabels {
    suspend: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpectedLabels {
    expected: &'static str,
}

impl Metrics {
    /// Registers everything; `audit_lost` is the audit log's own count.
    pub fn new(audit_lost: Counter) -> Self {
        let mut registry = Registry::with_prefix("outrigger");
        let decisions = Family::<DecisionLabels, Counter>::default();
        let counter =
            |action: Action, rule| decisions.get_or_create_owned(&DecisionLabels { action: action.as_str(), rule });
        let resolved = ACTIONS.map(|action| RULES.map(|rule| counter(action, rule)));
        registry.register("decisions", "Decisions by action and kind of rule", decisions);
        let outcomes = Family::<OutcomeLabels, Counter>::default();
        let read = |outcome| outcomes.get_or_create_owned(&OutcomeLabels { outcome });
        let told = Family::<OutcomeLabels, Counter>::default();
        let effect = |outcome: Outcome| told.get_or_create_owned(&OutcomeLabels { outcome: outcome.as_str() });
        let effects = Outcome::ALL.map(effect);
        registry.register("effects", "What the injector was foreseen to do, by outcome", told);
        let reads = Reads { found: read("found"), not_found: read("not_found"), failed: read("failed") };
        registry.register("reads", "Short reads for what no cache knew, by outcome", outcomes);
        let (unknown, bad_reviews, withheld) = (Counter::default(), Counter::default(), Counter::default());
        registry.register("unknown", "Decisions that hung on something unknown", unknown.clone());
        registry.register("bad_reviews", "Requests that were no AdmissionReview", bad_reviews.clone());
        registry.register(
            "withheld",
            "Decisions not written because the owner's selector uses the mark",
            withheld.clone(),
        );
        registry.register("audit_lost", "Entries that the audit log lost", audit_lost);
        let review_seconds = Histogram::new([0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.3, 1.0]);
        registry.register("review_seconds", "Time from a whole request to its answer", review_seconds.clone());
        let (invalid_objects, certificate_ends_seconds, registered) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("invalid_objects", "Objects that cannot be read and decide nothing", invalid_objects.clone());
        registry.register(
            "certificate_ends_seconds",
            "When the serving certificate ends",
            certificate_ends_seconds.clone(),
        );
        registry.register("registered", "Whether the API server is told to call us", registered.clone());
        let registrations = Counter::default();
        registry.register(
            "registrations",
            "Writes of our authorities into the webhook configuration",
            registrations.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "Whether this replica leads", leader.clone());
        let injectors_before_us = Gauge::default();
        registry.register(
            "injectors_before_us",
            "Injectors that the API server calls before us, which do not see what we write",
            injectors_before_us.clone(),
        );
        let suspensions = Family::<SuspensionLabels, Gauge>::default();
        registry.register("suspensions", "Suspensions by what they suspend and how they stand", suspensions.clone());
        let api_requests = Family::<ApiLabels, Counter>::default();
        registry.register("api_requests", "Requests of the API by operation and status", api_requests.clone());
        let suspensions_overdue = Gauge::default();
        registry.register(
            "suspensions_overdue",
            "Suspensions that are over and whose routing still stands",
            suspensions_overdue.clone(),
        );
        let pods_unread = Gauge::default();
        registry.register(
            "pods_unread",
            "Whether pods may not be listed, so that drift is not found",
            pods_unread.clone(),
        );
        let drifting_workloads = Gauge::default();
        registry.register(
            "drifting_workloads",
            "Workloads with running pods that are not as new ones would be",
            drifting_workloads.clone(),
        );
        let drifting_pods = Family::<ExpectedLabels, Gauge>::default();
        registry.register(
            "drifting_pods",
            "Running pods that are not as new ones would be, by what those would get",
            drifting_pods.clone(),
        );
        let repairs = Family::<OutcomeLabels, Counter>::default();
        registry.register("repairs", "Evictions of pods that drift, by what came of them", repairs.clone());
        Self {
            registry: Arc::new(registry),
            decisions: Arc::new(resolved),
            effects: Arc::new(effects),
            unknown,
            review_seconds,
            bad_reviews,
            withheld,
            reads,
            invalid_objects,
            certificate_ends_seconds,
            registered,
            registrations,
            leader,
            injectors_before_us,
            suspensions_overdue,
            suspensions,
            pods_unread,
            drifting_workloads,
            drifting_pods,
            repairs,
            api_requests,
        }
    }

    /// The counter of requests for this operation of the API that were answered with this status.
    pub fn api_requests(&self, operation: &'static str, status: u16) -> Counter {
        self.api_requests.get_or_create_owned(&ApiLabels { operation, status })
    }

    /// The counter of decisions with this action by a rule of this kind.
    pub fn decisions(&self, action: Action, rule: &str) -> &Counter {
        let action = ACTIONS.iter().position(|one| *one == action).unwrap_or_default();
        let rule = RULES.iter().position(|one| *one == rule).unwrap_or(RULES.len() - 1);
        &self.decisions[action][rule]
    }

    /// The gauge of suspensions of traffic, or else of injection, in this state.
    pub fn suspensions(&self, traffic: bool, state: &'static str) -> Gauge {
        let suspend = if traffic { "Traffic" } else { "Injection" };
        self.suspensions.get_or_create_owned(&SuspensionLabels { suspend, state })
    }

    /// The gauge of running pods that differ where new ones would get this.
    pub fn drifting_pods(&self, expected: Outcome) -> Gauge {
        self.drifting_pods.get_or_create_owned(&ExpectedLabels { expected: expected.as_str() })
    }

    /// The counter of evictions that came to this.
    pub fn repairs(&self, outcome: &'static str) -> Counter {
        self.repairs.get_or_create_owned(&OutcomeLabels { outcome })
    }

    /// The counter of effects with this outcome.
    pub fn effects(&self, outcome: Outcome) -> &Counter {
        let outcome = Outcome::ALL.iter().position(|one| *one == outcome).unwrap_or_default();
        &self.effects[outcome]
    }

    /// Everything, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; an encoder's own error leaves what was written so far.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
