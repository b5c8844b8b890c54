//! What the rules say about a case, cell by cell.
//!
//! Time that counts is counted, one cell at a time; nothing is computed from intervals, and nothing of the engine is
//! used. All spans and instants are microseconds; a threshold may lie within a cell.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::hours::Horizon;

/// When something comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    At(i64),
    Never,
    /// Not within the horizon, whose end it is.
    After(i64),
}

/// What the rules say.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: &'static str,
    pub(super) elapsed: i64,
    pub(super) target: i64,
    pub(super) breached_at: Option<i64>,
    pub(super) due_at: When,
    pub(super) breach_at: When,
    pub(super) warnings: Vec<When>,
    /// Whether it counts on after all that is given.
    pub(super) runs_on: bool,
}

/// Walks through a case, all of whose instants lie between two cells of the horizon.
pub(super) fn judge(horizon: &Horizon, case: &Value) -> Verdict {
    let end = horizon.open.len();
    let place = |value: &Value| {
        let cells = seconds(value) - horizon.from;
        assert!(cells % horizon.cell == 0 && cells >= 0, "{value} is not between two cells");
        usize::try_from(cells / horizon.cell).expect("not negative")
    };
    let list = |field: &str| case[field].as_array().cloned().unwrap_or_default();
    let (start, at) = (place(&case["start"]), place(&case["at"]));
    let stop = Some(&case["stop"]).filter(|stop| !stop.is_null()).map(place);
    let mut paused = vec![false; end];
    let mut for_good = false;
    for pause in list("pauses") {
        let to = if pause[1].is_null() { end } else { place(&pause[1]) };
        for_good |= pause[1].is_null();
        (place(&pause[0])..to).for_each(|i| paused[i] = true);
    }
    let mut changes: Vec<(usize, i64, String)> = Vec::new();
    for change in list("retargets") {
        let mode = change["mode"].as_str().expect("a mode").to_owned();
        changes.push((place(&change["at"]), span(&change["target"]), mode));
    }
    changes.sort_by_key(|(at, ..)| *at);
    changes.retain(|(at, ..)| stop.is_none_or(|stop| *at <= stop));

    let cell = horizon.cell * 1_000_000;
    let instant = |i: usize| horizon.from * 1_000_000 + i64::try_from(i).expect("few cells") * cell;
    let mut target = span(&case["target"]);
    // What counts: what counted before counting last began, when that was, and the cells that counted since.
    let (mut credit, mut counting_from, mut counted) = (0, instant(start), Vec::new());
    let (mut elapsed, mut changed_at, mut breached_at) = (0, i64::MIN, None);
    let mut seen = (0, target);
    let mut changes = changes.into_iter().peekable();
    let counts = |i: usize| i < end && horizon.open[i] && !paused[i] && stop.is_none_or(|stop| i < stop);
    for i in start..=end {
        while let Some((_, new, mode)) = changes.next_if(|(at, ..)| *at == i) {
            if new == target && mode != "restart" {
                continue;
            }
            if mode != "retroactive" {
                let carried = i128::from(elapsed) * i128::from(new) / i128::from(target);
                credit = if mode == "restart" { 0 } else { i64::try_from(carried).expect("not so much") };
                (elapsed, counting_from) = (credit, instant(i));
                counted.clear();
            }
            (target, changed_at) = (new, instant(i));
            if i <= at && elapsed > target {
                breached_at = breached_at.or(Some(instant(i)));
            }
        }
        if i == at {
            seen = (elapsed, target);
        }
        if counts(i) {
            if i < at && elapsed + cell > target {
                breached_at = breached_at.or(Some(instant(i) + target - elapsed));
            }
            elapsed += cell;
            counted.push(instant(i));
        }
    }
    let runs_on = stop.is_none() && !for_good;
    let beyond = if runs_on { When::After(instant(end)) } else { When::Never };
    // Rule 3: the first instant at which elapsed is enough; behind it, where it has to be more.
    let first = |enough: &dyn Fn(i64) -> bool, threshold: i64| {
        if enough(credit) {
            return When::At(counting_from);
        }
        let mut elapsed = credit;
        for at in &counted {
            if enough(elapsed + cell) {
                return When::At(at + threshold - elapsed);
            }
            elapsed += cell;
        }
        beyond
    };
    let reached = |threshold: i64| first(&|elapsed| elapsed >= threshold, threshold);
    let warnings = list("warn").iter().map(|share| reached(share_of(target, share))).collect();
    let state = match () {
        () if breached_at.is_some() => "breached",
        () if stop.is_some_and(|stop| stop <= at) => "met",
        () if at >= start && at < end && paused[at] => "paused",
        () => "active",
    };
    let (elapsed, target_seen) = seen;
    let breach_at = match first(&|elapsed| elapsed > target, target) {
        When::At(breach) => When::At(breach.max(changed_at)),
        other => other,
    };
    let due_at = reached(target);
    Verdict { state, elapsed, target: target_seen, breached_at, due_at, breach_at, warnings, runs_on }
}

/// A share of so many millionths, rounded up to a microsecond.
#[expect(clippy::cast_possible_truncation, reason = "cases warn between 0 and 1")]
fn share_of(target: i64, share: &Value) -> i64 {
    let millionths = (share.as_f64().expect("a number") * 1e6).round() as i128;
    let exact = i128::from(target) * millionths;
    i64::try_from((exact + 999_999) / 1_000_000).expect("no more than the target")
}

fn seconds(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok()).expect("an instant").timestamp()
}

/// Microseconds of a text like `1h30m`.
fn span(value: &Value) -> i64 {
    let mut number = 0;
    let mut seconds = 0;
    for c in value.as_str().expect("text").chars() {
        match c.to_digit(10) {
            Some(digit) => number = number * 10 + i64::from(digit),
            None => {
                seconds += number
                    * [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)]
                        .iter()
                        .find(|(unit, _)| *unit == c)
                        .expect("a unit")
                        .1;
                number = 0;
            }
        }
    }
    seconds * 1_000_000
}
