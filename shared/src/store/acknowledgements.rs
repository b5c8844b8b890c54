//! Who took a ticket on.

use super::query::Target;
use super::tickets::Ticket;
use super::{Result, users};

/// Says who took a ticket on: a user's name, or the address of somebody without an account. `None` when nobody did.
pub async fn by_whom(on: impl Into<Target<'_>>, ticket: &Ticket) -> Result<Option<String>> {
    match ticket.acknowledged_by {
        Some(user) => Ok(users::get(on, user).await?.map(|user| user.name)),
        None => Ok(ticket.acknowledged_as.clone()),
    }
}
