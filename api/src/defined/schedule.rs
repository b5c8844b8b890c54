//! On-call schedules.

use chrono::NaiveDate;
use shared::domain::Problem;
use shared::domain::definition::{Kind, Reference};
use shared::domain::oncall::{Definition, Layer, Override, Turn};
use shared::ids::OverrideId;

use super::Defined;
use super::calendar::read_windows;
use crate::form::Form;

const USER: &str = "the id of a user";

impl Defined for Definition {
    const KIND: Kind = Kind::Schedule;

    fn read(form: &mut Form, before: Option<Self>) -> Self {
        let (tz, people) = before.map(|old| (old.tz, (old.layers, old.overrides))).unzip();
        let (layers, overrides) = people.unzip();
        Self {
            tz: form.kept("tz", tz, |f, at| f.line(at, 64)).unwrap_or_default(),
            layers: form
                .kept("layers", layers, |f, at| f.items(at, |f, at| f.nested(at, read_layer)))
                .unwrap_or_default(),
            overrides: form
                .changed("overrides", overrides, |f, at| f.items(at, |f, at| f.nested(at, read_override)))
                .unwrap_or_default(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems()
    }

    fn references(&self) -> Vec<(String, Reference)> {
        self.references().collect()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what could not be read has been complained about")]
fn read_layer(form: &mut Form) -> Option<Layer> {
    let users = |f: &mut Form, at: &str| f.items(at, |f, at| f.parse(at, USER));
    let start = |f: &mut Form, at: &str| f.parse::<NaiveDate>(at, "a date like 2026-01-05");
    Some(Layer {
        name: form.required("name", |f, at| f.line(at, 100)).unwrap_or_default(),
        users: form.required("users", users).unwrap_or_default(),
        start: form.required("start", start).unwrap_or_default(),
        handoff: form.required("handoff", |f, at| f.line(at, 10)).unwrap_or_default(),
        turn: form.required("turn", read_turn).unwrap_or_default(),
        hours: form.changed("hours", None, read_windows),
    })
}

fn read_turn(form: &mut Form, field: &str) -> Option<Option<Turn>> {
    if form.is_text(field) {
        return Some(match form.line(field, 20)??.as_str() {
            "daily" => Some(Turn::Daily),
            "weekly" => Some(Turn::Weekly),
            _ => {
                form.complain(
                    "unknown_value",
                    field,
                    "Must be daily, weekly, {\"days\": 3} or {\"hours\": 12}.",
                );
                return None;
            }
        });
    }
    form.nested(field, |turn| {
        let (days, hours) =
            (turn.number("days", i64::MIN..=i64::MAX), turn.number("hours", i64::MIN..=i64::MAX));
        match (days, hours) {
            (Some(days), None) => Some(Turn::Days(days)),
            (None, Some(hours)) => Some(Turn::Hours(hours)),
            (Some(_), Some(_)) => {
                turn.complain("invalid", "hours", "Give either days or hours.");
                None
            }
            (None, None) => {
                turn.complain_unless_known("required", "days", "Give either days or hours.");
                None
            }
        }
    })
}

/// Reads an exception; one without an identifier is a new one.
pub(crate) fn read_override(form: &mut Form) -> Option<Override> {
    let id: Option<OverrideId> = form.parse("id", "the id of an override").flatten();
    let user = form.required("user", |f, at| f.parse(at, USER));
    let from = form.required("from", Form::instant);
    let to = form.required("to", Form::instant);
    Some(Override { id: id.unwrap_or_else(OverrideId::new), user: user?, from: from?, to: to? })
}
