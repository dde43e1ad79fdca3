//! Durations as people write them: the one grammar of flags, YAML and the API.

use jiff::SignedDuration;
use thiserror::Error;

/// Grammar of [`parse_duration`] in words, as the end of a sentence.
pub const DURATION_GRAMMAR: &str =
    "a positive duration of days, hours, minutes and seconds in this order, such as 3d, 2h30m or 90s";
/// Grammar of [`parse_duration`] as a regular expression. It also fits durations of zero.
pub const DURATION_PATTERN: &str = "^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$";

/// Longest number before a unit.
const MAX_DIGITS: usize = 5;
const MAX_HOURS: i64 = 99_999;

/// Error of a text that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {DURATION_GRAMMAR}")]
pub struct InvalidDuration;

/// Parses a duration such as `3d`, `2h30m` or `90s`.
///
/// # Errors
///
/// Fails unless the text is a positive duration in this grammar.
pub fn parse_duration(text: &str) -> Result<SignedDuration, InvalidDuration> {
    let mut rest = text;
    let mut seconds: i64 = 0;
    for (unit, worth) in [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
        let Some((digits, after)) = rest.split_once(unit) else { continue };
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDuration);
        }
        seconds += digits.parse::<i64>().map_err(|_| InvalidDuration)? * worth;
        rest = after;
    }
    if rest.is_empty() && seconds > 0 { Ok(SignedDuration::from_secs(seconds)) } else { Err(InvalidDuration) }
}

/// Formats a positive duration in whole seconds. Days appear only where the hours would have too many digits.
pub fn format_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = match seconds / 3600 {
        hours if hours > MAX_HOURS => (hours / 24, hours % 24),
        hours => (0, hours),
    };
    let parts = [(days, 'd'), (hours, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_positive_number_of_days_hours_minutes_and_seconds_in_that_order() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        for (text, expected) in [
            ("3h", 10_800),
            ("2h30m", 9_000),
            ("90s", 90),
            ("1h1s", 3_601),
            ("00060m", 3_600),
            ("3d", 259_200),
            ("1d2h", 93_600),
            ("99999d99999h99999m99999s", 9_006_009_939),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "", "0s", "0d0h0m", "3", "h", "40y", "1.5h", "-3h", "-1h", "30m2h", "1h2d", "2h30", "3h ", "100000h",
            "9999999h", "3hh", "3h+5m", "٣h",
        ] {
            assert_eq!(seconds(text), Err(InvalidDuration), "{text}");
        }
    }

    #[test]
    fn a_formatted_duration_reads_back_as_itself() {
        let format = |text| parse_duration(text).map(format_duration);
        for (text, expected) in [
            ("2h30m", "2h30m"),
            ("90s", "1m30s"),
            ("3d", "72h"),
            ("1d2h", "26h"),
            ("99999h", "99999h"),
            ("99999h60m", "4166d16h"),
            ("99999d", "99999d"),
        ] {
            let formatted = format(text).unwrap();
            assert_eq!(formatted, expected, "{text}");
            assert_eq!(parse_duration(&formatted), parse_duration(text));
        }
    }
}
