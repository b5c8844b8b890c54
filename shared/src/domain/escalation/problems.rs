//! What can be wrong with an escalation policy.

use chrono::TimeDelta;

use super::definition::{Action, Definition, Repeat, Step, Target, When};
use crate::domain::sla::Fraction;
use crate::domain::{Problem, is_mail_address, is_web_address, span};

const MOST_STEPS: usize = 50;
const MOST_TARGETS: usize = 50;
const MOST_REPEATS: i64 = 100;

/// At most as late a step, and at most as far apart repeats: due times stay within the years that databases keep.
const LONGEST: TimeDelta = TimeDelta::days(366);

impl Definition {
    /// Lists everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=MOST_STEPS).contains(&self.steps.len()) {
            problems.push(Problem::new("steps", format!("Needs 1 to {MOST_STEPS} steps.")));
        }
        let mut before: Option<When> = None;
        for (i, step) in self.steps.iter().enumerate() {
            let own = step.problems().into_iter().chain(step.out_of_order(before));
            problems.extend(
                own.map(|problem| Problem::new(format!("steps[{i}].{}", problem.field), problem.message)),
            );
            before = Some(step.when);
        }
        problems.extend(self.repeat.and_then(|repeat| self.repeat_problem(repeat)));
        problems
    }

    fn repeat_problem(&self, repeat: Repeat) -> Option<Problem> {
        let (field, why) = match self.delays().map(|(_, delay)| delay).max() {
            _ if !(1..=MOST_REPEATS).contains(&repeat.times) => {
                ("repeat.times", format!("Must be 1 to {MOST_REPEATS}."))
            }
            _ if !(TimeDelta::seconds(1)..=LONGEST).contains(&repeat.every) => {
                ("repeat.every", format!("Must be 1s to {}.", span::format(LONGEST)))
            }
            None => ("repeat", "Needs a step after the breach that could come again.".into()),
            Some(last) if repeat.every < last => {
                let last = span::format(last);
                (
                    "repeat.every",
                    format!(
                        "Must be at least {last}, or a round would begin before the last step of the one before."
                    ),
                )
            }
            Some(_) => return None,
        };
        Some(Problem::new(field, why))
    }
}

impl Step {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.when {
            When::Fraction(share) if share >= Fraction::percent(100) => {
                let why = "Must be below 1; a step at the breach is written as after 0s.";
                problems.push(Problem::new("when.fraction", why));
            }
            When::After(delay) if !(TimeDelta::zero()..=LONGEST).contains(&delay) => {
                let why = format!("Must be 0s to {}.", span::format(LONGEST));
                problems.push(Problem::new("when.after", why));
            }
            When::Fraction(_) | When::After(_) => {}
        }
        if self.targets.is_empty() && self.actions.is_empty() {
            problems.push(Problem::new("targets", "Needs somebody to tell, or an action."));
        }
        for (field, length) in [("targets", self.targets.len()), ("actions", self.actions.len())] {
            if length > MOST_TARGETS {
                problems.push(Problem::new(field, format!("Must be at most {MOST_TARGETS}.")));
                return problems;
            }
        }
        for (i, target) in self.targets.iter().enumerate() {
            let wrong = target.problem().map(|(name, why)| Problem::new(format!("targets[{i}].{name}"), why));
            problems.extend(wrong);
            if self.targets[..i].contains(target) {
                problems.push(Problem::new(format!("targets[{i}]"), "Is in the list already."));
            }
        }
        let kind = std::mem::discriminant::<Action>;
        for (i, action) in self.actions.iter().enumerate() {
            if self.actions[..i].iter().any(|earlier| kind(earlier) == kind(action)) {
                problems.push(Problem::new(format!("actions[{i}]"), "The step has such an action already."));
            }
        }
        problems
    }

    /// Steps come in the order in which they are written.
    fn out_of_order(&self, before: Option<When>) -> Option<Problem> {
        match (before?, self.when) {
            (When::After(_), When::Fraction(_)) => {
                Some(Problem::new("when.fraction", "Must stand before the steps after the breach."))
            }
            (When::Fraction(before), When::Fraction(share)) if share <= before => {
                Some(Problem::new("when.fraction", "Must be more than the share of the step before."))
            }
            (When::After(before), When::After(delay)) if delay < before => {
                Some(Problem::new("when.after", "Must not be earlier than the step before."))
            }
            _ => None,
        }
    }
}

