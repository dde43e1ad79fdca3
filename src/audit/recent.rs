//! Newest lines of the audit log, kept in memory for people who watch: lines of this process alone, since it started.
//!
//! Limits: a thousand lines and 4 MiB. Failed attempts get less room, because they need no rights and would crowd out the rest.
//! Cost: a line is parsed at most once, when somebody first searches the lines.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::kernel::object_ref::ObjectRef;

/// Weight of a line, which says how much room its like gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryWeight {
    /// Decision, successful act, or event.
    Happened,
    /// Attempt to change something, without success.
    FailedChange,
    /// Attempt to read something, without the right to.
    FailedRead,
}

impl EntryWeight {
    /// Returns the number of lines that are kept, and of bytes.
    fn room(self) -> (usize, usize) {
        match self {
            Self::Happened => (1000, 4 << 20),
            Self::FailedChange => (200, 512 << 10),
            Self::FailedRead => (100, 256 << 10),
        }
    }
}

/// Newest lines of the audit log.
#[derive(Debug, Default)]
pub struct RecentEntries(Mutex<LineRings>);

/// Line of the audit log, as it was written.
#[derive(Debug, Clone)]
pub struct AuditLine(Arc<SharedLine>);

#[derive(Debug)]
struct SharedLine {
    text: Box<[u8]>,
    subject: OnceLock<LineSubject>,
}

/// Searchable fields of a line; empty where the line cannot be parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct LineSubject {
    /// Action of a decision.
    pub action: Option<Box<str>>,
    /// Kind of an act.
    pub act: Option<Box<str>>,
    /// Workload of a decision.
    pub workload: Option<ObjectRef<Box<str>>>,
    namespace: Option<Box<str>>,
    object: Option<LineObject>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct LineObject {
    namespace: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct LineRings {
    /// One ring for each weight.
    rings: [LineRing; 3],
    /// Number of lines so far, including lines that are no longer kept.
    count: u64,
}

/// Lines of one weight, with ascending numbers.
#[derive(Debug, Default)]
struct LineRing {
    lines: VecDeque<(u64, AuditLine)>,
    bytes: usize,
}

/// Lines that came since an earlier count.
#[derive(Debug)]
pub struct NewLines {
    /// Lines, the oldest first.
    pub lines: Vec<AuditLine>,
    /// Number of earlier lines that are left out.
    pub missed: u64,
    /// Number of lines so far; pass it the next time.
    pub count: u64,
}

impl AuditLine {
    fn from_text(text: &[u8]) -> Self {
        Self(Arc::new(SharedLine { text: text.into(), subject: OnceLock::new() }))
    }

    /// Returns the searchable fields of the line, which is parsed the first time.
    pub fn subject(&self) -> &LineSubject {
        self.0.subject.get_or_init(|| serde_json::from_slice(&self.0.text).unwrap_or_default())
    }

    fn len(&self) -> usize {
        self.0.text.len()
    }
}

impl Serialize for AuditLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue = serde_json::from_slice(&self.0.text).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}

impl LineSubject {
    /// Returns the namespace of the pod, or of the object.
    pub fn namespace(&self) -> Option<&str> {
        let of_object = self.object.as_ref().and_then(|object| object.namespace.as_deref());
        self.namespace.as_deref().or(of_object)
    }
}

impl RecentEntries {
    pub(super) fn push(&self, text: &[u8], weight: EntryWeight) {
        let line = AuditLine::from_text(text.trim_ascii_end());
        let mut kept = self.0.lock();
        kept.count += 1;
        let number = kept.count;
        kept.rings[weight as usize].push((number, line), weight.room());
    }

    /// Returns the lines after the first `count` lines, at most the newest `most` of them.
    pub fn lines_since(&self, count: u64, most: usize) -> NewLines {
        let kept = self.0.lock();
        let new = kept.count.saturating_sub(count);
        let mut lines: Vec<_> = kept.rings.iter().flat_map(|ring| ring.since(count)).collect();
        lines.sort_unstable_by_key(|(number, _)| *number);
        let newest = lines.split_off(lines.len().saturating_sub(most));
        let lines: Vec<_> = newest.into_iter().map(|(_, line)| line.clone()).collect();
        NewLines { missed: new - lines.len() as u64, lines, count: kept.count }
    }
}

