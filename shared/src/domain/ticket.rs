//! The ticket workflow: which status may follow which, and what a move does to the clocks.

use chrono::TimeDelta;

use super::sla::{Event, Hold, Metric};

super::text_enum! {
    /// How urgent a ticket is.
    Priority {
        /// P1.
        Critical = "critical" | "P1",
        /// P2.
        High = "high" | "P2",
        /// P3.
        Medium = "medium" | "P3",
        /// P4.
        Low = "low" | "P4",
    }
}

super::text_enum! {
    /// What kind of request a ticket is.
    Category {
        /// Something is broken.
        Incident = "incident",
        /// Something is wanted.
        ServiceRequest = "service_request",
        /// Something is to be changed.
        ChangeRequest = "change_request",
        /// The cause of incidents.
        Problem = "problem",
        /// Something is to be explained.
        Question = "question",
    }
}

super::text_enum! {
    /// Where a ticket stands.
    Status {
        /// Nobody has looked at it.
        New = "new",
        /// Accepted.
        Open = "open",
        /// Somebody works on it.
        InProgress = "in_progress",
        /// Waits for the reporter; the clocks stand still.
        PendingInfo = "pending_info",
        /// Handed upwards.
        Escalated = "escalated",
        /// Done; may be reopened.
        Resolved = "resolved",
        /// Done for good, but for the reopen window.
        Closed = "closed",
        /// Turned out not to be done.
        Reopened = "reopened",
    }
}

/// How long a closed ticket may be reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReopenWindow(pub TimeDelta);

impl Default for ReopenWindow {
    fn default() -> Self {
        Self(TimeDelta::days(7))
    }
}

impl Status {
    /// Returns the statuses that may follow this one.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        use Status::{Closed, Escalated, InProgress, New, Open, PendingInfo, Reopened, Resolved};
        match self {
            New => &[Open, InProgress, PendingInfo, Escalated, Resolved],
            Open => &[InProgress, PendingInfo, Escalated, Resolved],
            InProgress => &[Open, PendingInfo, Escalated, Resolved],
            PendingInfo => &[Open, InProgress, Resolved],
            Escalated => &[InProgress, PendingInfo, Resolved],
            Resolved => &[Closed, Reopened],
            Closed => &[Reopened],
            Reopened => &[InProgress, PendingInfo, Escalated, Resolved],
        }
    }

    /// Tells whether work on the ticket is over.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed)
    }
}

/// Returns what a move from `from` to `to` does to the open clock of `metric`, in order.
///
/// `pauses` are the statuses in which clocks stand still. `staff` tells whether the move is made by staff: their first
/// move to `in_progress` is the first response. Resolving cancels what waits for an answer; leaving a status that
/// pauses lets go before anything else.
#[must_use]
pub fn clock_events(metric: Metric, from: Status, to: Status, pauses: &[Status], staff: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let (paused, pauses) = (pauses.contains(&from), pauses.contains(&to));
    if paused && !pauses {
        events.push(Event::Resumed { hold: Hold::Status });
    }
    if pauses && !paused {
        events.push(Event::Paused { hold: Hold::Status, reason: None });
    }
    match (to, metric) {
        (Status::InProgress, Metric::FirstResponse | Metric::NextResponse) if staff => {
            events.push(Event::Stopped);
        }
        (Status::Resolved, Metric::Resolution) => events.push(Event::Stopped),
        (Status::Resolved, Metric::FirstResponse | Metric::NextResponse) => events.push(Event::Cancelled),
        (Status::Reopened, Metric::Resolution) => events.push(Event::Reopened),
        _ => {}
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_never_moves_to_where_it_is() {
        for status in Status::ALL {
            assert!(!status.next().contains(status), "{status}");
        }
    }

    #[test]
    fn only_staff_gives_a_first_response() {
        let by = |staff| clock_events(Metric::FirstResponse, Status::New, Status::InProgress, &[], staff);
        assert_eq!(by(true), [Event::Stopped]);
        assert_eq!(by(false), []);
    }

    #[test]
    fn resolving_a_waiting_ticket_lets_go_first() {
        assert_eq!(
            clock_events(
                Metric::Resolution,
                Status::PendingInfo,
                Status::Resolved,
                &[Status::PendingInfo],
                true
            ),
            [Event::Resumed { hold: Hold::Status }, Event::Stopped]
        );
    }
}
