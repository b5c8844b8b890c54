//! Decides whom a cause concerns.

use shared::domain::cause::Cause;
use shared::domain::job::{Ending, Notify};
use shared::store::notifications::Recipient;
use shared::store::tickets::Ticket;
use shared::store::{Tx, jobs, notifications, tickets, users};

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

impl Run for Notify {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let mut tx = cx.db().begin().await?;
        let Some(ticket) = tickets::get(&mut tx, self.cause.ticket()).await? else {
            tx.rollback().await?;
            return Ok(Outcome::Skip("the ticket is gone".into()));
        };
        super::applies::link_to_the_ticket(&self.cause, &ticket);
        let people =
            concerned(&mut tx, &self.cause, &ticket, cx.worker.process.config.oncall_email.as_deref())
                .await?;
        if people.is_empty() {
            tx.rollback().await?;
            metrics::counter!("dogwatch_notifications_suppressed_total", "reason" => "nobody").increment(1);
            return Ok(Outcome::Skip(
                "nobody to tell: no assignee, reporter or ONCALL_EMAIL has an address in use".into(),
            ));
        }
        let now = cx.now();
        let recipients: Vec<_> = people.into_iter().map(Recipient::mail).collect();
        let decided = notifications::decide(&mut tx, &self.cause, &recipients, now).await?;
        let telling = super::hold::spread(cx, &mut tx, &self.cause, &ticket, &decided, now).await?;
        jobs::enqueue(&mut tx, telling, now).await?;
        cx.commit(tx, Ending::Done, None).await
    }
}

/// The addresses of those concerned, each once: the assignee always, the reporter but for escalation steps, and
/// whoever is on call of everything about a service level.
async fn concerned(
    tx: &mut Tx,
    cause: &Cause,
    ticket: &Ticket,
    oncall: Option<&str>,
) -> Result<Vec<String>, JobError> {
    let (reporter, oncall) = match cause {
        Cause::Created { .. } | Cause::Resolved { .. } => (Some(ticket.reporter_id), None),
        Cause::Warning { .. } | Cause::Breached { .. } => (Some(ticket.reporter_id), oncall),
        Cause::EscalationStep { .. } => (None, oncall),
    };
    let mut people = Vec::new();
    for id in ticket.assignee_id.into_iter().chain(reporter) {
        let user = users::get(&mut *tx, id).await?;
        people.extend(user.filter(|user| user.disabled_at.is_none()).map(|user| user.email));
    }
    people.extend(oncall.map(str::to_lowercase));
    people.sort_unstable();
    people.dedup();
    Ok(people)
}
