//! Which pod is evicted next so that a better one takes its place, if any is.
//!
//! Guarantees: of a workload one pod at a time, and only while all others are ready; none that would not come back; none
//! where what comes back was just seen to be wrong; the only pod of a workload only while nothing else is under way. Until
//! one has come back, right and ready, nothing else is tried, and where that was in vain nothing is for a while: where pods
//! do not reach us, or new ones do not become ready, a single one is evicted in vain at a time. What takes its time to become
//! ready holds up everything else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::decision::facts::RunningPod;
use crate::features::drift::{Drift, Found, Subject};

/// A workload whose pods of this age drift makes such pods at present.
const RECENT: SignedDuration = SignedDuration::from_secs(30);
/// So long a workload has to be as it was before one more of its pods.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// Where one is not ready again after this time, the next one might not become so either.
const SOON: SignedDuration = SignedDuration::from_mins(1);
/// A workload of which that was in vain is left alone for so long, and each time twice as long.
const REST: SignedDuration = SignedDuration::from_mins(10);
/// It is left alone no longer.
const LONGEST_REST: SignedDuration = SignedDuration::from_hours(6);
/// An eviction that was refused is asked for again after so long, and each time twice as long, until it is as above.
const REFUSED: SignedDuration = SignedDuration::from_secs(30);
/// After a pod that came back wrong everything is left alone for so long, after one that did not become ready for as long as
/// its workload, and each time in a row twice as long.
const WRONG: SignedDuration = SignedDuration::from_secs(30);
/// Everything is left alone no longer.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// The repairs of one leader.
#[derive(Debug)]
pub struct Repairs {
    pause: SignedDuration,
    next_at: Option<Timestamp>,
    /// Whether the last pod that was to come back has, right and ready.
    is_proven: bool,
    under_way: HashMap<Box<str>, UnderWay>,
    resting: HashMap<Box<str>, Rest>,
    /// Everything rests, since one was in vain.
    pausing: Option<Rest>,
}

#[derive(Debug)]
struct UnderWay {
    subject: Subject,
    before: HashSet<Box<str>>,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Timestamp,
    pause: SignedDuration,
}

/// What has come of an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The workload is whole again, with a pod that is as it should be.
    Right,
    /// A new pod differs as the old one did.
    Wrong,
    /// The workload does not become whole.
    Nothing,
}

impl Repairs {
    /// At most so many evictions in a minute.
    pub fn new(per_minute: u32) -> Self {
        let pause = SignedDuration::from_secs(60) / i32::try_from(per_minute).unwrap_or(i32::MAX).max(1);
        let (under_way, resting) = (HashMap::new(), HashMap::new());
        Self { pause, next_at: None, is_proven: false, under_way, resting, pausing: None }
    }

    /// Whether something is waited for.
    pub fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// What has come of earlier evictions by now.
    pub fn settle(&mut self, found: &Found, now: Timestamp) -> Vec<(Subject, Came)> {
        let came = |under_way: &UnderWay| Some((under_way.subject.clone(), under_way.came(found, now)?));
        let came: Vec<_> = self.under_way.values().filter_map(came).collect();
        for (subject, came) in &came {
            self.under_way.remove(&subject.uid);
            match came {
                Came::Right => drop(self.resting.remove(&subject.uid)),
                Came::Wrong | Came::Nothing => self.rest(subject, now),
            }
        }
        self.learn(came.iter().map(|(_, came)| *came), now);
        self.resting.retain(|_, rest| now < rest.until + LONGEST_REST);
        came
    }

    /// What has come of some tells what will come of others.
    fn learn(&mut self, came: impl Iterator<Item = Came>, now: Timestamp) {
        let pause = |came: Came| match came {
            Came::Right => SignedDuration::ZERO,
            Came::Wrong => WRONG,
            Came::Nothing => REST,
        };
        let Some(worst) = came.map(pause).max() else { return };
        self.is_proven = worst.is_zero();
        let pausing = self.pausing.filter(|pausing| now < pausing.until);
        self.pausing = match (self.is_proven, pausing) {
            // Several that were under way at once fail once.
            (_, Some(pausing)) if worst <= pausing.pause => Some(pausing),
            (true, _) => None,
            (false, _) => Some(Rest::after(self.pausing, [worst, LONGEST_PAUSE], now)),
        };
    }

