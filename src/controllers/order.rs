//! The order of webhooks: whoever looks at our Deployment is told when an injector is called before us.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use crate::kubernetes::client::events::Events;
use crate::kubernetes::inventory::Inventory;

/// How often it is looked at; nothing else is done while all is well.
const EVERY: Duration = Duration::from_secs(2);
/// After this, an event that could not be published is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An event that names these configurations is to be published; the all-clear where there is none.
    Publish(Vec<String>),
}

/// Plans, where `told` is what was last published, for the inventory as it is.
pub fn plan(inventory: &Inventory, told: &[String]) -> Option<Action> {
    let injectors = inventory.injectors.get()?;
    let before_us = injectors.before_us();
    (before_us != told).then(|| Action::Publish(before_us.into_iter().map(str::to_owned).collect()))
}

/// Publishes every change, as long as it is polled: by the leader. A new leader tells of what it finds.
pub async fn keep(inventory: Arc<Inventory>, events: Events) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        ticks.tick().await;
        let Some(Action::Publish(before_us)) = plan(&inventory, &told) else { continue };
        match events.publish(&before_us).await {
            Ok(()) => told = before_us,
            Err(why) => {
                warn!("cannot publish an event about the order of webhooks: {why}");
                sleep(RETRY).await;
            }
        }
    }
}
