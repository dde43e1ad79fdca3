//! The mark of a restart on a workload that it has not done yet: which run, and how far.
//!
//! It is a label, not an annotation: a Deployment's controller copies annotations to its ReplicaSets and never takes them back,
//! and `kubectl rollout undo` would bring them back from there long after the restart is over.

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
    /// It was told to replace its pods.
    Rolling,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Rolling => "rolling",
        }
    }
}

impl Mark {
    /// The mark of a workload whose turn has not come.
    pub fn pending(run: &str, of: usize) -> Self {
        Self { run: run.to_owned(), state: State::Pending, of }
    }

    /// The mark of one that is told to replace its pods now.
    #[must_use]
    pub fn rolling(&self) -> Self {
        Self { state: State::Rolling, ..self.clone() }
    }

    /// Reads a label; anybody who may write the workload can have written it.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (run, state, of) = (parts.next()?, parts.next()?, parts.next()?);
        let state = [State::Pending, State::Rolling].into_iter().find(|one| one.as_str() == state)?;
        let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mark = Self { run: run.to_owned(), state, of: of.parse().ok()? };
        (is_run && parts.next().is_none()).then_some(mark)
    }

    /// The label.
    pub fn written(&self) -> String {
        let Self { run, state, of } = self;
        format!("{run}.{}.{of}", state.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_forged_one_is_none() {
        let mark = Mark::pending("3f2a9c01", 200);
        assert_eq!(mark.written(), "3f2a9c01.pending.200");
        assert_eq!(Mark::read(&mark.rolling().written()), Some(mark.rolling()));
        for forged in
            ["yes", "3f2a9c01.done.200", "3f2a9c01.pending", "3f.2a.pending.1", ".pending.1", "\u{1b}.pending.1"]
        {
            assert_eq!(Mark::read(forged), None, "{forged:?}");
        }
    }
}
