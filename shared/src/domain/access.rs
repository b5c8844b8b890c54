//! Who may do what: the one place that decides. Tickets go by the table of roles (docs/api.md), everything else by
//! area.

use super::role::Role;
use crate::ids::{DefinitionId, UserId};

/// Something done to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opening one.
    Create,
    /// Reading it, with its public comments, attachments, history and clocks.
    View,
    /// Changing its fields and moving it, except to `resolved` and `closed`.
    Update,
    /// Giving it to somebody. Here a [`Relation`] is that to whom it is given.
    Assign,
    /// Moving it to `resolved` or `closed`.
    Resolve,
    /// Deleting it.
    Delete,
    /// Stopping its escalation. Whoever is called may, whatever else they may.
    Acknowledge,
    /// Pausing and resuming its clocks by hand.
    HoldClocks,
    /// Saying something about it that everybody who sees it may read.
    Comment,
    /// Reading and writing what is among staff.
    CommentInternally,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::View,
        Self::Update,
        Self::Assign,
        Self::Resolve,
        Self::Delete,
        Self::Acknowledge,
        Self::HoldClocks,
        Self::Comment,
        Self::CommentInternally,
    ];
}

/// How somebody stands to a ticket; none of these: to anybody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// They reported it.
    pub own: bool,
    /// It is assigned to them.
    pub assigned: bool,
    /// It is with one of their teams.
    pub team: bool,
}

/// Something that is not a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Calendars, SLA policies, escalation policies, schedules and teams.
    Rules,
    /// Exceptions to on-call schedules: people swap shifts among themselves.
    Overrides,
    /// Users, and what they may.
    Accounts,
    /// The book of contacts.
    Contacts,
    /// Who is told of events by webhook.
    Webhooks,
    /// Tickets by the thousand.
    Imports,
    /// What the service desk has done.
    Reports,
    /// Jobs and notifications.
    Operations,
}

impl Role {
    /// Tells whether a role may do something to a ticket it stands in a relation to.
    #[must_use]
    pub const fn may(self, action: Action, to: Relation) -> bool {
        let senior = matches!(self, Self::SeniorEngineer | Self::TeamLead | Self::Manager | Self::Admin);
        let leads = matches!(self, Self::TeamLead | Self::Manager | Self::Admin);
        match action {
            Action::Create => true,
            Action::View | Action::Comment => self.is_staff() || to.own,
            Action::Acknowledge | Action::CommentInternally => self.is_staff(),
            Action::Update => match self {
                Self::EndUser => to.own,
                Self::DevopsEngineer => to.assigned,
                _ => true,
            },
            Action::Resolve | Action::HoldClocks => match self {
                Self::EndUser => false,
                Self::DevopsEngineer => to.assigned,
                _ => true,
            },
            Action::Assign => leads || self.is_staff() && to.assigned || senior && to.team,
            Action::Delete => matches!(self, Self::Admin),
        }
    }

    /// Tells whether a role may read what is in an area.
    #[must_use]
    pub const fn may_see(self, area: Area) -> bool {
        match area {
            Area::Webhooks | Area::Operations => matches!(self, Self::Admin),
            _ => self.is_staff(),
        }
    }

    /// Tells whether a role may change what is in an area.
    #[must_use]
    pub const fn may_change(self, area: Area) -> bool {
        match area {
            Area::Rules => matches!(self, Self::TeamLead | Self::Manager | Self::Admin),
            Area::Accounts | Area::Webhooks | Area::Operations => matches!(self, Self::Admin),
            Area::Overrides | Area::Contacts | Area::Imports | Area::Reports => self.is_staff(),
        }
    }
}

/// What of a ticket decides who may do something to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose request it is.
    pub reporter: UserId,
    /// Who works on it.
    pub assignee: Option<UserId>,
    /// The team it is given to.
    pub team: Option<DefinitionId>,
}

/// Somebody who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who they are.
    pub user: UserId,
    /// What they are to the service desk.
    pub role: Role,
    /// The teams they are in.
    pub teams: Vec<DefinitionId>,
    /// The members of these teams.
    pub colleagues: Vec<UserId>,
}

impl Caller {
    /// Somebody in no team.
    #[must_use]
    pub const fn alone(user: UserId, role: Role) -> Self {
        Self { user, role, teams: Vec::new(), colleagues: Vec::new() }
    }

    /// Tells how they stand to a ticket.
    #[must_use]
    pub fn relation(&self, to: &Standing) -> Relation {
        Relation {
            own: to.reporter == self.user,
            assigned: to.assignee == Some(self.user),
            team: to.team.is_some_and(|team| self.teams.contains(&team)),
        }
    }

    /// Tells whether they may do something to a ticket; whether they may give it away, [`Caller::may_give`] tells.
    #[must_use]
    pub fn may(&self, action: Action, on: &Standing) -> bool {
        self.role.may(action, self.relation(on))
    }

    /// Tells whether they may take back what a user, if it was one, said about a ticket or attached to it.
    #[must_use]
    pub fn may_retract(&self, from: Option<UserId>) -> bool {
        from == Some(self.user) || matches!(self.role, Role::TeamLead | Role::Manager | Role::Admin)
    }

    /// Tells whether they may change whom a ticket is with. A user counts as within a team that the caller is in, too;
    /// taking it from somebody is judged like giving it to them.
    #[must_use]
    pub fn may_give(&self, before: &Standing, after: &Standing) -> bool {
        let within = |user: UserId| Relation {
            own: false,
            assigned: user == self.user,
            team: self.colleagues.contains(&user),
        };
        let people =
            if before.assignee == after.assignee { None } else { after.assignee.or(before.assignee) };
        let teams = if before.team == after.team { None } else { after.team.or(before.team) };
        let of_team =
            |team: DefinitionId| Relation { own: false, assigned: false, team: self.teams.contains(&team) };
        people.is_none_or(|user| self.role.may(Action::Assign, within(user)))
            && teams.is_none_or(|team| self.role.may(Action::Assign, of_team(team)))
    }
}
