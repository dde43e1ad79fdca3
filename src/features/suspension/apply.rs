//! Applies plans to the store: the only part that writes suspensions.

use thiserror::Error;

use super::change::{SuspensionChange, SuspensionRefusal, is_same_request, plan_change};
use super::prepare::{ChangePlan, CreationPlan};
use super::store::SuspensionStore;
use super::traffic::{RefusalSeverity, TrafficObstacle};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kubernetes::resources::stored_suspension::StoredSuspension;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Attempts of a change that conflicts with writes of the status.
const MAX_ATTEMPTS: usize = 5;

/// Result of applying a [`CreationPlan`].
#[derive(Debug, Clone, PartialEq)]
pub enum CreationOutcome {
    /// The suspension is stored, unless this was a dry run.
    Created(SuspensionObject),
    /// The same request has been stored before.
    Existed(SuspensionObject),
}

/// Result of applying a [`ChangePlan`].
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeOutcome {
    /// The spec is replaced, unless this was a dry run.
    Written(Box<SuspensionObject>),
    /// The suspension had not begun, and is deleted.
    Deleted,
}

/// Reason why a plan was not applied.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SuspensionFailure {
    #[error(transparent)]
    Refused(#[from] SuspensionRefusal),
    #[error(transparent)]
    Failed(#[from] ApiError),
}

impl CreationPlan {
    /// Stores the suspension. A repeated request is no conflict, even with the routing that the first one has created.
    ///
    /// # Errors
    ///
    /// Fails if there are obstacles, if another suspension has the name, or if the store refuses the write.
    pub async fn apply(self, store: &SuspensionStore, dry_run: bool) -> Result<CreationOutcome, SuspensionFailure> {
        let Self { draft, obstacles, has_start } = self;
        let conflict: SuspensionFailure = match obstacles.first().map(TrafficObstacle::severity) {
            Some(RefusalSeverity::Conflict) => SuspensionRefusal::Obstructed(obstacles).into(),
            Some(_) => return Err(SuspensionRefusal::Obstructed(obstacles).into()),
            None => match store.create(&draft, dry_run).await {
                Ok(stored) => return Ok(CreationOutcome::Created(stored.object)),
                Err(exists @ ApiError::Exists(_)) => exists.into(),
                Err(why) => return Err(why.into()),
            },
        };
        match store.get(draft.namespace.as_deref(), &draft.name).await {
            Err(_) => Err(conflict),
            Ok(existing) if is_same_request(&existing.object, &draft, has_start) => {
                Ok(CreationOutcome::Existed(existing.object))
            }
            Ok(existing) => Err(SuspensionRefusal::name_taken(&existing.object).into()),
        }
    }
}

impl ChangePlan {
    /// Stores the change. Tries again if only the status was written since the plan was made.
    ///
    /// # Errors
    ///
    /// Fails if the spec was changed since, if the suspension is over by now, or if the store refuses the write.
    pub async fn apply(
        self,
        store: &SuspensionStore,
        clock: &Clock,
        dry_run: bool,
    ) -> Result<ChangeOutcome, SuspensionFailure> {
        let Self { mut stored, request, limits, .. } = self;
        let mut attempts = 1;
        loop {
            // A prompt may have taken a while: the suspension ends when it is answered.
            let change = plan_change(&stored.object, request, clock.now(), &limits)?;
            match write_change(store, &stored, &change, dry_run).await {
                Err(ApiError::Changed(_)) if attempts < MAX_ATTEMPTS => stored = read_again(store, &stored).await?,
                outcome => return Ok(outcome?),
            }
            attempts += 1;
        }
    }
}

async fn write_change(
    store: &SuspensionStore,
    stored: &StoredSuspension,
    change: &SuspensionChange,
    dry_run: bool,
) -> Result<ChangeOutcome, ApiError> {
    match change {
        SuspensionChange::Write(object) => {
            store.replace(stored, object, dry_run).await.map(|stored| ChangeOutcome::Written(Box::new(stored.object)))
        }
        SuspensionChange::Delete => store.delete(stored, dry_run).await.map(|()| ChangeOutcome::Deleted),
    }
}

/// Reads a suspension again, and refuses one whose spec was changed since.
async fn read_again(
    store: &SuspensionStore,
    StoredSuspension { object, .. }: &StoredSuspension,
) -> Result<StoredSuspension, SuspensionFailure> {
    let present = store.get(object.namespace.as_deref(), &object.name).await?;
    if (&present.object.uid, present.object.generation) == (&object.uid, object.generation) {
        return Ok(present);
    }
    Err(SuspensionRefusal::changed_since(object).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::features::suspension::prepare::SuspensionWorld;
    use crate::features::suspension::request::{ChangeRequest, NewSuspension, SuspensionExtension};
    use crate::kubernetes::intake::files::store::FileStore;
    use crate::kubernetes::inventory::Inventory;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;
    use crate::kubernetes::inventory::rules::RuleLimits;

    const HOUR: ChangeRequest = ChangeRequest::Extend(SuspensionExtension::By(SignedDuration::from_hours(1)));

    struct Fixture {
        inventory: Arc<Inventory>,
        store: SuspensionStore,
        clock: Clock,
    }

    impl Fixture {
        fn new() -> Self {
            let inventory = Arc::new(Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new()));
            let clock = Clock::Fixed("2026-11-24T12:00:00Z".parse().unwrap());
            let store = FileStore::new(None, Arc::clone(&inventory), RuleLimits::default(), clock.clone());
            Self { inventory, store: SuspensionStore::Files(store), clock }
        }

        fn world_at(&self, now: Timestamp) -> SuspensionWorld<'_> {
            SuspensionWorld { inventory: &self.inventory, limits: RuleLimits::default(), now }
        }

        async fn create(&self, reason: &str, now: Timestamp) -> Result<CreationOutcome, SuspensionFailure> {
            let spec = json!({"suspend": "Injection", "reason": reason, "for": "2h", "namespaces": {"include": ["*"]}});
            let spec = serde_json::from_value(spec).unwrap();
            let request = NewSuspension::new(None, Some("debug".to_owned()), spec, "id".to_owned());
            self.world_at(now).prepare_creation(request).unwrap().apply(&self.store, false).await
        }

        async fn prepare(&self, request: ChangeRequest) -> ChangePlan {
            let stored = self.store.get(None, "debug").await.unwrap();
            self.world_at(self.clock.now()).prepare_change(stored, request).unwrap()
        }
    }

    #[tokio::test]
    async fn a_repeated_request_existed_and_another_one_of_the_name_is_refused() {
        let fixture = Fixture::new();
        let now = fixture.clock.now();
        assert!(matches!(fixture.create("loop", now).await, Ok(CreationOutcome::Created(_))));
        let later = fixture.create("loop", now + SignedDuration::from_mins(5)).await;
        assert!(matches!(later, Ok(CreationOutcome::Existed(_))), "{later:?}");
        let other = fixture.create("another", now).await;
        assert!(matches!(other, Err(SuspensionFailure::Refused(SuspensionRefusal::Conflict(_)))), "{other:?}");
    }

    #[tokio::test]
    async fn a_change_is_refused_once_somebody_has_changed_the_spec() {
        let fixture = Fixture::new();
        fixture.create("loop", fixture.clock.now()).await.unwrap();
        let (first, second) = (fixture.prepare(HOUR).await, fixture.prepare(HOUR).await);
        let extended = first.apply(&fixture.store, &fixture.clock, false).await.unwrap();
        let again = second.apply(&fixture.store, &fixture.clock, false).await;
        assert!(matches!(again, Err(SuspensionFailure::Refused(SuspensionRefusal::Changed(_)))), "{again:?}");
        let stored = fixture.store.get(None, "debug").await.unwrap().object;
        assert_eq!(extended, ChangeOutcome::Written(Box::new(stored)), "the second one has changed nothing");
    }

    #[tokio::test]
    async fn an_end_counts_from_the_time_of_the_answer() {
        let fixture = Fixture::new();
        fixture.create("loop", fixture.clock.now()).await.unwrap();
        let answered = fixture.clock.now() + SignedDuration::from_mins(3);
        let plan = fixture.prepare(ChangeRequest::End).await;
        let ended = plan.apply(&fixture.store, &Clock::Fixed(answered), false).await.unwrap();
        let ChangeOutcome::Written(ended) = ended else { panic!("it had begun, so it stays on the record") };
        assert_eq!(ended.spec.expires_at.unwrap().0, answered);
    }
}
