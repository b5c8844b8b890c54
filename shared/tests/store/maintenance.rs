//! The database as a whole.

use shared::domain::ticket::{Priority, Status};
use shared::ids::WorkerId;
use shared::on_both;
use shared::store::desk::Actor;
use shared::store::maintenance::file::{self, SwapError};
use shared::store::maintenance::{self, Engine, cleanup, health, stats};
use shared::store::query::{Query, query};
use shared::store::{Db, clocks, deliveries, events, tickets, workers};
use shared::testkit::{Testbed, contents};

use crate::{at, begin, commit, hours, minutes, seconds, write};

on_both! {
    tables_are_listed_and_their_rows_counted,
    a_snapshot_does_not_see_what_comes_later,
    whoever_beats_or_is_connected_uses_the_database,
    a_copy_holds_what_was_there_while_others_go_on,
    a_file_is_swapped_in_when_nobody_has_the_old_one_open,
    everything_can_be_dropped_and_made_anew,
    what_the_desk_does_is_healthy,
    whatever_contradicts_itself_is_found,
    a_clock_that_was_changed_by_hand_is_found_and_left,
    old_tickets_are_deleted_with_their_labels_and_stay_on_record,
    everything_is_counted,
}

async fn tables_are_listed_and_their_rows_counted(t: Testbed) {
    let tables = maintenance::tables(&t.db).await.unwrap();
    assert!(tables.is_sorted() && tables.iter().any(|name| name == "sla_clocks"), "{tables:?}");
    assert!(!tables.iter().any(|name| name.starts_with("sqlite_") || name.starts_with("pg_")), "{tables:?}");
    t.open(Priority::Low).await;
    let rows = maintenance::rows(&t.db).await.unwrap();
    assert_eq!((rows["users"], rows["tickets"], rows["sla_clocks"]), (3, 1, 2));
    assert_eq!(rows.len(), tables.len());
    assert_eq!(maintenance::schema(&t.db).await.unwrap(), Db::newest_schema());
    assert!(maintenance::size(&t.db).await.unwrap() > 100_000);
    assert_eq!(maintenance::damage(&t.db).await.unwrap(), [""; 0]);
    let version = maintenance::engine_version(&t.db).await.unwrap();
    assert!(version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(' '), "{version}");
}

async fn a_snapshot_does_not_see_what_comes_later(t: Testbed) {
    t.open(Priority::Low).await;
    let mut tx = t.db.begin_snapshot().await.unwrap();
    let before = maintenance::rows(&mut tx).await.unwrap();
    t.open(Priority::Low).await;
    assert_eq!(maintenance::rows(&mut tx).await.unwrap(), before);
    let name = maintenance::export_snapshot(&mut tx).await.unwrap();
    assert_eq!(name.is_some(), Engine::of(&t.db) == Engine::Postgres);
    tx.rollback().await.unwrap();
    assert_eq!(maintenance::rows(&t.db).await.unwrap()["tickets"], before["tickets"] + 1);
}

async fn whoever_beats_or_is_connected_uses_the_database(t: Testbed) {
    let (at_once, later) = (at(seconds(10)), at(seconds(41)));
    write(&t, async |tx| {
        workers::beat(tx, WorkerId::new(), "dogwatch-worker", "host-1", at(seconds(10))).await
    })
    .await;
    let users =
        |found: Vec<String>| found.into_iter().filter(|who| who.contains("host-1")).collect::<Vec<_>>();
    let found = maintenance::in_use(&t.db, at_once + seconds(3)).await.unwrap();
    assert_eq!(users(found), ["dogwatch-worker on host-1, seen 3 s ago"]);
    assert!(users(maintenance::in_use(&t.db, later).await.unwrap()).is_empty());
    if let Db::Postgres(pool) = &t.db {
        // Two connections of this test at once, each of which is somebody else to the other.
        let other = pool.acquire().await.unwrap();
        let found = maintenance::in_use(&t.db, later).await.unwrap();
        assert!(found.iter().any(|who| who.starts_with("dogwatch, connected from")), "{found:?}");
        drop(other);
    }
}

