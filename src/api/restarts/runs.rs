//! The restarts that this replica runs, or has run since it started.
//!
//! Limits: 8 run at once, one of a namespace and two of one user; the last 64 are kept, and of each the last 500 steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::restarts::step::{Stepped, why};
use crate::api::session::{Attempt, record};
use crate::api::shares::sharing;
use crate::audit::act::Deed;
use crate::features::restart::telling::{End, Report, Step, Told};
use crate::features::restart::workload::Name;
use crate::kernel::text::Clean;

const AT_ONCE: usize = 8;
const OF_USER: usize = 2;
const KEPT: usize = 64;
const STEPS: usize = 500;
/// So many are named of those that budgets hold.
const HELD: usize = 20;

/// All of them, the oldest first.
#[derive(Default)]
pub(in crate::api) struct Runs {
    all: Mutex<VecDeque<Arc<Run>>>,
    stopping: CancellationToken,
}

/// One of them.
pub(super) struct Run {
    /// Its name, which its marks bear.
    pub(super) id: String,
    pub(super) namespace: String,
    /// Who began it, and with whose rights it runs.
    pub(super) user: String,
    /// Ties it to its entries of the audit log.
    pub(super) audit_id: String,
    pub(super) began: Timestamp,
    /// Stops it.
    pub(super) cancel: CancellationToken,
    state: Mutex<State>,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct State {
    /// How often anything was told of it.
    pub(super) told: u64,
    /// How many steps there have been.
    pub(super) count: u64,
    /// The last of them.
    pub(super) steps: VecDeque<Stepped>,
    /// What is waited for.
    pub(super) waiting: BTreeMap<Name, String>,
    /// How many workloads are over, for better or worse.
    pub(super) over: usize,
    /// How many there are.
    pub(super) of: usize,
    /// When it ended, and how.
    pub(super) ended: Option<(Timestamp, Report)>,
    /// Whether it was given up here since.
    pub(super) forgotten: bool,
}

impl Runs {
    /// Takes one up, if there is room.
    pub(super) fn begin(&self, run: Run) -> Result<Arc<Run>, Problem> {
        let mut all = held(&self.all);
        let is_same = |one: &Arc<Run>| one.id == run.id && one.namespace == run.namespace;
        if all.iter().any(|one| is_same(one) && !one.is_over()) {
            return Err(Problem::new(409, format!("restart {} runs here already", run.id)));
        }
        check_room(&run, all.iter().filter(|one| !one.is_over()))?;
        all.retain(|one| !is_same(one));
        while all.len() >= KEPT {
            let Some(oldest) = all.iter().position(|one| one.is_over()) else { break };
            all.remove(oldest);
        }
        let run = Arc::new(Run { cancel: self.stopping.child_token(), ..run });
        all.push_back(Arc::clone(&run));
        Ok(run)
    }

    /// Those of a namespace, the newest first.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<Arc<Run>> {
        held(&self.all).iter().rev().filter(|run| run.namespace == namespace).cloned().collect()
    }

    /// The one of this name in a namespace.
    pub(super) fn named(&self, namespace: &str, id: &str) -> Option<Arc<Run>> {
        held(&self.all).iter().find(|run| run.namespace == namespace && run.id == id).cloned()
    }

    /// Stops all of them in order.
    pub(in crate::api) fn stop(&self) {
        self.stopping.cancel();
    }
}

/// Whether it may begin beside those that run: nobody, and no namespace, is to keep all others waiting.
fn check_room<'r>(run: &Run, running: impl Iterator<Item = &'r Arc<Run>> + Clone) -> Result<(), Problem> {
    if let Some(other) = running.clone().find(|one| one.namespace == run.namespace) {
        let namespace = Clean(&run.namespace);
        let why = format!("restart {} runs in namespace {namespace}; try again when it is over", other.id);
        return Err(Problem::new(409, why));
    }
    if running.clone().filter(|one| sharing(&one.user) == sharing(&run.user)).count() >= OF_USER {
        return Err(Problem::new(409, format!("you run {OF_USER} restarts here; try again when one is over")));
    }
    if running.count() >= AT_ONCE {
        return Err(Problem::new(503, format!("{AT_ONCE} restarts run here; try again when one is over")));
    }
    Ok(())
}

