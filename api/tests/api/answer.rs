//! An answer, and what holds for every one of them.

use axum::http::HeaderMap;
use serde_json::Value;

/// What must not be read from any failure: engines, statements, files, crashes.
const SECRETS: &[&str] = &[
    "sqlx",
    "sqlite",
    "postgres",
    "select ",
    "insert ",
    "update ",
    " table",
    "column \"",
    ".rs",
    "panic",
    "/src",
];

/// An answer that has the shape all answers share.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// Takes an answer in, after a look at what must hold whatever was asked.
    pub(crate) fn checked(status: u16, headers: HeaderMap, text: String) -> Self {
        if status == 204 {
            let answer = Self { status, headers, text, json: Value::Null };
            assert!(answer.text.is_empty() && answer.header("content-type").is_none(), "{answer:?}");
            assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
            return answer;
        }
        let json: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} is not JSON: {text:?}"));
        let answer = Self { status, headers, text, json };
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
        let mut keys: Vec<&str> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.retain(|key| *key != "meta");
        keys.sort_unstable();
        assert_eq!(keys, ["data", "errors", "message", "success"], "{answer:?}");
        if (200..300).contains(&status) {
            answer.check_success();
        } else {
            answer.check_failure();
        }
        answer
    }

    fn check_success(&self) {
        assert_eq!(self.json["success"], true, "{self:?}");
        assert_eq!(self.json["message"], Value::Null, "{self:?}");
        assert_eq!(self.json["errors"], serde_json::json!([]), "{self:?}");
        let version = self.data()["version"].as_i64().map(|version| format!("\"{version}\""));
        assert_eq!(
            self.header("etag"),
            version.as_deref(),
            "what has a version has an ETag, nothing else has: {self:?}"
        );
    }

    fn check_failure(&self) {
        assert_eq!(self.json["success"], false, "{self:?}");
        assert_eq!(self.json["data"], Value::Null, "{self:?}");
        assert_eq!(self.json.get("meta"), None, "{self:?}");
        assert!(self.message().ends_with('.'), "{self:?}");
        let errors = self.json["errors"].as_array().unwrap();
        assert!(!errors.is_empty(), "{self:?}");
        for error in errors {
            assert_eq!(error.as_object().unwrap().len(), 3, "{self:?}");
            assert!(error["code"].as_str().is_some_and(|code| !code.is_empty()), "{self:?}");
            assert!(error["message"].as_str().is_some_and(|message| message.ends_with('.')), "{self:?}");
            // A conflict may name which of many it is about.
            assert!(error["field"].is_string() == (self.status == 422) || self.status == 409, "{self:?}");
        }
        assert_eq!(self.header("retry-after").is_some(), [429, 503].contains(&self.status), "{self:?}");
        assert_eq!(self.header("www-authenticate").is_some(), self.status == 401, "{self:?}");
        let text = self.text.to_lowercase();
        let shown: Vec<_> = SECRETS.iter().filter(|secret| text.contains(**secret)).collect();
        assert!(shown.is_empty(), "shows {shown:?}: {self:?}");
    }

    /// Insists on a status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Insists on a failure of one kind.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.json["errors"][0]["code"], code, "{}", answer.text);
        answer
    }

    /// Insists on 422 for these fields, with these codes, and no others.
    #[track_caller]
    pub(crate) fn blames(self, expected: &[(&str, &str)]) -> Self {
        let answer = self.expect(422);
        let errors = answer.json["errors"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = errors.iter().map(|e| (text(&e["field"]), text(&e["code"]))).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = expected.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{}", answer.text);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn data(&self) -> &Value {
        &self.json["data"]
    }

    pub(crate) fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }

    /// One value of each item of a list, as texts.
    pub(crate) fn each(&self, field: &str) -> Vec<String> {
        let items = self.data().as_array().unwrap_or_else(|| panic!("not a list: {}", self.text));
        items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The part of a text value that a path needs.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The same with every identifier replaced by a word, so that it can be compared as a whole.
pub(crate) fn without_ids(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() == 36 && text.matches('-').count() == 4 => "(id)".into(),
        Value::Array(list) => list.iter().map(without_ids).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), without_ids(value))).collect(),
        other => other.clone(),
    }
}
