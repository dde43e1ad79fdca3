//! The audit log: one JSON line for every decision, through a bounded queue to a file or to standard output.
//!
//! Guarantees: recording never waits. An entry that finds the queue full is counted, in a metric and in a line of the log itself.

pub mod act_entry;
pub mod decision_entry;
pub mod recent;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tracing::error;

use crate::kernel::clock::Clock;
use recent::{EntryWeight, RecentEntries};

/// Lines that wait to be written. At a thousand pods a second this is eight seconds of a disk that hangs.
const QUEUE: usize = 8192;
/// Time for which lines are gathered before they are written. A write per line would cost more than the rest of a decision.
const GATHER: Duration = Duration::from_millis(10);

/// Destination of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditDestination {
    /// Standard output.
    Stdout,
    /// End of this file, which is created if it does not exist.
    File(PathBuf),
}

/// Sending end of the audit log; cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<(Vec<u8>, EntryWeight)>,
    lost: Counter,
    recent: Arc<RecentEntries>,
}

/// Receiving end, which writes entries. Runs until every [`AuditLog`] is dropped and everything queued is written.
#[derive(Debug)]
pub struct AuditWriter {
    queue: mpsc::Receiver<(Vec<u8>, EntryWeight)>,
    lost: Counter,
    recent: Arc<RecentEntries>,
    clock: Clock,
}

/// Failure to open the log.
#[derive(Debug, Error)]
#[error("cannot open the audit log {path}: {cause}; name another file with --audit-log, or make it writable")]
pub struct AuditLogError {
    path: String,
    cause: std::io::Error,
}

/// Creates the queue of the audit log, and returns its two ends.
pub fn audit_channel(clock: Clock) -> (AuditLog, AuditWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (lost, recent) = (Counter::default(), Arc::new(RecentEntries::default()));
    let log = AuditLog { queue: sender, lost: lost.clone(), recent: Arc::clone(&recent) };
    (log, AuditWriter { queue: receiver, lost, recent, clock })
}

impl AuditLog {
    /// Queues a line, or counts it as lost.
    pub fn record(&self, entry: &impl Serialize) {
        self.record_weighted(EntryWeight::Happened, entry);
    }

    /// Queues a line of this weight, which says how long it stays among the recent ones.
    pub fn record_weighted(&self, weight: EntryWeight, entry: &impl Serialize) {
        let mut line = Vec::with_capacity(1024);
        let written = serde_json::to_writer(&mut line, entry);
        line.push(b'\n');
        if written.is_err() || self.queue.try_send((line, weight)).is_err() {
            self.lost.inc();
        }
    }

    /// Returns the newest entries that were taken from the queue.
    pub fn recent(&self) -> &RecentEntries {
        &self.recent
    }

    /// Returns the counter of lost entries.
    pub fn lost_counter(&self) -> &Counter {
        &self.lost
    }
}

impl AuditDestination {
    /// Opens the destination for appending.
    pub async fn open(&self) -> Result<Box<dyn AsyncWrite + Send + Unpin>, AuditLogError> {
        let Self::File(path) = self else { return Ok(Box::new(tokio::io::stdout())) };
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await;
        let file = file.map_err(|cause| AuditLogError { path: path.display().to_string(), cause })?;
        Ok(Box::new(file))
    }
}

/// Line of the log that says how many entries are missing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LostEntries {
    time: String,
    lost: u64,
    reason: &'static str,
}

impl AuditWriter {
    /// Writes queued entries. A batch that cannot be written counts as lost; the next one is tried again.
    pub async fn run(mut self, mut out: impl AsyncWrite + Unpin) {
        let mut batch = Vec::new();
        let mut reported = 0;
        while let Some(first) = self.queue.recv().await {
            batch.push(first);
            if !self.queue.is_closed() {
                tokio::time::sleep(GATHER).await;
            }
            while let Ok(line) = self.queue.try_recv() {
                batch.push(line);
            }
            let mut bytes = Vec::with_capacity(batch.iter().map(|(line, _)| line.len()).sum());
            batch.iter().for_each(|(line, _)| bytes.extend_from_slice(line));
            // Before the write: recent entries stay visible while a disk hangs.
            batch.iter().for_each(|(line, weight)| self.recent.push(line, *weight));
            let lost = self.lost.get();
            if lost > reported {
                bytes.extend(self.loss_line(lost - reported));
            }
            match write_and_flush(&mut out, &bytes).await {
                Ok(()) => reported = lost,
                Err(cause) => {
                    self.lost.inc_by(batch.len() as u64);
                    error!(%cause, lost = batch.len(), "cannot write the audit log: {cause}");
                }
            }
            batch.clear();
        }
    }

    fn loss_line(&self, lost: u64) -> Vec<u8> {
        let reason = "the queue of the audit log was full, or the log could not be written";
        let line = LostEntries { time: self.clock.now().to_string(), lost, reason };
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

async fn write_and_flush(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    out.write_all(bytes).await?;
    out.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_counted_in_the_log() {
        let (log, writer) = audit_channel(Clock::Fixed(jiff::Timestamp::UNIX_EPOCH));
        (0..QUEUE + 3).for_each(|number| log.record(&number));
        assert_eq!(log.lost_counter().get(), 3);
        drop(log);
        let mut written = Vec::new();
        writer.run(&mut written).await;
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().filter(|line| line.parse::<u32>().is_ok()).count(), QUEUE);
        let losses: Vec<&str> = text.lines().filter(|line| line.contains("lost")).collect();
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert!(losses[0].contains(r#""lost":3"#), "{}", losses[0]);
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_opened_says_what_to_do() {
        let Err(error) = AuditDestination::File("/nowhere/at/all".into()).open().await else { panic!("it opened") };
        assert!(error.to_string().contains("--audit-log"), "{error}");
    }
}
