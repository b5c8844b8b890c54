//! Fixtures for tests: real databases, and a clock that moves by hand.
//!
//! PostgreSQL is the server that `TEST_DATABASE_URL` names, as `cargo xtask test` starts one. Without it the
//! PostgreSQL half of a test is skipped with a line that says so, or fails when `REQUIRE_SERVICES` or `CI` is set.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::config::{Config, Process as Kind};
use crate::domain::Rules;
use crate::domain::access::Caller;
use crate::domain::definition::Kind as Defined;
use crate::domain::role::Role;
use crate::domain::ticket::{Category, Priority};
use crate::ids::UserId;
use crate::ops::Health;
use crate::process::Process;
use crate::queue::Queue;
use crate::store::definitions::{self, Definition};
use crate::store::desk::{Actor, Desk, Draft, Swept};
use crate::store::tickets::Ticket;
use crate::store::users::{self, User};
use crate::store::{Committed, Db, accounts, clocks, jobs, maintenance};
use crate::time::{Clock, Timestamp};

/// Makes two tests of one: on SQLite and on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name($crate::testkit::Testbed::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(testbed) = $crate::testkit::Testbed::postgres().await {
                    super::$name(testbed).await;
                }
            }
        }
    )*};
}

/// A fresh database with the schema, the built-in rules, and a clock that moves by hand.
#[derive(Debug)]
pub struct Testbed {
    /// The database.
    pub db: Db,
    /// The rules and the clock.
    pub desk: Desk,
    /// Somebody on the staff.
    pub staff: User,
    /// Somebody who reports tickets.
    pub customer: User,
    /// Somebody who makes the rules.
    pub manager: User,
    /// Where files are kept.
    pub files: tempfile::TempDir,
    _home: Home,
}

/// Where a testbed's database lies; it is deleted with the testbed.
#[derive(Debug)]
enum Home {
    Folder { _folder: tempfile::TempDir },
    Server { server: String, url: String },
}

impl Drop for Home {
    fn drop(&mut self) {
        let Self::Server { server, url } = self else { return };
        let (server, name) = (server.clone(), url.rsplit('/').next().unwrap_or_default().to_owned());
        // Dropping happens in an async test, where nothing may block: so on a thread of its own.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(drop_database(&server, &name)))
        })
        .join();
    }
}

async fn drop_database(server: &str, name: &str) {
    // A database that stays behind only costs disk until the private server is deleted.
    if let Ok(mut connection) = sqlx::PgConnection::connect(server).await {
        let _ =
            connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await;
    }
}

/// When every testbed's clock starts.
#[must_use]
pub fn start() -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// Returns what to skip PostgreSQL with, or the server's address.
///
/// # Panics
/// When there is none and there must be.
#[must_use]
#[expect(clippy::print_stderr, reason = "a skip must not be silent")]
pub fn postgres_server() -> Option<String> {
    let url = std::env::var("TEST_DATABASE_URL").ok();
    let required = std::env::var_os("REQUIRE_SERVICES").is_some() || std::env::var_os("CI").is_some();
    assert!(url.is_some() || !required, "TEST_DATABASE_URL is not set: run the tests by `cargo xtask test`");
    if url.is_none() {
        eprintln!("SKIPPED on PostgreSQL: TEST_DATABASE_URL is not set; `cargo xtask test` runs it");
    }
    url
}

/// Makes a fresh database with the schema on the test server and returns its address.
///
/// # Panics
/// When the server fails.
pub async fn postgres_database(server: &str) -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let name = || format!("test_{}", UserId::new().0.simple());
    let make = |name: String, template: Option<String>| async move {
        let mut connection = sqlx::PgConnection::connect(server).await.expect("the test server answers");
        let template = template.map(|t| format!(" TEMPLATE {t}")).unwrap_or_default();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}{template}"));
        connection.execute(create).await.expect("a database can be made");
        let mut url = url::Url::parse(server).expect("a URL");
        url.set_path(&name);
        url.to_string()
    };
    let template = TEMPLATE
        .get_or_init(|| async {
            let template = name();
            let db = Db::connect(&make(template.clone(), None).await, 1).await.expect("it can be opened");
            db.migrate().await.expect("it can be migrated");
            db.close().await;
            template
        })
        .await;
    make(name(), Some(template.clone())).await
}