    /// Those that would be given up now, though every pod that is there is ready: fewer may be wanted by now.
    pub fn doubtful(&self, found: &Found, now: Timestamp) -> Vec<Subject> {
        let is_doubtful = |under_way: &&UnderWay| {
            let all_are_ready = found.running.of_key(&under_way.subject.key).iter().all(|pod| pod.is_ready);
            under_way.is_late(now) && all_are_ready && !under_way.has_new(found)
        };
        self.under_way.values().filter(is_doubtful).map(|under_way| under_way.subject.clone()).collect()
    }

    /// This workload wants no pod in place of the evicted one, from which nothing is learned.
    pub fn dismiss(&mut self, subject: &Subject) {
        self.under_way.remove(&subject.uid);
    }

    /// The pod that is evicted next, of those drifts that count.
    pub fn next<'f>(
        &self,
        found: &'f Found,
        counts: impl Fn(&Drift) -> bool,
        now: Timestamp,
    ) -> Option<(&'f Drift, &'f Arc<RunningPod>)> {
        if !self.may_go_on(now) {
            return None;
        }
        let drifts = found.drifts.iter().filter(|drift| drift.comes_back && drift.excused == 0 && counts(drift));
        let mut free: Vec<_> = drifts.filter(|drift| self.is_free(drift, now)).collect();
        // Those that were refused before keep nobody else waiting, and the first to be tried had better have others.
        free.sort_by_key(|drift| (self.resting.contains_key(&drift.subject.uid), drift.pods == 1));
        free.into_iter().find_map(|drift| Some((drift, pick(found, drift, now)?)))
    }

    fn may_go_on(&self, now: Timestamp) -> bool {
        let is_time = self.next_at.is_none_or(|next| next <= now);
        let pauses = self.pausing.is_some_and(|pausing| now < pausing.until);
        let all_come_soon = || self.is_proven && self.under_way.values().all(|one| now < one.since + SOON);
        is_time && !pauses && (self.under_way.is_empty() || all_come_soon())
    }

    fn is_free(&self, Drift { subject, pods, .. }: &Drift, now: Timestamp) -> bool {
        let rests = self.resting.get(&subject.uid).is_some_and(|rest| now < rest.until);
        !rests && !self.under_way.contains_key(&subject.uid) && (*pods > 1 || self.under_way.is_empty())
    }

    /// One pod of this workload is evicted.
    pub fn began(&mut self, found: &Found, drift: &Drift, now: Timestamp) {
        let Subject { key, uid, .. } = &drift.subject;
        let before = found.running.of_key(key).iter().map(|pod| pod.uid.clone()).collect();
        self.under_way.insert(uid.clone(), UnderWay { subject: drift.subject.clone(), before, since: now });
        self.next_at = Some(now + self.pause);
    }

    /// What comes back may be wrong from now on.
    pub fn distrust(&mut self) {
        self.is_proven = false;
    }

    /// This workload is not to be touched at present, or somebody says no.
    pub fn refused(&mut self, subject: &Subject, now: Timestamp) {
        self.rest_for(subject, [REFUSED, REST], now);
        self.next_at = Some(now + self.pause);
    }

    fn rest(&mut self, subject: &Subject, now: Timestamp) {
        self.rest_for(subject, [REST, LONGEST_REST], now);
    }

    fn rest_for(&mut self, subject: &Subject, bounds: [SignedDuration; 2], now: Timestamp) {
        let rest = Rest::after(self.resting.get(&subject.uid).copied(), bounds, now);
        self.resting.insert(subject.uid.clone(), rest);
    }
}

impl Rest {
    /// Twice as long as the one before.
    fn after(before: Option<Self>, [shortest, longest]: [SignedDuration; 2], now: Timestamp) -> Self {
        let before = before.map_or(SignedDuration::ZERO, |rest| rest.pause);
        let pause = (before * 2).clamp(shortest, longest);
        Self { until: now + pause, pause }
    }
}

impl UnderWay {
    /// Whether a pod has come.
    fn has_new(&self, found: &Found) -> bool {
        found.running.of_key(&self.subject.key).iter().any(|pod| !self.before.contains(&pod.uid))
    }