async fn a_copy_holds_what_was_there_while_others_go_on(t: Testbed) {
    let folder = tempfile();
    let to = folder.join("it's a copy.db");
    t.open(Priority::High).await;
    let before = contents(&t.db).await;
    let copied = file::copy(&t.db, &to).await.unwrap();
    t.open(Priority::High).await;
    assert_eq!(copied, Engine::of(&t.db) == Engine::Sqlite);
    if copied {
        let copy = file::open_still(&to).await.unwrap();
        assert_eq!(contents(&copy).await, before);
        copy.close().await;
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing lies beside it");
        assert!(file::copy(&t.db, &to).await.is_err(), "a file is never written over");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

async fn a_file_is_swapped_in_when_nobody_has_the_old_one_open(t: Testbed) {
    if Engine::of(&t.db) == Engine::Postgres {
        return;
    }
    let folder = tempfile();
    let (old, fresh) = (folder.join("old.db"), folder.join("fresh.db"));
    let url = format!("sqlite://{}", old.display());
    let opened = Db::connect(&url, 1).await.unwrap();
    opened.migrate().await.unwrap();
    file::copy(&t.db, &fresh).await.unwrap();
    let expected = contents(&t.db).await;

    assert!(matches!(file::swap_in(&fresh, &old).await, Err(SwapError::InUse)));
    assert!(fresh.exists() && maintenance::rows(&opened).await.unwrap()["users"] == 0, "nothing was changed");
    opened.close().await;
    file::swap_in(&fresh, &old).await.unwrap();
    let swapped = Db::connect(&url, 1).await.unwrap();
    assert_eq!(contents(&swapped).await, expected);
    swapped.close().await;

    // In the place of a damaged file with a log of its own, and of none.
    for damaged in [true, false] {
        file::copy(&t.db, &fresh).await.unwrap();
        let _ = std::fs::remove_file(&old);
        if damaged {
            std::fs::write(&old, "this was a database once, before the disk died".repeat(100)).unwrap();
        }
        std::fs::write(format!("{}-wal", old.display()), "x").unwrap();
        file::swap_in(&fresh, &old).await.unwrap();
        let swapped = file::open_still(&old).await.unwrap();
        assert_eq!(contents(&swapped).await, expected);
        swapped.close().await;
    }
    std::fs::remove_dir_all(folder).unwrap();
}

async fn everything_can_be_dropped_and_made_anew(t: Testbed) {
    t.open(Priority::Low).await;
    maintenance::clear(&t.db).await.unwrap();
    let left = maintenance::tables(&t.db).await.unwrap();
    if Engine::of(&t.db) == Engine::Sqlite {
        assert!(!left.is_empty(), "a file is swapped in there");
        return;
    }
    assert_eq!(left, [""; 0]);
    assert_eq!(maintenance::schema(&t.db).await.unwrap(), 0);
    t.db.migrate().await.unwrap();
    maintenance::clear(&t.db).await.unwrap();
    t.db.migrate().await.unwrap();
    assert_eq!(maintenance::rows(&t.db).await.unwrap()["tickets"], 0);
}

/// What is wrong, by name.
async fn found(t: &Testbed) -> Vec<health::Check> {
    let mut tx = t.db.begin_snapshot().await.unwrap();
    let mut checks = health::check(&mut tx, t.now()).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(checks.len() > 30, "{checks:?}");
    checks.retain(|check| check.count > 0);
    checks
}

async fn what_the_desk_does_is_healthy(t: Testbed) {
    assert_eq!(found(&t).await, []);
    let tickets =
        [t.open(Priority::Critical).await, t.open(Priority::Low).await, t.open(Priority::High).await];
    t.advance(minutes(61));
    t.sweep().await;
    let mut tx = begin(&t).await;
    let steps = [Status::InProgress, Status::Resolved, Status::Closed, Status::Reopened];
    for to in steps {
        t.advance(minutes(1));
        t.desk.move_to(&mut tx, tickets[0].id, None, &Actor::default(), to).await.unwrap();
    }
    t.desk.delete(&mut tx, tickets[1].id, None, &Actor::default()).await.unwrap();
    t.desk.move_to(&mut tx, tickets[2].id, None, &Actor::default(), Status::Resolved).await.unwrap();
    let _ = commit(tx).await;
    assert_eq!(found(&t).await, []);
    let mut tx = t.db.begin_snapshot().await.unwrap();
    let examined = t.desk.examine(&mut tx, None, 100).await.unwrap();
    assert_eq!((examined.audited, examined.mismatches.len()), (6, 0));
    assert_eq!(t.desk.examine(&mut tx, examined.last, 100).await.unwrap().audited, 0);
}

/// Does something that the store never does, sees what is found, and undoes it.
async fn found_after(t: &Testbed, wrong: Query) -> Vec<health::Check> {
    let mut tx = begin(t).await;
    let unchecked =
        query("").push_each("SET LOCAL session_replication_role = replica", "PRAGMA defer_foreign_keys = ON");
    unchecked.execute(&mut tx).await.unwrap();
    assert!(wrong.execute(&mut tx).await.unwrap() > 0);
    let mut checks = health::check(&mut tx, t.now()).await.unwrap();
    checks.retain(|check| check.count > 0);
    tx.rollback().await.unwrap();
    checks
}

async fn whatever_contradicts_itself_is_found(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    const LONG_AGO: &str = "'2001-01-01T00:00:00.000000+00:00'";
    const FAR_AHEAD: &str = "'2100-01-01T00:00:00.000000+00:00'";
    let set = |sql: &'static str, value: &'static str| query(sql).push(value);
    let cases = [
        (
            set("UPDATE tickets SET updated_at = ", LONG_AGO).push(", acknowledged_at = ").push(LONG_AGO),
            &["acknowledged_before_created", "updated_before_created"][..],
        ),
        (set("UPDATE tickets SET responded_at = ", LONG_AGO), &["responded_before_created"]),
        (set("UPDATE tickets SET deleted_at = ", LONG_AGO), &["clock_runs_on_resolved", "deleted_before_created", "escalation_open_on_resolved"]),
        (set("UPDATE tickets SET resolved_at = ", FAR_AHEAD), &["time_without_resolved"]),
        (
            set("UPDATE tickets SET status = 'resolved', resolved_at = ", LONG_AGO),
            &["clock_runs_on_resolved", "escalation_open_on_resolved", "resolved_before_created"],
        ),
        (
            query("UPDATE tickets SET status = 'resolved'"),
            &["clock_runs_on_resolved", "escalation_open_on_resolved", "resolved_without_time"],
        ),
        (
            query("UPDATE tickets SET status = 'closed'"),
            &["clock_runs_on_resolved", "closed_without_resolved", "closed_without_time", "escalation_open_on_resolved"],
        ),
        (
            set("UPDATE tickets SET status = 'closed', closed_at = created_at, resolved_at = ", FAR_AHEAD),
            &["clock_runs_on_resolved", "closed_before_resolved", "escalation_open_on_resolved"],
        ),
        (set("UPDATE tickets SET updated_at = ", FAR_AHEAD), &["tickets_in_the_future"]),
        (set("UPDATE sla_clocks SET last_at = ", FAR_AHEAD), &["clocks_in_the_future"]),
        (set("UPDATE sla_clocks SET stopped_at = ", LONG_AGO), &["clock_stopped_before_started"]),
        (set("UPDATE sla_clocks SET breached_at = ", LONG_AGO), &["breach_before_clock"]),
        (
            query("UPDATE jobs SET state = 'running', worker_id = id"),
            &["job_runs_without_deadline", "job_runs_without_worker"],
        ),
        (query("DELETE FROM sla_events"), &["orphans: clocks_without_events"]),
        (
            query("INSERT INTO notifications (id, ticket_id, cause, cause_key, recipient, channel, state, created_at, event) SELECT id, id, ")
                .push_each("CAST('{}' AS JSONB)", "'{}'")
                .push(", 'k', 'a@b', 'email', 'sent', created_at, 'ticket.created' FROM tickets"),
            &["notification_settled_without_time"],
        ),
    ];
    for (wrong, expected) in cases {
        let said = format!("{wrong:?}");
        let mut names: Vec<String> =
            found_after(&t, wrong).await.into_iter().map(|check| check.name).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{said}");
    }
    let orphans = found_after(&t, query("DELETE FROM tickets")).await;
    for child in ["sla_clocks", "escalations", "events"] {
        let name = format!("orphans: {child}.ticket_id");
        let check = orphans.iter().find(|check| check.name == name);
        assert!(
            check.is_some_and(|check| check.count > 0 && check.examples == [ticket.id.to_string()]),
            "{name}: {orphans:?}"
        );
    }
    assert_eq!(found(&t).await, [], "all of it was undone");
}

async fn a_clock_that_was_changed_by_hand_is_found_and_left(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let id = t.clocks(&ticket).await[0].id;
    write(&t, async |tx| {
        query("UPDATE sla_clocks SET target_us = 7 WHERE id = $1").bind(id).execute(tx).await
    })
    .await;
    for _ in 0..2 {
        let mut tx = t.db.begin_snapshot().await.unwrap();
        let listed = clocks::list_for_audit(&mut tx, None, 10).await.unwrap();
        assert_eq!(listed.len(), 2);
        let examined = t.desk.examine(&mut tx, None, 10).await.unwrap();
        tx.rollback().await.unwrap();
        let [wrong] = &*examined.mismatches else { panic!("{examined:?}") };
        assert_eq!((wrong.clock, wrong.repaired), (id, false));
        assert_eq!(wrong.fields, ["target_us"]);
    }
}

async fn old_tickets_are_deleted_with_their_labels_and_stay_on_record(t: Testbed) {
    let [old, fresh, open] =
        [t.open(Priority::Low).await, t.open(Priority::Low).await, t.open(Priority::Low).await];
    let mut tx = begin(&t).await;
    tickets::label(&mut tx, vec![(old.id, "vpn".into()), (fresh.id, "vpn".into()), (open.id, "vpn".into())])
        .await
        .unwrap();
    t.desk.move_to(&mut tx, old.id, None, &Actor::default(), Status::Resolved).await.unwrap();
    let _ = commit(tx).await;
    t.advance(hours(24 * 400));
    write(&t, async |tx| t.desk.move_to(tx, fresh.id, None, &Actor::default(), Status::Resolved).await).await;

    let before =
        cleanup::Before { tickets: t.now() - hours(24 * 365), events: t.now() - hours(24 * 7), now: t.now() };
    let mut tx = begin(&t).await;
    deliveries::fan_out(&mut tx, 1_000, t.now()).await.unwrap();
    let summary = cleanup::summary(&mut tx, before).await.unwrap();
    assert_eq!((summary.tickets, summary.labels, summary.ended_jobs), (1, 1, 0));
    assert!(summary.events > 0, "{summary:?}");
    assert_eq!(cleanup::drop_labels(&mut tx).await.unwrap(), 0, "nothing is deleted yet");
    assert_eq!(cleanup::old_tickets(&mut tx, before.tickets, 10).await.unwrap(), [old.id]);
    t.desk.delete(&mut tx, old.id, None, &Actor::default()).await.unwrap();
    assert_eq!(cleanup::drop_labels(&mut tx).await.unwrap(), 1);
    let pruned = events::prune(&mut tx, before.events, 1_000).await.unwrap();
    assert_eq!(i64::try_from(pruned).unwrap(), summary.events);
    assert_eq!(events::old(&mut tx, before.events).await.unwrap(), 0);
    assert_eq!(cleanup::summary(&mut tx, before).await.unwrap(), cleanup::Summary::default());
    let _ = commit(tx).await;
    assert!(!tickets::history(&t.db, old.id).await.unwrap().is_empty(), "its history stays");
    cleanup::vacuum(&t.db).await.unwrap();
    assert_eq!(found(&t).await, []);
}

async fn everything_is_counted(t: Testbed) {
    t.open(Priority::Critical).await;
    let [resolved, deleted] = [t.open(Priority::Low).await, t.open(Priority::Low).await];
    t.advance(minutes(61));
    t.sweep().await;
    let mut tx = begin(&t).await;
    t.desk.move_to(&mut tx, resolved.id, None, &Actor::default(), Status::Resolved).await.unwrap();
    t.desk.delete(&mut tx, deleted.id, None, &Actor::default()).await.unwrap();
    let _ = commit(tx).await;
    let mut tx = t.db.begin_snapshot().await.unwrap();
    let now = stats::collect(&mut tx, t.now()).await.unwrap();
    assert_eq!(
        (now.tickets["new"]["critical"], now.tickets["resolved"]["low"], now.deleted_tickets),
        (1, 1, 1)
    );
    assert_eq!(now.open_clocks, [("active".to_owned(), 1), ("breached".to_owned(), 1)].into());
    assert_eq!((now.breaches_24h, now.breaches_7d), (1, 1));
    assert_eq!((now.jobs["dead"], now.notifications.len()), (0, 0));
    assert!(now.jobs["ready"] > 0 && now.database_bytes > 0, "{now:?}");
    tx.rollback().await.unwrap();
    t.advance(hours(48));
    let mut tx = t.db.begin_snapshot().await.unwrap();
    let later = stats::collect(&mut tx, t.now()).await.unwrap();
    assert_eq!((later.breaches_24h, later.breaches_7d), (0, 1));
}

/// A folder of this test's own.
fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("dogwatch-{}", WorkerId::new()));
    std::fs::create_dir(&folder).unwrap();
    folder
}
