//! Two replicas: the second ends a suspension that the first began.

use anyhow::ensure;
use serde_json::json;

use super::TIMEOUT;
use super::installed::{Outrigger, install};
use super::traffic::{await_status, reviews, routing, says, suspension};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn a_suspension_of_traffic_that_one_leader_began_ends_under_the_next() {
    let plane = ControlPlane::start(Options { workloads: false, istiod: true }).await;
    install(&plane).await;
    let first = Outrigger::start(&plane, "first").await;
    await_leading(&first).await;
    let second = Outrigger::start_beside(&plane, "second").await;
    assert_eq!(second.metric("outrigger_leader").unwrap(), 0.0);
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&reviews(namespace)).await;
        plane.apply(&suspension(namespace, "short", 12, json!([{"name": "reviews"}]))).await;
        await_status(&plane, namespace, "short", |status| says(status, "Active", "True", "InForce")).await;
        assert_eq!(routing(&plane, namespace).await.len(), 2);
        // Nobody gives the Lease up: the next has to wait until it is over, and the end comes meanwhile.
        first.kill();
        await_leading(&second).await;
        await_status(&plane, namespace, "short", |status| says(status, "Active", "False", "Over")).await;
        assert_eq!(routing(&plane, namespace).await, Vec::<String>::new());
        let acts = await_condition("the next to record what it did", TIMEOUT, async || {
            let acts =
                second.entries_where(|entry| ["Unroute", "Over"].contains(&entry["act"].as_str().unwrap_or_default()));
            ensure!(
                acts.iter().any(|act| act["act"] == "Unroute") && acts.iter().any(|act| act["act"] == "Over"),
                "{acts:?}"
            );
            Ok(acts)
        })
        .await;
        assert!(acts.iter().all(|act| act["outcome"] == "Allowed"), "{acts:?}");
    })
    .await;
}

async fn await_leading(outrigger: &Outrigger) {
    await_condition("it to lead", TIMEOUT, async || {
        ensure!(outrigger.metric("outrigger_leader")? == 1.0, "it does not");
        Ok(())
    })
    .await;
}
