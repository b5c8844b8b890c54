//! What changed clocks mean for the metrics.

use chrono::TimeDelta;

use super::clocks::kind_of;
use crate::domain::event::EventKind;
use crate::domain::sla::Metric;
use crate::domain::ticket::Priority;
use crate::metrics::{SLA_BREACHES, SLA_DETECTION_LAG, SLA_MET, SLA_WARNINGS};
use crate::store::clocks::Change;
use crate::time::Timestamp;

/// What was found of clocks, and how long after its instant; to be counted once it is on record.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Vec<(Metric, Priority, EventKind, TimeDelta)>);

/// The verdicts among what happened to a clock: warned, breached or met, and when.
pub(super) fn verdicts_in(change: &Change) -> impl Iterator<Item = (EventKind, Timestamp)> {
    let is_verdict =
        |kind: &EventKind| matches!(kind, EventKind::SlaWarning | EventKind::SlaBreached | EventKind::SlaMet);
    change.events.iter().filter_map(move |recorded| {
        let kind = kind_of(&change.stored, &recorded.event).filter(is_verdict)?;
        Some((kind, recorded.at))
    })
}

impl Verdicts {
    pub(super) fn add(&mut self, change: &Change, priority: Priority, now: Timestamp) {
        let metric = change.stored.metric;
        self.0.extend(verdicts_in(change).map(|(kind, at)| (metric, priority, kind, now - at)));
    }

    pub(super) fn count(self) {
        for (metric, priority, kind, lag) in self.0 {
            let counter = match kind {
                EventKind::SlaWarning => SLA_WARNINGS,
                EventKind::SlaBreached => SLA_BREACHES,
                _ => SLA_MET,
            };
            counter.of([metric.as_str(), priority.as_str()]).increment(1);
            if kind == EventKind::SlaBreached {
                SLA_DETECTION_LAG.record(lag.as_seconds_f64());
            }
        }
    }
}
