//! Waits for a condition instead of sleeping.

use std::fmt::Write;
use std::time::Duration;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls until the probe returns `Ok`. Its error says what the probe saw instead; the last one is in the panic message.
///
/// # Panics
///
/// When the time is over.
pub(crate) async fn await_condition<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> T {
    let mut last_seen = String::from("the first look did not return");
    let polling = async {
        loop {
            match probe().await {
                Ok(found) => return found,
                Err(error) => {
                    last_seen.clear();
                    write!(last_seen, "{error:#}").expect("writing to a string cannot fail");
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    match tokio::time::timeout(timeout, polling).await {
        Ok(found) => found,
        Err(_) => panic!("waited {timeout:?} in vain for {what}; last seen: {last_seen}"),
    }
}
