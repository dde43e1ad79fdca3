//! A draining replica still answers, from current facts.

use anyhow::ensure;

use super::installed::{Outrigger, install};
use super::{TIMEOUT, await_label, policy};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn what_is_ordered_while_it_drains_counts() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start_draining_for(&plane, "draining", 20).await;
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(&plane, namespace, Some("true")).await;
        outrigger.terminate();
        await_condition("readiness to fail", TIMEOUT, async || {
            let (status, _) = outrigger.get("/readyz")?;
            ensure!(status == 503, "it is {status}");
            Ok(())
        })
        .await;
        plane.apply(&policy(namespace, "Disable")).await;
        await_label(&plane, namespace, Some("false")).await;
    })
    .await;
}
