//! Parses and formats instants of the command line.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

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
