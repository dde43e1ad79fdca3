//! Registry of the restarts that this replica runs, or has run since its start.
//!
//! Limits: 8 restarts run at once, one per namespace and two per user. The last 64 are kept, with the last 500 steps
//! each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::ApiState;
use crate::api::limits::{HELD_NAMES, KEPT_RESTARTS, KEPT_STEPS, RESTARTS_OF_USER, RUNNING_RESTARTS};
use crate::api::problem::ApiProblem;
use crate::api::restarts::step::NumberedStep;
use crate::api::session::{AuditedAttempt, record_attempt};
use crate::api::shares::share_key;
use crate::audit::act_entry::ActKind;
use crate::features::restart::report::{RestartEnd, RestartReport, RestartStep, WorkloadReason};
use crate::features::restart::workload::NamespacedWorkload;
use crate::kernel::text::CleanText;

/// All restarts, the oldest first.
#[derive(Default)]
pub(in crate::api) struct RestartRegistry {
    all: Mutex<VecDeque<Arc<TrackedRestart>>>,
    stopping: CancellationToken,
}

/// Restart known to this replica.
pub(super) struct TrackedRestart {
    /// Identifier of the run, which its marks bear.
    pub(super) id: String,
    pub(super) namespace: String,
    /// User who began the restart, and whose rights it uses.
    pub(super) user: String,
    /// Connects the restart with its entries in the audit log.
    pub(super) audit_id: String,
    pub(super) began: Timestamp,
    /// Cancellation stops the restart.
    pub(super) cancel: CancellationToken,
    progress: Mutex<TrackedProgress>,
}

/// Progress of a restart.
#[derive(Debug, Default)]
pub(super) struct TrackedProgress {
    /// Number of changes so far, for listeners.
    pub(super) revision: u64,
    /// Number of steps so far.
    pub(super) step_count: u64,
    /// Last steps, at most 500.
    pub(super) steps: VecDeque<NumberedStep>,
    /// Workloads that are waited for, with the reason.
    pub(super) waiting: BTreeMap<NamespacedWorkload, String>,
    /// Number of finished workloads, for better or worse.
    pub(super) over: usize,
    /// Number of all workloads.
    pub(super) of: usize,
    /// Time and report of the end.
    pub(super) ended: Option<(Timestamp, RestartReport)>,
    /// Whether the restart was forgotten here afterwards.
    pub(super) forgotten: bool,
}

impl RestartRegistry {
    /// Admits a restart, if there is room.
    pub(super) fn admit(&self, run: TrackedRestart) -> Result<Arc<TrackedRestart>, ApiProblem> {
        let mut all = self.all.lock();
        let is_same = |one: &Arc<TrackedRestart>| one.id == run.id && one.namespace == run.namespace;
        if all.iter().any(|one| is_same(one) && !one.is_over()) {
            return Err(ApiProblem::new(409, format!("restart {} runs here already", run.id)));
        }
        check_room(&run, all.iter().filter(|one| !one.is_over()))?;
        all.retain(|one| !is_same(one));
        while all.len() >= KEPT_RESTARTS {
            let Some(oldest) = all.iter().position(|one| one.is_over()) else { break };
            all.remove(oldest);
        }
        let run = Arc::new(TrackedRestart { cancel: self.stopping.child_token(), ..run });
        all.push_back(Arc::clone(&run));
        Ok(run)
    }

    /// Lists the restarts of a namespace, the newest first.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<Arc<TrackedRestart>> {
        self.all.lock().iter().rev().filter(|run| run.namespace == namespace).cloned().collect()
    }

    /// Finds a restart of a namespace by its identifier.
    pub(super) fn find(&self, namespace: &str, id: &str) -> Option<Arc<TrackedRestart>> {
        self.all.lock().iter().find(|run| run.namespace == namespace && run.id == id).cloned()
    }

    /// Stops all restarts in order.
    pub(in crate::api) fn stop_all(&self) {
        self.stopping.cancel();
    }
}

/// Refuses a restart without room beside the running ones. No user and no namespace may keep all others waiting.
fn check_room<'r>(
    run: &TrackedRestart,
    running: impl Iterator<Item = &'r Arc<TrackedRestart>> + Clone,
) -> Result<(), ApiProblem> {
    if let Some(other) = running.clone().find(|one| one.namespace == run.namespace) {
        let namespace = CleanText(&run.namespace);
        let why = format!("restart {} runs in namespace {namespace}; try again when it has ended", other.id);
        return Err(ApiProblem::new(409, why));
    }
    if running.clone().filter(|one| share_key(&one.user) == share_key(&run.user)).count() >= RESTARTS_OF_USER {
        return Err(ApiProblem::new(
            409,
            format!("you run {RESTARTS_OF_USER} restarts here; try again when one has ended"),
        ));
    }
    if running.count() >= RUNNING_RESTARTS {
        return Err(ApiProblem::new(
            503,
            format!("{RUNNING_RESTARTS} restarts run here; try again when one has ended"),
        ));
    }
    Ok(())
}

