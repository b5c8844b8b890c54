//! Calendars.

use std::collections::BTreeMap;

use shared::domain::Problem;
use shared::domain::definition::{Kind, Reference};
use shared::domain::sla::calendar::Definition;

use super::Defined;
use crate::form::Form;

impl Defined for Definition {
    const KIND: Kind = Kind::Calendar;

    fn read(form: &mut Form, before: Option<Self>) -> Self {
        let (tz, windows) = before.map(|old| (old.tz, (old.weekly, old.overrides))).unzip();
        let (weekly, overrides) = windows.unzip();
        Self {
            tz: form.kept("tz", tz, |f, at| f.line(at, 64)).unwrap_or_default(),
            weekly: form.kept("weekly", weekly, read_windows).unwrap_or_default(),
            overrides: form.changed("overrides", overrides, read_windows).unwrap_or_default(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems()
    }

    fn references(&self) -> Vec<(String, Reference)> {
        Vec::new()
    }
}

/// Reads windows by weekdays or dates; what they say is for the rules to judge.
pub(super) fn read_windows(form: &mut Form, field: &str) -> Option<Option<BTreeMap<String, Vec<String>>>> {
    form.entries(field, |f, at| f.items(at, |f, at| f.line(at, 30)))
}
