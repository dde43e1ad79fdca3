//! Request for a restart: what to do, with which workloads, and how fast.

use std::time::Duration;

use super::plan::{RestartRefusal, RestartTargets};
use super::workload::NamespacedWorkload;
use crate::kernel::ids::fresh_id;

/// Request for a restart of workloads of one namespace.
#[derive(Debug, Clone)]
pub struct RestartRequest {
    intent: RestartIntent,
    except: Vec<NamespacedWorkload>,
}

/// Purpose of a request.
#[derive(Debug, Clone)]
pub enum RestartIntent {
    /// A new restart.
    Start(RestartTargets),
    /// The rest of an unfinished restart, of the only one if `None`.
    Resume(Option<String>),
    /// The end of an unfinished restart: its marks go, and nothing else changes.
    Forget(Option<String>),
}

impl RestartRequest {
    /// Combines the purpose and the exceptions.
    ///
    /// # Errors
    ///
    /// If there are exceptions beside workloads given by name.
    pub fn new(intent: RestartIntent, except: Vec<NamespacedWorkload>) -> Result<Self, RestartRefusal> {
        match intent {
            RestartIntent::Start(RestartTargets::Named(_)) if !except.is_empty() => {
                Err(RestartRefusal::ExceptBesideNames)
            }
            intent => Ok(Self { intent, except }),
        }
    }

    pub fn intent(&self) -> &RestartIntent {
        &self.intent
    }

    pub fn except(&self) -> &[NamespacedWorkload] {
        &self.except
    }

    /// Returns whether the world has to include the drifting workloads.
    pub fn needs_drift(&self) -> bool {
        matches!(self.intent, RestartIntent::Start(RestartTargets::Drifted))
    }
}

/// Makes the identifier of a new run.
pub fn new_run_id() -> String {
    fresh_id()[..8].to_owned()
}

/// Maximum number of workloads restarted at once.
pub const MAX_AT_ONCE: u16 = 1000;

/// Speed and patience of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPace {
    /// Number of workloads that replace their pods at once.
    pub at_once: usize,
    /// Time that a workload may take without progress, and that budgets may hold all workloads.
    pub timeout: Duration,
    /// Time that the API server may be unavailable.
    pub patience: Duration,
}

impl Default for RestartPace {
    fn default() -> Self {
        Self { at_once: 5, timeout: Duration::from_secs(300), patience: Duration::from_secs(120) }
    }
}
