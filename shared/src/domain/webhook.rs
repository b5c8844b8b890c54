//! When deliveries to webhooks are tried again, and when they are given up.

use chrono::TimeDelta;

/// How long to wait before each further try of a delivery.
///
/// Source: the Standard Webhooks specification, "Deliverability and reliability".
const WAITS: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    TimeDelta::hours(24),
];

/// A webhook to which every delivery has failed for this long is disabled.
pub const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(5);

/// How long deliveries are signed with the old secret as well as with the new one.
pub const ROTATION: TimeDelta = TimeDelta::hours(24);

/// The type of an event that is sent on request, to see whether a webhook works.
pub const TEST: &str = "webhook.test";

/// What every type of event is called, where any will do.
pub const EVERY: &str = "*";

/// What an attempt means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more, of this or any other.
    Gone,
    /// Again after so long.
    Again(TimeDelta),
    /// It was tried often enough.
    Failed,
}

/// Judges the `attempt`th attempt, from 1, by the receiver's status; without one, there was no answer.
///
/// `random` is uniform in `[0, 1)`: waits are up to a fifth longer, so that deliveries that failed together do not come
/// back together.
#[must_use]
pub fn judge(status: Option<u16>, attempt: i64, random: f64) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(410) => Verdict::Gone,
        _ => {
            let wait = usize::try_from(attempt - 1).ok().and_then(|place| WAITS.get(place));
            wait.map_or(Verdict::Failed, |wait| Verdict::Again(*wait + longer(*wait, random)))
        }
    }
}

fn longer(wait: TimeDelta, random: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most a day in ms")]
    TimeDelta::milliseconds((wait.num_milliseconds() as f64 * random / 5.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_decides() {
        for status in [200, 204, 299] {
            assert_eq!(judge(Some(status), 1, 0.5), Verdict::Delivered);
        }
        assert_eq!(judge(Some(410), 10, 0.5), Verdict::Gone);
        for status in [None, Some(301), Some(400), Some(404), Some(429), Some(500)] {
            assert_eq!(judge(status, 1, 0.0), Verdict::Again(TimeDelta::seconds(5)), "{status:?}");
        }
    }

    #[test]
    fn tries_are_spread_over_days_and_end() {
        let waits = |random| {
            (1..=10).map(move |attempt| match judge(None, attempt, random) {
                Verdict::Again(wait) => wait.num_seconds(),
                Verdict::Failed => -1,
                other => panic!("{other:?}"),
            })
        };
        let hour = 3_600;
        let expected = [5, 300, 1_800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour, -1];
        assert_eq!(waits(0.0).collect::<Vec<_>>(), expected);
        for (wait, least) in waits(0.999_999).zip(expected).take(9) {
            assert!(least <= wait && wait <= least + least / 5, "{wait} for {least}");
        }
    }
}