impl LineRing {
    fn push(&mut self, line: (u64, AuditLine), (most, most_bytes): (usize, usize)) {
        self.bytes += line.1.len();
        self.lines.push_back(line);
        while self.lines.len() > most || self.bytes > most_bytes {
            self.bytes -= self.lines.pop_front().map_or(0, |(_, line)| line.len());
        }
    }

    fn since(&self, count: u64) -> impl Iterator<Item = &(u64, AuditLine)> {
        self.lines.range(self.lines.partition_point(|(number, _)| *number <= count)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(news: &NewLines) -> Vec<&str> {
        news.lines.iter().map(|line| std::str::from_utf8(&line.0.text).unwrap()).collect()
    }

    #[test]
    fn whoever_looks_again_gets_what_is_new_and_hears_how_much_was_missed() {
        let recent = RecentEntries::default();
        ["a", "b", "c"].into_iter().for_each(|line| recent.push(line.as_bytes(), EntryWeight::Happened));
        let first = recent.lines_since(0, 2);
        assert_eq!((texts(&first), first.missed, first.count), (vec!["b", "c"], 1, 3));
        let NewLines { lines, missed, count } = recent.lines_since(3, 2);
        assert_eq!((lines.len(), missed, count), (0, 0, 3));
        recent.push(b"d\n", EntryWeight::Happened);
        assert_eq!(texts(&recent.lines_since(3, 2)), ["d"]);
    }

    #[test]
    fn only_so_many_lines_and_bytes_are_kept() {
        let recent = RecentEntries::default();
        let (most, most_bytes) = EntryWeight::Happened.room();
        (0..most + 5).for_each(|_| recent.push(b"x", EntryWeight::Happened));
        let news = recent.lines_since(0, usize::MAX);
        assert_eq!((news.lines.len(), news.missed), (most, 5));
        (0..3).for_each(|_| recent.push(&vec![b'x'; most_bytes / 2], EntryWeight::Happened));
        assert_eq!(recent.lines_since(0, usize::MAX).lines.len(), 2);
    }

    #[test]
    fn what_comes_to_nothing_crowds_out_nothing_but_its_like() {
        let recent = RecentEntries::default();
        recent.push(b"decided", EntryWeight::Happened);
        recent.push(b"tried", EntryWeight::FailedChange);
        (0..2000).for_each(|_| recent.push(b"asked", EntryWeight::FailedRead));
        recent.push(b"done", EntryWeight::Happened);
        let news = recent.lines_since(0, usize::MAX);
        let texts = texts(&news);
        assert_eq!((texts.len(), news.missed, news.count), (103, 1900, 2003));
        assert_eq!((texts[..3].to_vec(), texts[102]), (vec!["decided", "tried", "asked"], "done"), "in their order");
        (0..20).for_each(|_| recent.push(&[b'x'; 60_000], EntryWeight::FailedChange));
        assert!(recent.lines_since(0, usize::MAX).lines.len() < 120, "they have no more room by being large");
    }

    #[test]
    fn a_line_is_read_once_however_many_look_and_told_as_it_was_written() {
        let recent = RecentEntries::default();
        let decision = r#"{"z":1,"namespace":"shop","workload":{"kind":"Deployment","name":"web"},"action":"Enable"}"#;
        let act = r#"{"act":"Create","object":{"kind":"SuspensionPolicy","namespace":"shop"}}"#;
        [decision, act, "7"].into_iter().for_each(|line| recent.push(line.as_bytes(), EntryWeight::Happened));
        let (first, second) = (recent.lines_since(0, 9).lines, recent.lines_since(0, 9).lines);
        assert!(std::ptr::eq(first[0].subject(), second[0].subject()), "it was read again");
        let told = |subject: &LineSubject| (subject.namespace().map(str::to_owned), subject.workload.is_some());
        assert_eq!(told(first[0].subject()), (Some("shop".to_owned()), true));
        assert_eq!(told(first[1].subject()), (Some("shop".to_owned()), false));
        assert_eq!(*first[2].subject(), LineSubject::default());
        assert_eq!(serde_json::to_string(&first[0]).unwrap(), decision);
    }
}
