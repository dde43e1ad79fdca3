//! Forgetting a restart: its marks are removed from the unfinished workloads, and nothing else changes.

use futures::FutureExt;
use thiserror::Error;

use super::prepare::PreparedRestart;
use super::report::describe_api_error;
use super::workload::NamespacedWorkload;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::parallel::{MAX_PARALLEL, join_bounded};
use crate::kubernetes::client::restarts::RestartClient;

/// Failure to forget a restart: a workload keeps its mark.
#[derive(Debug, Error)]
#[error("restart {run} is not given up, since {workload} keeps its mark: {}", describe_api_error(.why))]
pub struct ForgetError {
    run: String,
    workload: NamespacedWorkload,
    pub why: ApiError,
}

/// Removes the marks of a restart. A workload that is gone or has another mark counts as done. Ends soon after the
/// first failure.
pub async fn forget_restart(restarts: &RestartClient, prepared: &PreparedRestart) -> Result<(), ForgetError> {
    for some in prepared.work.excepted.chunks(MAX_PARALLEL) {
        let removed = join_bounded(some.iter().map(|one| restarts.remove_mark_of_run(one, false).boxed())).await;
        for (one, removed) in some.iter().zip(removed) {
            match removed {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => {}
                Err(why) => {
                    return Err(ForgetError { run: prepared.run.clone(), workload: one.name.clone(), why });
                }
            }
        }
    }
    Ok(())
}
