//! Reads the fields of a JSON body or a query string and keeps every complaint, so that a client learns of all of
//! them at once. (Serde stops at the first; see docs/adr/0005.)

mod parts;

use std::str::FromStr;

use chrono::{DateTime, Datelike, SubsecRound};
use serde_json::{Map, Number, Value};
use shared::time::Timestamp;

use crate::error::{ApiError, FieldError};

/// A time as RFC 3339 writes it, cut to microseconds.
#[derive(Debug)]
struct CommonTime(Timestamp);

impl FromStr for CommonTime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let at = DateTime::parse_from_rfc3339(text).map_err(drop)?.to_utc().trunc_subsecs(6);
        if is_common(at) { Ok(Self(at)) } else { Err(()) }
    }
}

/// Tells whether both engines can compare a time: it must have a year of four digits.
pub(crate) fn is_common(at: Timestamp) -> bool {
    (1..=9999).contains(&at.year())
}

/// The least number that a float may stand for with its neighbour.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a number without a fraction, which JSON may also write as `3.0`.
fn whole(number: &Number) -> Option<i64> {
    let exact = |float: &f64| float.fract() == 0.0 && float.abs() < INEXACT;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and far from the ends of an i64")]
    number.as_i64().or_else(|| number.as_f64().filter(exact).map(|float| float as i64))
}

/// At most as many complaints are listed: a client that has more to mend mends these first.
const MOST_ERRORS: usize = 1_000;

/// Fields not yet read, and what was wrong with those that were.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
    /// From a query string: every value is a list of texts.
    is_query: bool,
}

