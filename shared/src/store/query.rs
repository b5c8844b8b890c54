//! One statement for two engines, with its values.
//!
//! A statement is written once, with `$1` placeholders and, where the engines must differ, one of three holes:
//! `{for_update}` and `{skip_locked}` lock rows on PostgreSQL (SQLite has one writer, so there is nothing to lock; the
//! lock is `NO KEY`, so that it does not wait for foreign keys being checked, which would deadlock with the sweep),
//! and `{rows}` stands for a table of values: arrays in `UNNEST` on PostgreSQL, `VALUES` in chunks on SQLite.

use std::borrow::Cow;
use std::fmt::Write;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::types::Json;
use sqlx::{Arguments, AssertSqlSafe, Encode, FromRow, Postgres, SqlSafeStr, SqlStr, Sqlite, Type};
use uuid::Uuid;

use super::Result;
use super::db::{Db, Inner, Tx};
use super::statement::Statement;
use crate::time::Timestamp;

/// SQLite takes at most 32,766 variables a statement; chunks stay far below and let the statement cache work.
const SQLITE_CHUNK_VARIABLES: usize = 1_000;

/// A value bound to a placeholder; `None` keeps its type, which PostgreSQL insists on.
#[derive(Clone, Debug)]
pub enum Value {
    /// `UUID` or `BLOB`.
    Uuid(Option<Uuid>),
    /// `TIMESTAMPTZ` or `TEXT`.
    Time(Option<Timestamp>),
    /// `TEXT`.
    Text(Option<String>),
    /// `BIGINT` or `INTEGER`.
    Int(Option<i64>),
    /// `BOOLEAN` or `INTEGER`.
    Bool(Option<bool>),
    /// `JSONB` or `TEXT`.
    Json(Option<serde_json::Value>),
    /// `TEXT`: one for PostgreSQL, one for SQLite.
    Each(String, String),
}

impl Value {
    /// What an engine needs of a value that each has another form of.
    fn on(self, sqlite: bool) -> Self {
        match self {
            Self::Each(postgres, lite) => Self::Text(Some(if sqlite { lite } else { postgres })),
            value => value,
        }
    }
}

macro_rules! into_value {
    ($($from:ty => $variant:ident($convert:expr)),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )*};
}

into_value! {
    Uuid => Uuid(|v| v),
    Timestamp => Time(|v| v),
    String => Text(|v| v),
    &str => Text(|v: &str| v.to_owned()),
    i64 => Int(|v| v),
    bool => Bool(|v| v),
    serde_json::Value => Json(|v| v),
    crate::ids::TicketId => Uuid(|v: crate::ids::TicketId| v.0),
    crate::ids::ClockId => Uuid(|v: crate::ids::ClockId| v.0),
    crate::ids::UserId => Uuid(|v: crate::ids::UserId| v.0),
    crate::ids::JobId => Uuid(|v: crate::ids::JobId| v.0),
    crate::ids::NotificationId => Uuid(|v: crate::ids::NotificationId| v.0),
    crate::ids::RecipientId => Uuid(|v: crate::ids::RecipientId| v.0),
    crate::ids::DigestId => Uuid(|v: crate::ids::DigestId| v.0),
    crate::ids::WorkerId => Uuid(|v: crate::ids::WorkerId| v.0),
    crate::ids::EscalationId => Uuid(|v: crate::ids::EscalationId| v.0),
    crate::ids::HistoryId => Uuid(|v: crate::ids::HistoryId| v.0),
    crate::ids::ClaimToken => Uuid(|v: crate::ids::ClaimToken| v.0),
    crate::ids::DefinitionId => Uuid(|v: crate::ids::DefinitionId| v.0),
    crate::ids::VersionId => Uuid(|v: crate::ids::VersionId| v.0),
    crate::ids::CommentId => Uuid(|v: crate::ids::CommentId| v.0),
    crate::ids::AttachmentId => Uuid(|v: crate::ids::AttachmentId| v.0),
    crate::ids::ReplanId => Uuid(|v: crate::ids::ReplanId| v.0),
    crate::ids::ImportId => Uuid(|v: crate::ids::ImportId| v.0),
    crate::ids::AccountEventId => Uuid(|v: crate::ids::AccountEventId| v.0),
    crate::ids::RefreshTokenId => Uuid(|v: crate::ids::RefreshTokenId| v.0),
    crate::ids::FamilyId => Uuid(|v: crate::ids::FamilyId| v.0),
    crate::ids::ApiKeyId => Uuid(|v: crate::ids::ApiKeyId| v.0),
    crate::ids::ContactId => Uuid(|v: crate::ids::ContactId| v.0),
    crate::ids::WebhookId => Uuid(|v: crate::ids::WebhookId| v.0),
    crate::ids::DeliveryId => Uuid(|v: crate::ids::DeliveryId| v.0),
}

