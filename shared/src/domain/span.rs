//! Lengths of time as people write them: `90s`, `60m`, `4h`, `1h30m`, `2d` (a day is 24 hours).

use chrono::TimeDelta;

/// The units and their seconds, in the order in which a text names them.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// What a text must look like, to end a sentence that begins with "Must be".
pub const EXPECTED: &str = "a length of time like 90s, 45m, 1h30m or 2d";

/// Reads whole numbers of units, the larger unit first and each at most once; `None` for anything else.
///
/// What it returns is never negative and fits into 64 bits of microseconds.
#[must_use]
pub fn parse(text: &str) -> Option<TimeDelta> {
    let (mut rest, mut units, mut seconds) = (text, UNITS.iter(), 0_i64);
    loop {
        let (number, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let name = unit.chars().next()?;
        let (_, size) = units.find(|(unit, _)| *unit == name)?;
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(*size)?)?;
        rest = &unit[name.len_utf8()..];
        if rest.is_empty() {
            let span = TimeDelta::try_seconds(seconds)?;
            return span.num_microseconds().map(|_| span);
        }
    }
}

/// Writes a length of time so that [`parse`] reads it again, with units as large as possible: `90m` becomes
/// `1h30m`. What is less than a second or negative is left out.
#[must_use]
pub fn format(span: TimeDelta) -> String {
    let (mut rest, mut text) = (span.num_seconds().max(0), String::new());
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&(rest / size).to_string());
            text.push(unit);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// For fields with `#[serde(with = "span::text")]`.
pub mod text {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes it as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(span: &TimeDelta, to: S) -> Result<S::Ok, S::Error> {
        super::format(*span).serialize(to)
    }

    /// Reads it from text.
    ///
    /// # Errors
    /// When it is not such a text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TimeDelta, D::Error> {
        let text = String::deserialize(from)?;
        super::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("`{text}` is not {}", super::EXPECTED)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[test]
    fn units_add_up() {
        let seconds = |text| parse(text).map(|span| span.num_seconds());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("60m"), Some(3_600));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("1d2h3m4s"), Some(93_784));
        assert_eq!(seconds("0s"), Some(0));
        assert_eq!(seconds("007m"), Some(420));
    }

    #[test]
    fn anything_else_is_no_length_of_time() {
        for text in [
            "", " ", "4", "h", "-4h", "+4h", "4h ", " 4h", "4 h", "1.5h", "1,5h", "1h1h", "30m1h", "4H",
            "4w", "1h30", "٣h", "4ħ", "PT4H",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_no_length_of_time() {
        assert_eq!(parse("99999999999999999999s"), None);
        assert_eq!(parse("9223372036854775807d"), None);
        assert_eq!(parse("9223372036854775807s"), None);
        assert_eq!(parse("9223372036855s"), None);
        assert_eq!(parse("9223372036854s").map(|span| span.num_seconds()), Some(9_223_372_036_854));
        assert_eq!(parse("106751991d86400s"), None);
    }

    #[test]
    fn units_are_written_as_large_as_possible() {
        assert_eq!(format(TimeDelta::minutes(90)), "1h30m");
        assert_eq!(format(TimeDelta::hours(48)), "2d");
        assert_eq!(format(TimeDelta::zero()), "0s");
        assert_eq!(format(TimeDelta::milliseconds(1_999)), "1s");
        assert_eq!(format(TimeDelta::hours(-1)), "0s");
    }

    #[test]
    fn a_field_is_its_text() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Wait(#[serde(with = "text")] TimeDelta);
        let wait = Wait(TimeDelta::minutes(90));
        assert_eq!(serde_json::to_string(&wait).unwrap(), r#""1h30m""#);
        assert_eq!(serde_json::from_str::<Wait>(r#""90m""#).unwrap(), wait);
        let error = serde_json::from_str::<Wait>(r#""soon""#).unwrap_err().to_string();
        assert!(error.starts_with("`soon` is not a length of time like 90s"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0..9_223_372_036_854_i64) {
            let span = TimeDelta::seconds(seconds);
            prop_assert_eq!(parse(&format(span)), Some(span));
        }
    }
}
