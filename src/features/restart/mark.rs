//! The mark of a restart on a workload that it has not done yet: which run, and how far.
//!
//! It is a label, not an annotation: a Deployment's controller copies annotations to its ReplicaSets and never takes them back,
//! and `kubectl rollout undo` would bring them back from there long after the restart is over.

use jiff::Timestamp;

/// The mark, as the label holds it; what is done carries none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which run it belongs to.
    pub run: String,
    /// How far it is.
    pub state: State,
    /// How many workloads the run began with.
    pub of: usize,
}

/// How far a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Pending,
    /// It is told to replace its pods, with this time in its pod template, in whole seconds.
    Rolling {
        /// That time.
        since: Timestamp,
    },
}

impl Mark {
    /// The mark of a workload whose turn has not come.
    pub fn pending(run: &str, of: usize) -> Self {
        Self { run: run.to_owned(), state: State::Pending, of }
    }

    /// The mark of one that is told to replace its pods now.
    #[must_use]
    pub fn rolling(&self, now: Timestamp) -> Self {
        let since = Timestamp::from_second(now.as_second()).expect("a time without its fraction is one");
        Self { state: State::Rolling { since }, ..self.clone() }
    }

    /// Reads a label; anybody who may write the workload can have written it.
    pub fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (run, of, state) = match parts[..] {
            [run, "pending", of] => (run, of, State::Pending),
            [run, "rolling", of, since] => {
                let since = Timestamp::from_second(since.parse().ok()?).ok()?;
                (run, of, State::Rolling { since })
            }
            _ => return None,
        };
        let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_run.then_some(Self { run: run.to_owned(), state, of: of.parse().ok()? })
    }

    /// The label.
    pub fn written(&self) -> String {
        let Self { run, state, of } = self;
        match state {
            State::Pending => format!("{run}.pending.{of}"),
            State::Rolling { since } => format!("{run}.rolling.{of}.{}", since.as_second()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_forged_one_is_none() {
        let mark = Mark::pending("3f2a9c01", 200);
        assert_eq!(mark.written(), "3f2a9c01.pending.200");
        assert_eq!(Mark::read(&mark.written()), Some(mark.clone()));
        let rolling = mark.rolling("2026-11-25T12:00:00.7Z".parse().unwrap());
        assert_eq!(rolling.written(), "3f2a9c01.rolling.200.1795608000");
        assert_eq!(Mark::read(&rolling.written()), Some(rolling));
        for forged in [
            "yes",
            "3f2a9c01.done.200",
            "3f2a9c01.pending",
            "3f2a9c01.pending.200.1",
            "3f2a9c01.rolling.200",
            "3f2a9c01.rolling.200.99999999999999999999",
            "3f.2a.pending.1",
            ".pending.1",
            "\u{1b}.pending.1",
        ] {
            assert_eq!(Mark::read(forged), None, "{forged:?}");
        }
    }
}
