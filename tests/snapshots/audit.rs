//! The audit log: a line of each kind. Those of the API are in `api`, and those of decisions in `cases`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use outrigger::audit::act::{Act, Actor, Deed, Object, Outcome};
use outrigger::audit::{self, Log};
use outrigger::clock::Clock;
use outrigger::controllers::drift::{Watching, keep};
use outrigger::files;
use outrigger::metrics::Metrics;
use outrigger::suspensions::turns::{Turns, entry};
use serde_json::json;

use super::{NOW, check, knowing, without_ids};
use crate::control_plane::await_condition;
use crate::drift;

#[tokio::test]
async fn a_line_of_each_kind_of_act_is_as_pinned() {
    let acts = lines(|log| DEEDS.iter().flat_map(|deed| acts(*deed)).for_each(|act| log.record(&act))).await;
    let lost = lines(|log| (0..8195).for_each(|number| log.record(&number))).await;
    let lost = lost.lines().find(|line| line.contains("lost")).unwrap().to_owned() + "\n";
    let found =
        [("acts", acts), ("lost", lost), ("suspensions", lines(suspensions).await), ("drift", drifting().await)];
    check("audit", &BTreeMap::from(found.map(|(name, text)| (format!("{name}.jsonl.txt"), text))));
}

/// Every one; a new one belongs here.
const DEEDS: [Deed; 16] = [
    Deed::Create,
    Deed::Extend,
    Deed::End,
    Deed::Begin,
    Deed::Over,
    Deed::Route,
    Deed::Unroute,
    Deed::Drift,
    Deed::DriftOver,
    Deed::Evict,
    Deed::Override,
    Deed::Restart,
    Deed::RestartOver,
    Deed::RestartCancel,
    Deed::RestartForget,
    Deed::Read,
];

/// One that says all that can be said, with what cannot be shown, and one that says the least.
fn acts(act: Deed) -> [Act; 2] {
    let text = |text: &str| Some(format!("{text} \u{1b}[31m"));
    let object = Object {
        kind: "Deployment".to_owned(),
        namespace: text("shop"),
        name: text("web"),
        uid: Some("u1".to_owned()),
    };
    let standing = |value: &str| Some(json!({"metadata": {"annotations": {"outrigger.dev/inject": value}}}));
    let all = Act {
        time: NOW.parse().unwrap(),
        id: "the-id".to_owned(),
        act,
        outcome: Outcome::Refused,
        actor: Some(Actor { user: text("jane"), address: Some("192.0.2.1:4321".to_owned()) }),
        object: Some(object),
        before: standing("true"),
        after: standing("false\u{9b}"),
        reason: text("loop"),
        ticket: text("INC-1"),
        until: Some("2026-11-22T14:00:00Z".parse().unwrap()),
        why: text("it may not"),
        dry_run: true,
    };
    let (actor, object, before, after, reason, ticket, until, why) = Default::default();
    let outcome = if act == Deed::Evict { Outcome::Failed } else { Outcome::Allowed };
    let (time, id) = (all.time, all.id.clone());
    [all, Act { time, id, act, outcome, actor, object, before, after, reason, ticket, until, why, dry_run: false }]
}

/// What is written of what is recorded.
async fn lines(record: impl FnOnce(&Log)) -> String {
    let (log, writer) = audit::log(Clock::Fixed(NOW.parse().unwrap()));
    record(&log);
    drop(log);
    let mut written = Vec::new();
    writer.run(&mut written).await;
    String::from_utf8(written).unwrap()
}

/// One of the cluster and one of a namespace begin, and are over.
fn suspensions(log: &Log) {
    let of = |kind: &str, place: &str, more: &str| {
        format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: {kind}, metadata: {{name: a, uid: 0f0f, {place}}}, spec: {{suspend: Injection, reason: loop, ticket: INC-1, startsAt: \"2026-11-22T12:00:00Z\", for: 1h{more}}}}}"
        )
    };
    let objects = [
        of("SuspensionPolicy", "namespace: shop", ""),
        of("ClusterSuspensionPolicy", "", ", namespaces: {include: [shop]}").replace("0f0f", "f0f0"),
    ];
    let inventory = knowing(&objects.join("\n---\n"));
    let mut turns = Turns::default();
    for (time, deed) in [("11:59:59", None), ("12:00:00", Some(Deed::Begin)), ("13:00:00", Some(Deed::Over))] {
        let now = format!("2026-11-22T{time}Z").parse().unwrap();
        let mut turned = turns.look(&inventory.standings.suspensions(), now);
        turned.sort_by_key(|(_, object)| object.named());
        assert_eq!(turned.len(), if deed.is_some() { 2 } else { 0 });
        turned.iter().for_each(|(_, object)| log.record(&entry(object, deed.unwrap(), now, None)));
    }
}

/// The pods of a workload drift, and then do not any more.
async fn drifting() -> String {
    let clock = Clock::Fixed(NOW.parse().unwrap());
    let (log, writer) = audit::log(clock.clone());
    let metrics = Metrics::new(log.lost().clone());
    let inventory = Arc::new(knowing(""));
    let watching =
        Watching { interval: Duration::ZERO, metrics: metrics.clone(), audit: log, events: None, repairing: None };
    let keeping = keep(Arc::clone(&inventory), clock, watching);
    let counted = async |count| {
        let counted = async || {
            ensure!(metrics.drifting_workloads.get() == count, "{} drift", metrics.drifting_workloads.get());
            Ok(())
        };
        await_condition("what drifts to be counted", Duration::from_secs(15), counted).await;
    };
    let turning = async {
        let worlds = drift::worlds();
        for (world, count) in [(1, 1), (0, 0)] {
            files::fill(&inventory, &Default::default(), &worlds[world].1);
            counted(count).await;
        }
    };
    tokio::select! {
        () = keeping => panic!("it ended"),
        () = turning => {}
    }
    let mut written = Vec::new();
    writer.run(&mut written).await;
    without_ids(&String::from_utf8(written).unwrap(), "")
}
