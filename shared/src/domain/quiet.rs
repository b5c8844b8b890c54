//! When somebody wants to be left alone.

use chrono::DateTime;
use serde_json::Value;

use super::Problem;
use super::sla::calendar::{Calendar, Definition};
use crate::time::Timestamp;

/// Tells whether a text names a time zone of the IANA database.
#[must_use]
pub fn is_time_zone(text: &str) -> bool {
    text.parse::<chrono_tz::Tz>().is_ok()
}

/// Somebody's quiet hours: the open time of a calendar of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours(Calendar);

impl QuietHours {
    /// Reads what a user wants, as `{"tz": "Europe/Berlin", "weekly": {"mon": ["22:00-24:00"]}}`.
    ///
    /// # Errors
    /// Everything that is wrong with it. Somebody who is never to be told anything is wrong too.
    pub fn read(value: &Value) -> Result<Self, Vec<Problem>> {
        let definition: Definition = serde_json::from_value(value.clone())
            .map_err(|error| vec![Problem::new("", format!("Must be like a calendar: {error}."))])?;
        let calendar = definition.read(None)?;
        if calendar.next_closing(DateTime::UNIX_EPOCH).is_none() {
            return Err(vec![Problem::new("weekly", "Must leave some time in which you can be told.")]);
        }
        Ok(Self(calendar))
    }

    /// Finds when the quiet that reigns at `at` ends; `None` when there is none.
    #[must_use]
    pub fn end(&self, at: Timestamp) -> Option<Timestamp> {
        if self.0.is_open(at) { self.0.next_closing(at) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_night_ends_in_the_morning_of_the_zone() {
        let nights =
            json!({"tz": "Europe/Berlin", "weekly": {"mon": ["22:00-24:00"], "tue": ["00:00-07:00"]}});
        let quiet = QuietHours::read(&nights).unwrap();
        let morning = Some(at("2026-01-06T06:00:00Z"));
        for (now, end) in [
            ("2026-01-05T20:59:59Z", None),
            ("2026-01-05T21:00:00Z", morning),
            ("2026-01-05T23:30:00Z", morning),
            ("2026-01-06T05:59:59Z", morning),
            ("2026-01-06T06:00:00Z", None),
            ("2026-01-07T02:00:00Z", None),
        ] {
            assert_eq!(quiet.end(at(now)), end, "{now}");
        }
    }

    #[test]
    fn everything_wrong_is_named() {
        let wrong = json!({"tz": "Mars", "weekly": {"mon": ["25:00-26:00"], "someday": []}});
        assert_eq!(QuietHours::read(&wrong).unwrap_err().len(), 3);
        for odd in [json!([]), json!({"weekly": {}}), json!({"tz": "UTC", "nights": {}})] {
            assert_eq!(QuietHours::read(&odd).unwrap_err().len(), 1, "{odd}");
        }
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let weekly: serde_json::Map<_, _> =
            days.map(|day| (day.to_owned(), json!(["00:00-24:00"]))).into_iter().collect();
        let always = QuietHours::read(&json!({"tz": "UTC", "weekly": weekly})).unwrap_err();
        assert_eq!(always[0].field, "weekly");
    }
}
