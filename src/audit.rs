//! The audit log: one JSON line for every decision, through a bounded queue to a file or to standard output.
//!
//! Guarantees: recording never waits; an entry that finds the queue full is counted, in a metric and in a line of the log itself.

pub mod act;
pub mod entry;
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
use recent::{Recent, Weight};

/// Lines that wait to be written. At a thousand pods a second this is eight seconds of a disk that hangs.
const QUEUE: usize = 8192;
/// Lines are gathered for so long before they are written: a write for each would cost more than all else about a decision.
const GATHER: Duration = Duration::from_millis(10);

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// The end of this file, which is created if it is not there.
    File(PathBuf),
}

/// Takes entries; cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<(Vec<u8>, Weight)>,
    lost: Counter,
    recent: Arc<Recent>,
}

/// Writes entries; runs until every [`Log`] is gone, and everything queued is written.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Receiver<(Vec<u8>, Weight)>,
    lost: Counter,
    recent: Arc<Recent>,
    clock: Clock,
}

/// Why the log cannot be written.
#[derive(Debug, Error)]
#[error("cannot open the audit log {path}: {cause}; name another file with --audit-log, or make it writable")]
pub struct Unwritable {
    path: String,
    cause: std::io::Error,
}

/// A queue and its two ends.
pub fn log(clock: Clock) -> (Log, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (lost, recent) = (Counter::default(), Arc::new(Recent::default()));
    let log = Log { queue: sender, lost: lost.clone(), recent: Arc::clone(&recent) };
    (log, Writer { queue: receiver, lost, recent, clock })
}

impl Log {
    /// Queues a line, or counts it as lost.
    pub fn record(&self, entry: &impl Serialize) {
        self.record_as(Weight::Happened, entry);
    }

    /// The same of something that may be of less weight.
    pub fn record_as(&self, weight: Weight, entry: &impl Serialize) {
        let mut line = Vec::with_capacity(1024);
        let written = serde_json::to_writer(&mut line, entry);
        line.push(b'\n');
        if written.is_err() || self.queue.try_send((line, weight)).is_err() {
            self.lost.inc();
        }
    }

    /// The newest entries that were taken from the queue.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Counts the entries lost so far.
    pub fn lost(&self) -> &Counter {
        &self.lost
    }
}

impl Destination {
    /// Opens it for writing at its end.
    pub async fn open(&self) -> Result<Box<dyn AsyncWrite + Send + Unpin>, Unwritable> {
        let Self::File(path) = self else { return Ok(Box::new(tokio::io::stdout())) };
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await;
        let file = file.map_err(|cause| Unwritable { path: path.display().to_string(), cause })?;
        Ok(Box::new(file))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lost {
    time: String,
    lost: u64,
    reason: &'static str,
}

impl Writer {
    /// Writes what is queued. What cannot be written counts as lost; the next batch is tried again.
    pub async fn run(mut self, mut out: impl AsyncWrite + Unpin) {
        let mut batch = Vec::new();
        let mut told = 0;
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
            // Before it is written: a disk that hangs does not keep it from being seen.
            batch.iter().for_each(|(line, weight)| self.recent.push(line, *weight));
            let lost = self.lost.get();
            if lost > told {
                bytes.extend(self.line_about(lost - told));
            }
            match write(&mut out, &bytes).await {
                Ok(()) => told = lost,
                Err(cause) => {
                    self.lost.inc_by(batch.len() as u64);
                    error!(%cause, lost = batch.len(), "cannot write the audit log: {cause}");
                }
            }
            batch.clear();
        }
    }

    fn line_about(&self, lost: u64) -> Vec<u8> {
        let reason = "the queue of the audit log was full, or the log could not be written";
        let line = Lost { time: self.clock.now().to_string(), lost, reason };
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

async fn write(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    out.write_all(bytes).await?;
    out.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_counted_in_the_log() {
        let (log, writer) = log(Clock::Fixed(jiff::Timestamp::UNIX_EPOCH));
        (0..QUEUE + 3).for_each(|number| log.record(&number));
        assert_eq!(log.lost().get(), 3);
        drop(log);
        let mut written = Vec::new();
        writer.run(&mut written).await;
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().filter(|line| line.parse::<u32>().is_ok()).count(), QUEUE);
        let told: Vec<&str> = text.lines().filter(|line| line.contains("lost")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(r#""lost":3"#), "{}", told[0]);
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_opened_says_what_to_do() {
        let Err(error) = Destination::File("/nowhere/at/all".into()).open().await else { panic!("it opened") };
        assert!(error.to_string().contains("--audit-log"), "{error}");
    }
}
