//! What somebody has probably meant who names what is not there.

/// The known word that is nearest to one, if any is near.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let scored = known.map(|one| (strsim::jaro_winkler(word, one), one));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > 0.8).then_some(best.1)
}
