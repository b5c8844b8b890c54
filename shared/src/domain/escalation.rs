//! Who is called next, and when, while nobody has acknowledged.

mod definition;
mod lint;
mod problems;

pub use definition::{Action, Assignee, Definition, Repeat, Step, Target, Timing, When};
pub use lint::{Facts, Finding, Severity, lint};

use chrono::TimeDelta;

/// The built-in escalation policy, the last resort where no other applies: after a breach the on-call address and the
/// assignee are called again and again until somebody acknowledges, at intervals that double up to sixteen times the
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the breach to the first step.
    pub step: TimeDelta,
}

impl Policy {
    /// Returns how long after the breach the step after `done` others falls.
    #[must_use]
    pub fn offset(&self, done: i64) -> TimeDelta {
        // The waits are 1, 2, 4, 8 and from then on 16 times the first.
        let waits = match i32::try_from(done) {
            Ok(done @ ..=3) => Some((2 << done.max(0)) - 1),
            Ok(done) => (done - 3).checked_mul(16).and_then(|waits| waits.checked_add(15)),
            Err(_) => None,
        };
        waits.and_then(|waits| self.step.checked_mul(waits)).unwrap_or(TimeDelta::MAX)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { step: TimeDelta::minutes(15) }
    }
}

super::text_enum! {
    /// Why an escalation ended.
    StopReason {
        /// Somebody took it on.
        Acknowledged = "acknowledged",
        /// The clocks were paused; resuming opens a new escalation.
        Paused = "paused",
        /// The ticket was resolved.
        Resolved = "resolved",
        /// There was nobody left to call.
        Exhausted = "exhausted",
        /// The ticket was deleted.
        Deleted = "deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_then_stay() {
        let policy = Policy::default();
        let minutes: Vec<i64> = (0..7).map(|done| policy.offset(done).num_minutes()).collect();
        assert_eq!(minutes, [15, 45, 105, 225, 465, 705, 945]);
        assert_eq!(policy.offset(i64::MAX), TimeDelta::MAX, "nothing overflows");
    }
}
