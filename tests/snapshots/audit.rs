//! The audit log: a line of each kind. Those of the API are in `api`, and those of decisions in `cases`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use outrigger::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditActor, AuditObject};
use outrigger::audit::{self, AuditLog};
use outrigger::controllers::drift::{DriftController, run};
use outrigger::features::suspension::transitions::{TransitionTracker, audit_entry};
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::intake::files;
use outrigger::metrics::Metrics;
use serde_json::json;

use super::{NOW, check, knowing, without_ids};
use crate::control_plane::await_condition;
use crate::drift;

#[tokio::test]
async fn a_line_of_each_kind_of_act_is_as_pinned() {
    let acts = lines(|log| ACT_KINDS.iter().flat_map(|deed| acts(*deed)).for_each(|act| log.record(&act))).await;
    let lost = lines(|log| (0..8195).for_each(|number| log.record(&number))).await;
    let lost = lost.lines().find(|line| line.contains("lost")).unwrap().to_owned() + "\n";
    let found =
        [("acts", acts), ("lost", lost), ("suspensions", lines(suspensions).await), ("drift", drifting().await)];
    check("audit", &BTreeMap::from(found.map(|(name, text)| (format!("{name}.jsonl.txt"), text))));
}

/// Every one; a new one belongs here.
const ACT_KINDS: [ActKind; 16] = [
    ActKind::Create,
    ActKind::Extend,
    ActKind::End,
    ActKind::Begin,
    ActKind::Over,
    ActKind::Route,
    ActKind::Unroute,
    ActKind::Drift,
    ActKind::DriftOver,
    ActKind::Evict,
    ActKind::Override,
    ActKind::Restart,
    ActKind::RestartOver,
    ActKind::RestartCancel,
    ActKind::RestartForget,
    ActKind::Read,
];

/// One that says all that can be said, with what cannot be shown, and one that says the least.
fn acts(act: ActKind) -> [ActEntry; 2] {
    let text = |text: &str| Some(format!("{text} \u{1b}[31m"));
    let object = AuditObject {
        kind: "Deployment".to_owned(),
        namespace: text("shop"),
        name: text("web"),
        uid: Some("u1".to_owned()),
    };
    let standing = |value: &str| Some(json!({"metadata": {"annotations": {"outrigger.dev/inject": value}}}));
    let all = ActEntry {
        time: NOW.parse().unwrap(),
        id: "the-id".to_owned(),
        act,
        outcome: ActOutcome::Refused,
        actor: Some(AuditActor { user: text("jane"), address: Some("192.0.2.1:4321".to_owned()) }),
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
    let outcome = if act == ActKind::Evict { ActOutcome::Failed } else { ActOutcome::Allowed };
    let (time, id) = (all.time, all.id.clone());
    [all, ActEntry { time, id, act, outcome, actor, object, before, after, reason, ticket, until, why, dry_run: false }]
}

/// What is written of what is recorded.
async fn lines(record: impl FnOnce(&AuditLog)) -> String {
    let (log, writer) = audit::audit_channel(Clock::Fixed(NOW.parse().unwrap()));
    record(&log);
    drop(log);
    let mut written = Vec::new();
    writer.run(&mut written).await;
    String::from_utf8(written).unwrap()
}

/// One of the cluster and one of a namespace begin, and are over.
fn suspensions(log: &AuditLog) {
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
    let mut turns = TransitionTracker::default();
    for (time, deed) in [("11:59:59", None), ("12:00:00", Some(ActKind::Begin)), ("13:00:00", Some(ActKind::Over))] {
        let now = format!("2026-11-22T{time}Z").parse().unwrap();
        let mut turned = turns.observe(&inventory.rule_records.suspensions(), now);
        turned.sort_by_key(|(_, object)| object.describe());
        assert_eq!(turned.len(), if deed.is_some() { 2 } else { 0 });
        turned.iter().for_each(|(_, object)| log.record(&audit_entry(object, deed.unwrap(), now, None)));
    }
}

/// The pods of a workload drift, and then do not any more.
async fn drifting() -> String {
    let clock = Clock::Fixed(NOW.parse().unwrap());
    let (log, writer) = audit::audit_channel(clock.clone());
    let metrics = Metrics::new(log.lost_counter().clone());
    let inventory = Arc::new(knowing(""));
    let watching = DriftController {
        interval: Duration::ZERO,
        metrics: metrics.clone(),
        audit: log,
        events: None,
        repairing: None,
    };
    let keeping = run(Arc::clone(&inventory), clock, watching);
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
            files::replace_all(&inventory, &Default::default(), &worlds[world].1);
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
