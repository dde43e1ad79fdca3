//! Which workloads go next.

use super::budget::Budget;
use super::progress::{Progress, progress};
use super::workload::Workload;

/// Those that go now, and those whose turn it would be but for a budget, by their places in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wave {
    /// They go.
    pub go: Vec<usize>,
    /// They are held, and why.
    pub held: Vec<(usize, String)>,
}

/// At most `at_once` of those that wait, in their order; whoever a budget holds, or another restart under it, lets the next
/// pass. `others` are the workloads that other restarts have marked as rolling.
pub fn next_wave(waiting: &[Workload], budgets: &[Budget], others: &[Workload], at_once: usize) -> Wave {
    let mut left: Vec<i64> = budgets.iter().map(Budget::allowed).collect();
    let mut wave = Wave::default();
    for (place, workload) in waiting.iter().enumerate() {
        if wave.go.len() == at_once {
            break;
        }
        if let Some((budget, other)) = in_the_way(workload, budgets, others).next() {
            wave.held.push((place, budget.refusal_beside(other)));
            continue;
        }
        let limiting: Vec<usize> = (0..budgets.len()).filter(|index| budgets[*index].limits(workload)).collect();
        match limiting.iter().find(|index| left[**index] < 1) {
            Some(index) if budgets[*index].allowed() < 1 => wave.held.push((place, budgets[*index].refusal())),
            // Others of this wave have taken what it allows.
            Some(_) => {}
            None => {
                limiting.iter().for_each(|index| left[*index] -= workload.way.down());
                wave.go.push(place);
            }
        }
    }
    wave
}

/// What becomes of a workload that its restart has claimed by marking it as rolling, before anything else of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody else is there: it may go.
    Holds,
    /// The others have to give way; it is looked at again.
    Waits(String),
    /// It gives way: its turn is still to come.
    Yields(String),
}

/// Since each restart claims first and looks at the others afterwards, of two at least one sees the other. To what has begun
/// everybody gives way; of two claims the one of the lesser run stands.
pub fn claim(workload: &Workload, budgets: &[Budget], others: &[Workload]) -> Claim {
    fn run(one: &Workload) -> Option<&str> {
        one.mark.as_ref().map(|mark| mark.run.as_str())
    }
    let goes_first = |other: &Workload| other.rolling_since().is_some() || run(other) < run(workload);
    let mut found = in_the_way(workload, budgets, others).peekable();
    let Some((budget, other)) = found.peek().copied() else { return Claim::Holds };
    match found.find(|(_, other)| goes_first(other)) {
        Some((budget, other)) => Claim::Yields(budget.refusal_beside(other)),
        None => Claim::Waits(budget.refusal_beside(other)),
    }
}

/// The others that take pods down under a budget that limits a workload too. One that is up again takes none down, whatever
/// became of the restart that it still bears the mark of.
fn in_the_way<'a>(
    workload: &'a Workload,
    budgets: &'a [Budget],
    others: &'a [Workload],
) -> impl Iterator<Item = (&'a Budget, &'a Workload)> {
    let is_up =
        |other: &Workload| other.rolling_since().is_some_and(|since| progress(other, &[], since) == Progress::Done);
    let others: Vec<_> = others.iter().filter(|other| !is_up(other)).collect();
    let limiting = budgets.iter().filter(|budget| budget.limits(workload));
    limiting.flat_map(move |budget| {
        let others: Vec<_> = others.iter().copied().filter(|other| budget.limits(other)).collect();
        others.into_iter().map(move |other| (budget, other))
    })
}
