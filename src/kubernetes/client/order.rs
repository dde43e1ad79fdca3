//! The order in which the API server calls webhooks: which injectors come before us, and everything that tells somebody.

use tracing::{info, warn};

use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;

/// What the log and the metric were last told.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<String>);

impl Told {
    /// Tells the log and the metric what has changed.
    pub(crate) fn look(&mut self, inventory: &Inventory, metrics: &Metrics) {
        let Some(injectors) = inventory.injectors.get() else { return };
        let before_us = injectors.before_us();
        metrics.injectors_before_us.set(i64::try_from(before_us.len()).unwrap_or(i64::MAX));
        if self.0 == before_us {
            return;
        }
        match &before_us[..] {
            [] => info!("no injector is called before us any more"),
            names => warn!("{}", sentence(names)),
        }
        self.0 = before_us.into_iter().map(str::to_owned).collect();
    }
}

/// What is wrong, and what mends it.
pub fn sentence(before_us: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = before_us.iter().map(AsRef::as_ref).collect();
    format!(
        "the API server calls {} before us, because the name sorts first: that injector does not see what we write; rename it",
        names.join(", ")
    )
}