impl Testbed {
    /// On a SQLite file of its own.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let db = Db::connect(&url, 1).await.expect("SQLite opens");
        db.migrate().await.expect("SQLite migrates");
        Self::over(db, Home::Folder { _folder: folder }).await
    }

    /// On a PostgreSQL database of its own.
    pub async fn postgres() -> Option<Self> {
        let server = postgres_server()?;
        let url = postgres_database(&server).await;
        let db = Db::connect(&url, 4).await.expect("PostgreSQL opens");
        Some(Self::over(db, Home::Server { server, url }).await)
    }

    async fn over(db: Db, home: Home) -> Self {
        let desk = Desk::new(Clock::manual(start()), Rules::default());
        let (staff, customer) =
            (user("sam@example.org", Role::SeniorEngineer), user("cleo@example.org", Role::EndUser));
        let manager = user("mona@example.org", Role::Manager);
        let files = tempfile::tempdir().expect("a temporary folder");
        let testbed = Self { db, desk, staff, customer, manager, files, _home: home };
        let mut tx = testbed.db.begin().await.expect("a transaction");
        users::add(&mut tx, &testbed.staff).await.expect("a user");
        users::add(&mut tx, &testbed.customer).await.expect("a user");
        users::add(&mut tx, &testbed.manager).await.expect("a user");
        let _ = tx.commit().await.expect("a commit");
        testbed
    }

    /// A process over this database and clock, with in-process dispatch; `settings` are environment variables.
    #[must_use]
    pub fn process(&self, settings: &[(&str, &str)]) -> Process {
        let lookup =
            |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let config = Config::read(Kind::AllInOne(std::env::temp_dir()), lookup).expect("settings");
        Process {
            config,
            db: self.db.clone(),
            queue: Queue::in_process(),
            blobs: self.blobs(),
            desk: self.desk.clone(),
            health: Health::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Where this testbed keeps files.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::open(&format!("file://{}", self.files.path().display())).expect("a folder")
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.desk.clock.now()
    }

    /// Moves the clock.
    pub fn advance(&self, by: TimeDelta) {
        self.desk.clock.advance(by);
    }

    /// The staff member, as one who acts.
    #[must_use]
    pub fn staff(&self) -> Actor {
        Caller::alone(self.staff.id, self.staff.role).into()
    }

    /// The customer, as one who acts.
    #[must_use]
    pub fn customer(&self) -> Actor {
        Caller::alone(self.customer.id, self.customer.role).into()
    }

    /// A ticket the customer would open.
    #[must_use]
    pub fn draft(&self, priority: Priority) -> Draft {
        Draft {
            title: "The database is on fire".into(),
            description: "Flames.".into(),
            priority,
            category: Category::Incident,
            environment: None,
            affected_service: None,
            contact_name: None,
            contact_email: None,
            assignee_id: Some(self.staff.id),
            team_id: None,
            labels: Vec::new(),
            reporter_id: self.customer.id,
            // An end user may not say who works on it.
            actor: self.staff(),
            traceparent: None,
        }
    }

    /// Opens a ticket.
    pub async fn open(&self, priority: Priority) -> Ticket {
        let mut tx = self.db.begin().await.expect("a transaction");
        let opened = self.desk.open(&mut tx, vec![self.draft(priority)]).await.expect("a ticket");
        let _ = tx.commit().await.expect("a commit");
        opened.into_iter().next().expect("one ticket")
    }

    /// The ticket's clocks: first response, then resolution.
    pub async fn clocks(&self, ticket: &Ticket) -> Vec<clocks::Stored> {
        clocks::of_ticket(&self.db, ticket.id).await.expect("clocks")
    }

    /// Sweeps everything that is due.
    pub async fn sweep(&self) -> Swept {
        let mut tx = self.db.begin().await.expect("a transaction");
        let swept = self.desk.sweep(&mut tx, 10_000).await.expect("a sweep");
        let _ = tx.commit().await.expect("a commit");
        swept
    }

    /// Defines something.
    pub async fn define(&self, kind: Defined, name: &str, body: serde_json::Value) -> Definition {
        let mut tx = self.db.begin().await.expect("a transaction");
        let draft = definitions::Draft { name: name.into(), position: None, body };
        let by = definitions::By { actor: Some(self.staff.id), now: self.now() };
        let made = definitions::create(&mut tx, kind, draft, by).await.expect("a definition");
        let _ = tx.commit().await.expect("a commit");
        made
    }

    /// Defines something anew, as another version.
    pub async fn redefine(&self, made: &Definition, body: serde_json::Value) -> Definition {
        let mut tx = self.db.begin().await.expect("a transaction");
        let draft = definitions::Draft { name: made.name.clone(), position: None, body };
        let by = definitions::By { actor: Some(self.staff.id), now: self.now() };
        let updated = definitions::update(&mut tx, made.kind, made.id, None, draft, by).await;
        let _ = tx.commit().await.expect("a commit");
        updated.expect("a new version")
    }

    /// Disables an account, as an operator does.
    pub async fn disable(&self, email: &str) {
        let by = accounts::By { actor: None, ip: None, now: self.now() };
        let user = users::by_email(&self.db, email).await.expect("an answer").expect("an account");
        let mut tx = self.db.begin().await.expect("a transaction");
        let disabled = accounts::change(&mut tx, user.id, None, &by, |user| user.disabled_at = Some(by.now));
        disabled.await.expect("a change");
        let _ = tx.commit().await.expect("a commit");
    }

    /// Enqueues jobs.
    pub async fn enqueue(&self, new: Vec<jobs::NewJob>) -> Committed {
        let mut tx = self.db.begin().await.expect("a transaction");
        jobs::enqueue(&mut tx, new, self.now()).await.expect("jobs");
        tx.commit().await.expect("a commit")
    }
}

