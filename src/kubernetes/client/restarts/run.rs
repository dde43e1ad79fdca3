//! A restart as it runs: marks, waves, waiting, and an end that leaves nothing half written.
//!
//! Guarantees: every workload that is not done bears the mark of the run, so that whoever has the right can go on with it;
//! what is done bears none. Whoever stops it, or the process, stops no roll-out that has begun, and begins no other.
//! No two restarts take pods down under one budget at the same time: the mark of one that does is a claim that others respect.
//! An API server that does not answer is asked again for as long as the pace allows, and that time counts against nobody.
//! Limits: a process that is killed while it marks has marked only some; who goes on with those is told how many there
//! were to be.

mod asking;
mod claims;
mod look;
mod turn;

use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Restarts;
use crate::features::restart::left::Left;
use crate::features::restart::mark::{Mark, State};
use crate::features::restart::progress::Reached;
use crate::features::restart::telling::{End, Report, Step, Told};
use crate::features::restart::workload::{Name, Workload};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
pub(super) use crate::kubernetes::client::restarts::parallel::{PARALLEL, answers};
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use asking::{Asked, Asking};
use look::Look;

/// How fast, and how patient.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many workloads replace their pods at once.
    pub at_once: usize,
    /// How long a workload may go on without another of its pods coming up, and how long budgets may hold all.
    pub timeout: Duration,
    /// How long the API server may be away.
    pub patience: Duration,
}

/// What a restart runs with.
pub struct Runner<'r> {
    /// Reads and writes, with the rights of whoever restarts.
    pub restarts: &'r Restarts,
    /// The run.
    pub run: &'r str,
    /// The kinds of workloads that other restarts may be about.
    pub kinds: &'r OwnerKinds,
    /// How fast.
    pub pace: Pace,
    /// What time it is, for what is written.
    pub clock: &'r Clock,
    /// Stops it.
    pub cancel: &'r CancellationToken,
    /// Is told what happens; it must not block.
    pub tell: &'r (dyn Fn(Step) + Sync),
}

/// Why a restart does not go on.
#[derive(Debug)]
enum Stop {
    Halted,
    Interrupted,
    Stopped(String),
}

/// A workload that replaces its pods, since when, how far it came, and until when it has to come further.
struct Rolling {
    workload: Workload,
    since: Timestamp,
    reached: Option<Reached>,
    deadline: Instant,
}

impl Rolling {
    fn moves_to(&mut self, now: Reached) -> bool {
        match &mut self.reached {
            Some(reached) => reached.moves_to(now),
            None => self.reached.replace(now).is_none(),
        }
    }
}

impl Runner<'_> {
    /// Restarts workloads that bear no mark, or that of this run.
    pub async fn restart(self, left: Left) -> Report {
        let Left { workloads, excepted } = left;
        let Self { restarts, run, kinds, pace, clock, cancel, tell } = self;
        let marks = || workloads.iter().filter_map(|one| one.mark.as_ref());
        let of = marks().map(|mark| mark.of).max().unwrap_or_default().max(workloads.len());
        let mut running = Running {
            asking: Asking::new(pace, cancel, tell),
            restarts,
            kinds,
            clock,
            of,
            over_before: if marks().next().is_some() { of - workloads.len() } else { 0 },
            pending: workloads,
            rolling: Vec::new(),
            report: Report::of(run),
        };
        let end = running.run(excepted).await;
        running.ended(end)
    }
}

/// A restart under way.
struct Running<'r> {
    asking: Asking<'r>,
    restarts: &'r Restarts,
    kinds: &'r OwnerKinds,
    clock: &'r Clock,
    of: usize,
    over_before: usize,
    pending: Vec<Workload>,
    rolling: Vec<Rolling>,
    report: Report,
}

