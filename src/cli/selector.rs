//! Parser of label selectors as `kubectl -l` takes them: `app=web,tier!=front,env in (a, b),!legacy`.

use crate::decision::selector::{Selector, SelectorOperator, SelectorRequirement};

/// Parses a selector. Refuses an empty text: selecting everything should be explicit.
pub(super) fn parse_selector(text: &str) -> Result<Selector, String> {
    let parts = split_parts(text);
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!("{text:?} is no label selector, such as app=web,tier!=front"));
    }
    parts.into_iter().map(|part| parse_requirement(part.trim())).collect::<Result<_, _>>().map(Selector::new)
}

/// Splits at commas, but not inside brackets.
fn split_parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = text.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    split.collect()
}

fn parse_requirement(part: &str) -> Result<SelectorRequirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return new_requirement(key, SelectorOperator::DoesNotExist);
    }
    for (word, negated) in [(" notin ", true), (" in ", false)] {
        if let Some((key, values)) = part.split_once(word) {
            let values = values.trim().strip_prefix('(').and_then(|values| values.strip_suffix(')'));
            let Some(values) = values else { return Err(format!("{part:?} has no values in brackets")) };
            let values = values.split(',').map(|value| value.trim().into()).collect();
            return new_requirement(
                key,
                if negated { SelectorOperator::NotIn(values) } else { SelectorOperator::In(values) },
            );
        }
    }
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(sign) {
            let values = vec![value.trim().into()];
            return new_requirement(
                key,
                if negated { SelectorOperator::NotIn(values) } else { SelectorOperator::In(values) },
            );
        }
    }
    new_requirement(part, SelectorOperator::Exists)
}

fn new_requirement(key: &str, operator: SelectorOperator) -> Result<SelectorRequirement, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(fits) {
        return Err(format!("{key:?} is not the key of a label, such as app or example.com/team"));
    }
    Ok(SelectorRequirement { key: key.into(), operator })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels: crate::decision::selector::Labels<'static> = [("app", "web"), ("example.com/tier", "front")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        for (text, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app", true),
            ("!app", false),
            ("!other,app", true),
            ("app in (api, web),example.com/tier=front", true),
            ("app notin (api,web)", false),
            ("app=web,example.com/tier=back", false),
        ] {
            assert_eq!(parse_selector(text).unwrap().matches(&labels), expected, "{text}");
        }
        for text in ["", ",", "app=web,", "=web", "a b", "app in web", "!"] {
            assert!(parse_selector(text).is_err(), "{text:?}");
        }
    }
}
