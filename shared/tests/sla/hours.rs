//! Calendars for histories that last minutes: windows of seconds, and then open or closed for good.

use chrono::TimeDelta;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, sample};
use shared::domain::sla::Calendar;
use shared::domain::sla::calendar::Definition;
use shared::ids::VersionId;

use crate::history::at;

/// When histories are over, in seconds since their start. What is open then stays so.
const AFTERWARDS: i64 = 3_600;

/// Open hours, as the oracle and as the engine know them.
#[derive(Clone, Debug)]
pub(crate) struct Hours {
    /// `[start, end)` in seconds since the start of the history.
    windows: Vec<(i64, i64)>,
    afterwards: bool,
    pub(crate) calendar: Calendar,
}

impl Hours {
    /// Around the clock.
    pub(crate) fn always() -> Self {
        Self { windows: vec![(0, AFTERWARDS)], afterwards: true, calendar: Calendar::AlwaysOpen }
    }

    pub(crate) fn is_open(&self, second: i64) -> bool {
        if second >= AFTERWARDS {
            return self.afterwards;
        }
        self.windows.iter().any(|(start, end)| (*start..*end).contains(&second))
    }

    /// Tells whether nothing opens from a second on that is after the last history.
    pub(crate) fn is_over(&self, second: i64) -> bool {
        second >= AFTERWARDS && !self.afterwards
    }

    /// Writes the windows into the day on which histories happen, wherever that day begins.
    fn of(version: u128, zone: &str, windows: Vec<(i64, i64)>, afterwards: bool) -> Self {
        let tz: chrono_tz::Tz = zone.parse().expect("a zone");
        let local = |second| (at(0) + TimeDelta::seconds(second)).with_timezone(&tz);
        let text = |(start, end)| format!("{}-{}", local(start).format("%T"), local(end).format("%T"));
        let mut today: Vec<String> = windows.iter().copied().map(text).collect();
        let mut weekly = std::collections::BTreeMap::new();
        if afterwards {
            today.push(format!("{}-24:00", local(AFTERWARDS).format("%T")));
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            weekly.extend(days.map(|day| (day.to_owned(), vec!["00:00-24:00".to_owned()])));
        }
        let overrides = [(local(0).date_naive().to_string(), today)].into();
        let definition = Definition { tz: zone.into(), weekly, overrides };
        let version = VersionId(uuid::Uuid::from_u128(version));
        let calendar = definition.read(Some(version)).expect("nothing is wrong with it");
        Self { windows, afterwards, calendar }
    }
}

/// Hours with windows of up to about `longest` seconds.
pub(crate) fn hours(version: u128, longest: i64) -> impl Strategy<Value = Hours> {
    let zones = vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"];
    let lengths = collection::vec((0..=longest, 1..=longest), 0..12);
    let some =
        (sample::select(zones), lengths, any::<bool>()).prop_map(move |(zone, lengths, afterwards)| {
            let mut now = 0;
            let windows = lengths.into_iter().map(|(closed, open)| {
                let start = now + closed;
                now = start + open;
                (start, now)
            });
            let windows = windows.take_while(|(_, end)| *end < AFTERWARDS).collect();
            Hours::of(version, zone, windows, afterwards)
        });
    prop_oneof![1 => Just(Hours::always()), 3 => some]
}
