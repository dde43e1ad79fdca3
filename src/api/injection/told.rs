//! What is told of an override once it is written, or before.

use schemars::JsonSchema;
use serde::Serialize;

use super::Prepared;
use crate::api::session::Attempt;
use crate::features::overrides::change::Change;
use crate::features::overrides::field::Field;
use crate::features::overrides::plan::Planned;
use crate::features::overrides::prospect::Prospect;
use crate::features::status::running::Counts;
use crate::kubernetes::client::overrides::Wrote;

/// How many are told of one by one.
const MOST_TOLD: usize = 100;

/// What was written, or would be, and what new pods get for it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Injection {
    /// What was asked for.
    action: Change,
    /// Whether nothing was to be written.
    dry_run: bool,
    /// What came of it; of a dry run, what would.
    outcome: Outcome,
    /// What ties it to its entry of the audit log.
    audit_id: String,
    /// In which metadata of the object, from its root.
    at: String,
    /// The annotations; null where one goes.
    fields: Vec<Field>,
    /// What its own new pods get, before and after; of a namespace, a pod that says nothing itself and that no workload makes.
    #[serde(flatten)]
    new_pods: Prospect,
    /// What new pods of others get that it is also about: of a namespace everything in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workloads: Option<Others>,
    /// What is to be known of it.
    warnings: Vec<String>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InjectionOutcome")]
enum Outcome {
    /// The object is changed.
    Written,
    /// It stood there already.
    Unchanged,
}

/// The workloads of a namespace.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InjectionOfOthers")]
struct Others {
    /// How many there are.
    count: usize,
    /// New pods of how many get something else from then on.
    changing: usize,
    /// New pods of how many do not get what is asked for.
    hindered: usize,
    /// Their running pods against what new ones get from then on; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Counts>,
    /// The first of those that change or are hindered.
    first: Vec<Prospect>,
}

impl Injection {
    pub(super) fn told(attempt: &Attempt, action: Change, wrote: Wrote, prepared: Prepared) -> Self {
        let Prepared { planned, warnings, unread } = prepared;
        let Planned { subject: _, edit, own, others } = planned;
        Self {
            action,
            dry_run: attempt.dry_run,
            outcome: match wrote {
                Wrote::Changed => Outcome::Written,
                Wrote::Nothing => Outcome::Unchanged,
            },
            audit_id: attempt.id.clone(),
            at: edit.path.join("."),
            fields: edit.fields,
            new_pods: own,
            workloads: (!others.is_empty()).then(|| Others::of(others)),
            warnings,
            partial: !unread.is_empty(),
            unread,
        }
    }
}

impl Others {
    fn of(mut all: Vec<Prospect>) -> Self {
        let (count, running) = (all.len(), sum(&all));
        let changing = all.iter().filter(|one| one.is_change()).count();
        let hindered = all.iter().filter(|one| one.hindrance.is_some()).count();
        all.retain(|one| one.hindrance.is_some() || one.is_change());
        all.sort_by_key(|one| one.hindrance.is_none());
        all.truncate(MOST_TOLD);
        Self { count, changing, hindered, running, first: all }
    }
}

/// All of them together; how many differ is not known where it is not of some that has any.
fn sum(all: &[Prospect]) -> Option<Counts> {
    let counts: Vec<&Counts> = all.iter().map(|one| one.running.as_ref()).collect::<Option<_>>()?;
    Some(Counts {
        pods: counts.iter().map(|one| one.pods).sum(),
        with_sidecar: counts.iter().map(|one| one.with_sidecar).sum(),
        differing: counts.iter().filter(|one| one.pods > 0).map(|one| one.differing).sum(),
    })
}
