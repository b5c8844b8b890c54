//! What was promised: targets by priority and metric, and when to warn.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Calendar, Metric};
use crate::domain::ticket::Priority;

/// A share of a target, in parts per million so that thresholds are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fraction(pub u32);

impl Fraction {
    /// Makes a fraction from whole per cents.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// Takes this share of `span`, rounded up so that a threshold is never reached early.
    #[must_use]
    pub fn of(self, span: TimeDelta) -> TimeDelta {
        let micros = i128::from(span.num_microseconds().unwrap_or(i64::MAX)) * i128::from(self.0);
        TimeDelta::microseconds(
            i64::try_from(micros.div_euclid(1_000_000) + i128::from(micros % 1_000_000 != 0))
                .unwrap_or(i64::MAX),
        )
    }

    /// The whole per cents, for people to read.
    #[must_use]
    pub const fn whole_percent(self) -> u32 {
        self.0 / 10_000
    }
}

/// What one clock is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How much open time it may take.
    pub target: TimeDelta,
    /// Shares of the target at which to warn, ascending.
    pub warn_at: Vec<Fraction>,
    /// When time counts.
    pub calendar: Calendar,
}

/// Targets of one priority, in open time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Until the first response by staff.
    pub response: TimeDelta,
    /// Until the ticket is resolved.
    pub resolution: TimeDelta,
}

/// A service-level policy. The built-in one applies to every ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Targets for critical, high, medium and low, in that order.
    pub targets: [Targets; 4],
    /// Shares of the target at which to warn, ascending.
    pub warn_at: Vec<Fraction>,
}

impl Policy {
    /// Returns how long a metric may take at a priority; `None` where this policy promises nothing.
    #[must_use]
    pub fn target(&self, priority: Priority, metric: Metric) -> Option<TimeDelta> {
        let targets = self.targets[priority as usize];
        match metric {
            Metric::FirstResponse => Some(targets.response),
            Metric::Resolution => Some(targets.resolution),
            Metric::NextResponse => None,
        }
    }
}

impl Default for Policy {
    /// The documented defaults: 1 h / 4 h, 4 h / 12 h, 8 h / 48 h, 24 h / 120 h; warnings at 50, 75 and 90 %.
    fn default() -> Self {
        let of = |response, resolution| Targets {
            response: TimeDelta::hours(response),
            resolution: TimeDelta::hours(resolution),
        };
        Self {
            targets: [of(1, 4), of(4, 12), of(8, 48), of(24, 120)],
            warn_at: [50, 75, 90].map(Fraction::percent).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_reached_early() {
        let share = |ppm, us| Fraction(ppm).of(TimeDelta::microseconds(us)).num_microseconds();
        assert_eq!(share(500_000, 100), Some(50));
        assert_eq!(share(500_000, 101), Some(51));
        assert_eq!(share(333_333, 3), Some(1));
        assert_eq!(share(1, 1), Some(1));
        assert_eq!(share(1_000_000, 7), Some(7));
        assert_eq!(share(0, 7), Some(0));
    }

    #[test]
    fn a_share_of_a_century_is_exact() {
        assert_eq!(Fraction::percent(75).of(TimeDelta::days(36_500)), TimeDelta::days(27_375));
        assert_eq!(Fraction::percent(75).whole_percent(), 75);
    }

    #[test]
    fn the_default_policy_promises_what_is_documented() {
        let policy = Policy::default();
        let hours =
            |metric| Priority::ALL.iter().map(move |p| policy.target(*p, metric).map(|t| t.num_hours()));
        let (responses, resolutions) =
            (hours.clone()(Metric::FirstResponse), hours.clone()(Metric::Resolution));
        assert!(responses.eq([1, 4, 8, 24].map(Some)));
        assert!(resolutions.eq([4, 12, 48, 120].map(Some)));
        assert!(hours(Metric::NextResponse).eq([None; 4]));
        assert_eq!(Policy::default().warn_at, [50, 75, 90].map(Fraction::percent));
    }
}
