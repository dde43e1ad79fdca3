//! Metrics of the process: registered once and handed down. No request can add a label value.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::decision::Action;
use crate::decision::effect::EffectOutcome;

const ACTIONS: [Action; 4] = [Action::Enable, Action::Disable, Action::Remove, Action::Leave];
const RULES: [&str; 5] = ["Safety", "Suspension", "Override", "Policy", "None"];
/// Upper bounds of the buckets of `review_seconds`, in seconds.
const REVIEW_BUCKETS: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.3, 1.0];

/// All metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    decisions: Arc<[[Counter; RULES.len()]; ACTIONS.len()]>,
    effects: Arc<[Counter; EffectOutcome::ALL.len()]>,
    /// Decisions that hung on something unknown.
    pub unknown: Counter,
    /// Time from a whole request to its answer, in seconds.
    pub review_seconds: Histogram,
    /// Requests that were no AdmissionReview.
    pub bad_reviews: Counter,
    /// Decisions that were not written in full, because the owner's selector uses the mark.
    pub withheld: Counter,
    /// Entries that the audit log lost.
    pub audit_lost: Counter,
    /// Short reads, by outcome.
    pub reads: ReadMetrics,
    /// Objects that cannot be parsed and therefore decide nothing.
    pub invalid_objects: Gauge,
    /// Seconds since the epoch at which the serving certificate ends.
    pub certificate_ends_seconds: Gauge,
    /// 1 while the API server has our webhook configuration with our certificate authority in it.
    pub registered: Gauge,
    /// Writes of our certificate authority into our webhook configuration; many mean that somebody undoes them.
    pub registrations: Counter,
    /// 1 while this replica leads.
    pub leader: Gauge,
    /// Webhook configurations of injectors that the API server calls before ours.
    pub injectors_before_us: Gauge,
    /// Suspensions that are over or deleted, with routing that still exists.
    pub suspensions_overdue: Gauge,
    suspensions: Family<SuspensionLabels, Gauge>,
    /// 1 while we need pods and may not list them.
    pub pods_unread: Gauge,
    /// Workloads with drifting pods.
    pub drifting_workloads: Gauge,
    drifting_pods: Family<ExpectedLabels, Gauge>,
    repairs: Family<OutcomeLabels, Counter>,
    api_requests: Family<ApiLabels, Counter>,
}

/// Counters of short reads.
#[derive(Debug, Clone, Default)]
pub struct ReadMetrics {
    /// Reads of objects that exist.
    pub found: Counter,
    /// Reads of objects that do not exist.
    pub not_found: Counter,
    /// Reads that failed or took too long.
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

/// Registry under construction, which hands back each metric that it registers.
struct MetricRegistry(Registry);

impl MetricRegistry {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.register(name, help, M::default())
    }

    fn register<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn decision_counters(&mut self) -> [[Counter; RULES.len()]; ACTIONS.len()] {
        let family: Family<DecisionLabels, Counter> = self.add("decisions", "Decisions by action and kind of rule");
        let counter =
            |action: Action, rule| family.get_or_create_owned(&DecisionLabels { action: action.as_str(), rule });
        ACTIONS.map(|action| RULES.map(|rule| counter(action, rule)))
    }

    fn effect_counters(&mut self) -> [Counter; EffectOutcome::ALL.len()] {
        let family: Family<OutcomeLabels, Counter> =
            self.add("effects", "What the injector was foreseen to do, by outcome");
        EffectOutcome::ALL.map(|outcome| family.get_or_create_owned(&OutcomeLabels { outcome: outcome.as_str() }))
    }

    fn read_counters(&mut self) -> ReadMetrics {
        let family: Family<OutcomeLabels, Counter> =
            self.add("reads", "Short reads for what no cache knew, by outcome");
        let counter = |outcome| family.get_or_create_owned(&OutcomeLabels { outcome });
        ReadMetrics { found: counter("found"), not_found: counter("not_found"), failed: counter("failed") }
    }
}

