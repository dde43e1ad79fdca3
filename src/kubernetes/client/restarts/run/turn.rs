//! Whose turn is next: read anew just before, since others change workloads while a restart is on its way.

use std::collections::BTreeSet;

use futures::FutureExt;

use super::asking::Asked;
use super::{Running, Stop};
use crate::features::restart::budget::Budget;
use crate::features::restart::telling::{Step, Told};
use crate::features::restart::wave::{Wave, next_wave};
use crate::features::restart::way::Way;
use crate::features::restart::workload::Workload;
use crate::kubernetes::client::restarts::parallel::answers;
use crate::kubernetes::client::restarts::writing::changed;

impl Running<'_> {
    /// The next that may go, as they are now; waits while budgets hold them all, or other restarts under them. Nobody where none
    /// is left.
    pub(super) async fn next_wave(&mut self) -> Result<Vec<Workload>, Stop> {
        let begun = self.asking.instant();
        let mut last = Vec::new();
        loop {
            let (wave, budgets) = self.wave().await?;
            let mut held: Vec<Told> = wave.held.iter().map(|(place, why)| self.told(*place, why)).collect();
            let go = self.taken(&wave.go);
            let (go, yielding) = self.claimed(go, &budgets).await?;
            if !go.is_empty() || self.pending.is_empty() {
                return Ok(go);
            }
            held.extend(yielding);
            if held != last {
                self.tell(Step::Held { workloads: held.clone(), more: 0 });
                last.clone_from(&held);
            }
            if self.asking.instant() > begun + self.asking.pace.timeout {
                self.report.held = held;
                return Err(Stop::Halted);
            }
            self.asking.pause().await?;
        }
    }

    /// A wave, whose workloads are as they are now; of those that are held only as many as could go at once. With the budgets that
    /// it asked.
    async fn wave(&mut self) -> Result<(Wave, Vec<Budget>), Stop> {
        let at_once = self.asking.pace.at_once;
        let budgets = self.budgets().await?;
        let (mut read, mut others) = (BTreeSet::new(), None);
        loop {
            let beside: &[Workload] = others.as_deref().unwrap_or_default();
            let wave = next_wave(&self.pending, &budgets, beside, at_once);
            let held = wave.held.iter().map(|(place, _)| place).take(at_once);
            let uids = wave.go.iter().chain(held).map(|place| &self.pending[*place].uid);
            let stale: BTreeSet<String> = uids.filter(|uid| !read.contains(*uid)).cloned().collect();
            let is_limited = |place: &usize| budgets.iter().any(|budget| budget.limits(&self.pending[*place]));
            if !stale.is_empty() {
                self.read_anew(&stale).await?;
                read.extend(stale);
            } else if others.is_none() && wave.go.iter().any(is_limited) {
                // Who goes is looked at once more when it is claimed.
                others = Some(self.others(wave.go.iter().map(|place| &self.pending[*place])).await?);
            } else {
                return Ok((wave, budgets));
            }
        }
    }

    /// Reads some of those that wait, and passes those of which nothing is to be replaced any more.
    async fn read_anew(&mut self, uids: &BTreeSet<String>) -> Result<(), Stop> {
        let is_meant = |one: &Workload| uids.contains(&one.uid);
        let (meant, others) = std::mem::take(&mut self.pending).into_iter().partition(is_meant);
        self.pending = others;
        let found = answers(Vec::into_iter(meant).map(|workload| self.current(workload).boxed())).await;
        let mut current = Vec::new();
        let kept = self.keep(found, &mut current).await;
        for workload in current {
            if let Way::Never(reason) = workload.way {
                self.forget(&workload).await;
                self.pass(Told { workload: workload.name, why: reason.to_string() });
            } else {
                self.pending.push(workload);
            }
        }
        self.pending.sort_by(|one, other| one.name.cmp(&other.name));
        kept
    }

    /// A workload as it is now, if it still bears the mark of this run.
    async fn current(&self, workload: Workload) -> (Workload, Asked<Workload>) {
        let read = async || {
            let current = self.restarts.get(&workload).await?;
            let is_ours = current.mark.as_ref().is_some_and(|mark| mark.run == self.report.run);
            if is_ours { Ok(current) } else { Err(changed(current.mark.as_ref())) }
        };
        let found = self.asking.ask(|| read().boxed()).await;
        (workload, found)
    }

    fn told(&self, place: usize, why: &str) -> Told {
        Told { workload: self.pending[place].name.clone(), why: why.to_owned() }
    }

    /// Takes those at these places from among those that wait.
    fn taken(&mut self, places: &[usize]) -> Vec<Workload> {
        let pending = std::mem::take(&mut self.pending).into_iter().enumerate();
        let (taken, left): (Vec<_>, Vec<_>) = pending.partition(|(place, _)| places.contains(place));
        self.pending = left.into_iter().map(|(_, workload)| workload).collect();
        taken.into_iter().map(|(_, workload)| workload).collect()
    }

    async fn budgets(&self) -> Result<Vec<Budget>, Stop> {
        let namespaces: BTreeSet<&str> = self.pending.iter().map(|one| one.name.namespace.as_str()).collect();
        let mut budgets = Vec::new();
        for namespace in namespaces {
            let listed = self.asking.ask(|| self.restarts.budgets(namespace)).await?;
            let cannot_tell = |why| Stop::Stopped(format!("what PodDisruptionBudgets allow cannot be told: {why}"));
            budgets.extend(listed.map_err(cannot_tell)?);
        }
        Ok(budgets)
    }
}
