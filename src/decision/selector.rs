//! Labels, label selectors and globs, with the semantics of Kubernetes.

use std::borrow::Cow;

/// Labels sorted by key: a look-up is logarithmic, however many a client sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Labels<'a> {
    /// Sorts the pairs. Fails with the first key that occurs twice.
    pub fn new(mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, String> {
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        match pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(twice) => Err(twice[0].0.to_string()),
            None => Ok(Self(pairs)),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let position = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(key)).ok()?;
        Some(&self.0[position].1)
    }

    /// Returns the labels without `key`.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.retain(|(other, _)| other != key);
        self
    }

    /// Returns the labels with `key` set to `value`.
    #[must_use]
    pub fn with(self, key: &str, value: &str) -> Self {
        let Self(mut pairs) = self.without(key);
        let position = pairs.partition_point(|(other, _)| other.as_ref() < key);
        pairs.insert(position, (Cow::Owned(key.to_owned()), Cow::Owned(value.to_owned())));
        Self(pairs)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Labels<'static> {
    /// Collects pairs; the last value of a repeated key stays.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        Self(sorted.into_iter().map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))).collect())
    }
}

/// Label selector: all requirements must hold. Without requirements it selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<SelectorRequirement>);

/// Requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorRequirement {
    /// Key of the label.
    pub key: Box<str>,
    /// Condition on the label.
    pub operator: SelectorOperator,
}

/// Condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorOperator {
    /// The label is present, with one of these values.
    In(Vec<Box<str>>),
    /// The label is absent, or has none of these values.
    NotIn(Vec<Box<str>>),
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    pub fn new(requirements: Vec<SelectorRequirement>) -> Self {
        Self(requirements)
    }

    /// Returns whether there are no requirements.
    pub fn selects_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether any requirement is about `key`.
    pub fn uses_key(&self, key: &str) -> bool {
        self.0.iter().any(|requirement| &*requirement.key == key)
    }

    pub fn requirements(&self) -> &[SelectorRequirement] {
        &self.0
    }

    /// Returns whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &Labels<'_>) -> bool {
        self.matches_by(|key| labels.get(key))
    }

    /// Returns whether the labels that `label` looks up satisfy every requirement.
    pub fn matches_by<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|SelectorRequirement { key, operator }| {
            let value = label(key);
            match operator {
                SelectorOperator::In(values) => value.is_some_and(|value| values.iter().any(|one| &**one == value)),
                SelectorOperator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| &**one != value)),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// Name pattern in which `*` stands for any run of characters, also for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// Makes a pattern; every text is one.
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Self(pattern.into())
    }

    /// Returns the only name that matches, if the text has no `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Returns whether every name matches.
    pub fn matches_all(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Returns whether `name` matches, in at most pattern times name steps, whatever the pattern.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at_pattern, mut at_name) = (0, 0);
        let mut last_star = None;
        while at_name < name.len() {
            if pattern.get(at_pattern) == Some(&b'*') {
                last_star = Some((at_pattern, at_name));
                at_pattern += 1;
            } else if pattern.get(at_pattern) == Some(&name[at_name]) {
                at_pattern += 1;
                at_name += 1;
            } else if let Some((star, taken)) = last_star {
                last_star = Some((star, taken + 1));
                at_pattern = star + 1;
                at_name = taken + 1;
            } else {
                return false;
            }
        }
        pattern[at_pattern..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels<'static> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_glob_matches_as_a_shell_would() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("", "", true),
            ("", "a", false),
            ("legacy-*", "legacy-", true),
            ("legacy-*", "legacy", false),
            ("*-a-*", "x-a-y-a-z", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("shop", "shopping", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn a_hostile_glob_ends_in_time() {
        let pattern = "*a".repeat(500);
        assert!(!Glob::new(pattern).matches(&("a".repeat(5_000) + "b")));
    }

    #[test]
    fn not_in_holds_for_an_absent_key() {
        let selector = |operator| Selector::new(vec![SelectorRequirement { key: "k".into(), operator }]);
        let (none, x) = (labels(&[]), labels(&[("k", "x")]));
        let cases = [
            (SelectorOperator::In(vec!["x".into()]), false, true),
            (SelectorOperator::NotIn(vec!["x".into()]), true, false),
            (SelectorOperator::NotIn(vec!["y".into()]), true, true),
            (SelectorOperator::Exists, false, true),
            (SelectorOperator::DoesNotExist, true, false),
        ];
        for (operator, without, with) in cases {
            let selector = selector(operator);
            assert_eq!((selector.matches(&none), selector.matches(&x)), (without, with), "{selector:?}");
        }
        assert!(Selector::default().matches(&none));
    }

    #[test]
    fn a_label_that_stands_twice_is_named() {
        let twice = vec![("b".into(), "1".into()), ("a".into(), "1".into()), ("b".into(), "2".into())];
        assert_eq!(Labels::new(twice), Err("b".to_owned()));
    }
}