impl Metrics {
    /// Registers every metric; `audit_lost` is the counter of the audit log itself.
    pub fn new(audit_lost: Counter) -> Self {
        let mut registry = MetricRegistry(Registry::with_prefix("outrigger"));
        // The fields are registered in this order, which is also the order in the text format.
        Self {
            decisions: Arc::new(registry.decision_counters()),
            effects: Arc::new(registry.effect_counters()),
            reads: registry.read_counters(),
            unknown: registry.add("unknown", "Decisions that hung on something unknown"),
            bad_reviews: registry.add("bad_reviews", "Requests that were no AdmissionReview"),
            withheld: registry.add("withheld", "Decisions not written because the owner's selector uses the mark"),
            audit_lost: registry.register("audit_lost", "Entries that the audit log lost", audit_lost),
            review_seconds: registry.register(
                "review_seconds",
                "Time from a whole request to its answer",
                Histogram::new(REVIEW_BUCKETS),
            ),
            invalid_objects: registry.add("invalid_objects", "Objects that cannot be read and decide nothing"),
            certificate_ends_seconds: registry.add("certificate_ends_seconds", "When the serving certificate ends"),
            registered: registry.add("registered", "Whether the API server is told to call us"),
            registrations: registry.add("registrations", "Writes of our authorities into the webhook configuration"),
            leader: registry.add("leader", "Whether this replica leads"),
            injectors_before_us: registry.add(
                "injectors_before_us",
                "Injectors that the API server calls before us, which do not see what we write",
            ),
            suspensions: registry.add("suspensions", "Suspensions by what they suspend and how they stand"),
            api_requests: registry.add("api_requests", "Requests of the API by operation and status"),
            suspensions_overdue: registry
                .add("suspensions_overdue", "Suspensions that are over and whose routing still stands"),
            pods_unread: registry.add("pods_unread", "Whether pods may not be listed, so that drift is not found"),
            drifting_workloads: registry
                .add("drifting_workloads", "Workloads with running pods that are not as new ones would be"),
            drifting_pods: registry
                .add("drifting_pods", "Running pods that are not as new ones would be, by what those would get"),
            repairs: registry.add("repairs", "Evictions of pods that drift, by what came of them"),
            registry: Arc::new(registry.0),
        }
    }

    /// Returns the counter of API requests with this operation and this status of the answer.
    pub fn api_requests(&self, operation: &'static str, status: u16) -> Counter {
        self.api_requests.get_or_create_owned(&ApiLabels { operation, status })
    }

    /// Returns the counter of decisions with this action by a rule of this kind.
    pub fn decisions(&self, action: Action, rule: &str) -> &Counter {
        let action = ACTIONS.iter().position(|one| *one == action).unwrap_or_default();
        let rule = RULES.iter().position(|one| *one == rule).unwrap_or(RULES.len() - 1);
        &self.decisions[action][rule]
    }

    /// Returns the gauge of suspensions in this state, of traffic or else of injection.
    pub fn suspensions(&self, traffic: bool, state: &'static str) -> Gauge {
        let suspend = if traffic { "Traffic" } else { "Injection" };
        self.suspensions.get_or_create_owned(&SuspensionLabels { suspend, state })
    }

    /// Returns the gauge of drifting pods whose successors would get this outcome.
    pub fn drifting_pods(&self, expected: EffectOutcome) -> Gauge {
        self.drifting_pods.get_or_create_owned(&ExpectedLabels { expected: expected.as_str() })
    }

    /// Returns the counter of repairs with this outcome.
    pub fn repairs(&self, outcome: &'static str) -> Counter {
        self.repairs.get_or_create_owned(&OutcomeLabels { outcome })
    }

    /// Returns the counter of effects with this outcome.
    pub fn effects(&self, outcome: EffectOutcome) -> &Counter {
        let outcome = EffectOutcome::ALL.iter().position(|one| *one == outcome).unwrap_or_default();
        &self.effects[outcome]
    }

    /// Renders all metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; an encoder's own error leaves what was written so far.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