impl TrackedRestart {
    pub(super) fn new(id: String, namespace: &str, attempt: &AuditedAttempt, of: usize, began: Timestamp) -> Self {
        Self {
            id,
            namespace: namespace.to_owned(),
            user: attempt.user.clone().unwrap_or_default(),
            audit_id: attempt.id.clone(),
            began,
            cancel: CancellationToken::new(),
            progress: Mutex::new(TrackedProgress { of, ..TrackedProgress::default() }),
        }
    }

    /// Gives access to the progress, under its lock.
    pub(super) fn inspect<T>(&self, inspect: impl FnOnce(&TrackedProgress) -> T) -> T {
        inspect(&self.progress.lock())
    }

    pub(super) fn is_over(&self) -> bool {
        self.progress.lock().ended.is_some()
    }

    /// Notes that the restart was forgotten, so nothing of it is left.
    pub(super) fn forget(&self) {
        let mut progress = self.progress.lock();
        progress.revision += 1;
        progress.forgotten = true;
    }

    /// Records a step. Waiting is reported every second, so only its latest reason is kept.
    pub(super) fn record_step(&self, mut step: RestartStep, at: Timestamp) {
        let mut progress = self.progress.lock();
        match &mut step {
            RestartStep::Waiting { workload, what } => {
                if progress.waiting.get(workload) != Some(what) {
                    progress.revision += 1;
                    progress.waiting.insert(workload.clone(), what.clone());
                }
                return;
            }
            RestartStep::Wave { over, of, .. } => (progress.over, progress.of) = (*over, *of),
            RestartStep::Restarted { workload } => progress.count_finished(workload),
            RestartStep::Passed { workload: WorkloadReason { workload, .. } }
            | RestartStep::Refused { workload: WorkloadReason { workload, .. } } => {
                progress.count_finished(workload);
            }
            RestartStep::NotUp { workload: WorkloadReason { workload, .. } } => drop(progress.waiting.remove(workload)),
            RestartStep::Held { workloads, more } => {
                *more += workloads.len().saturating_sub(HELD_NAMES);
                workloads.truncate(HELD_NAMES);
                progress.steps.retain(|one| !matches!(one.step, RestartStep::Held { .. }));
            }
            RestartStep::Away { .. } | RestartStep::Back => {}
        }
        progress.revision += 1;
        progress.step_count += 1;
        let number = progress.step_count;
        progress.steps.push_back(NumberedStep { number, at, step });
        if progress.steps.len() > KEPT_STEPS {
            progress.steps.pop_front();
        }
    }

    /// Makes a guard that ends the restart, also after a panic.
    pub(super) fn end_guard<'r>(&'r self, api: &'r Arc<ApiState>, attempt: AuditedAttempt) -> RunEnding<'r> {
        RunEnding { run: self, api, attempt, report: None }
    }
}

impl TrackedProgress {
    /// Lists the workloads that are waited for.
    pub(super) fn waiting_reasons(&self) -> Vec<WorkloadReason> {
        self.waiting
            .iter()
            .map(|(workload, why)| WorkloadReason { workload: workload.clone(), why: why.clone() })
            .collect()
    }

    fn count_finished(&mut self, workload: &NamespacedWorkload) {
        self.waiting.remove(workload);
        self.over += 1;
    }
}

/// Guard whose drop stores and records the end of a restart.
pub(super) struct RunEnding<'r> {
    run: &'r TrackedRestart,
    api: &'r Arc<ApiState>,
    attempt: AuditedAttempt,
    report: Option<RestartReport>,
}

impl RunEnding<'_> {
    /// Ends the restart with this report.
    pub(super) fn finish(mut self, report: RestartReport) {
        self.report = Some(report);
    }
}