    fn came(&self, found: &Found, now: Timestamp) -> Option<Came> {
        let Subject { key, uid, .. } = &self.subject;
        let pods = found.running.of_key(key);
        let is_new = |pod: &&Arc<RunningPod>| !self.before.contains(&pod.uid);
        let drift = found.drifts.iter().find(|drift| drift.subject.uid == *uid);
        if drift.is_some_and(|drift| drift.differing.iter().any(|pod| is_new(&pod))) {
            return Some(Came::Wrong);
        }
        // How many there were says nothing: others may scale it meanwhile.
        let is_whole = found.running.leaving(key) == 0 && self.has_new(found) && pods.iter().all(|pod| pod.is_ready);
        if is_whole {
            return Some(Came::Right);
        }
        self.is_late(now).then_some(Came::Nothing)
    }

    fn is_late(&self, now: Timestamp) -> bool {
        now >= self.since + PATIENCE
    }
}

/// The pod of a workload that is missed least, where all others are ready.
fn pick<'f>(found: &Found, drift: &'f Drift, now: Timestamp) -> Option<&'f Arc<RunningPod>> {
    let Drift { subject: Subject { key, .. }, differing, .. } = drift;
    let is_recent = |pod: &Arc<RunningPod>| pod.created_at.is_none_or(|created| now < created + RECENT);
    if found.running.leaving(key) > 0 || differing.iter().any(is_recent) {
        return None;
    }
    let picked = differing.iter().min_by_key(|pod| (pod.is_ready, pod.created_at, &pod.name))?;
    let others = found.running.of_key(key).iter().filter(|pod| pod.uid != picked.uid);
    others.into_iter().all(|pod| pod.is_ready).then_some(picked)
}

/// Whether a workload, as it is stored at this moment, can do without one of its pods; `is_ready` is that one.
///
/// # Errors
///
/// Why it cannot, in one sentence.
pub fn can_do_without(workload: &Value, is_ready: bool) -> Result<(), &'static str> {
    let Value::Object(_) = &workload["status"] else { return Err("it has no status") };
    let (spec, status) = (&workload["spec"], &workload["status"]);
    if workload["metadata"]["deletionTimestamp"].is_string() {
        return Err("it is being deleted");
    }
    // A Rollout writes it as a text.
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    if number(&status["observedGeneration"]) < workload["metadata"]["generation"].as_i64() {
        return Err("its controller has not seen its last change");
    }
    let count = |names: [&str; 2]| names.into_iter().find_map(|name| status[name].as_i64());
    // A DaemonSet counts what its nodes ask for, and the others what their specification does.
    let wanted = status["desiredNumberScheduled"].as_i64().or(spec["replicas"].as_i64()).unwrap_or(1);
    let ready = count(["readyReplicas", "numberReady"]).unwrap_or(0);
    let updated = count(["updatedReplicas", "updatedNumberScheduled"]).unwrap_or(0);
    // These roll nothing out, and do not count what is new.
    let rolls = !["ReplicaSet", "ReplicationController"].map(Value::from).contains(&workload["kind"]);
    match (rolls && updated < wanted, ready + i64::from(!is_ready) < wanted) {
        (true, _) => Err("a roll-out is under way"),
        (false, true) => Err("not all of its pods are ready"),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_can_do_without_a_pod_only_when_it_is_whole_and_does_not_roll_out() {
        let deployment =
            |spec: Value, status: Value| json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        let whole = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3});
        let three = || json!({"replicas": 3});
        assert_eq!(can_do_without(&deployment(three(), whole.clone()), true), Ok(()));
        let daemons = json!({
            "observedGeneration": 2, "desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 3,
        });
        assert_eq!(can_do_without(&deployment(json!({}), daemons), true), Ok(()));
        let with = |key: &str, value: Value| {
            let mut status = whole.clone();
            status[key] = value;
            deployment(three(), status)
        };
        assert_eq!(can_do_without(&with("readyReplicas", json!(2)), true), Err("not all of its pods are ready"));
        assert_eq!(can_do_without(&with("readyReplicas", json!(2)), false), Ok(()), "it is the one that is not");
        assert_eq!(can_do_without(&with("updatedReplicas", json!(1)), true), Err("a roll-out is under way"));
        assert_eq!(can_do_without(&with("observedGeneration", json!("2")), true), Ok(()));
        let mut set = with("updatedReplicas", Value::Null);
        set["kind"] = json!("ReplicaSet");
        assert_eq!(can_do_without(&set, true), Ok(()), "nobody counts which of its pods are new");
        let stale = "its controller has not seen its last change";
        assert_eq!(can_do_without(&with("observedGeneration", json!(1)), true), Err(stale));
        assert_eq!(can_do_without(&json!({"spec": {"replicas": 1}}), true), Err("it has no status"));
    }
}
