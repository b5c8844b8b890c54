//! What was promised: targets by priority and metric, and when to warn.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Calendar, Metric, Mode};
use crate::domain::ticket::{Category, Priority, Status};
use crate::domain::{Problem, span};
use crate::ids::DefinitionId;

/// A share of a target, in parts per million so that thresholds are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Fraction(pub u32);

impl Fraction {
    /// Makes a fraction from whole per cents.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// Makes a fraction from a number above 0 and at most 1, to six decimal places.
    #[must_use]
    pub fn of_number(share: f64) -> Option<Self> {
        let millionths = (share * 1e6).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        (1.0..=1e6).contains(&millionths).then_some(Self(millionths as u32))
    }

    /// Takes this share of `span`, rounded up so that a threshold is never reached early.
    #[must_use]
    pub fn of(self, span: TimeDelta) -> TimeDelta {
        let micros = i128::from(span.num_microseconds().unwrap_or(i64::MAX)) * i128::from(self.0);
        TimeDelta::microseconds(
            i64::try_from(micros.div_euclid(1_000_000) + i128::from(micros % 1_000_000 != 0))
                .unwrap_or(i64::MAX),
        )
    }

    /// The whole per cents, for people to read.
    #[must_use]
    pub const fn whole_percent(self) -> u32 {
        self.0 / 10_000
    }
}

/// What one clock is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How much open time it may take.
    pub target: TimeDelta,
    /// Shares of the target at which to warn, ascending.
    pub warn_at: Vec<Fraction>,
    /// When time counts.
    pub calendar: Calendar,
}

/// Targets of one priority, in open time; none where nothing is promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Until the first response by staff.
    pub first_response: Option<TimeDelta>,
    /// From the oldest unanswered message of a customer to the next response.
    pub next_response: Option<TimeDelta>,
    /// Until the ticket is resolved.
    pub resolution: Option<TimeDelta>,
}

impl Targets {
    /// Promises a first response and a resolution.
    #[must_use]
    pub const fn of(first_response: TimeDelta, resolution: TimeDelta) -> Self {
        Self { first_response: Some(first_response), next_response: None, resolution: Some(resolution) }
    }

    const fn get(&self, metric: Metric) -> Option<TimeDelta> {
        match metric {
            Metric::FirstResponse => self.first_response,
            Metric::NextResponse => self.next_response,
            Metric::Resolution => self.resolution,
        }
    }
}

/// What a service-level policy promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Targets for critical, high, medium and low, in that order.
    pub targets: [Targets; 4],
    /// Shares of the target at which to warn, ascending.
    pub warn_at: Vec<Fraction>,
    /// The statuses in which clocks stand still.
    pub pause_statuses: Vec<Status>,
    /// What happens to consumed time when a running clock comes under this policy.
    pub mode: Mode,
}

impl Policy {
    /// Returns how long a metric may take at a priority; `None` where this policy promises nothing.
    #[must_use]
    pub fn target(&self, priority: Priority, metric: Metric) -> Option<TimeDelta> {
        self.targets[priority as usize].get(metric)
    }
}

impl Default for Policy {
    /// The built-in policy with the documented defaults: 1 h / 4 h, 4 h / 12 h, 8 h / 48 h, 24 h / 120 h; warnings at
    /// 50, 75 and 90 %; clocks stand still while information is pending.
    fn default() -> Self {
        let of = |response, resolution| Targets::of(TimeDelta::hours(response), TimeDelta::hours(resolution));
        Self {
            targets: [of(1, 4), of(4, 12), of(8, 48), of(24, 120)],
            warn_at: [50, 75, 90].map(Fraction::percent).to_vec(),
            pause_statuses: vec![Status::PendingInfo],
            mode: Mode::Retroactive,
        }
    }
}

/// At most as long a target: no clock needs more, and due times stay within the years that databases keep.
const LONGEST: TimeDelta = TimeDelta::days(3_660);

/// At most as many warnings to a clock.
const MOST_WARNINGS: usize = 20;

/// At most as many values to a condition.
const MOST_VALUES: usize = 200;