impl Drop for RunEnding<'_> {
    fn drop(&mut self) {
        let failed = || RestartReport {
            end: RestartEnd::Stopped("the restart failed by an internal error: see the log of the server".to_owned()),
            ..RestartReport::new(&self.run.id)
        };
        let report = self.report.take().unwrap_or_else(failed);
        let RestartReport { restarted, passed, refused, not_up, held: _, rolling, pending, .. } = &report;
        let mut attempt = self.attempt.clone();
        attempt.act = ActKind::RestartOver;
        attempt.restart_mut().after = Some(json!({
            "restarted": restarted.len(), "passed": passed.len(), "refused": refused.len(),
            "notUp": not_up.len(), "rolling": rolling.len(), "pending": pending.len(),
        }));
        let problem = report.failure_reason().map(|why| ApiProblem::new(503, why));
        record_attempt(self.api, &attempt, problem.as_ref().map_or(Ok(()), Err));
        let mut progress = self.run.progress.lock();
        progress.revision += 1;
        progress.waiting.clear();
        progress.ended = Some((self.api.clock.now(), report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::listener_state::Peer;

    fn run(id: &str, namespace: &str, user: &str) -> TrackedRestart {
        let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), verified: false };
        let mut attempt = AuditedAttempt::on_restart(ActKind::Restart, namespace, None, false, peer);
        attempt.user = Some(user.to_owned());
        TrackedRestart::new(id.to_owned(), namespace, &attempt, 1, Timestamp::UNIX_EPOCH)
    }

    fn end(run: &TrackedRestart) {
        run.progress.lock().ended = Some((Timestamp::UNIX_EPOCH, RestartReport::new(&run.id)));
    }

    fn refused(runs: &RestartRegistry, run: TrackedRestart) -> (u16, String) {
        let problem = runs.admit(run).err().expect("there is no room");
        (problem.status, problem.detail)
    }

    #[test]
    fn eight_run_at_once_and_the_last_sixty_four_are_kept() {
        let runs = RestartRegistry::default();
        let number = |number: usize| run(&number.to_string(), &format!("of-{number}"), &format!("user-{number}"));
        let all: Vec<_> = (0..RUNNING_RESTARTS).map(|one| runs.admit(number(one)).unwrap()).collect();
        assert_eq!(refused(&runs, number(0)).1, "restart 0 runs here already");
        assert_eq!(refused(&runs, number(99)).0, 503);
        end(&all[1]);
        end(&runs.admit(number(1)).unwrap());
        assert_eq!(runs.of_namespace("of-1").len(), 1, "one that is gone on with is the same");
        for number in 100..200 {
            end(&runs.admit(run(&number.to_string(), "shop", "somebody")).unwrap());
        }
        let kept = runs.of_namespace("shop");
        assert_eq!((kept.len(), kept[0].id.as_str()), (KEPT_RESTARTS + 1 - RUNNING_RESTARTS, "199"));
        assert!(all.iter().skip(2).all(|one| !runs.of_namespace(&one.namespace).is_empty()), "those that run stay");
        assert!(runs.of_namespace("other").is_empty());
        runs.stop_all();
        assert!(all[0].cancel.is_cancelled());
        assert!(runs.admit(run("late", "other", "somebody")).unwrap().cancel.is_cancelled());
    }

    #[test]
    fn nobody_and_no_namespace_takes_all_the_room() {
        let runs = RestartRegistry::default();
        let first = runs.admit(run("a", "shop", "ada")).unwrap();
        let taken = (409, "restart a runs in namespace shop; try again when it has ended".to_owned());
        assert_eq!(refused(&runs, run("b", "shop", "bob")), taken);
        let _second = runs.admit(run("b", "blog", "ada")).unwrap();
        let enough = (409, "you run 2 restarts here; try again when one has ended".to_owned());
        assert_eq!(refused(&runs, run("c", "mail", "ada")), enough);
        runs.admit(run("c", "mail", "bob")).unwrap();
        end(&first);
        runs.admit(run("d", "shop", "ada")).unwrap();
    }

    fn named(name: &str) -> NamespacedWorkload {
        NamespacedWorkload { namespace: "shop".into(), kind: "Deployment".into(), name: name.into() }
    }

    #[test]
    fn of_many_steps_the_last_are_kept_and_of_what_is_waited_for_the_last_word() {
        let run = run("a", "shop", "ada");
        for number in 0..KEPT_STEPS + 3 {
            let what = number.to_string();
            run.record_step(RestartStep::Waiting { workload: named("web"), what }, Timestamp::UNIX_EPOCH);
            run.record_step(RestartStep::Back, Timestamp::UNIX_EPOCH);
        }
        run.inspect(|progress| {
            assert_eq!(
                (progress.steps.len(), progress.steps[0].number, progress.step_count),
                (KEPT_STEPS, 4, KEPT_STEPS as u64 + 3)
            );
            assert_eq!(progress.waiting, BTreeMap::from([(named("web"), (KEPT_STEPS + 2).to_string())]));
        });
        let revision = || run.inspect(|progress| progress.revision);
        let before = revision();
        run.record_step(
            RestartStep::Waiting { workload: named("web"), what: (KEPT_STEPS + 2).to_string() },
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(revision(), before, "the same word is nothing new");
        run.record_step(RestartStep::Restarted { workload: named("web") }, Timestamp::UNIX_EPOCH);
        assert_eq!(run.inspect(|progress| (progress.waiting.len(), progress.over)), (0, 1));
    }

    #[test]
    fn of_what_budgets_hold_the_last_word_is_kept_with_a_few_names() {
        let run = run("a", "shop", "ada");
        run.record_step(RestartStep::Back, Timestamp::UNIX_EPOCH);
        for allowed in 0..5 {
            let held = |number: usize| WorkloadReason {
                workload: named(&format!("w-{number}")),
                why: format!("{allowed} are allowed"),
            };
            run.record_step(
                RestartStep::Held { workloads: (0..1000).map(held).collect(), more: 0 },
                Timestamp::UNIX_EPOCH,
            );
        }
        run.inspect(|progress| {
            assert_eq!((progress.steps.len(), progress.steps[1].number), (2, 6));
            let RestartStep::Held { workloads, more } = &progress.steps[1].step else { panic!("{:?}", progress.steps) };
            assert_eq!((workloads.len(), *more, workloads[0].why.as_str()), (20, 980, "4 are allowed"));
        });
    }
}