impl Running<'_> {
    async fn run(&mut self, excepted: Vec<Workload>) -> Result<(), Stop> {
        self.leave(excepted).await?;
        self.mark().await?;
        std::mem::take(&mut self.pending).into_iter().for_each(|workload| self.begin(workload));
        self.wait().await?;
        while !self.pending.is_empty() {
            let wave = self.next_wave().await?;
            if !wave.is_empty() {
                self.roll(wave).await?;
                self.wait().await?;
            }
        }
        Ok(())
    }

    fn ended(mut self, end: Result<(), Stop>) -> Report {
        let name = |workload: &Workload| workload.name.clone();
        self.report.pending = self.pending.iter().map(name).collect();
        self.report.rolling = self.rolling.iter().map(|one| name(&one.workload)).collect();
        self.report.end = match end {
            Ok(()) => End::Completed,
            Err(Stop::Halted) => End::Halted,
            Err(Stop::Interrupted) => End::Interrupted,
            Err(Stop::Stopped(why)) => End::Stopped(why),
        };
        self.report
    }

    fn tell(&self, step: Step) {
        self.asking.tell(step);
    }

    /// Takes the marks off those that it goes on without.
    async fn leave(&self, excepted: Vec<Workload>) -> Result<(), Stop> {
        let unmark = |one| self.asking.ask(move || self.restarts.unmark(one)).boxed();
        let unmarked = answers(excepted.iter().map(unmark)).await;
        for (one, unmarked) in excepted.iter().zip(unmarked) {
            match unmarked? {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => {}
                Err(why) => return Err(Stop::Stopped(format!("the mark of {} cannot be taken off: {why}", one.name))),
            }
        }
        Ok(())
    }

    /// Marks what bears no mark yet. Nothing has begun before all are marked, so who stops it here leaves nothing behind.
    async fn mark(&mut self) -> Result<(), Stop> {
        let mark = self.pending_mark();
        let all = std::mem::take(&mut self.pending);
        let (marked, fresh): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.mark.is_some());
        // What was claimed before this was gone on with, and never told, would keep others waiting.
        let is_claim = |one: &Workload| {
            one.mark.as_ref().is_some_and(|mark| mark.state != State::Pending) && one.rolling_since().is_none()
        };
        let (claims, marked) = marked.into_iter().partition(is_claim);
        self.pending = marked;
        self.give_back(claims).await;
        let written = answers(fresh.into_iter().map(|workload| self.marked(workload, &mark).boxed())).await;
        let (mut stop, mut unmarked) = (None, Vec::new());
        for (workload, written) in written {
            match written {
                Ok(Ok(marked)) => self.pending.push(marked),
                Ok(Err(why)) => self.put_off(&workload, &why).await,
                Err(why) => {
                    unmarked.push(workload.name);
                    stop = Some(why);
                }
            }
        }
        match stop {
            None => Ok(()),
            Some(why) => {
                if matches!(why, Stop::Interrupted) {
                    self.unmark_pending().await;
                    return Err(why);
                }
                let never = |workload| Told { workload, why: "the restart stopped before it took it up".to_owned() };
                self.report.refused.extend(unmarked.into_iter().map(never));
                Err(why)
            }
        }
    }

    fn pending_mark(&self) -> Mark {
        Mark::pending(&self.report.run, self.of)
    }

    async fn marked(&self, workload: Workload, mark: &Mark) -> (Workload, Asked<Workload>) {
        let written = self.asking.ask(|| self.restarts.mark(&workload, mark, false)).await;
        (workload, written)
    }

    async fn unmark_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let unmarked = answers(pending.iter().map(|workload| self.restarts.unmark(workload).boxed())).await;
        let left = pending.into_iter().zip(unmarked).filter(|(_, unmarked)| unmarked.is_err());
        self.pending = left.map(|(workload, _)| workload).collect();
    }

    /// A workload that could not be read or written: it is passed where it is not there to be restarted, and refused otherwise.
    async fn put_off(&mut self, workload: &Workload, why: &ApiError) {
        let told = Told { workload: workload.name.clone(), why: why.to_string() };
        match why {
            ApiError::NotFound(_) => self.pass(Told { why: "it is gone".to_owned(), ..told }),
            ApiError::Changed(_) => self.pass(told),
            _ => {
                self.tell(Step::Refused { workload: told.clone() });
                self.report.refused.push(told);
            }
        }
        self.forget(workload).await;
    }

    fn pass(&mut self, told: Told) {
        self.tell(Step::Passed { workload: told.clone() });
        self.report.passed.push(told);
    }

    /// Tells a wave to replace its pods.
    async fn roll(&mut self, wave: Vec<Workload>) -> Result<(), Stop> {
        let workloads = wave.iter().map(|one| one.name.clone()).collect();
        self.tell(Step::Wave { workloads, over: self.over(), of: self.of });
        let now = self.clock.now();
        let written = answers(wave.into_iter().map(|workload| self.rolled(workload, now).boxed())).await;
        let mut kept = Vec::new();
        let stop = self.keep(written, &mut kept).await;
        let (begun, left): (Vec<_>, Vec<_>) = kept.into_iter().partition(|one| one.rolling_since().is_some());
        begun.into_iter().for_each(|workload| self.begin(workload));
        self.give_back(left).await;
        stop
    }

    async fn rolled(&self, workload: Workload, now: Timestamp) -> (Workload, Asked<Workload>) {
        let written = self.asking.ask(|| self.restarts.roll(&workload, now)).await;
        (workload, written)
    }

    /// Takes the mark off one that is not gone on with; where even that is refused, it stays.
    async fn forget(&self, workload: &Workload) {
        let _stays_and_harms_nobody = self.restarts.unmark(workload).await;
    }

    fn over(&self) -> usize {
        let Report { restarted, passed, refused, .. } = &self.report;
        self.over_before + restarted.len() + passed.len() + refused.len()
    }

    /// Waits from now on for one that replaces its pods; the turn of any other is still to come.
    fn begin(&mut self, workload: Workload) {
        let deadline = self.deadline();
        match workload.rolling_since() {
            Some(since) => self.rolling.push(Rolling { workload, since, reached: None, deadline }),
            None => self.pending.push(workload),
        }
    }

    /// Waits until all that replace their pods have come up, or will not.
    async fn wait(&mut self) -> Result<(), Stop> {
        while !self.rolling.is_empty() {
            let rolling = std::mem::take(&mut self.rolling);
            let looks = answers(rolling.iter().map(|one| self.look(&one.workload, one.since).boxed())).await;
            let mut stop = Ok(());
            for (one, look) in rolling.into_iter().zip(looks) {
                match look {
                    Ok(look) => self.seen(one, look).await,
                    Err(why) => {
                        self.rolling.push(one);
                        stop = Err(why);
                    }
                }
            }
            stop?;
            if !self.rolling.is_empty() {
                self.asking.pause().await?;
            }
        }
        if self.report.not_up.is_empty() { Ok(()) } else { Err(Stop::Halted) }
    }

    async fn seen(&mut self, mut one: Rolling, look: Look) {
        let name = one.workload.name.clone();
        match look {
            Look::Done => {
                self.tell(Step::Restarted { workload: name.clone() });
                self.report.restarted.push(name);
            }
            Look::Passed(why) => self.pass(Told { workload: name, why }),
            Look::NotUp(why) => self.not_up(name, why),
            Look::Evicted(what) => {
                one.deadline = self.deadline();
                self.waiting(one, what);
            }
            Look::Waiting(what, reached) => {
                if reached.is_some_and(|reached| one.moves_to(reached)) {
                    one.deadline = self.deadline();
                }
                if self.asking.instant() <= one.deadline {
                    return self.waiting(one, what);
                }
                let why = self.why(&one.workload, &format!("it still waits for {what}")).await;
                self.not_up(name, why);
            }
        }
    }

    fn deadline(&self) -> Instant {
        self.asking.instant() + self.asking.pace.timeout
    }

    fn waiting(&mut self, one: Rolling, what: String) {
        self.tell(Step::Waiting { workload: one.workload.name.clone(), what });
        self.rolling.push(one);
    }

    fn not_up(&mut self, workload: Name, why: String) {
        let told = Told { workload, why };
        self.tell(Step::NotUp { workload: told.clone() });
        self.report.not_up.push(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever serves people runs it beside other things.
    #[expect(dead_code, reason = "that it compiles is the test")]
    fn a_restart_can_run_as_a_task(runner: Runner<'_>) -> impl Future<Output = Report> + Send {
        runner.restart(Left::default())
    }
}
