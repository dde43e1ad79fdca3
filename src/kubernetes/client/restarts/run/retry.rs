//! Calls to the API server, repeated while it is unavailable.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{RestartPace, StopReason};
use crate::features::restart::report::RestartStep;
use crate::kernel::api_error::ApiError;

/// Pause between observations, and between attempts to reach the API server.
const INTERVAL: Duration = Duration::from_secs(1);

/// Answer of a call, or the reason to stop the restart.
pub(super) type CallResult<T> = Result<Result<T, ApiError>, StopReason>;

/// Caller with a pace, and a record of the outages.
pub(super) struct RetryingCaller<'a> {
    pub(super) pace: RestartPace,
    cancel: &'a CancellationToken,
    on_step: &'a (dyn Fn(RestartStep) + Sync),
    outage: Mutex<Outage>,
}

/// Calls that wait for an answer now, the start of the outage, and the length of earlier ones.
#[derive(Debug, Default)]
struct Outage {
    waiting_calls: usize,
    since: Option<Instant>,
    earlier: Duration,
}

impl<'a> RetryingCaller<'a> {
    pub(super) fn new(
        pace: RestartPace,
        cancel: &'a CancellationToken,
        on_step: &'a (dyn Fn(RestartStep) + Sync),
    ) -> Self {
        Self { pace, cancel, on_step, outage: Mutex::default() }
    }

    pub(super) fn report_step(&self, step: RestartStep) {
        (self.on_step)(step);
    }

    /// Repeats the call until there is an answer, an interrupt, or the patience is over. A write under way is not
    /// dropped, so its result is known.
    pub(super) async fn call<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        request: impl Fn() -> F,
    ) -> CallResult<T> {
        let mut unanswered_since = None;
        let answer = loop {
            if self.cancel.is_cancelled() {
                break Err(StopReason::Interrupted);
            }
            match request().await {
                Err(ApiError::Unavailable(why)) => {
                    let since = *unanswered_since.get_or_insert_with(|| self.begin_outage(&why));
                    if since.elapsed() >= self.pace.patience {
                        let seconds = self.pace.patience.as_secs();
                        break Err(StopReason::Stopped(format!("asked the API server in vain for {seconds} s: {why}")));
                    }
                }
                Err(ApiError::Unauthorized(why)) => break Err(StopReason::Stopped(why)),
                answer => break Ok(answer),
            }
            if let Err(stop) = self.pause().await {
                break Err(stop);
            }
        };
        if unanswered_since.is_some() {
            self.end_outage(answer.is_ok());
        }
        answer
    }

    pub(super) async fn pause(&self) -> Result<(), StopReason> {
        let slept = self.cancel.run_until_cancelled(sleep(INTERVAL)).await;
        slept.ok_or(StopReason::Interrupted)
    }

    fn begin_outage(&self, why: &str) -> Instant {
        let now = Instant::now();
        let mut outage = self.outage.lock();
        outage.waiting_calls += 1;
        let is_first = outage.waiting_calls == 1;
        if is_first {
            outage.since = Some(now);
        }
        drop(outage);
        if is_first {
            self.report_step(RestartStep::Away { why: why.to_owned() });
        }
        now
    }

    fn end_outage(&self, is_answered: bool) {
        let mut outage = self.outage.lock();
        outage.waiting_calls -= 1;
        if outage.waiting_calls > 0 {
            return;
        }
        let lasted = outage.since.take().map(|since| since.elapsed());
        outage.earlier += lasted.unwrap_or_default();
        drop(outage);
        if is_answered {
            self.report_step(RestartStep::Back);
        }
    }

    /// Returns the time on a clock that stands still during outages.
    pub(super) fn now_without_outages(&self) -> Instant {
        let outage = self.outage.lock();
        let now = Instant::now();
        let current = outage.since.map(|since| now - since).unwrap_or_default();
        now.checked_sub(outage.earlier + current).unwrap_or(now)
    }
}