impl Target {
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Address { email } if !is_mail_address(email) => {
                Some(("email", "Must be one mail address."))
            }
            Self::Webhook { url, .. } if !is_web_address(url) => {
                Some(("url", "Must be a web address like https://example.org/hook, without a password."))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Definition {
        serde_json::from_value(json).unwrap()
    }

    fn fields(json: Value) -> Vec<String> {
        read(json).problems().into_iter().map(|problem| problem.field).collect()
    }

    /// A policy of steps at these times, each telling the assignee.
    fn at(times: &[Value]) -> Value {
        let step = |when: &Value| json!({ "when": when, "targets": [{ "type": "assignee" }] });
        json!({ "steps": times.iter().map(step).collect::<Vec<_>>() })
    }

    #[test]
    fn steps_come_in_the_order_in_which_they_are_written() {
        let fraction = |share: f64| json!({ "fraction": share });
        let after = |delay: &str| json!({ "after": delay });
        assert_eq!(
            fields(at(&[fraction(0.5), fraction(0.9), after("0s"), after("0s"), after("1m")])),
            [""; 0]
        );
        assert_eq!(fields(at(&[fraction(0.5), fraction(0.5)])), ["steps[1].when.fraction"]);
        assert_eq!(fields(at(&[after("0s"), fraction(0.5)])), ["steps[1].when.fraction"]);
        assert_eq!(fields(at(&[after("2m"), after("1m")])), ["steps[1].when.after"]);
        assert_eq!(fields(at(&[fraction(1.0)])), ["steps[0].when.fraction"]);
        assert_eq!(fields(at(&[after("367d")])), ["steps[0].when.after"]);
        for share in [0.0, -0.5, 1.1, 1e300] {
            assert!(serde_json::from_value::<Definition>(at(&[fraction(share)])).is_err(), "{share}");
        }
        assert!(serde_json::from_value::<Definition>(at(&[after("-1m")])).is_err());
    }

    #[test]
    fn a_negative_delay_is_wrong_however_it_was_made() {
        let mut policy = read(at(&[json!({ "after": "0s" })]));
        policy.steps[0].when = When::After(TimeDelta::seconds(-1));
        assert_eq!(policy.problems()[0].field, "steps[0].when.after");
    }

    #[test]
    fn rounds_do_not_overlap_and_end() {
        let repeated = |times: i64, every: &str| {
            let mut json = at(&[json!({ "after": "10m" }), json!({ "after": "1h" })]);
            json["repeat"] = json!({ "times": times, "every": every });
            fields(json)
        };
        assert_eq!(repeated(100, "1h"), [""; 0]);
        assert_eq!(repeated(1, "59m"), ["repeat.every"]);
        assert_eq!(repeated(1, "0s"), ["repeat.every"]);
        assert_eq!(repeated(1, "367d"), ["repeat.every"]);
        for times in [i64::MIN, 0, 101] {
            assert_eq!(repeated(times, "1h"), ["repeat.times"]);
        }
        let mut json = at(&[json!({ "fraction": 0.5 })]);
        json["repeat"] = json!({ "times": 1, "every": "1h" });
        assert_eq!(fields(json), ["repeat"]);
    }

    #[test]
    fn everything_that_is_wrong_is_listed_at_once() {
        assert_eq!(fields(json!({ "steps": [] })), ["steps"]);
        let json = json!({
            "steps": [
                { "when": { "after": "5m" } },
                {
                    "when": { "after": "0s" },
                    "targets": [
                        { "type": "assignee" },
                        { "type": "assignee" },
                        { "type": "address", "email": "boss" },
                        { "type": "webhook", "url": "ftp://example.org" },
                        { "type": "webhook", "url": "https://me:secret@example.org" },
                    ],
                    "actions": [{ "type": "raise_priority" }, { "type": "raise_priority" }],
                },
            ],
            "repeat": { "times": 1, "every": "1m" },
        });
        assert_eq!(
            fields(json),
            [
                "steps[0].targets",
                "steps[1].targets[1]",
                "steps[1].targets[2].email",
                "steps[1].targets[3].url",
                "steps[1].targets[4].url",
                "steps[1].actions[1]",
                "steps[1].when.after",
                "repeat.every",
            ]
        );
    }
}
