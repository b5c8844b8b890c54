//! What a migration does to rows that were there before it.

use shared::on_both;
use shared::store::Db;
use shared::testkit::Testbed;
use sqlx::{AssertSqlSafe, Executor, Row};

on_both! { rows_survive_the_migrations_that_rebuild_their_tables }

const POSTGRES: [&str; 4] = [
    include_str!("../../../migrations/postgres/0001_main.sql"),
    include_str!("../../../migrations/postgres/0002_definitions.sql"),
    include_str!("../../../migrations/postgres/0003_notifications.sql"),
    include_str!("../../../migrations/postgres/0004_rules.sql"),
];
const SQLITE: [&str; 4] = [
    include_str!("../../../migrations/sqlite/0001_main.sql"),
    include_str!("../../../migrations/sqlite/0002_definitions.sql"),
    include_str!("../../../migrations/sqlite/0003_notifications.sql"),
    include_str!("../../../migrations/sqlite/0004_rules.sql"),
];

/// A user, a ticket with a breached clock and two escalations, and two notifications of the first release; `id` writes an identifier that ends so.
fn rows(id: impl Fn(u8) -> String) -> String {
    let at = "'2027-01-15T08:00:00.000000+00:00'";
    let notification = |n, event: &str, state| {
        let id_and_ticket = format!("{}, {}", id(n), id(2));
        let cause = format!("'{{\"event\":\"{event}\"}}', '{event}:{n}'");
        format!("({id_and_ticket}, {cause}, 'sam@example.org', 'email', '{state}', 'why', {at}, {at})")
    };
    format!(
        "INSERT INTO users (id, email, name, role, password_hash, created_at)
            VALUES ({}, 'sam@example.org', 'sam', 'admin', '', {at});
        INSERT INTO tickets (id, title, description, status, priority, category, reporter_id, version, created_at,
            updated_at) VALUES ({}, 't', '', 'new', 'low', 'incident', {}, 1, {at}, {at});
        INSERT INTO notifications (id, ticket_id, cause, cause_key, recipient, channel, state, reason, created_at,
            settled_at) VALUES {}, {};
        INSERT INTO sla_clocks (id, ticket_id, metric, state, target_us, warn_at, warned, started_at, credit_us, runs,
            held_manually, held_by_status, cancelled, revision, seq, last_at)
            VALUES ({clock}, {ticket}, 'resolution', 'breached', 1, '[]', 0, {at}, 0, '[]', FALSE, FALSE, FALSE, 0, 1, {at});
        INSERT INTO escalations (id, ticket_id, clock_id, opened_at, steps_done, next_step_at, stopped_at, stop_reason)
            VALUES ({}, {ticket}, {clock}, {at}, 3, NULL, {at}, 'paused'), ({}, {ticket}, {clock}, {at}, 2, {at}, NULL, NULL);",
        id(1),
        id(2),
        id(1),
        notification(3, "sla.breached", "sent"),
        notification(4, "ticket.created", "failed"),
        id(6),
        id(7),
        ticket = id(2),
        clock = id(5),
    )
}

const AFTER: &str =
    "SELECT event, cause_key, recipient, channel, state, reason FROM notifications ORDER BY id";
const ESCALATIONS: &str =
    "SELECT CAST(steps_done AS TEXT), COALESCE(stop_reason, 'open') FROM escalations ORDER BY id";

async fn rows_survive_the_migrations_that_rebuild_their_tables(t: Testbed) {
    let expected = [
        "sla.breached|sla.breached:3|sam@example.org|email|sent|why",
        "ticket.created|ticket.created:4|sam@example.org|email|failed|why",
    ];
    let escalations =
        [("3", "paused"), ("2", "open")].map(|(steps, stop)| (steps.to_owned(), stop.to_owned()));
    match &t.db {
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.unwrap();
            connection.execute("CREATE SCHEMA before; SET search_path TO before").await.unwrap();
            connection.execute(POSTGRES[0]).await.unwrap();
            let rows = rows(|n| format!("'00000000-0000-7000-8000-0000000000{n:02}'"));
            connection.execute(AssertSqlSafe(rows)).await.unwrap();
            for migration in &POSTGRES[1..] {
                connection.execute(*migration).await.unwrap();
            }
            let after = sqlx::query(AFTER).fetch_all(&mut *connection).await.unwrap();
            let after =
                after.iter().map(|row| (0..6).map(|i| row.get::<String, _>(i)).collect::<Vec<_>>().join("|"));
            assert_eq!(after.collect::<Vec<_>>(), expected);
            let calls: Vec<(String, String)> =
                sqlx::query_as(ESCALATIONS).fetch_all(&mut *connection).await.unwrap();
            assert_eq!(calls, escalations);
            connection.detach();
        }
        Db::Sqlite { .. } => {
            let pool = sqlx::sqlite::SqlitePoolOptions::new()
                .max_connections(1)
                .connect("sqlite::memory:")
                .await
                .unwrap();
            pool.execute(SQLITE[0]).await.unwrap();
            pool.execute(AssertSqlSafe(rows(|n| format!("x'000000000000700080000000000000{n:02}'"))))
                .await
                .unwrap();
            for migration in &SQLITE[1..] {
                pool.execute(*migration).await.unwrap();
            }
            let after = sqlx::query(AFTER).fetch_all(&pool).await.unwrap();
            let after =
                after.iter().map(|row| (0..6).map(|i| row.get::<String, _>(i)).collect::<Vec<_>>().join("|"));
            assert_eq!(after.collect::<Vec<_>>(), expected);
            let calls: Vec<(String, String)> = sqlx::query_as(ESCALATIONS).fetch_all(&pool).await.unwrap();
            assert_eq!(calls, escalations);
            let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&pool).await.unwrap();
            assert!(broken.is_empty());
            let again =
                pool.execute(AssertSqlSafe("INSERT INTO notifications SELECT * FROM notifications")).await;
            assert!(again.unwrap_err().to_string().contains("UNIQUE"));
        }
    }
}
