//! Calls to the API server, repeated while it is unavailable.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{StepError, StopReason};
use crate::features::restart::report::RestartStep;
use crate::features::restart::request::RestartPace;
use crate::kernel::api_error::ApiError;

/// Pause between observations, and between attempts to reach the API server.
const INTERVAL: Duration = Duration::from_secs(1);

/// Caller with a pace, and a record of the outages.
pub(super) struct RetryingCaller<'a> {
    pub(super) pace: RestartPace,
    cancel: &'a CancellationToken,
    on_step: &'a (dyn Fn(RestartStep) + Sync),
    outages: Mutex<OutageClock>,
}

impl<'a> RetryingCaller<'a> {
    pub(super) fn new(
        pace: RestartPace,
        cancel: &'a CancellationToken,
        on_step: &'a (dyn Fn(RestartStep) + Sync),
    ) -> Self {
        Self { pace, cancel, on_step, outages: Mutex::default() }
    }

    pub(super) fn report_step(&self, step: RestartStep) {
        (self.on_step)(step);
    }

    /// Repeats the call until there is an answer, an interrupt, or the patience is over. A write under way is not
    /// dropped, so its result is known.
    pub(super) async fn call<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, StepError> {
        let mut unanswered_since = None;
        let answer = loop {
            if self.cancel.is_cancelled() {
                break Err(StepError::Stop(StopReason::Interrupted));
            }
            match request().await {
                Err(ApiError::Unavailable(why)) => {
                    let since = *unanswered_since.get_or_insert_with(|| self.begin_outage(&why));
                    if since.elapsed() >= self.pace.patience {
                        let seconds = self.pace.patience.as_secs();
                        let why = format!("the API server has not answered for {seconds} s: {why}");
                        break Err(StepError::Stop(StopReason::Stopped(why)));
                    }
                }
                Err(ApiError::Unauthorized(why)) => break Err(StepError::Stop(StopReason::Stopped(why))),
                answer => break answer.map_err(StepError::Workload),
            }
            if let Err(stop) = self.pause().await {
                break Err(StepError::Stop(stop));
            }
        };
        if unanswered_since.is_some() {
            self.end_outage(!matches!(answer, Err(StepError::Stop(_))));
        }
        answer
    }

    pub(super) async fn pause(&self) -> Result<(), StopReason> {
        let slept = self.cancel.run_until_cancelled(sleep(INTERVAL)).await;
        slept.ok_or(StopReason::Interrupted)
    }

    fn begin_outage(&self, why: &str) -> Instant {
        let now = Instant::now();
        let is_first = self.outages().begin(now);
        if is_first {
            self.report_step(RestartStep::Away { why: why.to_owned() });
        }
        now
    }

    fn end_outage(&self, is_answered: bool) {
        let is_last = self.outages().end(Instant::now());
        if is_last && is_answered {
            self.report_step(RestartStep::Back);
        }
    }

    /// Returns the time on a clock that stands still during outages.
    pub(super) fn now_without_outages(&self) -> Instant {
        self.outages().without_outages(Instant::now())
    }

    fn outages(&self) -> MutexGuard<'_, OutageClock> {
        self.outages.lock()
    }
}

/// Clock that stands still while calls wait for an answer.
#[derive(Debug, Default)]
struct OutageClock {
    waiting_calls: usize,
    since: Option<Instant>,
    /// Length of earlier outages.
    earlier: Duration,
}

impl OutageClock {
    /// Counts a call that waits from now on. Returns whether it is the first one.
    fn begin(&mut self, now: Instant) -> bool {
        self.waiting_calls += 1;
        let is_first = self.waiting_calls == 1;
        if is_first {
            self.since = Some(now);
        }
        is_first
    }

    /// Counts a call that waits no longer. Returns whether it is the last one.
    fn end(&mut self, now: Instant) -> bool {
        self.waiting_calls -= 1;
        if self.waiting_calls > 0 {
            return false;
        }
        self.earlier += self.since.take().map(|since| now - since).unwrap_or_default();
        true
    }

    fn without_outages(&self, now: Instant) -> Instant {
        let current = self.since.map(|since| now - since).unwrap_or_default();
        now.checked_sub(self.earlier + current).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_from_the_first_call_that_waits_to_the_last() {
        let start = Instant::now() + Duration::from_secs(3600);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = OutageClock::default();
        assert!(clock.begin(at(10)) && !clock.begin(at(12)));
        assert_eq!(clock.without_outages(at(15)), at(10));
        assert!(!clock.end(at(16)) && clock.end(at(20)));
        assert_eq!(clock.without_outages(at(25)), at(15));
    }
}
