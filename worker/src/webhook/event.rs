//! What a webhook says.

use serde::Serialize;
use shared::domain::sla::{Metric, State};
use shared::domain::ticket::{Priority, Status};
use shared::ids::{ClockId, TicketId};
use shared::store::clocks::Stored;
use shared::store::notifications::Notification;
use shared::store::tickets::Ticket;
use shared::time::Timestamp;

use crate::mail::Subject;

/// The body of a webhook.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    ticket: TicketData<'a>,
    clocks: Vec<ClockData>,
    /// Which call it is, where it is one of an escalation.
    step: Option<i64>,
    /// The share of the target that is used up, in percent, where it is a warning.
    percent: Option<String>,
}

#[derive(Debug, Serialize)]
struct TicketData<'a> {
    id: TicketId,
    number: String,
    title: &'a str,
    priority: Priority,
    status: Status,
    link: String,
}

#[derive(Debug, Serialize)]
struct ClockData {
    id: ClockId,
    metric: Metric,
    state: State,
    target_ms: i64,
    due_at: Option<Timestamp>,
    breached_at: Option<Timestamp>,
}

impl<'a> Event<'a> {
    /// Puts together what is told about one notification, as things stand now.
    pub(crate) fn new(
        notification: &Notification,
        ticket: &'a Ticket,
        subject: &Subject,
        public_url: &str,
    ) -> Self {
        let (clocks, step, percent): (Vec<&Stored>, _, _) = match subject {
            Subject::Created(clocks) => (clocks.iter().collect(), None, None),
            Subject::Resolved | Subject::Commented(_) => (Vec::new(), None, None),
            Subject::Warning(clock, fraction) | Subject::EarlyCall(clock, fraction) => {
                (vec![clock], None, Some(fraction.whole_percent().to_string()))
            }
            Subject::Breached(clock) => (vec![clock], None, None),
            Subject::Escalation(clock, step) => (vec![clock], Some(*step), None),
        };
        let number = ticket.key();
        let ticket = TicketData {
            id: ticket.id,
            title: &ticket.title,
            priority: ticket.priority,
            status: ticket.status,
            link: format!("{public_url}/api/v1/tickets/{number}"),
            number,
        };
        let clocks = clocks.into_iter().map(ClockData::of).collect();
        let data = Data { ticket, clocks, step, percent };
        Self { r#type: notification.cause.event(), timestamp: notification.created_at, data }
    }
}

impl ClockData {
    fn of(stored: &Stored) -> Self {
        Self {
            id: stored.id,
            metric: stored.metric,
            state: stored.clock.state(),
            target_ms: stored.clock.target.num_milliseconds(),
            due_at: stored.clock.due_at(),
            breached_at: stored.clock.breached_at,
        }
    }
}
