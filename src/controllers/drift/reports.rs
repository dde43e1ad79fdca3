//! Reports of drift: one per workload when it begins, one when it changes, and one when it is over.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::features::drift::{Drift, DriftScan, DriftSubject, ExpectedSidecar};
use crate::kernel::ids::fresh_id;

/// Time after a report before another one says that more pods drift.
const REPEAT_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Drift of each workload, and what was reported of it.
#[derive(Debug)]
pub struct DriftLedger {
    known: HashMap<Box<str>, LedgerEntry>,
    /// Time for which drift must last, or be over, before it is reported.
    grace: SignedDuration,
}

#[derive(Debug)]
struct LedgerEntry {
    subject: DriftSubject,
    /// Time since which every scan found drift.
    drifts_since: Option<Timestamp>,
    /// Time since which every scan found no drift.
    fine_since: Option<Timestamp>,
    reported: Option<ReportedDrift>,
}

#[derive(Debug)]
struct ReportedDrift {
    id: String,
    expected: ExpectedSidecar,
    count: usize,
    at: Timestamp,
}

/// Report on the drift of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftReport {
    pub change: DriftChange,
    pub subject: DriftSubject,
    pub sentence: String,
    /// Id shared by all reports of one drift.
    pub id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftChange {
    /// A workload began to drift.
    Begun,
    /// The expected sidecar changed, or more pods differ.
    Changed,
    /// A workload no longer drifts.
    Ended,
}

impl DriftLedger {
    pub fn new(grace: SignedDuration) -> Self {
        Self { known: HashMap::new(), grace }
    }

    /// Returns the reports that are due after this scan, at most `most`; the rest comes with the next call.
    pub fn due_reports(&mut self, scan: &DriftScan, now: Timestamp, most: usize) -> Vec<DriftReport> {
        let mut reports = Vec::new();
        let drifting_now: HashSet<&str> = scan.drifts.iter().map(|drift| &*drift.subject.uid).collect();
        for drift in &scan.drifts {
            let entry = self.known.entry(drift.subject.uid.clone()).or_insert_with(|| LedgerEntry::new(&drift.subject));
            entry.fine_since = None;
            if drift.differing.is_empty() {
                // Excused pods neither begin nor end a drift.
                entry.drifts_since = None;
                continue;
            }
            let since = *entry.drifts_since.get_or_insert(now);
            if now >= since + self.grace && reports.len() < most {
                reports.extend(entry.report(drift, now));
            }
        }
        self.known.retain(|uid, entry| {
            if drifting_now.contains(&**uid) {
                return true;
            }
            let Some(reported) = &entry.reported else { return false };
            let is_over = now >= *entry.fine_since.get_or_insert(now) + self.grace && reports.len() < most;
            if is_over {
                let (subject, sentence) = (entry.subject.clone(), describe_end(scan, &entry.subject));
                reports.push(DriftReport { change: DriftChange::Ended, subject, sentence, id: reported.id.clone() });
            }
            !is_over
        });
        reports
    }

    /// Returns whether this drift has lasted long enough to count.
    pub fn has_lasted(&self, drift: &Drift, now: Timestamp) -> bool {
        let since = self.known.get(&drift.subject.uid).and_then(|entry| entry.drifts_since);
        since.is_some_and(|since| now >= since + self.grace)
    }

    /// Returns the id of the reports on this object, once there was one.
    pub fn report_id(&self, subject: &DriftSubject) -> Option<&str> {
        self.known.get(&subject.uid)?.reported.as_ref().map(|reported| reported.id.as_str())
    }
}

impl LedgerEntry {
    fn new(subject: &DriftSubject) -> Self {
        Self { subject: subject.clone(), drifts_since: None, fine_since: None, reported: None }
    }

    fn report(&mut self, drift: &Drift, now: Timestamp) -> Option<DriftReport> {
        let (count, expected) = (drift.differing.len(), drift.expected.clone());
        let change = match &self.reported {
            None => DriftChange::Begun,
            Some(reported)
                if reported.expected != expected || (count > reported.count && now >= reported.at + REPEAT_AFTER) =>
            {
                DriftChange::Changed
            }
            Some(_) => return None,
        };
        let id = self.reported.take().map_or_else(fresh_id, |reported| reported.id);
        self.reported = Some(ReportedDrift { id: id.clone(), expected, count, at: now });
        Some(DriftReport { change, subject: drift.subject.clone(), sentence: drift.describe(), id })
    }
}

/// Describes the pods of a workload that no longer drifts.
fn describe_end(scan: &DriftScan, subject: &DriftSubject) -> String {
    let of_workload = scan.running.pods_of_key(&subject.key).len();
    let bare = scan.running.bare().iter().filter(|pod| pod.uid == subject.uid).count();
    match of_workload + bare {
        0 => "no pod runs any more".to_owned(),
        1 => "the pod is as a new one would be".to_owned(),
        pods => format!("all {pods} pods are as a new one would be"),
    }
}
