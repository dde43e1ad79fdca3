//! Mark of a restart on a workload that is not done yet: the run and the phase.
//!
//! The mark is a label, not an annotation. A Deployment's controller copies annotations to its ReplicaSets and never
//! removes them. `kubectl rollout undo` would restore them from there long after the end of the restart.

use jiff::Timestamp;

/// Content of the label. A finished workload carries no mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartMark {
    /// Identifier of the run.
    pub run: String,
    /// Phase of this workload.
    pub state: MarkState,
    /// Number of workloads in the run when it began.
    pub of: usize,
}

/// Phase of a marked workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkState {
    /// The workload waits for its wave.
    Pending,
    /// The workload was told to replace its pods.
    Rolling {
        /// Time in the pod template, in whole seconds.
        since: Timestamp,
    },
}

impl RestartMark {
    /// Makes the mark of a workload that waits for its wave.
    pub fn pending(run: &str, of: usize) -> Self {
        Self { run: run.to_owned(), state: MarkState::Pending, of }
    }

    /// Makes the mark of a workload that is told to replace its pods now.
    #[must_use]
    pub fn to_rolling(&self, now: Timestamp) -> Self {
        let since = Timestamp::from_second(now.as_second()).expect("a time without its fraction is one");
        Self { state: MarkState::Rolling { since }, ..self.clone() }
    }

    /// Parses a label value. The text is untrusted: everyone who may write the workload can set it.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (run, of, state) = match parts[..] {
            [run, "pending", of] => (run, of, MarkState::Pending),
            [run, "rolling", of, since] => {
                let since = Timestamp::from_second(since.parse().ok()?).ok()?;
                (run, of, MarkState::Rolling { since })
            }
            _ => return None,
        };
        let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_run.then_some(Self { run: run.to_owned(), state, of: of.parse().ok()? })
    }

    /// Formats the label value, as [`RestartMark::parse`] reads it.
    pub fn label_value(&self) -> String {
        let Self { run, state, of } = self;
        match state {
            MarkState::Pending => format!("{run}.pending.{of}"),
            MarkState::Rolling { since } => format!("{run}.rolling.{of}.{}", since.as_second()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_forged_one_is_none() {
        let mark = RestartMark::pending("3f2a9c01", 200);
        assert_eq!(mark.label_value(), "3f2a9c01.pending.200");
        assert_eq!(RestartMark::parse(&mark.label_value()), Some(mark.clone()));
        let rolling = mark.to_rolling("2026-11-25T12:00:00.7Z".parse().unwrap());
        assert_eq!(rolling.label_value(), "3f2a9c01.rolling.200.1795608000");
        assert_eq!(RestartMark::parse(&rolling.label_value()), Some(rolling));
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
            assert_eq!(RestartMark::parse(forged), None, "{forged:?}");
        }
    }
}
