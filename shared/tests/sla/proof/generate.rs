//! Random calendars and cases, from a seed.

use chrono::{DateTime, Datelike, Days, NaiveDate, SecondsFormat};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::hours::{Horizon, changes};

const DAY: i64 = 86_400;

/// A small generator of random numbers whose sequences never change (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let size = u64::try_from(to - from + 1).expect("a range");
        from + i64::try_from(self.next() % size).expect("in the range")
    }

    pub(super) fn chance(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let last = i64::try_from(of.len()).expect("a short list") - 1;
        &of[usize::try_from(self.between(0, last)).expect("not negative")]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in 1..list.len() {
            let other = self.between(0, i64::try_from(i).expect("a short list"));
            list.swap(i, usize::try_from(other).expect("not negative"));
        }
    }
}

/// Chooses where to begin: mostly within three days before a change of the zone's offset in that year, if it has one.
pub(super) fn beginning(random: &mut Random, zone: Tz, year: i32) -> i64 {
    let second = |year| {
        let day = NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
        (day - NaiveDate::default()).num_seconds()
    };
    let (from, to) = (second(year), second(year + 1));
    let changes = changes(zone, from, to);
    let around = if changes.is_empty() || random.chance(10) {
        random.between(from, to)
    } else {
        random.pick(&changes).0
    };
    (around - random.between(DAY / 4, 3 * DAY)).div_euclid(60) * 60
}

/// Makes a calendar; `days` is how many days after `from` it has exceptions.
pub(super) fn calendar(random: &mut Random, zone: Tz, from: i64, days: i64) -> Value {
    // Seconds to which windows are cut.
    let grain = *random.pick(&[60, 60, 300, 900, 900, 900, 900, 3_600, 3_600, 3_600, 15, 30]);
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let mut weekly = Map::new();
    match random.between(1, 20) {
        1 => weekly.extend(names.map(|day| (day.into(), json!(["00:00-24:00"])))),
        2 => {}
        3..6 => weekly.extend(names[..5].iter().map(|day| ((*day).into(), json!(["09:00-17:00"])))),
        _ => {
            for day in names {
                if random.chance(80) {
                    weekly.insert(day.into(), windows(random, grain));
                }
            }
        }
    }
    let mut overrides = Map::new();
    let first = DateTime::from_timestamp(from - DAY, 0).expect("an instant").date_naive();
    let often = *random.pick(&[0, 10, 25, 60]);
    for day in 0..u64::try_from(days).expect("not negative") + 2 {
        if random.chance(often) {
            let date = first + Days::new(day);
            overrides.insert(date.to_string(), windows(random, grain));
        }
    }
    if random.chance(10) {
        let date = first + Days::new(random.next() % 3_000 + 30);
        if date.year() > 1_000 {
            overrides.insert(date.to_string(), windows(random, grain));
        }
    }
    json!({"tz": zone.name(), "weekly": weekly, "overrides": overrides})
}