macro_rules! text_into_value {
    ($($from:ty),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::Text(Some(value.as_str().to_owned()))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::Text(value.map(|value| value.as_str().to_owned()))
            }
        }
    )*};
}

text_into_value! {
    crate::domain::attachment::State,
    crate::domain::definition::Kind,
    crate::domain::escalation::StopReason,
    crate::domain::event::EventKind,
    crate::domain::job::Ending,
    crate::domain::job::Priority,
    crate::domain::role::Role,
    crate::domain::sla::Metric,
    crate::domain::sla::Mode,
    crate::domain::sla::State,
    crate::domain::ticket::Category,
    crate::domain::ticket::Priority,
    crate::domain::ticket::Status,
}

/// A row that both engines can decode; derive `FromRow`.
pub trait Row: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for T {}

/// Where a statement runs.
#[derive(Debug)]
pub enum Target<'a> {
    /// On any connection that can read.
    Db(&'a Db),
    /// In a transaction.
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Db> for Target<'a> {
    fn from(db: &'a Db) -> Self {
        Self::Db(db)
    }
}

impl<'a> From<&'a mut Tx> for Target<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

impl Target<'_> {
    /// The same place again, for another statement.
    pub fn again(&mut self) -> Target<'_> {
        match self {
            Self::Db(db) => Target::Db(db),
            Self::Tx(tx) => Target::Tx(tx),
        }
    }
}

/// A statement with its values.
#[derive(Debug)]
pub struct Query {
    sql: Cow<'static, str>,
    /// The text for SQLite, where it is another.
    sqlite: Option<String>,
    values: Vec<Value>,
    /// The values of `{rows}`, row after row, `width` to a row.
    rows: Vec<Value>,
    width: usize,
}

/// Starts a statement.
#[must_use]
pub fn query(sql: &'static str) -> Query {
    Query { sql: Cow::Borrowed(sql), sqlite: None, values: Vec::new(), rows: Vec::new(), width: 0 }
}

macro_rules! run {
    ($query:expr, $on:expr, $with:ident :: <$row:ty>, $method:ident) => {{
        let (query, on) = ($query, $on);
        let statement = Statement::of(on.is_sqlite(), &query.sql);
        match on {
            Target::Db(Db::Postgres(pool)) => {
                let (sql, arguments) = query.for_postgres();
                statement.run(sqlx::$with::<Postgres, $row, _>(sql, arguments).$method(pool)).await?
            }
            Target::Db(Db::Sqlite { reader, .. }) => {
                let (sql, arguments) = query.for_sqlite();
                statement.run(sqlx::$with::<Sqlite, $row, _>(sql, arguments).$method(reader)).await?
            }
            Target::Tx(Tx { inner: Inner::Postgres(tx), .. }) => {
                let (sql, arguments) = query.for_postgres();
                statement.run(sqlx::$with::<Postgres, $row, _>(sql, arguments).$method(&mut **tx)).await?
            }
            Target::Tx(Tx { inner: Inner::Sqlite(tx), .. }) => {
                let (sql, arguments) = query.for_sqlite();
                statement.run(sqlx::$with::<Sqlite, $row, _>(sql, arguments).$method(&mut **tx)).await?
            }
        }
    }};
}

impl Query {
    /// Binds the next placeholder.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Appends fixed text.
    #[must_use]
    pub fn push(mut self, sql: &'static str) -> Self {
        self.sql.to_mut().push_str(sql);
        self.sqlite.iter_mut().for_each(|text| text.push_str(sql));
        self
    }

    /// Appends fixed text of which the engines have different forms.
    #[must_use]
    pub fn push_each(mut self, postgres: &'static str, sqlite: &'static str) -> Self {
        self.sqlite.get_or_insert_with(|| self.sql.clone().into_owned()).push_str(sqlite);
        self.sql.to_mut().push_str(postgres);
        self
    }

    /// Appends the name of a table or a column, quoted, for statements about whatever tables there are.
    #[must_use]
    pub(super) fn push_name(mut self, name: &str) -> Self {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        self.sql.to_mut().push_str(&quoted);
        self.sqlite.iter_mut().for_each(|text| text.push_str(&quoted));
        self
    }

