//! Who reads a mail: in which zone they live, and what they may do by its links.

use chrono_tz::Tz;
use shared::domain::cause::Cause;
use shared::ids::UserId;
use shared::links::{LIFETIME, Link};
use shared::store::notifications::Notification;
use shared::store::preferences;
use shared::store::tickets::Ticket;

use crate::context::{Context, JobError};
use crate::mail::{Story, Subject};

/// Who reads a mail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) zone: Option<Tz>,
    user: Option<UserId>,
    may_acknowledge: bool,
}

impl Reader {
    /// Finds out who reads mail at an address. Somebody without an account was named by the operator, and may
    /// acknowledge like staff.
    pub(super) async fn of(cx: &Context, address: &String) -> Result<Self, JobError> {
        let user = preferences::of_addresses(cx.db(), std::slice::from_ref(address)).await?.pop();
        Ok(Self {
            zone: user.as_ref().and_then(|user| user.tz.as_deref()?.parse().ok()),
            may_acknowledge: user.as_ref().is_none_or(|user| user.role.is_staff()),
            user: user.map(|user| user.id),
        })
    }

    /// Puts together what a mail tells about one notification.
    pub(super) async fn story(
        &self,
        cx: &Context,
        notification: &Notification,
        ticket: Ticket,
        subject: Subject,
    ) -> Result<Story, JobError> {
        let urgent = matches!(
            *notification.cause,
            Cause::Warning { .. }
                | Cause::Breached { .. }
                | Cause::EarlyStep { .. }
                | Cause::EscalationStep { .. }
        );
        let acknowledge = if urgent && self.may_acknowledge {
            let expires_at = cx.now() + LIFETIME;
            let link = Link { notification: notification.id, user: self.user, expires_at };
            let token = link.sign(cx.link_key().await?, ticket.id, &notification.recipient);
            Some(format!("{}/acknowledge/{token}", cx.worker.process.config.public_url))
        } else {
            None
        };
        Ok(Story { notification: notification.clone(), ticket, subject, acknowledge })
    }
}
