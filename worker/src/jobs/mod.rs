//! The jobs this worker can run, one file each.

mod applies;
mod audit;
#[cfg(test)]
mod collaborating;
mod deliver_webhook;
mod digest;
mod files;
mod hold;
mod housekeeping;
mod import;
#[cfg(test)]
mod import_tests;
mod notify;
#[cfg(test)]
mod outage;
mod reader;
mod recipients;
mod send_mail;
mod send_webhook;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod tests;

use shared::domain::job::{
    Audit, DeliverWebhook, Digest, ImportTickets, Noop, Notify, Prune, Replan, ScanAttachment, SendMail,
    SendWebhook, TidyFiles, TidyRedis,
};

use crate::context::{Context, JobError, Outcome};
use crate::registry::{Registry, Run};
#[cfg(test)]
pub(crate) use send_webhook::tell;

pub(crate) fn registry() -> Registry {
    let telling =
        Registry::default().with::<Notify>().with::<SendMail>().with::<Digest>().with::<SendWebhook>();
    let telling = telling.with::<DeliverWebhook>().with::<ScanAttachment>().with::<TidyFiles>();
    telling
        .with::<Audit>()
        .with::<Replan>()
        .with::<ImportTickets>()
        .with::<Prune>()
        .with::<TidyRedis>()
        .with::<Noop>()
}

impl Run for Noop {
    async fn run(&self, _: &Context) -> Result<Outcome, JobError> {
        Ok(Outcome::Done)
    }
}
