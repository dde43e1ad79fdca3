//! Accepts connections, and pauses instead of spinning if the machine cannot give one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Socket that pauses after errors that would repeat at once, such as no file descriptor left.
#[derive(Debug)]
pub(super) struct SocketAcceptor {
    socket: TcpListener,
    pause: AcceptPause,
}

#[derive(Debug, Default)]
struct AcceptPause {
    length: Duration,
    until: Option<Instant>,
}

impl SocketAcceptor {
    pub(super) fn new(socket: TcpListener) -> Self {
        Self { socket, pause: AcceptPause::default() }
    }

    /// Returns the next connection, or `None` if the machine could not give one and a pause begins. Cancel safe.
    pub(super) async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            if let Some(until) = self.pause.until {
                sleep_until(until).await;
            }
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.pause = AcceptPause::default();
                    return Some(accepted);
                }
                Err(cause) if affects_one_connection(&cause) => {}
                Err(cause) => {
                    if self.pause.until.is_none() {
                        warn!(%cause, "failed to accept a connection, trying again: {cause}");
                    }
                    self.pause.lengthen(Instant::now());
                    return None;
                }
            }
        }
    }
}

impl AcceptPause {
    fn lengthen(&mut self, now: Instant) {
        self.length = (self.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.until = Some(now + self.length);
    }
}

fn affects_one_connection(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_ten_milliseconds_to_a_second() {
        let (start, mut pause) = (Instant::now(), AcceptPause::default());
        let pauses: Vec<_> = (0..9)
            .map(|_| {
                pause.lengthen(start);
                (pause.until.unwrap() - start).as_millis()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn a_client_that_hung_up_is_no_reason_to_pause_and_no_descriptor_left_is() {
        assert!(affects_one_connection(&io::ErrorKind::ConnectionAborted.into()));
        let no_descriptor_left = io::Error::from_raw_os_error(24);
        assert!(!affects_one_connection(&no_descriptor_left));
    }
}
