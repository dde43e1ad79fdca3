//! The texts that fields take: each with its schema for the API server and the same check in Rust.

use k8s_openapi::jiff::SignedDuration;
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::invalid::Flaw;

/// A kind of text: how long, of which form, and how a sentence names it.
#[derive(Debug)]
pub(super) struct Text {
    /// At most so many characters.
    pub(super) longest: usize,
    /// The form, as a regular expression for the API server.
    pattern: &'static str,
    /// What else the API server checks.
    also: &'static str,
    /// The same form.
    fits: fn(&str) -> bool,
    /// What it is, after "is not".
    pub(super) right: &'static str,
}

/// A pattern of namespace names.
pub(super) static NAMESPACE_GLOB: Text = Text {
    longest: 63,
    pattern: "^[a-z0-9*-]+$",
    also: "",
    fits: |text| made_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"*-".contains(&byte)),
    right: "a pattern of a-z, 0-9, - and *, such as team-*",
};

/// A pattern of names of objects.
pub(super) static NAME_GLOB: Text = Text {
    longest: 253,
    pattern: "^[a-z0-9.*-]+$",
    also: "",
    fits: |text| made_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".*-".contains(&byte)),
    right: "a pattern of a-z, 0-9, ., - and *, such as web-*",
};

/// A kind of object.
pub(super) static KIND: Text = Text {
    longest: 63,
    pattern: "^[A-Z][A-Za-z0-9]*$",
    also: "",
    fits: |text| {
        text.starts_with(|c: char| c.is_ascii_uppercase()) && made_of(text, |byte| byte.is_ascii_alphanumeric())
    },
    right: "a kind as Kubernetes writes it, such as Deployment",
};

/// A DNS label.
pub(super) static DNS_LABEL: Text = Text {
    longest: 63,
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    also: "",
    fits: |text| {
        made_of(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') && !edged(text, b"-")
    },
    right: "a name of a-z, 0-9 and -, which begins and ends with a letter or digit",
};

/// The value of a label, where it is not empty.
pub(super) static VERSION: Text = Text {
    longest: 63,
    pattern: "^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
    also: "",
    fits: |text| is_label_part(text),
    right: "the value of a version label, such as v2",
};

/// The key of a label.
pub(super) static LABEL_KEY: Text = Text {
    longest: 317,
    pattern: "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    also: "",
    fits: |text| match text.split_once('/') {
        None => text.len() <= 63 && is_label_part(text),
        Some((prefix, name)) => {
            prefix.len() <= 253 && is_dns_subdomain(prefix) && name.len() <= 63 && is_label_part(name)
        }
    },
    right: "the key of a label, such as app or example.com/team",
};

/// The value of a label.
pub(super) static LABEL_VALUE: Text = Text {
    longest: 63,
    pattern: "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
    also: "",
    fits: |text| text.is_empty() || is_label_part(text),
    right: "the value of a label: at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends",
};

/// How long something lasts.
pub(super) static DURATION: Text = Text {
    longest: 24,
    pattern: "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
    also: " && self.matches('[1-9]')",
    fits: |text| duration(text).is_some(),
    right: "a positive duration of at most 99999h, in hours, minutes and seconds, such as 3h, 2h30m or 90s",
};

/// Words for people.
pub(super) static WORDS: Text = Text {
    longest: 256,
    pattern: r"\S",
    also: "",
    fits: |text| text.chars().any(|c| !c.is_whitespace()),
    right: "a reason in words",
};

/// A reference to a ticket.
pub(super) static TICKET: Text = Text {
    longest: 64,
    pattern: r"\S",
    also: "",
    fits: |text| text.chars().any(|c| !c.is_whitespace()),
    right: "a ticket, such as INC-1042",
};

impl Text {
    /// Refuses a value that is not of this kind.
    pub(super) fn check(&self, field: impl Into<String>, value: &str) -> Result<(), Flaw> {
        if value.chars().count() > self.longest {
            Err(Flaw::of_value(field, value, &format!("at most {} characters long", self.longest)))
        } else if (self.fits)(value) {
            Ok(())
        } else {
            Err(Flaw::of_value(field, value, self.right))
        }
    }

    /// What the API server is told.
    pub(super) fn schema(&self) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": self.longest,
            "x-kubernetes-validations": [self.rule()],
        })
    }

    /// The same for a field that may be absent.
    pub(super) fn optional_schema(&self) -> Schema {
        let mut schema = self.schema();
        schema.insert("nullable".to_owned(), true.into());
        schema
    }

    /// A list of at most `most` of them.
    pub(super) fn list(&self, most: usize) -> Schema {
        json_schema!({"type": "array", "maxItems": most, "items": self.schema()})
    }

    /// The rule for the keys of a map.
    pub(super) fn rule_of_keys(&self) -> Value {
        let rule = format!("self.all(key, key.matches('{}'))", self.pattern);
        json!({"rule": rule, "message": format!("a key is not {}", self.right)})
    }

    fn rule(&self) -> Value {
        let rule = format!("self.matches('{}'){}", self.pattern.replace('\\', r"\\"), self.also);
        json!({"rule": rule, "message": format!("this is not {}", self.right)})
    }
}

/// A duration as [`DURATION`] describes it.
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0;
    for (unit, worth) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((digits, after)) = rest.split_once(unit) else { continue };
        if !made_of(digits, |byte| byte.is_ascii_digit()) || digits.len() > 5 {
            return None;
        }
        seconds += digits.parse::<i64>().ok()? * worth;
        rest = after;
    }
    (rest.is_empty() && seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

fn made_of(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

fn edged(text: &str, by: &[u8]) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.into_iter().flatten().any(|byte| by.contains(&byte))
}

fn is_label_part(text: &str) -> bool {
    made_of(text, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && !edged(text, b"-_.")
}

/// Whether Kubernetes takes this as the name of an object of ours.
pub(super) fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && is_dns_subdomain(text)
}

/// Whether Kubernetes takes this as the name of a namespace.
pub(super) fn is_namespace_name(text: &str) -> bool {
    text.len() <= 63 && (DNS_LABEL.fits)(text)
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(|label| (DNS_LABEL.fits)(label))
}
