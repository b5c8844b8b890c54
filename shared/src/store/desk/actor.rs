//! Who does something to a ticket.

use std::sync::Arc;

use crate::domain::access::{Action, Caller, Standing};
use crate::ids::UserId;

/// Who does something.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// Who.
    pub who: Who,
    /// Where the request came from.
    pub ip: Option<String>,
}

/// Somebody or something that acts.
#[derive(Clone, Debug, Default)]
pub enum Who {
    /// The rules, which may everything.
    #[default]
    Rules,
    /// The rules, because a user who may asked for it.
    OnBehalf(UserId),
    /// A user, who may what their role may.
    Caller(Arc<Caller>),
    /// Whoever reads an address without an account, who may only acknowledge.
    Address(String),
}

impl Actor {
    /// The user; nobody, when rules or somebody without an account do it.
    #[must_use]
    pub fn id(&self) -> Option<UserId> {
        match &self.who {
            Who::OnBehalf(user) => Some(*user),
            Who::Caller(caller) => Some(caller.user),
            Who::Rules | Who::Address(_) => None,
        }
    }

    /// The address of somebody without an account.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        if let Who::Address(address) = &self.who { Some(address) } else { None }
    }

    /// Tells whether an answer by them is a response.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        matches!(&self.who, Who::Caller(caller) if caller.role.is_staff())
    }

    /// Tells whether they may do something to a ticket.
    #[must_use]
    pub fn may(&self, action: Action, on: &Standing) -> bool {
        match &self.who {
            Who::Rules | Who::OnBehalf(_) => true,
            Who::Caller(caller) => caller.may(action, on),
            Who::Address(_) => action == Action::Acknowledge,
        }
    }

    /// Tells whether they may know of a ticket at all.
    pub(super) fn sees(&self, ticket: &Standing) -> bool {
        self.may(Action::View, ticket) || matches!(self.who, Who::Address(_))
    }

    /// Tells whether they may take back what a user, if it was one, said about a ticket or attached to it.
    pub(super) fn may_retract(&self, from: Option<UserId>) -> bool {
        match &self.who {
            Who::Rules | Who::OnBehalf(_) => true,
            Who::Caller(caller) => caller.may_retract(from),
            Who::Address(_) => false,
        }
    }

    pub(super) fn may_give(&self, before: &Standing, after: &Standing) -> bool {
        match &self.who {
            Who::Rules | Who::OnBehalf(_) => true,
            Who::Caller(caller) => caller.may_give(before, after),
            Who::Address(_) => false,
        }
    }
}

impl From<Caller> for Actor {
    fn from(caller: Caller) -> Self {
        Self { who: Who::Caller(Arc::new(caller)), ip: None }
    }
}