impl Form {
    /// Starts from a body; an empty one has no fields.
    pub(crate) fn json(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { fields, ..Self::default() }),
            Ok(_) => Err(ApiError::Malformed("The body must be a JSON object.".into())),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(ApiError::Malformed(
                    format!("The body is not JSON: line {line}, column {column}.").into(),
                ))
            }
        }
    }

    /// Starts from a query string; a parameter given several times becomes a list.
    pub(crate) fn query(query: &str) -> Self {
        let mut fields = Map::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let list = fields.entry(name.into_owned()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(Value::String(value.into_owned()));
            }
        }
        Self { fields, is_query: true, ..Self::default() }
    }

    pub(crate) fn complain(&mut self, code: &'static str, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError { code, field: Some(field.into()), message: message.into() });
    }

    /// Complains unless something was wrong with this form already, which may be why.
    pub(crate) fn complain_unless_known(&mut self, code: &'static str, field: &str, message: &str) {
        if self.errors.is_empty() {
            self.complain(code, field, message);
        }
    }

    /// Lets what was not read pass, where nobody can tell what should be there.
    pub(crate) fn ignore_rest(&mut self) {
        self.fields.clear();
    }

    /// Tells whether a field is there, were it null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Tells whether a field is a text.
    pub(crate) fn is_text(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(Value::is_string)
    }

    /// Ends reading: what was left over is unknown.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        let why = if self.is_query { "There is no such parameter." } else { "There is no such field." };
        for field in std::mem::take(&mut self.fields).keys() {
            self.complain("unknown", field, why);
        }
        self.errors.truncate(MOST_ERRORS);
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.errors)) }
    }

    /// Reads a field: `None` when absent, `Some(None)` when null.
    fn take(&mut self, field: &str) -> Option<Option<Value>> {
        self.fields.remove(field).map(|value| (!value.is_null()).then_some(value))
    }

    /// Reads a field that has one value, however often a query repeats its name.
    fn take_one(&mut self, field: &str) -> Option<Option<Value>> {
        match self.take(field)? {
            Some(Value::Array(mut list)) if self.is_query => {
                let value = list.pop();
                if list.is_empty() {
                    return Some(value);
                }
                self.complain("repeated", field, "Give it once.");
                None
            }
            value => Some(value),
        }
    }

    fn string(&mut self, field: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            _ => {
                self.complain("type", field, "Must be a text.");
                None
            }
        }
    }

    /// Reads one line of text: absent, null, or `1..=max` characters without control characters.
    pub(crate) fn line(&mut self, field: &str, max: usize) -> Option<Option<String>> {
        self.text(
            field,
            1,
            max,
            char::is_control,
            "Must not contain line breaks or other control characters.",
        )
    }

    /// Reads text of several lines: absent, null, or up to `max` characters.
    pub(crate) fn lines(&mut self, field: &str, max: usize) -> Option<Option<String>> {
        let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        self.text(field, 0, max, odd, "Must not contain control characters other than line breaks and tabs.")
    }

    fn text(
        &mut self,
        field: &str,
        min: usize,
        max: usize,
        odd: fn(char) -> bool,
        why: &str,
    ) -> Option<Option<String>> {
        let Some(value) = self.take_one(field)? else { return Some(None) };
        let text = self.string(field, value)?;
        let length = text.chars().count();
        if length < min || (min > 0 && text.trim().is_empty()) {
            self.complain("empty", field, "Must not be empty.");
        } else if length > max {
            self.complain("too_long", field, format!("Must be at most {max} characters; this is {length}."));
        } else if text.contains(odd) {
            self.complain("control_characters", field, why);
        } else {
            return Some(Some(text));
        }
        None
    }

    /// Reads a field that must be there and not null.
    pub(crate) fn required<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<Option<T>>,
    ) -> Option<T> {
        let there = self.fields.get(field).is_some_and(|value| !value.is_null());
        if !there {
            self.fields.remove(field);
            self.complain("required", field, "Is required.");
            return None;
        }
        read(self, field).flatten()
    }

    /// Reads anything that is written as one text, such as an identifier, a time or one of several words.
    pub(crate) fn parse<T: FromStr>(&mut self, field: &str, expected: &str) -> Option<Option<T>> {
        let Some(value) = self.take_one(field)? else { return Some(None) };
        let text = self.string(field, value)?;
        self.parse_text(field, &text, expected).map(Some)
    }

    fn parse_text<T: FromStr>(&mut self, field: &str, text: &str, expected: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.complain("invalid", field, format!("Must be {expected}."));
        }
        parsed
    }

    /// Reads one word of an enum.
    pub(crate) fn word<T: FromStr<Err = String>>(&mut self, field: &str) -> Option<Option<T>> {
        let Some(value) = self.take_one(field)? else { return Some(None) };
        let text = self.string(field, value)?;
        match text.parse() {
            Ok(word) => Some(Some(word)),
            Err(why) => {
                self.complain("unknown_value", field, format!("It {why}."));
                None
            }
        }
    }

    /// Reads any number of words of an enum, from a repeated parameter.
    pub(crate) fn words<T: FromStr<Err = String>>(&mut self, field: &str) -> Vec<T> {
        let Some(Some(Value::Array(list))) = self.take(field) else { return Vec::new() };
        let mut words = Vec::new();
        for value in list {
            match value.as_str().unwrap_or_default().parse() {
                Ok(word) => words.push(word),
                Err(why) => self.complain("unknown_value", field, format!("It {why}.")),
            }
        }
        words
    }

    /// Reads a time.
    pub(crate) fn time(&mut self, field: &str) -> Option<Timestamp> {
        self.instant(field).flatten()
    }

    /// Reads a time: absent, null, or one.
    pub(crate) fn instant(&mut self, field: &str) -> Option<Option<Timestamp>> {
        let time = self.parse(field, "a time like 2026-03-04T09:00:00Z")?;
        Some(time.map(|CommonTime(at)| at))
    }

    /// Reads a whole number, from a body or a query string.
    pub(crate) fn number(&mut self, field: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.take_one(field)??;
        let number = match &value {
            Value::Number(number) => whole(number),
            Value::String(text) if self.is_query => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            let expected =
                if *to == i64::MAX { format!("{from} or more") } else { format!("from {from} to {to}") };
            self.complain("invalid", field, format!("Must be a whole number, {expected}."));
        }
        number
    }

    /// Reads a list of short lines, without repetitions.
    pub(crate) fn labels(&mut self, field: &str) -> Vec<String> {
        let list = match self.take(field) {
            None | Some(None) => return Vec::new(),
            Some(Some(Value::Array(list))) => list,
            Some(Some(_)) => {
                self.complain("type", field, "Must be a list of texts.");
                return Vec::new();
            }
        };
        let fits = |l: &&str| {
            (1..=50).contains(&l.chars().count()) && !l.contains(char::is_control) && l.trim() == *l
        };
        let fitting: Vec<&str> = list.iter().filter_map(Value::as_str).filter(fits).collect();
        if list.len() > 20 || fitting.len() < list.len() {
            self.complain(
                "invalid",
                field,
                "Must be at most 20 labels of 1 to 50 characters each, on one line.",
            );
        }
        let mut labels: Vec<String> = fitting.into_iter().map(str::to_owned).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Reads a mail address.
    pub(crate) fn address(&mut self, field: &str) -> Option<Option<String>> {
        let address = self.line(field, 254)?;
        if let Some(text) = &address
            && !shared::domain::is_mail_address(text)
        {
            self.complain("invalid", field, "Must be one mail address.");
            return None;
        }
        Some(address)
    }
}
