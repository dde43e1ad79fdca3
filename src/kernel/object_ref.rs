//! Kind and name of an object, in the two spellings that people meet.

use std::fmt;

use serde::Deserialize;

use super::text::CleanText;

/// Object of a known namespace. Displayed as people type it: `deployment/web`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ObjectRef<T> {
    pub kind: T,
    pub name: T,
}

/// Spelling with the kind as objects carry it: `Deployment/web`.
#[derive(Debug, Clone, Copy)]
pub struct TitledRef<'r, T>(&'r ObjectRef<T>);

impl<T> ObjectRef<T> {
    pub const fn new(kind: T, name: T) -> Self {
        Self { kind, name }
    }

    /// Returns the spelling with the kind as objects carry it.
    pub const fn titled(&self) -> TitledRef<'_, T> {
        TitledRef(self)
    }
}

impl<T: AsRef<str>> fmt::Display for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", CleanText(&self.kind.as_ref().to_lowercase()), CleanText(self.name.as_ref()))
    }
}

impl<T: AsRef<str>> fmt::Display for TitledRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", CleanText(self.0.kind.as_ref()), CleanText(self.0.name.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_harmless() {
        let object = ObjectRef::new("Deployment", "web\u{202e}\n");
        assert_eq!(object.to_string(), "deployment/web");
        assert_eq!(object.titled().to_string(), "Deployment/web");
    }
}
