//! The jobs this worker can run, one file each.

mod housekeeping;
mod notify;
mod send_mail;

use shared::domain::job::{Noop, Notify, Prune, SendMail, TidyRedis};

use crate::context::{Context, JobError, Outcome};
use crate::registry::{Registry, Run};

pub(crate) fn registry() -> Registry {
    Registry::default().with::<Notify>().with::<SendMail>().with::<Prune>().with::<TidyRedis>().with::<Noop>()
}

impl Run for Noop {
    async fn run(&self, _: &Context) -> Result<Outcome, JobError> {
        Ok(Outcome::Done)
    }
}
