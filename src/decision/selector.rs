//! Labels, Kubernetes label selectors and globs, with the semantics of Kubernetes.

use std::borrow::Cow;

/// Labels in order of their keys, so that a look-up is logarithmic however many a client sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Labels<'a> {
    /// Takes the pairs in any order; fails with the key that stands there twice.
    pub fn new(mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, String> {
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        match pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(twice) => Err(twice[0].0.to_string()),
            None => Ok(Self(pairs)),
        }
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let position = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(key)).ok()?;
        Some(&self.0[position].1)
    }

    /// All but the one under `key`.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.retain(|(other, _)| other != key);
        self
    }

    /// These and one more, which takes the place of the one under its key.
    #[must_use]
    pub fn with(self, key: &str, value: &str) -> Self {
        let Self(mut pairs) = self.without(key);
        let position = pairs.partition_point(|(other, _)| other.as_ref() < key);
        pairs.insert(position, (Cow::Owned(key.to_owned()), Cow::Owned(value.to_owned())));
        Self(pairs)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Labels<'static> {
    /// Of a key that comes twice, the last value stays.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        Self(sorted.into_iter().map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))).collect())
    }
}

/// A label selector: all requirements must hold; none at all selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: Box<str>,
    /// What is required of it.
    pub operator: Operator,
}

/// What is required of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// It is there, with one of these values.
    In(Vec<Box<str>>),
    /// It is absent, or has none of these values.
    NotIn(Vec<Box<str>>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Selector {
    /// A selector of these requirements.
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self(requirements)
    }

    /// Whether it selects everything, because it requires nothing.
    pub fn selects_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any requirement is about `key`.
    pub fn uses(&self, key: &str) -> bool {
        self.0.iter().any(|requirement| &*requirement.key == key)
    }

    /// What it requires.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &Labels<'_>) -> bool {
        self.matches_by(|key| labels.get(key))
    }

    /// Whether the labels that `label` looks up satisfy every requirement.
    pub fn matches_by<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|Requirement { key, operator }| {
            let value = label(key);
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| &**one == value)),
                Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| &**one != value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// A name pattern in which `*` stands for any run of characters, also for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// A pattern; every text is one.
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Self(pattern.into())
    }

    /// The one name that it matches, if it is no pattern.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether it matches every name.
    pub fn matches_all(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether `name` matches. At most pattern times name steps, whatever the pattern.
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
        let selector = |operator| Selector::new(vec![Requirement { key: "k".into(), operator }]);
        let (none, x) = (labels(&[]), labels(&[("k", "x")]));
        let cases = [
            (Operator::In(vec!["x".into()]), false, true),
            (Operator::NotIn(vec!["x".into()]), true, false),
            (Operator::NotIn(vec!["y".into()]), true, true),
            (Operator::Exists, false, true),
            (Operator::DoesNotExist, true, false),
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
