//! Interned texts: kinds, groups and namespaces, which very many objects have in common, are kept once.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

/// Limit of interned texts. Tenants can write any number of kinds; a text beyond the limit is kept with its object.
const MAX_INTERNED: usize = 20_000;

static INTERNED: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);

/// Returns the one kept copy of a text. Only watches call this, one object at a time.
pub(super) fn intern(text: &str) -> Arc<str> {
    let mut all = INTERNED.lock();
    if let Some(known) = all.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    if all.len() < MAX_INTERNED {
        all.insert(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        assert!(Arc::ptr_eq(&intern("a text of this test"), &intern("a text of this test")));
        assert_eq!(&*intern(""), "");
    }
}
