//! Every statement is measured, and is a span of the trace it belongs to.

use std::time::Instant;

use tracing::{Instrument, Span, field};

use super::{Error, Result};
use crate::metrics::DB_STATEMENT_DURATION;

/// One statement on its way.
#[derive(Debug)]
pub(super) struct Statement {
    operation: &'static str,
    span: Span,
}

impl Statement {
    /// Prepares to observe a statement of this text.
    pub(super) fn of(sqlite: bool, sql: &str) -> Self {
        let (operation, table) = summary(sql);
        Self { operation, span: span(sqlite, operation, table) }
    }

    /// Runs it.
    pub(super) async fn run<T>(self, on: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        let started = Instant::now();
        let done = on.instrument(self.span.clone()).await;
        DB_STATEMENT_DURATION.of([self.operation]).record(started.elapsed().as_secs_f64());
        done.map_err(|error| {
            let error = Error::from(error);
            self.span.record("error.type", error.class());
            error
        })
    }
}

/// A span by OpenTelemetry's semantic conventions for database clients. The text of the statement is left out: it stands
/// in the source. Statements outside of any trace, such as those of a look for what is due, have none.
fn span(sqlite: bool, operation: &'static str, table: &str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    let span = tracing::debug_span!(
        "statement",
        otel.name = field::Empty,
        otel.kind = "client",
        db.system.name = if sqlite { "sqlite" } else { "postgresql" },
        db.operation.name = operation,
        db.collection.name = field::Empty,
        db.query.summary = field::Empty,
        error.type = field::Empty,
    );
    if !span.is_disabled() {
        let summary = if table.is_empty() { operation.to_owned() } else { format!("{operation} {table}") };
        span.record("otel.name", &summary).record("db.query.summary", &summary);
        if !table.is_empty() {
            span.record("db.collection.name", table);
        }
    }
    span
}

/// What is told apart; the rest is `other`.
const OPERATIONS: [&str; 6] = ["select", "insert", "update", "delete", "begin", "commit"];

/// What a statement does, and to which table: the main one of those that begin with others.
fn summary(sql: &str) -> (&'static str, &str) {
    let (mut depth, mut operation, mut names_table) = (0_i32, None, false);
    for word in sql.split_whitespace() {
        if depth == 0 {
            match operation {
                Some(operation) if names_table => return (operation, name(word)),
                Some(_) => names_table = matches!(word, "INTO" | "FROM"),
                None => {
                    operation = OPERATIONS.into_iter().find(|known| known.eq_ignore_ascii_case(word));
                    names_table = operation == Some("update");
                }
            }
        }
        depth += word.bytes().map(|byte| i32::from(byte == b'(') - i32::from(byte == b')')).sum::<i32>();
    }
    (operation.unwrap_or("other"), "")
}

/// A name without what stands around it.
fn name(word: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    &word[..word.find(|c| !is_name(c)).unwrap_or(word.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_what_it_does_to_its_main_table() {
        for (sql, expected) in [
            ("SELECT * FROM jobs WHERE id = $1", ("select", "jobs")),
            ("SELECT COALESCE((SELECT MIN(seq) FROM events), 1) FROM event_head", ("select", "event_head")),
            ("SELECT COUNT(*) FROM (SELECT 1) x", ("select", "")),
            ("\n    INSERT INTO jobs (id, kind)\n    {rows}", ("insert", "jobs")),
            (
                "WITH v (id) AS ({rows})\n    INSERT INTO escalations (id)\n SELECT id FROM v",
                ("insert", "escalations"),
            ),
            (
                "WITH due AS MATERIALIZED (\n SELECT id FROM jobs LIMIT 1)\n UPDATE jobs SET x = 1 FROM due",
                ("update", "jobs"),
            ),
            ("DELETE FROM jobs WHERE id IN (SELECT id FROM old)", ("delete", "jobs")),
            ("BEGIN IMMEDIATE", ("begin", "")),
            ("VACUUM", ("other", "")),
        ] {
            assert_eq!(summary(sql), expected, "{sql}");
        }
    }
}