/// A service-level policy's definition, as in the API and in the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Whether tickets are matched to it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which tickets it is for.
    #[serde(default, rename = "match")]
    pub matches: Matches,
    /// Targets such as `4h`, by priority and metric.
    pub targets: BTreeMap<Priority, BTreeMap<Metric, String>>,
    /// When time counts; none: around the clock.
    #[serde(default)]
    pub calendar_id: Option<DefinitionId>,
    /// Shares of the target at which to warn, above 0 and at most 1.
    #[serde(default = "usual_warnings")]
    pub warn_at: Vec<f64>,
    /// The statuses in which clocks stand still.
    #[serde(default = "usual_pauses")]
    pub pause_statuses: Vec<Status>,
    /// Who is called; none: the built-in policy.
    #[serde(default)]
    pub escalation_policy_id: Option<DefinitionId>,
    /// What happens to consumed time when a running clock comes under this policy.
    #[serde(default = "usual_mode")]
    pub mode: Mode,
}

const fn yes() -> bool {
    true
}

fn usual_warnings() -> Vec<f64> {
    vec![0.5, 0.75, 0.9]
}

fn usual_pauses() -> Vec<Status> {
    vec![Status::PendingInfo]
}

const fn usual_mode() -> Mode {
    Mode::Retroactive
}

/// Conditions on a ticket. All that are given must hold; one holds when any of its values does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matches {
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Vec<Category>>,
    /// Its priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Vec<Priority>>,
    /// The team it is given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<Vec<DefinitionId>>,
    /// One of its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Vec<String>>,
    /// Its environment, whatever the case of its letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Vec<String>>,
    /// The contact's address, or the part of it from the `@` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Vec<String>>,
}

/// What of a ticket a policy is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// What kind of request it is.
    pub category: Category,
    /// How urgent it is.
    pub priority: Priority,
    /// The team it is given to.
    pub team: Option<DefinitionId>,
    /// Its labels.
    pub labels: &'a [String],
    /// Where it happened.
    pub environment: Option<&'a str>,
    /// Address of whom to ask.
    pub contact: Option<&'a str>,
}

impl Matches {
    /// Tells whether a ticket meets all conditions.
    #[must_use]
    pub fn apply_to(&self, ticket: &Facts<'_>) -> bool {
        fn any<T>(given: Option<&Vec<T>>, holds: impl Fn(&T) -> bool) -> bool {
            given.is_none_or(|values| values.iter().any(holds))
        }
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        let contact = ticket.contact.map(str::to_lowercase);
        any(self.category.as_ref(), |category| *category == ticket.category)
            && any(self.priority.as_ref(), |priority| *priority == ticket.priority)
            && any(self.team_id.as_ref(), |team| Some(*team) == ticket.team)
            && any(self.label.as_ref(), |label| ticket.labels.contains(label))
            && any(self.environment.as_ref(), |name| ticket.environment.is_some_and(|e| same(e, name)))
            && any(self.contact.as_ref(), |pattern| {
                contact.as_deref().is_some_and(|contact| {
                    let pattern = pattern.to_lowercase();
                    if pattern.starts_with('@') { contact.ends_with(&pattern) } else { contact == pattern }
                })
            })
    }

    /// Tells whether every ticket that `other` is for is one for this, as far as one can see from the conditions.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(mine: Option<&Vec<T>>, others: Option<&Vec<T>>) -> bool {
            match (mine, others) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(others)) => others.iter().all(|value| mine.contains(value)),
            }
        }
        within(self.category.as_ref(), other.category.as_ref())
            && within(self.priority.as_ref(), other.priority.as_ref())
            && within(self.team_id.as_ref(), other.team_id.as_ref())
            && within(self.label.as_ref(), other.label.as_ref())
            && within(self.environment.as_ref(), other.environment.as_ref())
            && within(self.contact.as_ref(), other.contact.as_ref())
    }

    fn problems(&self) -> Vec<Problem> {
        let lengths = [
            ("category", self.category.as_ref().map(Vec::len)),
            ("priority", self.priority.as_ref().map(Vec::len)),
            ("team_id", self.team_id.as_ref().map(Vec::len)),
            ("label", self.label.as_ref().map(Vec::len)),
            ("environment", self.environment.as_ref().map(Vec::len)),
            ("contact", self.contact.as_ref().map(Vec::len)),
        ];
        let mut problems = Vec::new();
        for (name, length) in lengths {
            let why = match length {
                Some(0) => {
                    "Must name at least one value, or no ticket can match; leave it out to match any.".into()
                }
                Some(n) if n > MOST_VALUES => format!("Must be at most {MOST_VALUES} values."),
                _ => continue,
            };
            problems.push(Problem::new(format!("match.{name}"), why));
        }
        problems
    }
}

