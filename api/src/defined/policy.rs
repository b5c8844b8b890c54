//! SLA policies.

use shared::domain::Problem;
use shared::domain::definition::{Kind, Reference};
use shared::domain::sla::Mode;
use shared::domain::sla::policy::{Definition, Matches};
use shared::ids::DefinitionId;

use shared::domain::escalation::{Finding, Severity};
use shared::store::{Tx, definitions};
use shared::time::Timestamp;

use super::{Defined, stored};
use crate::error::ApiError;
use crate::form::Form;

impl Defined for Definition {
    const KIND: Kind = Kind::SlaPolicy;
    const ORDERED: bool = true;

    fn read(form: &mut Form, before: Option<Self>) -> Self {
        let calendar = |f: &mut Form, at: &str| f.parse(at, "the id of a calendar");
        let escalation = |f: &mut Form, at: &str| f.parse(at, "the id of an escalation policy");
        let targets = |f: &mut Form, at: &str| f.entries(at, |f, at| f.entries(at, |f, at| f.line(at, 30)));
        let is_new = before.is_none();
        let old = before.unwrap_or_else(usual);
        let targets = form.kept("targets", (!is_new).then_some(old.targets), targets);
        Self {
            enabled: form.kept("enabled", Some(old.enabled), Form::flag).unwrap_or_default(),
            matches: form.changed("match", Some(old.matches), read_matches).unwrap_or_default(),
            targets: targets.unwrap_or_default(),
            calendar_id: form.changed("calendar_id", old.calendar_id, calendar),
            warn_at: form
                .kept("warn_at", Some(old.warn_at), |f, at| f.items(at, Form::decimal))
                .unwrap_or_default(),
            pause_statuses: form
                .kept("pause_statuses", Some(old.pause_statuses), |f, at| f.items(at, Form::word))
                .unwrap_or_default(),
            escalation_policy_id: form.changed("escalation_policy_id", old.escalation_policy_id, escalation),
            mode: form.kept("mode", Some(old.mode), Form::word).unwrap_or(Mode::Retroactive),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems()
    }

    async fn findings(
        &self,
        tx: &mut Tx,
        own: DefinitionId,
        _: Timestamp,
    ) -> Result<Option<Vec<Finding>>, ApiError> {
        let mut findings = Vec::new();
        let mut doubt = |field: &str, message: String| {
            findings.push(Finding { severity: Severity::Warning, field: field.into(), message });
        };
        if !self.enabled {
            doubt("enabled", "The policy is switched off: no ticket comes under it.".into());
        }
        for other in definitions::all(tx, Self::KIND).await? {
            if other.id == own {
                break;
            }
            let name = other.name;
            let other: Self = stored(other.body.0)?;
            if other.enabled && other.matches.cover(&self.matches) {
                let why = format!("No ticket can come under it: {name} comes first and matches all of them.");
                doubt("match", why);
            }
        }
        Ok(Some(findings))
    }

    fn references(&self) -> Vec<(String, Reference)> {
        let one =
            |field: &str, kind, id: Option<_>| Some((field.to_owned(), Reference::Definition(kind, id?)));
        let teams = self.matches.team_id.iter().flatten().enumerate();
        let teams =
            teams.map(|(i, id)| (format!("match.team_id[{i}]"), Reference::Definition(Kind::Team, *id)));
        teams
            .chain(one("calendar_id", Kind::Calendar, self.calendar_id))
            .chain(one("escalation_policy_id", Kind::EscalationPolicy, self.escalation_policy_id))
            .collect()
    }
}

/// What a policy says that says nothing.
fn usual() -> Definition {
    let built_in = shared::domain::sla::Policy::default();
    Definition {
        enabled: true,
        matches: Matches::default(),
        targets: std::collections::BTreeMap::new(),
        calendar_id: None,
        warn_at: built_in.warn_at.iter().map(|share| f64::from(share.0) / 1e6).collect(),
        pause_statuses: built_in.pause_statuses,
        escalation_policy_id: None,
        mode: built_in.mode,
    }
}

fn read_matches(form: &mut Form, field: &str) -> Option<Option<Matches>> {
    let texts = |f: &mut Form, at: &str| f.items(at, |f, at| f.line(at, 254));
    form.nested(field, |form| {
        Some(Matches {
            category: form.changed("category", None, |f, at| f.items(at, Form::word)),
            priority: form.changed("priority", None, |f, at| f.items(at, Form::word)),
            team_id: form
                .changed("team_id", None, |f, at| f.items(at, |f, at| f.parse(at, "the id of a team"))),
            label: form.changed("label", None, texts),
            environment: form.changed("environment", None, texts),
            contact: form.changed("contact", None, texts),
        })
    })
}
