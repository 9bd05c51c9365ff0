//! Times as callers write them: RFC 3339, and the looser forms that programs print.

use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use super::clock::Time;

/// Reads RFC 3339, also without a zone, which then is UTC, and a date alone, which is its midnight. A space counts as
/// the `T` or, before an offset, as the `+` that a query lost on its way.
pub fn parse(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked("2030-01-31".len())?;
    let clock = match rest.strip_prefix(['T', 't', ' ']) {
        Some(clock) if clock.ends_with(['Z', 'z']) => clock.to_owned(),
        Some(clock) if clock.contains(['+', '-', ' ']) => clock.replace(' ', "+"),
        Some(clock) => format!("{clock}Z"),
        None if rest.is_empty() => "00:00:00Z".to_owned(),
        None => return None,
    };
    // A moment of the first or last year may have none in UTC.
    Time::parse(&format!("{date}T{clock}"), &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_forms_that_programs_print_are_read() {
        let at = datetime!(2026-04-26 12:00:00 UTC);
        for text in [
            "2026-04-26T12:00:00Z",
            "2026-04-26t12:00:00z",
            "2026-04-26T12:00:00",
            "2026-04-26 12:00:00",
            "2026-04-26T12:00:00.000000",
            "2026-04-26T14:00:00+02:00",
            "2026-04-26T14:00:00 02:00",
            "2026-04-26T07:30:00.000-04:30",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(parse("2026-04-26"), Some(datetime!(2026-04-26 00:00:00 UTC)));
        assert_eq!(parse("2026-04-26T12:00:00.123456"), Some(datetime!(2026-04-26 12:00:00.123456 UTC)));
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "now",
            "2026-04-26T",
            "2026-13-01",
            "2026-02-30T00:00:00Z",
            "26-04-2026",
            "2026-04-26X12:00:00Z",
            "2026-04-26T12:00:00Zjunk",
            "1790000000",
            "2026-04-26T12:00:00+99:00",
            "ääääää2026-04-26",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