impl Run {
    pub(super) fn new(id: String, namespace: &str, attempt: &Attempt, of: usize, began: Timestamp) -> Self {
        Self {
            id,
            namespace: namespace.to_owned(),
            user: attempt.user.clone().unwrap_or_default(),
            audit_id: attempt.id.clone(),
            began,
            cancel: CancellationToken::new(),
            state: Mutex::new(State { of, ..State::default() }),
        }
    }

    /// What is seen of how far it has come.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&held(&self.state))
    }

    pub(super) fn is_over(&self) -> bool {
        held(&self.state).ended.is_some()
    }

    /// It is given up, so that nothing is left of it.
    pub(super) fn forget(&self) {
        let mut state = held(&self.state);
        state.told += 1;
        state.forgotten = true;
    }

    /// Keeps what happens; what is waited for is said every second, and only its last word is kept.
    pub(super) fn tell(&self, mut step: Step, at: Timestamp) {
        let mut state = held(&self.state);
        match &mut step {
            Step::Waiting { workload, what } => {
                if state.waiting.get(workload) != Some(what) {
                    state.told += 1;
                    state.waiting.insert(workload.clone(), what.clone());
                }
                return;
            }
            Step::Wave { over, of, .. } => (state.over, state.of) = (*over, *of),
            Step::Restarted { workload } => state.done(workload),
            Step::Passed { workload: Told { workload, .. } } | Step::Refused { workload: Told { workload, .. } } => {
                state.done(workload);
            }
            Step::NotUp { workload: Told { workload, .. } } => drop(state.waiting.remove(workload)),
            Step::Held { workloads, more } => {
                *more += workloads.len().saturating_sub(HELD);
                workloads.truncate(HELD);
                state.steps.retain(|one| !matches!(one.step, Step::Held { .. }));
            }
            Step::Away { .. } | Step::Back => {}
        }
        state.told += 1;
        state.count += 1;
        let number = state.count;
        state.steps.push_back(Stepped { number, at, step });
        if state.steps.len() > STEPS {
            state.steps.pop_front();
        }
    }

    /// Sees to it that it ends, also where it fails within.
    pub(super) fn ending<'r>(&'r self, api: &'r Arc<Api>, attempt: Attempt) -> Ending<'r> {
        Ending { run: self, api, attempt, report: None }
    }
}

impl State {
    /// What is waited for.
    pub(super) fn waits_for(&self) -> Vec<Told> {
        self.waiting.iter().map(|(workload, why)| Told { workload: workload.clone(), why: why.clone() }).collect()
    }

    fn done(&mut self, workload: &Name) {
        self.waiting.remove(workload);
        self.over += 1;
    }
}

/// The end of a run, which is kept and recorded.
pub(super) struct Ending<'r> {
    run: &'r Run,
    api: &'r Arc<Api>,
    attempt: Attempt,
    report: Option<Report>,
}

