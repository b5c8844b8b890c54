//! What changed clocks mean for the metrics.

use chrono::TimeDelta;

use crate::domain::sla::{Event, Metric};
use crate::domain::ticket::Priority;
use crate::metrics::{SLA_BREACHES, SLA_DETECTION_LAG, SLA_MET, SLA_WARNINGS};
use crate::store::clocks::{Change, Stored};
use crate::time::Timestamp;

/// What was found of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Warned,
    /// So long after the instant.
    Breached(TimeDelta),
    Met,
}

/// What was found of clocks, to be counted once it is on record.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Vec<(Metric, Priority, Verdict)>);

/// Tells whether an event is a verdict on a clock.
pub(super) fn is_verdict(stored: &Stored, event: &Event) -> bool {
    let met = matches!(event, Event::Stopped) && stored.clock.breached_at.is_none();
    met || matches!(event, Event::Warned { .. } | Event::Breached { .. })
}

impl Verdicts {
    pub(super) fn add(&mut self, change: &Change, priority: Priority, now: Timestamp) {
        let stored = &change.stored;
        for recorded in change.events.iter().filter(|recorded| is_verdict(stored, &recorded.event)) {
            let verdict = match recorded.event {
                Event::Warned { .. } => Verdict::Warned,
                Event::Breached { .. } => Verdict::Breached(now - recorded.at),
                _ => Verdict::Met,
            };
            self.0.push((stored.metric, priority, verdict));
        }
    }

    pub(super) fn count(self) {
        for (metric, priority, verdict) in self.0 {
            let labels = [metric.as_str(), priority.as_str()];
            match verdict {
                Verdict::Warned => SLA_WARNINGS.of(labels).increment(1),
                Verdict::Met => SLA_MET.of(labels).increment(1),
                Verdict::Breached(lag) => {
                    SLA_BREACHES.of(labels).increment(1);
                    SLA_DETECTION_LAG.record(lag.as_seconds_f64());
                }
            }
        }
    }
}
