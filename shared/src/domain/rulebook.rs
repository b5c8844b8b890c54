//! The rules in force: which policy a ticket comes under, by which calendar its clocks count, who is called.

use std::collections::HashMap;
use std::sync::Arc;

use super::sla::policy::{Facts, Matches};
use super::sla::{Calendar, Metric, Plan, Policy};
use super::ticket::Priority;
use super::{Rules, escalation};
use crate::ids::{DefinitionId, VersionId};

/// A policy in force, with what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The version of its definition; none for the built-in policy.
    pub version: Option<VersionId>,
    /// Its definition; none for the built-in policy.
    pub definition: Option<DefinitionId>,
    /// Its name, for people.
    pub name: String,
    /// Which tickets it is for.
    pub matches: Matches,
    /// What it promises.
    pub policy: Policy,
    /// When time counts, as the calendar is now.
    pub calendar: Calendar,
    /// The calendar's definition; none for around the clock.
    pub calendar_id: Option<DefinitionId>,
    /// Who is called, as the escalation policy is now; none for the built-in one.
    pub calls: Option<Arc<Calls>>,
}

/// An escalation policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// The version of its definition.
    pub version: VersionId,
    /// What it says.
    pub policy: escalation::Definition,
}

impl InForce {
    /// What it promises about a metric at a priority, by the given calendar; none where it promises nothing.
    #[must_use]
    pub fn plan(&self, priority: Priority, metric: Metric, calendar: Calendar) -> Option<Plan> {
        let target = self.policy.target(priority, metric)?;
        let mut warn_at = self.policy.warn_at.clone();
        // A call before the breach is due at the same kind of instant as a warning.
        warn_at.extend(self.calls.iter().flat_map(|calls| calls.policy.fraction_steps()).map(|(_, at)| at));
        warn_at.sort_unstable();
        warn_at.dedup();
        Some(Plan { target, warn_at, calendar })
    }
}

/// Everything that is in force at one revision of the definitions.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// Goes up with every change of a definition.
    pub revision: i64,
    /// Applies where no other policy does.
    pub built_in: Arc<InForce>,
    /// In the order in which they are tried.
    pub policies: Vec<Arc<InForce>>,
    /// The calendars as they are now.
    pub calendars: HashMap<DefinitionId, Calendar>,
    /// The escalation policies as they are now.
    pub escalations: HashMap<DefinitionId, Arc<Calls>>,
}

impl Rulebook {
    /// Has nothing but the built-in rules.
    #[must_use]
    pub fn built_in(rules: &Rules) -> Self {
        let built_in = InForce {
            version: None,
            definition: None,
            name: "built-in".into(),
            matches: Matches::default(),
            policy: rules.sla.clone(),
            calendar: Calendar::AlwaysOpen,
            calendar_id: None,
            calls: None,
        };
        let (policies, calendars, escalations) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { revision: 0, built_in: Arc::new(built_in), policies, calendars, escalations }
    }

    /// The policy that a ticket comes under: the first that matches, or the built-in one.
    #[must_use]
    pub fn policy_for(&self, ticket: &Facts<'_>) -> &Arc<InForce> {
        self.policies.iter().find(|policy| policy.matches.apply_to(ticket)).unwrap_or(&self.built_in)
    }

    /// A policy by the version of its definition, if that is the present one; the built-in one by none.
    #[must_use]
    pub fn by_version(&self, version: Option<VersionId>) -> Option<&Arc<InForce>> {
        match version {
            None => Some(&self.built_in),
            Some(_) => self.policies.iter().find(|policy| policy.version == version),
        }
    }

    /// The earlier policies that every ticket of this one comes under already, so that it is never reached.
    pub fn shadows<'a>(&'a self, policy: &'a InForce) -> impl Iterator<Item = &'a Arc<InForce>> {
        let earlier = self.policies.iter().take_while(|other| other.definition != policy.definition);
        earlier.filter(|other| other.matches.cover(&policy.matches))
    }
}
