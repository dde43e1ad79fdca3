//! Which workloads go next.

use super::budget::Budget;
use super::workload::Workload;

/// Those that go now, and those whose turn it would be but for a budget, by their places in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wave {
    /// They go.
    pub go: Vec<usize>,
    /// They are held, and why.
    pub held: Vec<(usize, String)>,
}

/// At most `at_once` of those that wait, in their order; whoever a budget holds lets the next pass.
pub fn next_wave(waiting: &[Workload], budgets: &[Budget], at_once: usize) -> Wave {
    let mut left: Vec<i64> = budgets.iter().map(Budget::allowed).collect();
    let mut wave = Wave::default();
    for (place, workload) in waiting.iter().enumerate() {
        if wave.go.len() == at_once {
            break;
        }
        let down = workload.way.down();
        // One whose new pods are ready before its old ones end takes nothing from any budget.
        let covering = |index: &usize| down > 0 && budgets[*index].covers(workload);
        let covering: Vec<usize> = (0..budgets.len()).filter(covering).collect();
        match covering.iter().find(|index| left[**index] < 1) {
            Some(index) if budgets[*index].allowed() < 1 => wave.held.push((place, budgets[*index].refusal())),
            // Others of this wave have taken what it allows.
            Some(_) => {}
            None => {
                covering.iter().for_each(|index| left[*index] -= down);
                wave.go.push(place);
            }
        }
    }
    wave
}
