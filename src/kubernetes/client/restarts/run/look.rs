//! One look at a workload that replaces its pods, and what is done about it at once.

use jiff::Timestamp;

use super::{Running, Stop};
use crate::features::restart::pods::why_not_up;
use crate::features::restart::progress::{Progress, Reached, needs_pods, progress};
use crate::features::restart::way::Way;
use crate::features::restart::workload::Workload;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::restarts::Evicted;
use crate::kubernetes::client::restarts::writing::changed;

/// What a look at a workload found.
pub(super) enum Look {
    Done,
    /// For what, and how many pods have come, if that can be told.
    Waiting(String, Option<Reached>),
    Evicted(String),
    NotUp(String),
    Passed(String),
}

impl Running<'_> {
    pub(super) async fn look(&self, workload: &Workload, since: Timestamp) -> Result<Look, Stop> {
        let restarts = self.restarts;
        let current = match self.asking.ask(|| restarts.get(workload)).await? {
            Ok(current) => current,
            Err(ApiError::NotFound(_)) => return Ok(Look::Passed("it is gone".to_owned())),
            Err(why) => return Ok(Look::Waiting(format!("the right to read it ({why})"), None)),
        };
        if current.mark.as_ref().is_none_or(|mark| mark.run != self.report.run) {
            return Ok(Look::Passed(changed(current.mark.as_ref()).to_string()));
        }
        let pods = match needs_pods(&current) {
            true => self.asking.ask(|| restarts.pods_of(&current)).await?,
            false => Ok(Vec::new()),
        };
        let pods = match pods {
            Ok(pods) => pods,
            Err(why) => return Ok(Look::Waiting(format!("the right to list its pods ({why})"), None)),
        };
        Ok(match progress(&current, &pods, since) {
            Progress::Done => self.done(current).await?,
            Progress::Moot(why) => {
                self.done(current).await?;
                Look::Passed(why)
            }
            Progress::Waiting(what) => Look::Waiting(what, Reached::of(&current, &pods)),
            Progress::GivenUp(why) => Look::NotUp(self.why(&current, &format!("its controller gave up: {why}")).await),
            Progress::PutBack => {
                // It takes nothing down, and is in nobody's way.
                let mark = self.pending_mark();
                let _it_is_only_less_true = self.asking.ask(|| restarts.unclaim(&current, &mark)).await?;
                let why = "somebody else put its pod template back, so it keeps its old pods; going on tells it again";
                Look::NotUp(why.to_owned())
            }
            Progress::Evict { name, uid, old } => {
                let namespace = &current.name.namespace;
                match self.asking.ask(|| restarts.evict(namespace, &name, &uid)).await? {
                    Ok(Evicted::Yes) => Look::Evicted(format!("the successor of pod/{name}; {} more are old", old - 1)),
                    Ok(Evicted::Held(why)) => Look::Waiting(format!("pod/{name} to be let go: {why}"), None),
                    Err(why) => Look::NotUp(format!("pod/{name} cannot be evicted: {why}")),
                }
            }
        })
    }

    /// Takes the mark off one that is done. What else is written to it meanwhile is no reason for it not to be.
    async fn done(&self, current: Workload) -> Result<Look, Stop> {
        if current.mark.as_ref().is_some_and(|mark| mark.run == self.report.run) {
            let unmarked = self.asking.ask(|| self.restarts.unmark(&current)).await?;
            if let Err(why @ ApiError::Forbidden(_)) = unmarked {
                return Ok(Look::Waiting(format!("the right to take its mark off ({why})"), None));
            }
        }
        Ok(Look::Done)
    }

    /// Why a workload does not come up, as far as that can be found out.
    pub(super) async fn why(&self, workload: &Workload, waits_for: &str) -> String {
        let pods = self.restarts.pods_of(workload).await.unwrap_or_default();
        let warnings = self.restarts.warnings(workload).await;
        why_not_up(&format!("{waits_for}{}", self.held_by(workload).await), &pods, &warnings)
    }

    /// The budget for which the controller of a Rollout evicts nothing; nobody else tells of it.
    async fn held_by(&self, workload: &Workload) -> String {
        if workload.way != Way::Rollout {
            return String::new();
        }
        let budgets = self.restarts.budgets(&workload.name.namespace).await.unwrap_or_default();
        let found = budgets.iter().find(|budget| budget.covers(workload) && budget.allowed() < 1);
        found.map(|budget| format!("; {}", budget.refusal())).unwrap_or_default()
    }
}
