//! Decides whom a cause concerns, after doing what an escalation step says.

use shared::domain::job::{Ending, Notify};
use shared::metrics::NOTIFICATIONS_SUPPRESSED;
use shared::store::{jobs, notifications, tickets};

use super::applies::still_applies;
use super::recipients::{Step, concerned};
use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

impl Run for Notify {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let mut tx = cx.db().begin().await?;
        let step = Step::of(&mut tx, &self.cause).await?;
        let found = match &step {
            // Nobody acknowledges while the step is taken.
            Some(_) => tickets::lock(&mut tx, self.cause.ticket()).await?,
            None => tickets::get(&mut tx, self.cause.ticket()).await?,
        };
        let Some(mut ticket) = found else {
            tx.rollback().await?;
            return Ok(Outcome::Skip("the ticket is gone".into()));
        };
        super::applies::link_to_the_ticket(&self.cause, &ticket);
        if let Some(step) = &step
            // It is about a clock, whoever reads of it.
            && still_applies(cx, &self.cause, &ticket, "").await?.is_ok()
        {
            ticket = step.act(cx, &mut tx, ticket).await?;
        }
        let recipients = concerned(cx, &mut tx, &self.cause, &ticket, step.as_ref()).await?;
        if recipients.is_empty() {
            NOTIFICATIONS_SUPPRESSED.of(["nobody"]).increment(1);
            let why = "nobody to tell: nobody concerned, nor ONCALL_EMAIL, has an address in use";
            return cx.commit(tx, Ending::Discarded, Some(why.into())).await;
        }
        let now = cx.now();
        let decided = notifications::decide(&mut tx, &self.cause, &recipients, now).await?;
        let telling = super::hold::spread(cx, &mut tx, &self.cause, &ticket, &decided, now).await?;
        jobs::enqueue(&mut tx, telling, now).await?;
        cx.commit(tx, Ending::Done, None).await
    }
}