impl Ending<'_> {
    /// It ends like this.
    pub(super) fn with(mut self, report: Report) {
        self.report = Some(report);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let failed = || Report {
            end: End::Stopped("this failed within; the log of the server says how".to_owned()),
            ..Report::of(&self.run.id)
        };
        let report = self.report.take().unwrap_or_else(failed);
        let Report { restarted, passed, refused, not_up, held: _, rolling, pending, .. } = &report;
        let mut attempt = self.attempt.clone();
        attempt.act = Deed::RestartOver;
        if let Some(other) = &mut attempt.other {
            other.after = Some(json!({
                "restarted": restarted.len(), "passed": passed.len(), "refused": refused.len(),
                "notUp": not_up.len(), "rolling": rolling.len(), "pending": pending.len(),
            }));
        }
        let problem = why(&report).map(|why| Problem::new(503, why));
        record(self.api, &attempt, problem.as_ref().map_or(Ok(()), Err));
        let mut state = held(&self.run.state);
        state.told += 1;
        state.waiting.clear();
        state.ended = Some((self.api.clock.now(), report));
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::session::Other;
    use crate::server::shared::Peer;

    fn run(id: &str, namespace: &str, user: &str) -> Run {
        let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), verified: false };
        let other = Other::of("Restart", namespace, None);
        let mut attempt = Attempt::on(Deed::Restart, other, (namespace, None), false, peer);
        attempt.user = Some(user.to_owned());
        Run::new(id.to_owned(), namespace, &attempt, 1, Timestamp::UNIX_EPOCH)
    }

    fn end(run: &Run) {
        held(&run.state).ended = Some((Timestamp::UNIX_EPOCH, Report::of(&run.id)));
    }

    fn refused(runs: &Runs, run: Run) -> (u16, String) {
        let problem = runs.begin(run).err().expect("there is no room");
        (problem.status, problem.detail)
    }

    #[test]
    fn eight_run_at_once_and_the_last_sixty_four_are_kept() {
        let runs = Runs::default();
        let number = |number: usize| run(&number.to_string(), &format!("of-{number}"), &format!("user-{number}"));
        let all: Vec<_> = (0..AT_ONCE).map(|one| runs.begin(number(one)).unwrap()).collect();
        assert_eq!(refused(&runs, number(0)).1, "restart 0 runs here already");
        assert_eq!(refused(&runs, number(99)).0, 503);
        end(&all[1]);
        end(&runs.begin(number(1)).unwrap());
        assert_eq!(runs.of_namespace("of-1").len(), 1, "one that is gone on with is the same");
        for number in 100..200 {
            end(&runs.begin(run(&number.to_string(), "shop", "somebody")).unwrap());
        }
        let kept = runs.of_namespace("shop");
        assert_eq!((kept.len(), kept[0].id.as_str()), (KEPT + 1 - AT_ONCE, "199"));
        assert!(all.iter().skip(2).all(|one| !runs.of_namespace(&one.namespace).is_empty()), "those that run stay");
        assert!(runs.of_namespace("other").is_empty());
        runs.stop();
        assert!(all[0].cancel.is_cancelled());
        assert!(runs.begin(run("late", "other", "somebody")).unwrap().cancel.is_cancelled());
    }

    #[test]
    fn nobody_and_no_namespace_takes_all_the_room() {
        let runs = Runs::default();
        let first = runs.begin(run("a", "shop", "ada")).unwrap();
        let taken = (409, "restart a runs in namespace shop; try again when it is over".to_owned());
        assert_eq!(refused(&runs, run("b", "shop", "bob")), taken);
        let _second = runs.begin(run("b", "blog", "ada")).unwrap();
        let enough = (409, "you run 2 restarts here; try again when one is over".to_owned());
        assert_eq!(refused(&runs, run("c", "mail", "ada")), enough);
        runs.begin(run("c", "mail", "bob")).unwrap();
        end(&first);
        runs.begin(run("d", "shop", "ada")).unwrap();
    }

    fn named(name: &str) -> Name {
        Name { namespace: "shop".into(), kind: "Deployment".into(), name: name.into() }
    }

    #[test]
    fn of_many_steps_the_last_are_kept_and_of_what_is_waited_for_the_last_word() {
        let run = run("a", "shop", "ada");
        for number in 0..STEPS + 3 {
            let what = number.to_string();
            run.tell(Step::Waiting { workload: named("web"), what }, Timestamp::UNIX_EPOCH);
            run.tell(Step::Back, Timestamp::UNIX_EPOCH);
        }
        run.seen(|state| {
            assert_eq!((state.steps.len(), state.steps[0].number, state.count), (STEPS, 4, STEPS as u64 + 3));
            assert_eq!(state.waiting, BTreeMap::from([(named("web"), (STEPS + 2).to_string())]));
        });
        let told = || run.seen(|state| state.told);
        let before = told();
        run.tell(Step::Waiting { workload: named("web"), what: (STEPS + 2).to_string() }, Timestamp::UNIX_EPOCH);
        assert_eq!(told(), before, "the same word is nothing new");
        run.tell(Step::Restarted { workload: named("web") }, Timestamp::UNIX_EPOCH);
        assert_eq!(run.seen(|state| (state.waiting.len(), state.over)), (0, 1));
    }

    #[test]
    fn of_what_budgets_hold_the_last_word_is_kept_with_a_few_names() {
        let run = run("a", "shop", "ada");
        run.tell(Step::Back, Timestamp::UNIX_EPOCH);
        for allowed in 0..5 {
            let held =
                |number: usize| Told { workload: named(&format!("w-{number}")), why: format!("{allowed} are allowed") };
            run.tell(Step::Held { workloads: (0..1000).map(held).collect(), more: 0 }, Timestamp::UNIX_EPOCH);
        }
        run.seen(|state| {
            assert_eq!((state.steps.len(), state.steps[1].number), (2, 6));
            let Step::Held { workloads, more } = &state.steps[1].step else { panic!("{:?}", state.steps) };
            assert_eq!((workloads.len(), *more, workloads[0].why.as_str()), (20, 980, "4 are allowed"));
        });
    }
}
