//! What is said of drift, and when: of each workload once when it begins, again when it is another, and when it is over.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::features::drift::{Drift, Expected, Found, Subject};
use crate::kernel::ids::fresh_id;

/// That more pods drift than was told is told after so long.
const MORE: SignedDuration = SignedDuration::from_mins(1);

/// What was said so far.
#[derive(Debug)]
pub struct Ledger {
    known: HashMap<Box<str>, Entry>,
    /// What is over, or has begun, within this time is not spoken of.
    grace: SignedDuration,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    /// Since when every look has found it to drift.
    drifts_since: Option<Timestamp>,
    /// Since when every look has found that it does not.
    fine_since: Option<Timestamp>,
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    id: String,
    expected: Expected,
    count: usize,
    at: Timestamp,
}

/// Something that is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// What has happened.
    pub news: News,
    /// To whom.
    pub subject: Subject,
    /// In one sentence.
    pub sentence: String,
    /// Ties together all that is said of one drift.
    pub id: String,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A workload drifts.
    Begun,
    /// What a new pod would get is another by now, or more pods differ.
    Changed,
    /// It drifts no more.
    Ended,
}

impl Ledger {
    /// Nothing was said yet.
    pub fn new(grace: SignedDuration) -> Self {
        Self { known: HashMap::new(), grace }
    }

    /// What is to be said at this instant of what was found last; at most so much, and the rest the next time.
    pub fn settle(&mut self, found: &Found, now: Timestamp, most: usize) -> Vec<Saying> {
        let mut sayings = Vec::new();
        let found_now: HashSet<&str> = found.drifts.iter().map(|drift| &*drift.subject.uid).collect();
        for drift in &found.drifts {
            let entry = self.known.entry(drift.subject.uid.clone()).or_insert_with(|| Entry::of(&drift.subject));
            entry.fine_since = None;
            if drift.differing.is_empty() {
                // What is excused neither begins nor ends anything.
                entry.drifts_since = None;
                continue;
            }
            let since = *entry.drifts_since.get_or_insert(now);
            if now >= since + self.grace && sayings.len() < most {
                sayings.extend(entry.told_of(drift, now));
            }
        }
        self.known.retain(|uid, entry| {
            if found_now.contains(&**uid) {
                return true;
            }
            let Some(told) = &entry.told else { return false };
            let is_over = now >= *entry.fine_since.get_or_insert(now) + self.grace && sayings.len() < most;
            if is_over {
                let (subject, sentence) = (entry.subject.clone(), over(found, &entry.subject));
                sayings.push(Saying { news: News::Ended, subject, sentence, id: told.id.clone() });
            }
            !is_over
        });
        sayings
    }

    /// Whether this drift has lasted long enough to count.
    pub fn counts(&self, drift: &Drift, now: Timestamp) -> bool {
        let since = self.known.get(&drift.subject.uid).and_then(|entry| entry.drifts_since);
        since.is_some_and(|since| now >= since + self.grace)
    }

    /// What ties together all that is said of the drift of this object, once it was told of.
    pub fn id(&self, subject: &Subject) -> Option<&str> {
        self.known.get(&subject.uid)?.told.as_ref().map(|told| told.id.as_str())
    }
}

impl Entry {
    fn of(subject: &Subject) -> Self {
        Self { subject: subject.clone(), drifts_since: None, fine_since: None, told: None }
    }

    fn told_of(&mut self, drift: &Drift, now: Timestamp) -> Option<Saying> {
        let (count, expected) = (drift.differing.len(), drift.expected.clone());
        let news = match &self.told {
            None => News::Begun,
            Some(told) if told.expected != expected || (count > told.count && now >= told.at + MORE) => News::Changed,
            Some(_) => return None,
        };
        let id = self.told.take().map_or_else(fresh_id, |told| told.id);
        self.told = Some(Told { id: id.clone(), expected, count, at: now });
        Some(Saying { news, subject: drift.subject.clone(), sentence: drift.sentence(), id })
    }
}

/// What is said of a workload that drifts no more.
fn over(found: &Found, subject: &Subject) -> String {
    let of_workload = found.running.of_key(&subject.key).len();
    let bare = found.running.bare().iter().filter(|pod| pod.uid == subject.uid).count();
    match of_workload + bare {
        0 => "no pod of it runs any more".to_owned(),
        1 => "its pod is as a new one would be".to_owned(),
        pods => format!("all {pods} pods are as a new one would be"),
    }
}
