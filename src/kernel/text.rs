//! Text from outside: removes harmful characters before it is shown, and suggests the nearest known word.

use std::fmt;

use serde::Serializer;

/// Text of a tenant, made harmless for output: at most 256 characters, no control characters.
#[derive(Debug, Clone, Copy)]
pub struct CleanText<'t>(pub &'t str);

impl fmt::Display for CleanText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().filter(|c| !is_hostile(*c)).take(256).try_for_each(|c| f.write_char(c))
    }
}

/// Returns the harmless form of a text; see [`CleanText`].
pub fn sanitize(text: &str) -> String {
    CleanText(text).to_string()
}

/// Returns whether a character is a control character or changes the direction of the text around it.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the known word that is most similar to `word`, if any is similar enough.
pub fn nearest_word<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let scored = known.map(|one| (strsim::jaro_winkler(word, one), one));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > 0.8).then_some(best.1)
}

/// Returns the suggestion of the known word that is most similar, as the end of a sentence; empty if none is.
pub fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    suggestion(nearest_word(word, known))
}

/// Returns the end of a sentence that suggests the nearest word; empty if there is none.
pub fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {}?", CleanText(nearest))).unwrap_or_default()
}

pub(crate) fn clean<S: Serializer>(text: &impl AsRef<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&CleanText(text.as_ref()))
}

pub(crate) fn maybe_clean<S: Serializer>(text: &Option<impl AsRef<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => clean(text, serializer),
        None => serializer.serialize_none(),
    }
}
