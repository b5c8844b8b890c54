//! What a migration does to rows that were there before it.

use shared::on_both;
use shared::store::Db;
use shared::testkit::Testbed;
use sqlx::{AssertSqlSafe, Executor, Row};

on_both! { notifications_survive_the_migration_that_rebuilds_their_table }

const POSTGRES: [&str; 2] = [
    include_str!("../../../migrations/postgres/0001_main.sql"),
    include_str!("../../../migrations/postgres/0003_notifications.sql"),
];
const SQLITE: [&str; 2] = [
    include_str!("../../../migrations/sqlite/0001_main.sql"),
    include_str!("../../../migrations/sqlite/0003_notifications.sql"),
];

/// A user, a ticket and two notifications of the first release; `id` writes an identifier that ends so.
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
            settled_at) VALUES {}, {};",
        id(1),
        id(2),
        id(1),
        notification(3, "sla.breached", "sent"),
        notification(4, "ticket.created", "failed"),
    )
}

const AFTER: &str =
    "SELECT event, cause_key, recipient, channel, state, reason FROM notifications ORDER BY id";

async fn notifications_survive_the_migration_that_rebuilds_their_table(t: Testbed) {
    let expected = [
        "sla.breached|sla.breached:3|sam@example.org|email|sent|why",
        "ticket.created|ticket.created:4|sam@example.org|email|failed|why",
    ];
    match &t.db {
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.unwrap();
            connection.execute("CREATE SCHEMA before; SET search_path TO before").await.unwrap();
            connection.execute(POSTGRES[0]).await.unwrap();
            let rows = rows(|n| format!("'00000000-0000-7000-8000-0000000000{n:02}'"));
            connection.execute(AssertSqlSafe(rows)).await.unwrap();
            connection.execute(POSTGRES[1]).await.unwrap();
            let after = sqlx::query(AFTER).fetch_all(&mut *connection).await.unwrap();
            let after =
                after.iter().map(|row| (0..6).map(|i| row.get::<String, _>(i)).collect::<Vec<_>>().join("|"));
            assert_eq!(after.collect::<Vec<_>>(), expected);
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
            pool.execute(SQLITE[1]).await.unwrap();
            let after = sqlx::query(AFTER).fetch_all(&pool).await.unwrap();
            let after =
                after.iter().map(|row| (0..6).map(|i| row.get::<String, _>(i)).collect::<Vec<_>>().join("|"));
            assert_eq!(after.collect::<Vec<_>>(), expected);
            let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&pool).await.unwrap();
            assert!(broken.is_empty());
            let again =
                pool.execute(AssertSqlSafe("INSERT INTO notifications SELECT * FROM notifications")).await;
            assert!(again.unwrap_err().to_string().contains("UNIQUE"));
        }
    }
}
