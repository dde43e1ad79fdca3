//! The newest lines of the audit log, for whoever looks at what happens: those of this process alone, since it started.
//!
//! Limits: a thousand lines, and 4 MiB of them; fewer of what came to nothing, which nobody needs a right for, and which would
//! crowd out everything else. Cost: a line is read once, by the first who looks for some of them, and never
//! where nobody does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// What a line tells of, as far as it is kept for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something was decided, or done, or came by itself.
    Happened,
    /// Somebody wanted to change something, and did not.
    ChangeInVain,
    /// Somebody wanted to read something, and may not.
    ReadInVain,
}

impl Weight {
    /// How many lines are kept, and how many bytes of them.
    fn room(self) -> (usize, usize) {
        match self {
            Self::Happened => (1000, 4 << 20),
            Self::ChangeInVain => (200, 512 << 10),
            Self::ReadInVain => (100, 256 << 10),
        }
    }
}

/// The newest lines.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

/// One line, as it was written.
#[derive(Debug, Clone)]
pub struct Line(Arc<Written>);

#[derive(Debug)]
struct Written {
    text: Box<[u8]>,
    about: OnceLock<About>,
}

/// What a line is about, which is what can be asked for; empty where that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Of a decision what is to happen.
    pub action: Option<Box<str>>,
    /// Of an act what was done.
    pub act: Option<Box<str>>,
    /// Of a decision the workload.
    pub workload: Option<WorkloadName>,
    namespace: Option<Box<str>>,
    object: Option<Object>,
}

/// The name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WorkloadName {
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Object {
    namespace: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By weight.
    rings: [Ring; 3],
    /// How many lines there have been, also those that are no longer kept.
    count: u64,
}

/// Lines with their numbers, which grow.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<(u64, Line)>,
    bytes: usize,
}

/// What came since somebody looked.
#[derive(Debug)]
pub struct News {
    /// The lines, the oldest first.
    pub lines: Vec<Line>,
    /// How many lines are left out before them.
    pub missed: u64,
    /// How many lines there have been by now, which is what to ask with the next time.
    pub count: u64,
}

impl Line {
    fn of(text: &[u8]) -> Self {
        Self(Arc::new(Written { text: text.into(), about: OnceLock::new() }))
    }

    /// What it is about.
    pub fn about(&self) -> &About {
        self.0.about.get_or_init(|| serde_json::from_slice(&self.0.text).unwrap_or_default())
    }

    fn len(&self) -> usize {
        self.0.text.len()
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue = serde_json::from_slice(&self.0.text).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}

impl About {
    /// The namespace of the pod, or of the object.
    pub fn namespace(&self) -> Option<&str> {
        let of_object = self.object.as_ref().and_then(|object| object.namespace.as_deref());
        self.namespace.as_deref().or(of_object)
    }
}

impl Recent {
    pub(super) fn push(&self, text: &[u8], weight: Weight) {
        let line = Line::of(text.trim_ascii_end());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let number = kept.count;
        kept.rings[weight as usize].push((number, line), weight.room());
    }

    /// What came after so many lines, at most the last `most` of it.
    pub fn since(&self, count: u64, most: usize) -> News {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = kept.count.saturating_sub(count);
        let mut lines: Vec<_> = kept.rings.iter().flat_map(|ring| ring.since(count)).collect();
        lines.sort_unstable_by_key(|(number, _)| *number);
        let told = lines.split_off(lines.len().saturating_sub(most));
        let lines: Vec<_> = told.into_iter().map(|(_, line)| line.clone()).collect();
        News { missed: new - lines.len() as u64, lines, count: kept.count }
    }
}

impl Ring {
    fn push(&mut self, line: (u64, Line), (most, most_bytes): (usize, usize)) {
        self.bytes += line.1.len();
        self.lines.push_back(line);
        while self.lines.len() > most || self.bytes > most_bytes {
            self.bytes -= self.lines.pop_front().map_or(0, |(_, line)| line.len());
        }
    }

    fn since(&self, count: u64) -> impl Iterator<Item = &(u64, Line)> {
        self.lines.range(self.lines.partition_point(|(number, _)| *number <= count)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(news: &News) -> Vec<&str> {
        news.lines.iter().map(|line| std::str::from_utf8(&line.0.text).unwrap()).collect()
    }

    #[test]
    fn whoever_looks_again_gets_what_is_new_and_hears_how_much_was_missed() {
        let recent = Recent::default();
        ["a", "b", "c"].into_iter().for_each(|line| recent.push(line.as_bytes(), Weight::Happened));
        let first = recent.since(0, 2);
        assert_eq!((texts(&first), first.missed, first.count), (vec!["b", "c"], 1, 3));
        let News { lines, missed, count } = recent.since(3, 2);
        assert_eq!((lines.len(), missed, count), (0, 0, 3));
        recent.push(b"d\n", Weight::Happened);
        assert_eq!(texts(&recent.since(3, 2)), ["d"]);
    }

    #[test]
    fn only_so_many_lines_and_bytes_are_kept() {
        let recent = Recent::default();
        let (most, most_bytes) = Weight::Happened.room();
        (0..most + 5).for_each(|_| recent.push(b"x", Weight::Happened));
        let news = recent.since(0, usize::MAX);
        assert_eq!((news.lines.len(), news.missed), (most, 5));
        (0..3).for_each(|_| recent.push(&vec![b'x'; most_bytes / 2], Weight::Happened));
        assert_eq!(recent.since(0, usize::MAX).lines.len(), 2);
    }

    #[test]
    fn what_comes_to_nothing_crowds_out_nothing_but_its_like() {
        let recent = Recent::default();
        recent.push(b"decided", Weight::Happened);
        recent.push(b"tried", Weight::ChangeInVain);
        (0..2000).for_each(|_| recent.push(b"asked", Weight::ReadInVain));
        recent.push(b"done", Weight::Happened);
        let news = recent.since(0, usize::MAX);
        let texts = texts(&news);
        assert_eq!((texts.len(), news.missed, news.count), (103, 1900, 2003));
        assert_eq!((texts[..3].to_vec(), texts[102]), (vec!["decided", "tried", "asked"], "done"), "in their order");
        (0..20).for_each(|_| recent.push(&[b'x'; 60_000], Weight::ChangeInVain));
        assert!(recent.since(0, usize::MAX).lines.len() < 120, "they have no more room by being large");
    }

    #[test]
    fn a_line_is_read_once_however_many_look_and_told_as_it_was_written() {
        let recent = Recent::default();
        let decision = r#"{"z":1,"namespace":"shop","workload":{"kind":"Deployment","name":"web"},"action":"Enable"}"#;
        let act = r#"{"act":"Create","object":{"kind":"SuspensionPolicy","namespace":"shop"}}"#;
        [decision, act, "7"].into_iter().for_each(|line| recent.push(line.as_bytes(), Weight::Happened));
        let (first, second) = (recent.since(0, 9).lines, recent.since(0, 9).lines);
        assert!(std::ptr::eq(first[0].about(), second[0].about()), "it was read again");
        let told = |about: &About| (about.namespace().map(str::to_owned), about.workload.is_some());
        assert_eq!(told(first[0].about()), (Some("shop".to_owned()), true));
        assert_eq!(told(first[1].about()), (Some("shop".to_owned()), false));
        assert_eq!(*first[2].about(), About::default());
        assert_eq!(serde_json::to_string(&first[0]).unwrap(), decision);
    }
}
