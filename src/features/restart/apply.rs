//! Writes of a prepared restart before it begins: their rehearsal by dry runs, and the removal of its marks.

use futures::FutureExt;
use thiserror::Error;

use super::mark::RestartMark;
use super::prepare::{PreparedRestart, RemainingWork};
use super::report::{WorkloadReason, describe_api_error};
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::parallel::{MAX_PARALLEL, join_bounded};
use crate::kubernetes::client::restarts::RestartClient;

/// Asks the API server whether each workload may be written, and returns the refused ones. Ends soon after the API
/// server stops answering.
pub async fn rehearse_restart(restarts: &RestartClient, prepared: &PreparedRestart) -> Vec<WorkloadReason> {
    let RemainingWork { workloads, excepted } = &prepared.work;
    let mark = RestartMark::pending(&prepared.run, workloads.len());
    let all: Vec<&WorkloadSnapshot> = workloads.iter().chain(excepted).collect();
    let mut refused = Vec::new();
    for some in all.chunks(MAX_PARALLEL) {
        let asked = join_bounded(some.iter().map(|one| rehearse_write(restarts, one, &mark).boxed())).await;
        let failures: Vec<_> = some.iter().zip(asked).filter_map(|(one, asked)| Some((one, asked.err()?))).collect();
        let is_answered = |why: &ApiError| !matches!(why, ApiError::Unavailable(_) | ApiError::Unauthorized(_));
        let goes_on = failures.iter().all(|(_, why)| is_answered(why));
        let reason = |(one, why): (&&WorkloadSnapshot, ApiError)| WorkloadReason {
            workload: one.name.clone(),
            why: describe_api_error(&why),
        };
        refused.extend(failures.into_iter().map(reason));
        if !goes_on {
            break;
        }
    }
    refused
}

/// Dry-runs the first write of a workload: its mark comes, or goes if it has one.
async fn rehearse_write(
    restarts: &RestartClient,
    workload: &WorkloadSnapshot,
    mark: &RestartMark,
) -> Result<(), ApiError> {
    if workload.mark.is_none() {
        return restarts.add_mark(workload, mark, true).await.map(drop);
    }
    match restarts.remove_mark_of_run(workload, true).await {
        // Another write has removed the mark meanwhile.
        Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(()),
        removed => removed.map(drop),
    }
}

/// Dry-runs the first mark of a new restart, so that a caller without the right is refused before anything begins.
pub async fn check_first_mark(restarts: &RestartClient, prepared: &PreparedRestart) -> Result<(), ApiError> {
    let Some(first) = prepared.work.workloads.first().filter(|first| first.mark.is_none()) else { return Ok(()) };
    match rehearse_write(restarts, first, &RestartMark::pending(&prepared.run, 1)).await {
        Err(why @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => Err(why),
        // The restart itself reports other errors.
        Ok(()) | Err(_) => Ok(()),
    }
}

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