fn windows(random: &mut Random, grain: i64) -> Value {
    let count = match random.between(1, 10) {
        1 => return json!([]),
        2 => return json!(["00:00-24:00"]),
        3..7 => 1,
        7..9 => 2,
        _ => 4,
    };
    let mut cuts: Vec<i64> = (0..2 * count)
        .map(|_| {
            // Most offsets change in the small hours.
            let last = if random.chance(60) { 4 * 3_600 } else { DAY };
            if random.chance(8) { DAY } else { random.between(0, last / grain) * grain }
        })
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let touching = random.chance(20);
    let pairs: Vec<(i64, i64)> = if touching {
        cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
    } else {
        cuts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let mut texts: Vec<String> =
        pairs.into_iter().map(|(start, end)| format!("{}-{}", time(start), time(end))).collect();
    random.shuffle(&mut texts);
    json!(texts)
}

fn time(second: i64) -> String {
    let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
    if seconds == 0 {
        format!("{hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// What instants of a case are chosen from.
pub(super) struct Instants<'a> {
    horizon: &'a Horizon,
    /// Cells at which it opens or closes, and one more.
    edges: Vec<i64>,
}

impl<'a> Instants<'a> {
    pub(super) fn new(horizon: &'a Horizon) -> Self {
        let changes = horizon.open.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]);
        let mut edges: Vec<i64> = changes.map(|(i, _)| i64::try_from(i).expect("few cells") + 1).collect();
        edges.push(0);
        Self { horizon, edges }
    }

    fn cells(&self) -> i64 {
        i64::try_from(self.horizon.open.len()).expect("few cells")
    }

    /// A cell that is not before `from`, often one at which it opens or closes.
    fn place(&self, random: &mut Random, from: i64) -> i64 {
        let place = if random.chance(40) {
            random.pick(&self.edges) + *random.pick(&[0, 0, 0, 1, -1])
        } else {
            random.between(from, self.cells())
        };
        place.clamp(from, self.cells())
    }

    fn text(&self, place: i64) -> String {
        let second = self.horizon.from + place * self.horizon.cell;
        DateTime::from_timestamp(second, 0).expect("an instant").to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// A target, often just what is open between two instants.
    fn target(&self, random: &mut Random, start: i64) -> String {
        let end = self.place(random, start);
        let within = usize::try_from(start).expect("a place")..usize::try_from(end).expect("a place");
        let open = self.horizon.open[within].iter().filter(|open| **open).count();
        let exactly = i64::try_from(open).expect("few cells") * self.horizon.cell;
        let seconds = if exactly > 0 && random.chance(50) {
            exactly
        } else {
            let longest = *random.pick(&[10, 60, 3_600, 4 * 3_600, DAY, 3 * DAY]);
            random.between(1, longest)
        };
        if random.chance(20) { format!("{seconds}s") } else { span(seconds) }
    }

    /// Makes a case that happens within the horizon, all but the instant to ask for.
    pub(super) fn case(&self, random: &mut Random, calendar: &Value) -> Value {
        let start = self.place(random, 0) * random.between(1, 4) / 4;
        let mut pauses = Vec::new();
        for _ in 0..*random.pick(&[0, 0, 1, 1, 2, 4]) {
            let from = if random.chance(85) { self.place(random, start) } else { self.place(random, 0) };
            let to = if random.chance(5) { from } else { self.place(random, from) };
            let to = (!random.chance(8)).then(|| self.text(to));
            pauses.push(json!([self.text(from), to]));
        }
        let target = self.target(random, start);
        let mut retargets = Vec::new();
        for _ in 0..*random.pick(&[0, 0, 0, 1, 1, 2, 4]) {
            let at = self.place(random, start);
            let new = if random.chance(10) { target.clone() } else { self.target(random, start) };
            let mode = random.pick(&["retroactive", "carry_fraction", "restart"]);
            retargets.push(json!({"at": self.text(at), "target": new, "mode": mode}));
        }
        let stop = random.chance(25).then(|| self.place(random, start));
        let shares = [0.5, 0.75, 0.9, 1.0, 0.25, 0.333_333, 0.000_001, 0.999_999];
        let warn: Vec<f64> = (0..*random.pick(&[0, 1, 3])).map(|_| *random.pick(&shares)).collect();
        json!({
            "id": "", "calendar": calendar, "start": self.text(start), "target": target, "pauses": pauses,
            "retargets": retargets, "stop": stop.map(|stop| self.text(stop)), "warn": warn, "at": "",
        })
    }

    /// An instant to ask for, with what happens at it within the horizon.
    pub(super) fn at(&self, random: &mut Random) -> String {
        let place = self.place(random, 0);
        self.text(place.min(self.cells() - 1))
    }
}

fn span(mut seconds: i64) -> String {
    let mut text = String::new();
    for (unit, size) in [('d', DAY), ('h', 3_600), ('m', 60), ('s', 1)] {
        if seconds >= size {
            text += &format!("{}{unit}", seconds / size);
            seconds %= size;
        }
    }
    text
}
