//! Label selectors as `kubectl -l` takes them: `app=web,tier!=front,env in (a, b),!legacy`.

use crate::decision::selector::{Operator, Requirement, Selector};

/// Reads one; an empty text is none, since selecting everything is for whoever says so.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    let parts = parts(text);
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!("{text:?} is no label selector, such as app=web,tier!=front"));
    }
    parts.into_iter().map(|part| requirement(part.trim())).collect::<Result<_, _>>().map(Selector::new)
}

/// The parts between commas, apart from those in brackets.
fn parts(text: &str) -> Vec<&str> {
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

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return on(key, Operator::DoesNotExist);
    }
    for (word, negated) in [(" notin ", true), (" in ", false)] {
        if let Some((key, values)) = part.split_once(word) {
            let values = values.trim().strip_prefix('(').and_then(|values| values.strip_suffix(')'));
            let Some(values) = values else { return Err(format!("{part:?} has no values in brackets")) };
            let values = values.split(',').map(|value| value.trim().into()).collect();
            return on(key, if negated { Operator::NotIn(values) } else { Operator::In(values) });
        }
    }
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(sign) {
            let values = vec![value.trim().into()];
            return on(key, if negated { Operator::NotIn(values) } else { Operator::In(values) });
        }
    }
    on(part, Operator::Exists)
}

fn on(key: &str, operator: Operator) -> Result<Requirement, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(fits) {
        return Err(format!("{key:?} is not the key of a label, such as app or example.com/team"));
    }
    Ok(Requirement { key: key.into(), operator })
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
            assert_eq!(selector(text).unwrap().matches(&labels), expected, "{text}");
        }
        for text in ["", ",", "app=web,", "=web", "a b", "app in web", "!"] {
            assert!(selector(text).is_err(), "{text:?}");
        }
    }
}
