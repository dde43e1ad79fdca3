//! Asks the API server, and goes on asking while it is away.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Pace, Stop};
use crate::features::restart::telling::Step;
use crate::kernel::api_error::ApiError;

/// How often workloads are looked at that are waited for, and an API server is asked that is away.
const AGAIN: Duration = Duration::from_secs(1);

/// What was answered, unless the restart is not to go on.
pub(super) type Asked<T> = Result<Result<T, ApiError>, Stop>;

/// Whom it asks by, and since when nobody answers.
pub(super) struct Asking<'a> {
    pub(super) pace: Pace,
    cancel: &'a CancellationToken,
    tell: &'a (dyn Fn(Step) + Sync),
    away: Mutex<Away>,
}

/// How many requests are asked again at present, since when, and for how long there were such before.
#[derive(Debug, Default)]
struct Away {
    asking: usize,
    since: Option<Instant>,
    before: Duration,
}

impl<'a> Asking<'a> {
    pub(super) fn new(pace: Pace, cancel: &'a CancellationToken, tell: &'a (dyn Fn(Step) + Sync)) -> Self {
        Self { pace, cancel, tell, away: Mutex::default() }
    }

    pub(super) fn tell(&self, step: Step) {
        (self.tell)(step);
    }

    /// Asks until there is an answer, somebody stops it, or patience is at its end. A write that is under way is not
    /// dropped, so that what came of it is known.
    pub(super) async fn ask<T, F: Future<Output = Result<T, ApiError>>>(&self, ask: impl Fn() -> F) -> Asked<T> {
        let mut in_vain_since = None;
        let answer = loop {
            if self.cancel.is_cancelled() {
                break Err(Stop::Interrupted);
            }
            match ask().await {
                Err(ApiError::Unavailable(why)) => {
                    let since = *in_vain_since.get_or_insert_with(|| self.begin_in_vain(&why));
                    if since.elapsed() >= self.pace.patience {
                        let seconds = self.pace.patience.as_secs();
                        break Err(Stop::Stopped(format!("asked the API server in vain for {seconds} s: {why}")));
                    }
                }
                Err(ApiError::Unauthorized(why)) => break Err(Stop::Stopped(why)),
                answer => break Ok(answer),
            }
            if let Err(stop) = self.pause().await {
                break Err(stop);
            }
        };
        if in_vain_since.is_some() {
            self.end_in_vain(answer.is_ok());
        }
        answer
    }

    pub(super) async fn pause(&self) -> Result<(), Stop> {
        let slept = self.cancel.run_until_cancelled(sleep(AGAIN)).await;
        slept.ok_or(Stop::Interrupted)
    }

    fn begin_in_vain(&self, why: &str) -> Instant {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.asking += 1;
        let is_first = away.asking == 1;
        if is_first {
            away.since = Some(now);
        }
        drop(away);
        if is_first {
            self.tell(Step::Away { why: why.to_owned() });
        }
        now
    }

    fn end_in_vain(&self, is_answered: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.asking -= 1;
        if away.asking > 0 {
            return;
        }
        let lasted = away.since.take().map(|since| since.elapsed());
        away.before += lasted.unwrap_or_default();
        drop(away);
        if is_answered {
            self.tell(Step::Back);
        }
    }

    /// The present, on a clock that stands still while the API server is away.
    pub(super) fn instant(&self) -> Instant {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let away_now = away.since.map(|since| now - since).unwrap_or_default();
        now.checked_sub(away.before + away_now).unwrap_or(now)
    }
}