impl Definition {
    /// Makes the policy.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<Policy, Vec<Problem>> {
        let mut problems = self.matches.problems();
        let mut policy = Policy {
            targets: [Targets::default(); 4],
            warn_at: Vec::new(),
            pause_statuses: self.pause_statuses.clone(),
            mode: self.mode,
        };
        for (priority, targets) in &self.targets {
            let promised = &mut policy.targets[*priority as usize];
            for (metric, text) in targets {
                let field = format!("targets.{priority}.{metric}");
                let place = match metric {
                    Metric::FirstResponse => &mut promised.first_response,
                    Metric::NextResponse => &mut promised.next_response,
                    Metric::Resolution => &mut promised.resolution,
                };
                match span::parse(text) {
                    Some(target) if target.is_zero() => {
                        problems.push(Problem::new(field, "Must be longer than nothing."));
                    }
                    Some(target) if target > LONGEST => {
                        problems.push(Problem::new(field, "Must be at most 3660d."));
                    }
                    Some(target) => *place = Some(target),
                    None => problems.push(Problem::new(field, format!("Must be {}.", span::EXPECTED))),
                }
            }
        }
        if problems.is_empty() && !self.promises_to_whom_it_matches(&policy) {
            let why = "Must promise something to tickets of a priority that it matches, or no ticket can come under it.";
            problems.push(Problem::new("targets", why));
        }
        if self.warn_at.len() > MOST_WARNINGS {
            problems.push(Problem::new("warn_at", format!("Must be at most {MOST_WARNINGS} shares.")));
        }
        for (i, share) in self.warn_at.iter().enumerate() {
            match Fraction::of_number(*share) {
                Some(fraction) => policy.warn_at.push(fraction),
                None => {
                    let why = "Must be a share of the target above 0 and at most 1, such as 0.75.";
                    problems.push(Problem::new(format!("warn_at[{i}]"), why));
                }
            }
        }
        policy.warn_at.sort_unstable();
        policy.warn_at.dedup();
        for (i, status) in self.pause_statuses.iter().enumerate() {
            if status.is_done() {
                let why = "Must not be a status in which the clocks have stopped.";
                problems.push(Problem::new(format!("pause_statuses[{i}]"), why));
            }
        }
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }

    /// Lists what is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.read().err().unwrap_or_default()
    }

    fn promises_to_whom_it_matches(&self, policy: &Policy) -> bool {
        let matched = |p: &Priority| self.matches.priority.as_ref().is_none_or(|list| list.contains(p));
        let promised = |p: Priority| Metric::ALL.iter().any(|metric| policy.target(p, *metric).is_some());
        Priority::ALL.iter().copied().filter(matched).any(promised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_reached_early() {
        let share = |ppm, us| Fraction(ppm).of(TimeDelta::microseconds(us)).num_microseconds();
        assert_eq!(share(500_000, 100), Some(50));
        assert_eq!(share(500_000, 101), Some(51));
        assert_eq!(share(333_333, 3), Some(1));
        assert_eq!(share(1, 1), Some(1));
        assert_eq!(share(1_000_000, 7), Some(7));
        assert_eq!(share(0, 7), Some(0));
    }

    #[test]
    fn a_share_of_a_century_is_exact() {
        assert_eq!(Fraction::percent(75).of(TimeDelta::days(36_500)), TimeDelta::days(27_375));
        assert_eq!(Fraction::percent(75).whole_percent(), 75);
    }

    fn definition(json: &serde_json::Value) -> Definition {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn a_policy_is_read_from_its_json() {
        let policy = definition(&serde_json::json!({
            "match": {"label": ["vip"]},
            "targets": {"critical": {"first_response": "30m", "resolution": "1d"}},
            "warn_at": [0.9, 0.5, 0.5],
        }));
        let read = policy.read().unwrap();
        let targets = Targets::of(TimeDelta::minutes(30), TimeDelta::days(1));
        assert_eq!(read.targets, [targets, Targets::default(), Targets::default(), Targets::default()]);
        assert_eq!(read.warn_at, [Fraction::percent(50), Fraction::percent(90)]);
        assert_eq!((read.pause_statuses, read.mode), (vec![Status::PendingInfo], Mode::Retroactive));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let policy = definition(&serde_json::json!({
            "match": {"category": [], "priority": ["low"]},
            "targets": {"critical": {"first_response": "0s", "resolution": "soon"}, "low": {"resolution": "4000d"}},
            "warn_at": [0.0, 1.5, 0.5],
            "pause_statuses": ["closed"],
        }));
        let fields: Vec<_> = policy.problems().into_iter().map(|problem| problem.field).collect();
        let expected = [
            "match.category",
            "targets.critical.first_response",
            "targets.critical.resolution",
            "targets.low.resolution",
            "warn_at[0]",
            "warn_at[1]",
            "pause_statuses[0]",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_policy_that_promises_nothing_to_whom_it_matches_is_wrong() {
        let json =
            serde_json::json!({"match": {"priority": ["low"]}, "targets": {"high": {"resolution": "4h"}}});
        let problems = definition(&json).problems();
        assert_eq!(problems.iter().map(|p| &*p.field).collect::<Vec<_>>(), ["targets"]);
    }

    #[test]
    fn all_conditions_must_hold_and_any_value_of_each() {
        let labels = ["vip".to_owned()];
        let ticket = Facts {
            category: Category::Incident,
            priority: Priority::High,
            team: None,
            labels: &labels,
            environment: Some("Production"),
            contact: Some("Ann@Acme.example"),
        };
        let matches =
            |json: serde_json::Value| serde_json::from_value::<Matches>(json).unwrap().apply_to(&ticket);
        assert!(matches(serde_json::json!({})));
        assert!(matches(serde_json::json!({"priority": ["critical", "high"], "label": ["vip"]})));
        assert!(matches(serde_json::json!({"environment": ["production"], "contact": ["@acme.example"]})));
        assert!(matches(serde_json::json!({"contact": ["ann@acme.example"]})));
        assert!(!matches(serde_json::json!({"priority": ["critical"], "label": ["vip"]})));
        assert!(!matches(serde_json::json!({"team_id": [DefinitionId::new()]})));
        assert!(!matches(serde_json::json!({"contact": ["@example"]})));
    }

    #[test]
    fn a_wider_policy_covers_a_narrower_one() {
        let matches = |json: serde_json::Value| serde_json::from_value::<Matches>(json).unwrap();
        let wide = matches(serde_json::json!({"priority": ["critical", "high"]}));
        let narrow = matches(serde_json::json!({"priority": ["high"], "label": ["vip"]}));
        assert!(wide.cover(&narrow) && !narrow.cover(&wide) && Matches::default().cover(&wide));
    }

    #[test]
    fn the_default_policy_promises_what_is_documented() {
        let policy = Policy::default();
        let hours =
            |metric| Priority::ALL.iter().map(move |p| policy.target(*p, metric).map(|t| t.num_hours()));
        let (responses, resolutions) =
            (hours.clone()(Metric::FirstResponse), hours.clone()(Metric::Resolution));
        assert!(responses.eq([1, 4, 8, 24].map(Some)));
        assert!(resolutions.eq([4, 12, 48, 120].map(Some)));
        assert!(hours(Metric::NextResponse).eq([None; 4]));
        assert_eq!(Policy::default().warn_at, [50, 75, 90].map(Fraction::percent));
    }
}
