//! Check that a kind can own pods, for requests that name one.

use thiserror::Error;

use super::owner_kind::{OwnerKinds, expand_short_kind};
use crate::kernel::text::{CleanText, nearest_word};

/// Word that names no kind that makes pods.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{}\" is no kind that makes pods: {}known are pod, {}; --owner-kind adds one",
    CleanText(word),
    nearest.as_ref().map(|nearest| format!("did you mean {nearest}? ")).unwrap_or_default(),
    known.join(", ")
)]
pub struct UnknownKind {
    /// Word, as it was given.
    pub word: String,
    /// Known kind with the most similar name, if one is similar.
    pub nearest: Option<String>,
    /// All known kinds, in small letters.
    pub known: Vec<String>,
}

impl OwnerKinds {
    /// Returns the kind that a user means by its name, plural or short name, in small letters.
    pub fn resolve_word(&self, word: &str) -> Result<String, UnknownKind> {
        if let Some(kind) = expand_short_kind(word) {
            return Ok(kind.to_owned());
        }
        if let Some(found) = self.find_by_word(word) {
            return Ok(found.kind.clone());
        }
        let known: Vec<_> = self.iter().map(|kind| kind.kind.to_lowercase()).collect();
        let nearest = nearest_word(word, known.iter().map(String::as_str)).map(str::to_owned);
        Err(UnknownKind { word: word.to_owned(), nearest, known })
    }
}