/// Everything in a database: the rows of every table as text, in order, and where its sequences stand.
///
/// # Panics
/// When it cannot be read.
pub async fn contents(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut contents = BTreeMap::new();
    let mut tables = maintenance::tables(db).await.expect("tables");
    let sequences = match db {
        Db::Postgres(_) => "pg_sequences",
        Db::Sqlite { .. } => "sqlite_sequence",
    };
    tables.push(sequences.into());
    for table in tables {
        let mut rows: Vec<String> = match db {
            Db::Postgres(pool) => {
                let select = AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM \"{table}\" t"));
                sqlx::query_scalar(select).fetch_all(pool).await.expect("rows")
            }
            Db::Sqlite { reader, .. } => {
                let columns = format!(
                    "SELECT group_concat('quote(\"' || name || '\")', ' || '','' || ') FROM pragma_table_info('{table}')"
                );
                let columns: String =
                    sqlx::query_scalar(AssertSqlSafe(columns)).fetch_one(reader).await.expect("columns");
                let select = AssertSqlSafe(format!("SELECT {columns} FROM \"{table}\""));
                sqlx::query_scalar(select).fetch_all(reader).await.expect("rows")
            }
        };
        rows.sort_unstable();
        contents.insert(table, rows);
    }
    contents
}

/// Brings an empty database to an older schema.
///
/// # Panics
/// When that fails.
pub async fn migrate_to(db: &Db, version: i64) {
    let folder = |engine| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine);
    let until = async |engine| {
        let mut migrator = sqlx::migrate::Migrator::new(folder(engine)).await.expect("migrations");
        migrator.migrations.to_mut().retain(|migration| migration.version <= version);
        migrator
    };
    match db {
        Db::Postgres(pool) => until("postgres").await.run(pool).await,
        Db::Sqlite { writer, .. } => until("sqlite").await.run(writer).await,
    }
    .expect("it can be migrated");
}

/// Makes a user who cannot sign in.
#[must_use]
pub fn user(email: &str, role: Role) -> User {
    User {
        id: UserId::new(),
        email: email.into(),
        name: email.split('@').next().unwrap_or_default().into(),
        role,
        password_hash: String::new(),
        created_at: start(),
        disabled_at: None,
        version: 1,
        password_changed_at: None,
    }
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = std::time::Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
