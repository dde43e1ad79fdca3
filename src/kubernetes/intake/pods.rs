//! Follows pods while they are in demand.
//!
//! Cost: of each list, one page at a time.

use std::sync::Arc;

use kube::Client;
use kube::runtime::watcher::Config;
use tracing::debug;

use super::kinds::pods::{PodIntake, PodResource};
use super::watch::follow_kind;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;

/// Field selector of unfinished pods; a finished pod has no running sidecar.
const UNFINISHED_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Size of a page, which is held as text: pods of 85 KB are not rare.
const PAGE_SIZE: u32 = 200;

/// Keeps the pods while they are in demand, and forgets them afterwards.
pub async fn follow_pods_on_demand(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    let config = Config::default().fields(UNFINISHED_PODS).page_size(PAGE_SIZE);
    loop {
        inventory.pods_demand.wait_until_active().await;
        let intake = PodIntake::new(&inventory, Some(&metrics));
        tokio::select! {
            () = follow_kind::<_, PodResource>(client.clone(), &intake, config.clone()) => {}
            () = inventory.pods_demand.wait_until_idle() => {}
        }
        inventory.pods.clear();
        metrics.pods_unread.set(0);
        debug!("pods are not in demand any more");
    }
}
