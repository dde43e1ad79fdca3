//! The newest lines of the audit log, for whoever looks at what happens: those of this process alone, since it started.
//!
//! Limits: a thousand lines, and 4 MiB of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// So many are kept.
const MOST: usize = 1000;
/// And so many bytes of them.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The newest lines.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// How many lines there have been, also those that are no longer kept.
    count: u64,
}

/// What came since somebody looked.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// The lines, the oldest first.
    pub lines: Vec<Bytes>,
    /// How many lines are left out before them.
    pub missed: u64,
    /// How many lines there have been by now, which is what to ask with the next time.
    pub count: u64,
}

impl Recent {
    pub(super) fn push(&self, line: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.lines.len() > MOST || kept.bytes > MOST_BYTES {
            let dropped = kept.lines.pop_front().map_or(0, |line| line.len());
            kept.bytes -= dropped;
        }
    }

    /// What came after so many lines, at most the last `most` of it.
    pub fn since(&self, count: u64, most: usize) -> News {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = kept.count.saturating_sub(count);
        let told = usize::try_from(new).unwrap_or(usize::MAX).min(kept.lines.len()).min(most);
        let lines = kept.lines.range(kept.lines.len() - told..).cloned().collect();
        News { lines, missed: new - told as u64, count: kept.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(news: &News) -> Vec<&str> {
        news.lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn whoever_looks_again_gets_what_is_new_and_hears_how_much_was_missed() {
        let recent = Recent::default();
        ["a", "b", "c"].into_iter().for_each(|line| recent.push(Bytes::from_static(line.as_bytes())));
        let first = recent.since(0, 2);
        assert_eq!((texts(&first), first.missed, first.count), (vec!["b", "c"], 1, 3));
        assert_eq!(recent.since(3, 2), News { lines: Vec::new(), missed: 0, count: 3 });
        recent.push(Bytes::from_static(b"d"));
        assert_eq!(texts(&recent.since(3, 2)), ["d"]);
    }

    #[test]
    fn only_so_many_lines_and_bytes_are_kept() {
        let recent = Recent::default();
        (0..MOST + 5).for_each(|_| recent.push(Bytes::from_static(b"x")));
        let news = recent.since(0, usize::MAX);
        assert_eq!((news.lines.len(), news.missed), (MOST, 5));
        (0..3).for_each(|_| recent.push(Bytes::from(vec![b'x'; MOST_BYTES / 2])));
        assert_eq!(recent.since(0, usize::MAX).lines.len(), 2);
    }
}
