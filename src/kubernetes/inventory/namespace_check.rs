//! Check that a namespace exists, for requests that name one.

use thiserror::Error;

use super::Inventory;
use crate::kernel::text::{CleanText, nearest_word};

/// Namespace that certainly does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no namespace {}{}", CleanText(name), suggestion(nearest.as_deref()))]
pub struct UnknownNamespace {
    /// Name, as it was given.
    pub name: String,
    /// Existing namespace with the most similar name, if one is similar.
    pub nearest: Option<String>,
}

impl Inventory {
    /// Refuses a namespace that certainly does not exist. Until all namespaces are known, every name is accepted.
    pub fn check_namespace(&self, name: &str) -> Result<(), UnknownNamespace> {
        if self.namespaces.get(name).is_some() || !self.namespaces.is_synced() {
            return Ok(());
        }
        let known = self.namespaces.all();
        let nearest = nearest_word(name, known.iter().map(|entry| &*entry.namespace().name)).map(str::to_owned);
        Err(UnknownNamespace { name: name.to_owned(), nearest })
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}
