//! Webhook order controller: publishes an event on our Deployment when an injector is called before us.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::inventory::Inventory;

/// Time between two checks of the order, which is all that happens while the order is right.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which an event that could not be published is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// Returns the injectors that are called before us, if they are not those that were published last.
pub fn plan(inventory: &Inventory, published: &[String]) -> Option<Vec<String>> {
    let injectors = inventory.injectors.get()?;
    let before_us = injectors.before_us();
    (before_us != published).then(|| before_us.into_iter().map(str::to_owned).collect())
}

/// Publishes every change for as long as it is polled. Only the leader runs it, and a new leader publishes the present order.
pub async fn run(inventory: Arc<Inventory>, events: EventPublisher) {
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = Vec::new();
    loop {
        ticks.tick().await;
        let Some(before_us) = plan(&inventory, &published) else { continue };
        match events.publish_webhook_order(&before_us).await {
            Ok(()) => published = before_us,
            Err(why) => {
                warn!("cannot publish an event about the order of webhooks: {why}");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}
