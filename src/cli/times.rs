//! Parses and formats durations and instants of the command line.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// Parses a duration such as `2h30m`, `90s` or `3d`.
pub(in crate::cli) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let wrong =
        || format!("{text:?} is not a positive duration in days, hours, minutes and seconds, such as 3d, 2h30m or 90s");
    let mut seconds: i64 = 0;
    let mut rest = text;
    for (unit, worth) in [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
        let Some((digits, after)) = rest.split_once(unit) else { continue };
        if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        seconds += digits.parse::<i64>().map_err(|_| wrong())? * worth;
        rest = after;
    }
    if rest.is_empty() && seconds > 0 { Ok(SignedDuration::from_secs(seconds)) } else { Err(wrong()) }
}

/// Formats a duration as the field `for` of a suspension.
pub(in crate::cli) fn format_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// Parses an instant: with an offset or a zone, by the local clock, or only a time of day, which means the next such time.
pub(in crate::cli) fn parse_instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if text.contains('[') {
        return text.parse::<Zoned>().map(|zoned| zoned.timestamp()).map_err(|error| format!("{text:?}: {error}"));
    }
    let local = now.to_zoned(zone.clone());
    let wrong = || {
        format!(
            "{text:?} is no time; one is written as 2026-11-24T18:00:00Z, 2026-11-24T18:00+01:00[Europe/Berlin], \
             2026-11-24T18:00 or 18:00, the last two by the local clock"
        )
    };
    if text.contains('T') || text.contains(' ') {
        let civil = text.parse::<DateTime>().map_err(|_| wrong())?;
        return civil.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|error| error.to_string());
    }
    let time =
        Some(text).filter(|text| text.contains(':')).and_then(|text| text.parse::<Time>().ok()).ok_or_else(wrong)?;
    let day = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    let today = day(local.date()).map_err(|error| error.to_string())?;
    if today > now {
        return Ok(today);
    }
    let tomorrow = local.date().checked_add(1.day()).map_err(|error| error.to_string())?;
    day(tomorrow).map_err(|error| error.to_string())
}

/// Formats an instant in local time and in UTC.
pub(in crate::cli) fn format_instant(instant: Timestamp) -> String {
    let local = instant.to_zoned(TimeZone::system());
    if local.offset().is_zero() {
        return instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    format!("{} ({})", local.strftime("%Y-%m-%d %H:%M:%S %Z"), instant.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let read = |text| parse_duration(text).map(format_duration);
        for (text, expected) in
            [("2h30m", "2h30m"), ("90s", "1m30s"), ("3d", "72h"), ("1d2h", "26h"), ("40000h", "40000h")]
        {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in ["", "3", "h", "-1h", "0s", "2h30", "1.5h", "1m2h", "40y", "9999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_read_with_zones_and_by_the_local_clock() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        let read = |text| parse_instant(text, now, &berlin).map(|instant| instant.to_string());
        for (text, expected) in [
            ("2026-11-24T18:00:00Z", "2026-11-24T18:00:00Z"),
            ("2026-11-24T18:00:00+02:00", "2026-11-24T16:00:00Z"),
            ("2026-11-24T18:00", "2026-11-24T17:00:00Z"),
            ("2026-11-24T18:00+00:00[UTC]", "2026-11-24T18:00:00Z"),
            ("18:00", "2026-11-24T17:00:00Z"),
            ("12:30", "2026-11-25T11:30:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in ["tomorrow", "18", "2026-11-24", "25:00", "2026-11-24T18:00[Europe/Nowhere]", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