    /// Appends a placeholder and binds it: the only way a value gets near a text put together at run time.
    #[must_use]
    pub fn push_bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let place = self.values.len();
        let _ = write!(self.sql.to_mut(), "${place}");
        if let Some(text) = &mut self.sqlite {
            let _ = write!(text, "${place}");
        }
        self
    }

    /// Appends a placeholder and binds it to what each engine needs.
    #[must_use]
    pub fn push_bind_each(self, postgres: String, sqlite: String) -> Self {
        self.push_bind(Value::Each(postgres, sqlite))
    }

    /// Gives the values of `{rows}`. Without any, the statement does nothing.
    #[must_use]
    pub fn rows<const N: usize>(mut self, rows: impl IntoIterator<Item = [Value; N]>) -> Self {
        self.width = N;
        self.rows = rows.into_iter().flatten().collect();
        self
    }

    /// Returns all rows.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub async fn all<T: Row>(self, on: impl Into<Target<'_>>) -> Result<Vec<T>> {
        let mut on = on.into();
        let mut found = Vec::new();
        for query in self.chunks(on.is_sqlite()) {
            let rows: Vec<T> = run!(query, &mut on, query_as_with::<T>, fetch_all);
            found.extend(rows);
        }
        Ok(found)
    }

    /// Returns the first row, if there is one.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub async fn optional<T: Row>(self, on: impl Into<Target<'_>>) -> Result<Option<T>> {
        Ok(run!(self, on.into(), query_as_with::<T>, fetch_optional))
    }

    /// Returns the first row.
    ///
    /// # Errors
    /// See [`Error`](super::Error); also when there is no row.
    pub async fn one<T: Row>(self, on: impl Into<Target<'_>>) -> Result<T> {
        Ok(run!(self, on.into(), query_as_with::<T>, fetch_one))
    }

    /// Runs the statement and returns how many rows it changed.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub async fn execute(self, tx: &mut Tx) -> Result<u64> {
        let mut changed = 0;
        for query in self.chunks(tx.is_sqlite()) {
            let statement = Statement::of(tx.is_sqlite(), &query.sql);
            changed += match &mut tx.inner {
                Inner::Postgres(tx) => {
                    let (sql, arguments) = query.for_postgres();
                    let execute = sqlx::query_with::<Postgres, _>(sql, arguments).execute(&mut **tx);
                    statement.run(execute).await?.rows_affected()
                }
                Inner::Sqlite(tx) => {
                    let (sql, arguments) = query.for_sqlite();
                    let execute = sqlx::query_with::<Sqlite, _>(sql, arguments).execute(&mut **tx);
                    statement.run(execute).await?.rows_affected()
                }
            };
        }
        Ok(changed)
    }

    /// Tells how the database would run the statement, a step a line; for tests that hold it to its indexes.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    #[cfg(feature = "testkit")]
    pub async fn plan(mut self, on: impl Into<Target<'_>>) -> Result<String> {
        #[derive(FromRow)]
        struct Step {
            #[sqlx(rename = "QUERY PLAN", default)]
            postgres: String,
            #[sqlx(rename = "detail", default)]
            sqlite: String,
        }
        let sqlite = self.sqlite.take().unwrap_or_else(|| self.sql.clone().into_owned());
        self.sqlite = Some(format!("EXPLAIN QUERY PLAN {sqlite}"));
        self.sql = Cow::Owned(format!("EXPLAIN {}", self.sql));
        let steps: Vec<Step> = self.all(on).await?;
        Ok(steps.into_iter().map(|step| format!("{}{}\n", step.postgres, step.sqlite)).collect())
    }

    /// Splits `{rows}` into as many statements as the engine needs: none without rows, one on PostgreSQL.
    fn chunks(self, sqlite: bool) -> Vec<Self> {
        if self.width == 0 {
            return vec![self];
        }
        let rows_each =
            if sqlite { (SQLITE_CHUNK_VARIABLES / self.width).max(1) } else { usize::MAX / self.width };
        let mut left = self.rows.into_iter().peekable();
        let mut chunks = Vec::new();
        while left.peek().is_some() {
            let rows: Vec<Value> = left.by_ref().take(rows_each * self.width).collect();
            let (sql, sqlite) = (self.sql.clone(), self.sqlite.clone());
            chunks.push(Self { sql, sqlite, values: self.values.clone(), rows, width: self.width });
        }
        chunks
    }

    fn for_postgres(self) -> (SqlStr, PgArguments) {
        let before = self.values.len();
        let mut arguments = PgArguments::default();
        for value in self.values {
            add(&mut arguments, value.on(false));
        }
        add_columns(&mut arguments, self.rows, self.width);
        let places: Vec<String> = (1..=self.width).map(|i| format!("${}", before + i)).collect();
        let rows = format!("SELECT * FROM UNNEST({})", places.join(", "));
        // No key ever changes, so rows that refer to a locked one may be inserted meanwhile: a sweep does not wait
        // for (nor deadlock with) whoever holds the ticket whose escalation it opens.
        let lock = "FOR NO KEY UPDATE";
        (fill(self.sql, lock, "FOR NO KEY UPDATE SKIP LOCKED", &rows), arguments)
    }

    fn for_sqlite(self) -> (SqlStr, SqliteArguments) {
        let mut place = self.values.len();
        let mut rows = String::from("VALUES ");
        for i in 0..self.rows.len() {
            place += 1;
            let separator = match i {
                0 => "(",
                _ if i % self.width == 0 => "), (",
                _ => ", ",
            };
            let _ = write!(rows, "{separator}${place}");
        }
        rows.push(')');
        let mut arguments = SqliteArguments::default();
        for value in self.values.into_iter().chain(self.rows) {
            add(&mut arguments, value.on(true));
        }
        let sql = self.sqlite.map_or(self.sql, Cow::Owned);
        (fill(sql, "", "", &rows), arguments)
    }
}

