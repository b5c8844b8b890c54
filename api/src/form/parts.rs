//! Reads what has parts: objects within objects, lists, and definitions that rules have something to say about.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};
use shared::domain::Problem;

use super::{Form, MOST_ERRORS};
use crate::error::{ApiError, FieldError};

impl Form {
    /// Reads an object of its own.
    pub(crate) fn object(&mut self, field: &str) -> Option<Option<Form>> {
        match self.take(field)? {
            None => Some(None),
            Some(Value::Object(fields)) => Some(Some(Self { fields, ..Self::default() })),
            Some(_) => {
                self.complain("type", field, "Must be an object.");
                None
            }
        }
    }

    /// Ends reading an object of its own: its complaints become this form's.
    pub(crate) fn absorb(&mut self, field: &str, inner: Form) {
        if let Err(ApiError::Invalid(errors)) = inner.finish() {
            let prefixed = |e: FieldError| FieldError { field: e.field.map(|f| format!("{field}.{f}")), ..e };
            self.errors.extend(errors.into_iter().map(prefixed));
        }
    }

    /// Reads an object of its own to its end.
    pub(crate) fn nested<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let Some(mut inner) = self.object(field)? else { return Some(None) };
        let value = read(&mut inner);
        self.absorb(field, inner);
        value.map(Some)
    }

    /// Reads a list, each item as a field called `field[0]` and so on that must be there. What follows an item that
    /// cannot be used is read but left out, so that the others keep their places.
    pub(crate) fn items<T>(
        &mut self,
        field: &str,
        mut read: impl FnMut(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<Option<Vec<T>>> {
        let list = match self.take(field)? {
            None => return Some(None),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.complain("type", field, "Must be a list.");
                return None;
            }
        };
        let read = list
            .into_iter()
            .enumerate()
            .map(|(i, value)| self.part(&format!("{field}[{i}]"), value, &mut read));
        let items: Vec<Option<T>> = read.collect();
        Some(Some(items.into_iter().map_while(|item| item).collect()))
    }

    /// Reads an object whose names are `names` of something, each value as a field called `field.name` that must be
    /// there. What cannot be used is left out.
    pub(crate) fn entries<K: FromStr<Err: std::fmt::Display> + Ord, T>(
        &mut self,
        field: &str,
        mut read: impl FnMut(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<Option<BTreeMap<K, T>>> {
        let Some(inner) = self.object(field)? else { return Some(None) };
        let mut entries = BTreeMap::new();
        for (name, value) in inner.fields {
            let place = format!("{field}.{name}");
            match name.parse() {
                Ok(key) => entries.extend(self.part(&place, value, &mut read).map(|value| (key, value))),
                Err(why) => self.complain("unknown", &place, format!("Its name {why}.")),
            }
        }
        Some(Some(entries))
    }

    /// Reads a value as if it were a field of this form.
    fn part<T>(
        &mut self,
        place: &str,
        value: Value,
        read: impl FnMut(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<T> {
        let mut inner = Self { fields: Map::from_iter([(place.to_owned(), value)]), ..Self::default() };
        let value = inner.required(place, read);
        self.errors.append(&mut inner.errors);
        value
    }

    /// Reads a field that must be there, unless there is what it was before.
    pub(crate) fn kept<T>(
        &mut self,
        field: &str,
        before: Option<T>,
        read: impl FnOnce(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<T> {
        if before.is_some() && !self.fields.contains_key(field) {
            return before;
        }
        self.required(field, read)
    }

    /// Reads a field that may be absent, but not null.
    pub(crate) fn given<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<T> {
        if self.fields.contains_key(field) { self.required(field, read) } else { None }
    }

    /// Reads a field that may be empty; when it is absent, it is what it was before.
    pub(crate) fn changed<T>(
        &mut self,
        field: &str,
        before: Option<T>,
        read: impl FnOnce(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<T> {
        if !self.fields.contains_key(field) {
            return before;
        }
        read(self, field).flatten()
    }

    /// Reads true or false.
    pub(crate) fn flag(&mut self, field: &str) -> Option<Option<bool>> {
        self.json_value(field, Value::as_bool, "Must be true or false.")
    }

    /// Reads a number that need not be whole.
    pub(crate) fn decimal(&mut self, field: &str) -> Option<Option<f64>> {
        self.json_value(field, Value::as_f64, "Must be a number.")
    }

    fn json_value<T>(&mut self, field: &str, read: fn(&Value) -> Option<T>, why: &str) -> Option<Option<T>> {
        let Some(value) = self.take(field)? else { return Some(None) };
        let read = read(&value);
        if read.is_none() {
            self.complain("type", field, why);
        }
        read.map(Some)
    }

    /// Reads a definition, which `check` finds fault with.
    pub(crate) fn definition<T>(
        &mut self,
        field: &str,
        check: impl FnOnce(&Value) -> Result<T, Vec<Problem>>,
    ) -> Option<Option<Value>> {
        let Some(value) = self.take(field)? else { return Some(None) };
        match check(&value) {
            Ok(_) => Some(Some(value)),
            Err(problems) => {
                for problem in problems {
                    let within = if problem.field.is_empty() { "" } else { "." };
                    self.complain("invalid", &format!("{field}{within}{}", problem.field), problem.message);
                }
                None
            }
        }
    }

    /// Adds what the rules say of what was read, except about fields that could not be read anyway.
    pub(crate) fn review(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let known: Vec<String> =
            self.errors.iter().take(MOST_ERRORS).filter_map(|error| error.field.clone()).collect();
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        for Problem { field, message } in problems.into_iter().take(MOST_ERRORS) {
            if !known.iter().any(|known| within(known, &field) || within(&field, known)) {
                self.complain("invalid", &field, message);
            }
        }
    }
}
