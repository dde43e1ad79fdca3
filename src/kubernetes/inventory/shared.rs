//! Texts that very many objects have in common, kept once: kinds, groups and namespaces.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// What a tenant writes can be any kind in any number; beyond this a text is kept with its object.
const MOST: usize = 20_000;

static SHARED: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);

/// This text, as it is kept once. Only watches ask for it, one object at a time.
pub(super) fn shared(text: &str) -> Arc<str> {
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    if all.len() < MOST {
        all.insert(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        assert!(Arc::ptr_eq(&shared("a text of this test"), &shared("a text of this test")));
        assert_eq!(&*shared(""), "");
    }
}
