//! Order in which the API server calls webhooks: reports injectors that are called before us.

use tracing::{info, warn};

use crate::kernel::count::to_i64;
use crate::kernel::names::WEBHOOK_CONFIGURATION;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;

/// Says that a wrong order was mended.
pub const ORDER_RESTORED: &str = "no injector is called before us any more";

/// Reporter of injectors that are called before us; remembers its last report.
#[derive(Debug, Default)]
pub(crate) struct OrderReporter(Vec<String>);

impl OrderReporter {
    /// Updates the metric, and logs a changed order.
    pub(crate) fn report_changes(&mut self, inventory: &Inventory, metrics: &Metrics) {
        let Some(injectors) = inventory.injectors.get() else { return };
        let before_us = injectors.before_us();
        metrics.injectors_before_us.set(to_i64(before_us.len()));
        if self.0 == before_us {
            return;
        }
        match &before_us[..] {
            [] => info!("{ORDER_RESTORED}"),
            names => warn!("{}", order_problem(names)),
        }
        self.0 = before_us.into_iter().map(str::to_owned).collect();
    }
}

/// Says which configurations are called before us, and what follows.
pub fn describe_order(before_us: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = before_us.iter().map(AsRef::as_ref).collect();
    format!(
        "the API server calls {} before us, because the name sorts first: that injector does not see what we write",
        names.join(", ")
    )
}

/// Says how to mend the order.
pub fn order_advice() -> String {
    format!("give that configuration a name that sorts after {WEBHOOK_CONFIGURATION}, byte by byte")
}

/// Says what is wrong with the order, and how to mend it.
pub fn order_problem(before_us: &[impl AsRef<str>]) -> String {
    format!("{}; {}", describe_order(before_us), order_advice())
}
