//! Of several restarts under one budget one goes at a time: what it takes down is claimed before the others are looked at.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::Timestamp;

use super::asking::Asked;
use super::{Running, Stop};
use crate::features::restart::budget::Budget;
use crate::features::restart::telling::Told;
use crate::features::restart::wave::{Claim, claim};
use crate::features::restart::workload::Workload;
use crate::kubernetes::client::restarts::parallel::answers;

/// A wave that is being claimed.
struct Claims {
    /// They may go.
    free: Vec<Workload>,
    /// They may not yet.
    open: Vec<Workload>,
    /// They gave way, and why.
    held: Vec<Told>,
}

impl Running<'_> {
    /// Those of a wave that may go for all that other restarts do, and those that gave way to them, whose turn is still to come.
    pub(super) async fn claimed(
        &mut self,
        wave: Vec<Workload>,
        budgets: &[Budget],
    ) -> Result<(Vec<Workload>, Vec<Told>), Stop> {
        let is_limited = |one: &Workload| budgets.iter().any(|budget| budget.limits(one));
        let (open, free) = wave.into_iter().partition(is_limited);
        let mut claims = Claims { free, open, held: Vec::new() };
        let settled = self.settle(&mut claims, budgets).await;
        let Claims { free, open, held } = claims;
        if let Err(stop) = settled {
            self.give_back([free, open].concat()).await;
            return Err(stop);
        }
        Ok((free, held))
    }

    /// Takes back what was claimed of those that do not begin, since the restart stops.
    pub(super) async fn give_back(&mut self, workloads: Vec<Workload>) {
        let mark = self.pending_mark();
        let given_back = answers(workloads.iter().map(|one| self.restarts.unclaim(one, &mark).boxed())).await;
        let pending =
            workloads.into_iter().zip(given_back).map(|(workload, given_back)| given_back.unwrap_or(workload));
        self.pending.extend(pending);
    }

    async fn settle(&mut self, claims: &mut Claims, budgets: &[Budget]) -> Result<(), Stop> {
        let (begun, now) = (self.asking.instant(), self.clock.now());
        let open = std::mem::take(&mut claims.open);
        let written = answers(open.into_iter().map(|workload| self.claim(workload, now).boxed())).await;
        self.keep(written, &mut claims.open).await?;
        while !claims.open.is_empty() {
            let others = self.others(claims.open.iter()).await?;
            let is_over = self.asking.instant() > begun + self.asking.pace.timeout;
            let mut yielding = Vec::new();
            for workload in std::mem::take(&mut claims.open) {
                match claim(&workload, budgets, &others) {
                    Claim::Holds => claims.free.push(workload),
                    Claim::Waits(_) if !is_over => claims.open.push(workload),
                    Claim::Waits(why) | Claim::Yields(why) => {
                        claims.held.push(Told { workload: workload.name.clone(), why });
                        yielding.push(workload);
                    }
                }
            }
            let yielded = answers(yielding.into_iter().map(|workload| self.yielded(workload).boxed())).await;
            let mut pending = Vec::new();
            let kept = self.keep(yielded, &mut pending).await;
            self.pending.extend(pending);
            kept?;
            if !claims.open.is_empty() {
                self.asking.pause().await?;
            }
        }
        Ok(())
    }

    /// Keeps those that were read or written, and puts off those that could not be.
    pub(super) async fn keep(
        &mut self,
        answers: Vec<(Workload, Asked<Workload>)>,
        kept: &mut Vec<Workload>,
    ) -> Result<(), Stop> {
        let mut stop = Ok(());
        for (workload, answer) in answers {
            match answer {
                Ok(Ok(current)) => kept.push(current),
                Ok(Err(why)) => self.put_off(&workload, &why).await,
                Err(why) => {
                    kept.push(workload);
                    stop = Err(why);
                }
            }
        }
        stop
    }

    async fn claim(&self, workload: Workload, now: Timestamp) -> (Workload, Asked<Workload>) {
        let claimed = self.asking.ask(|| self.restarts.claim(&workload, now)).await;
        (workload, claimed)
    }

    async fn yielded(&self, workload: Workload) -> (Workload, Asked<Workload>) {
        let mark = self.pending_mark();
        let yielded = self.asking.ask(|| self.restarts.unclaim(&workload, &mark)).await;
        (workload, yielded)
    }

    /// What other restarts have marked as rolling in the namespaces of these.
    pub(super) async fn others(&self, workloads: impl Iterator<Item = &Workload>) -> Result<Vec<Workload>, Stop> {
        let namespaces: BTreeSet<&str> = workloads.map(|one| one.name.namespace.as_str()).collect();
        let mut others = Vec::new();
        for namespace in namespaces {
            let found =
                self.asking.ask(|| self.restarts.rolling_beside(&self.report.run, self.kinds, namespace)).await?;
            let cannot_tell = |why| Stop::Stopped(format!("what other restarts do cannot be told: {why}"));
            others.extend(found.map_err(cannot_tell)?);
        }
        Ok(others)
    }
}
