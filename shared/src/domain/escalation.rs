//! Who is called next, and when, while nobody has acknowledged.

mod definition;
mod lint;

pub use definition::{Action, Assignee, Definition, Repeat, Step, Target, Timing, When};
pub use lint::{Facts, Finding, Severity, lint};

use chrono::TimeDelta;

/// The built-in escalation policy, the last resort where no other applies: after a breach the on-call address and the assignee are called again and
/// again until somebody acknowledges, at intervals that double up to sixteen times the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the breach to the first step.
    pub step: TimeDelta,
}

impl Policy {
    /// Returns how long to wait after step `done` (0: the breach itself) before the next one.
    #[must_use]
    pub fn wait_after(&self, done: i64) -> TimeDelta {
        self.step * (1 << done.clamp(0, 4))
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_then_stay() {
        let policy = Policy::default();
        let minutes: Vec<i64> = (0..7).map(|done| policy.wait_after(done).num_minutes()).collect();
        assert_eq!(minutes, [15, 30, 60, 120, 240, 240, 240]);
    }
}
