//! Syntax of the texts in fields: each with a schema for the API server, and the same check in Rust.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::invalid::FieldError;
use crate::kernel::duration::{DURATION_GRAMMAR, DURATION_PATTERN, parse_duration};

/// Syntax of one sort of text.
#[derive(Debug)]
pub(super) struct TextSyntax {
    /// Limit of characters.
    pub(super) max_length: usize,
    /// Regular expression for the API server.
    pattern: &'static str,
    /// Further condition for the API server.
    extra_rule: &'static str,
    /// Same check in Rust.
    is_match: fn(&str) -> bool,
    /// Description of the syntax, as in "is not ...".
    pub(super) expected: &'static str,
}

/// Pattern of namespace names.
pub(super) static NAMESPACE_GLOB: TextSyntax = TextSyntax {
    max_length: 63,
    pattern: "^[a-z0-9*-]+$",
    extra_rule: "",
    is_match: |text| {
        consists_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"*-".contains(&byte))
    },
    expected: "a pattern of a-z, 0-9, - and *, such as team-*",
};

/// Pattern of names of objects.
pub(super) static NAME_GLOB: TextSyntax = TextSyntax {
    max_length: 253,
    pattern: "^[a-z0-9.*-]+$",
    extra_rule: "",
    is_match: |text| {
        consists_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".*-".contains(&byte))
    },
    expected: "a pattern of a-z, 0-9, ., - and *, such as web-*",
};

/// Kind of object.
pub(super) static KIND: TextSyntax = TextSyntax {
    max_length: 63,
    pattern: "^[A-Z][A-Za-z0-9]*$",
    extra_rule: "",
    is_match: |text| {
        text.starts_with(|c: char| c.is_ascii_uppercase()) && consists_of(text, |byte| byte.is_ascii_alphanumeric())
    },
    expected: "a kind as Kubernetes writes it, such as Deployment",
};

/// DNS label.
pub(super) static DNS_LABEL: TextSyntax = TextSyntax {
    max_length: 63,
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    extra_rule: "",
    is_match: |text| {
        consists_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !has_edge(text, b"-")
    },
    expected: "a name of a-z, 0-9 and -, which begins and ends with a letter or digit",
};

/// Value of a label that is not empty.
pub(super) static VERSION: TextSyntax = TextSyntax {
    max_length: 63,
    pattern: "^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
    extra_rule: "",
    is_match: |text| is_label_part(text),
    expected: "the value of a version label, such as v2",
};

/// Key of a label.
pub(super) static LABEL_KEY: TextSyntax = TextSyntax {
    max_length: 317,
    pattern: "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    extra_rule: "",
    is_match: |text| match text.split_once('/') {
        None => text.len() <= 63 && is_label_part(text),
        Some((prefix, name)) => {
            prefix.len() <= 253 && is_dns_subdomain(prefix) && name.len() <= 63 && is_label_part(name)
        }
    },
    expected: "the key of a label, such as app or example.com/team",
};

/// Value of a label.
pub(super) static LABEL_VALUE: TextSyntax = TextSyntax {
    max_length: 63,
    pattern: "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
    extra_rule: "",
    is_match: |text| text.is_empty() || is_label_part(text),
    expected: "the value of a label: at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends",
};

/// Duration.
pub(super) static DURATION: TextSyntax = TextSyntax {
    max_length: 24,
    pattern: DURATION_PATTERN,
    extra_rule: " && self.matches('[1-9]')",
    is_match: |text| parse_duration(text).is_ok(),
    expected: DURATION_GRAMMAR,
};

/// Words for people.
pub(super) static WORDS: TextSyntax = TextSyntax {
    max_length: 256,
    pattern: r"\S",
    extra_rule: "",
    is_match: |text| text.chars().any(|c| !c.is_whitespace()),
    expected: "a reason in words",
};

/// Reference to a ticket.
pub(super) static TICKET: TextSyntax = TextSyntax {
    max_length: 64,
    pattern: r"\S",
    extra_rule: "",
    is_match: |text| text.chars().any(|c| !c.is_whitespace()),
    expected: "a ticket, such as INC-1042",
};

impl TextSyntax {
    /// Refuses a value that does not have this syntax.
    pub(super) fn check(&self, field: impl Into<String>, value: &str) -> Result<(), FieldError> {
        if value.chars().count() > self.max_length {
            Err(FieldError::for_value(field, value, &format!("at most {} characters long", self.max_length)))
        } else if (self.is_match)(value) {
            Ok(())
        } else {
            Err(FieldError::for_value(field, value, self.expected))
        }
    }

    /// Returns the schema for the API server.
    pub(super) fn schema(&self) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": self.max_length,
            "x-kubernetes-validations": [self.rule()],
        })
    }

    /// Returns the schema of a field that may be absent.
    pub(super) fn optional_schema(&self) -> Schema {
        let mut schema = self.schema();
        schema.insert("nullable".to_owned(), true.into());
        schema
    }

    /// Returns the schema of a list of at most `most` such texts.
    pub(super) fn list_schema(&self, most: usize) -> Schema {
        json_schema!({"type": "array", "maxItems": most, "items": self.schema()})
    }

    /// Returns the rule for the keys of a map.
    pub(super) fn key_rule(&self) -> Value {
        let rule = format!("self.all(key, key.matches('{}'))", self.pattern);
        json!({"rule": rule, "message": format!("a key is not {}", self.expected)})
    }

    fn rule(&self) -> Value {
        let rule = format!("self.matches('{}'){}", self.pattern.replace('\\', r"\\"), self.extra_rule);
        json!({"rule": rule, "message": format!("this is not {}", self.expected)})
    }
}

fn consists_of(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

fn has_edge(text: &str, by: &[u8]) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.into_iter().flatten().any(|byte| by.contains(&byte))
}

fn is_label_part(text: &str) -> bool {
    consists_of(text, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && !has_edge(text, b"-_.")
}

/// Returns whether Kubernetes takes this as the name of an object of ours.
pub(super) fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && is_dns_subdomain(text)
}

/// Returns whether Kubernetes takes this as the name of a namespace.
pub(super) fn is_namespace_name(text: &str) -> bool {
    text.len() <= 63 && (DNS_LABEL.is_match)(text)
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(|label| (DNS_LABEL.is_match)(label))
}