impl Query {
    /// Appends how a list ends that is in the order of its identifiers: behind one of them, if it is given, and at most
    /// `limit`. The statement must have a condition already.
    #[must_use]
    pub(super) fn page(self, descending: bool, after: Option<impl Into<Value>>, limit: i64) -> Self {
        let (behind, order) = if descending {
            (" AND id < ", " ORDER BY id DESC LIMIT ")
        } else {
            (" AND id > ", " ORDER BY id LIMIT ")
        };
        let query = match after {
            Some(after) => self.push(behind).push_bind(after),
            None => self,
        };
        query.push(order).push_bind(limit)
    }

    /// Appends how a list ends whose newest come first: those before one of them, if it is given, without the first
    /// `offset`, and at most `limit`. The statement must have a condition already.
    #[must_use]
    pub(super) fn newest_first(self, before: Option<impl Into<Value>>, limit: i64, offset: i64) -> Self {
        self.page(true, before, limit).push(" OFFSET ").push_bind(offset)
    }
}

impl Target<'_> {
    const fn is_sqlite(&self) -> bool {
        match self {
            Target::Db(db) => matches!(db, Db::Sqlite { .. }),
            Target::Tx(tx) => tx.is_sqlite(),
        }
    }
}

fn fill(sql: Cow<'static, str>, for_update: &str, skip_locked: &str, rows: &str) -> SqlStr {
    match sql {
        Cow::Borrowed(sql) if !sql.contains('{') => sql.into_sql_str(),
        sql => {
            let sql = sql.replace("{for_update}", for_update).replace("{skip_locked}", skip_locked);
            AssertSqlSafe(sql.replace("{rows}", rows)).into_sql_str()
        }
    }
}

/// Adds one value. Encoding these types cannot fail: none has a size limit that the callers' checks would miss.
fn add<A: Arguments>(arguments: &mut A, value: Value)
where
    Option<Uuid>: Bindable<A::Database>,
    Option<Timestamp>: Bindable<A::Database>,
    Option<String>: Bindable<A::Database>,
    Option<i64>: Bindable<A::Database>,
    Option<bool>: Bindable<A::Database>,
    Option<Json<serde_json::Value>>: Bindable<A::Database>,
{
    let added = match value {
        Value::Uuid(v) => arguments.add(v),
        Value::Time(v) => arguments.add(v),
        Value::Text(v) => arguments.add(v),
        Value::Int(v) => arguments.add(v),
        Value::Bool(v) => arguments.add(v),
        Value::Json(v) => arguments.add(v.map(Json)),
        Value::Each(v, _) => arguments.add(Some(v)),
    };
    debug_assert!(added.is_ok(), "{added:?}");
}

trait Bindable<D: sqlx::Database>: for<'t> Encode<'t, D> + Type<D> {}
impl<D: sqlx::Database, T: for<'t> Encode<'t, D> + Type<D>> Bindable<D> for T {}

/// Adds `{rows}` as one array per column. A column's type is that of its first value.
fn add_columns(arguments: &mut PgArguments, rows: Vec<Value>, width: usize) {
    let mut columns: Vec<Vec<Value>> = (0..width).map(|_| Vec::with_capacity(rows.len() / width)).collect();
    for (i, value) in rows.into_iter().enumerate() {
        columns[i % width].push(value);
    }
    macro_rules! array {
        ($column:expr, $variant:ident) => {
            arguments.add(
                $column
                    .into_iter()
                    .map(|v| if let Value::$variant(v) = v { v } else { None })
                    .collect::<Vec<_>>(),
            )
        };
    }
    for column in columns {
        let added = match column[0] {
            Value::Uuid(_) => array!(column, Uuid),
            Value::Time(_) => array!(column, Time),
            Value::Text(_) | Value::Each(..) => array!(column, Text),
            Value::Int(_) => array!(column, Int),
            Value::Bool(_) => array!(column, Bool),
            Value::Json(_) => {
                let json = |v| if let Value::Json(v) = v { v.map(Json) } else { None };
                arguments.add(column.into_iter().map(json).collect::<Vec<_>>())
            }
        };
        debug_assert!(added.is_ok(), "{added:?}");
    }
}
