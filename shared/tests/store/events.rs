//! The log of what happened.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use shared::domain::access::Caller;
use shared::domain::event::EventKind;
use shared::domain::role::Role;
use shared::domain::ticket::Priority;
use shared::ids::{TicketId, UserId};
use shared::on_both;
use shared::store::events::{self, NewEvent, Only};
use shared::store::{Db, deliveries};
use shared::testkit::{self, Testbed};
use shared::time::Timestamp;

use crate::{at, begin, commit, hours, write};

on_both! {
    numbers_follow_commits_without_gaps_while_eight_write_and_one_reads,
    what_is_rolled_back_leaves_no_number,
    events_are_told_with_their_tickets_to_whom_they_concern,
    of_a_deleted_ticket_only_the_deletion_is_told,
    the_log_is_forgotten_from_its_front_and_never_before_webhooks_were_told,
}

const WRITERS: i64 = 8;
const EACH: i64 = 25;

/// An event about a ticket, told apart from others by what it says.
fn event(ticket: TicketId, writer: i64, n: i64, at: Timestamp) -> NewEvent {
    let kind = EventKind::TicketUpdated;
    let data = json!({ "writer": writer, "n": n });
    NewEvent { kind, ticket, internal: false, actor: None, data, at }
}

/// Commits transactions of one to three events each, and gives up every fifth.
async fn keep_writing(db: Db, ticket: TicketId, writer: i64) {
    for n in 0..EACH {
        let mut tx = db.begin().await.unwrap();
        events::publish(
            &mut tx,
            (0..=n % 3).map(|part| event(ticket, writer, n * 10 + part, testkit::start())),
        );
        if n % 5 == 4 {
            tx.rollback().await.unwrap();
        } else {
            let _ = tx.commit().await.unwrap();
        }
    }
}

/// Follows the log as streams and webhooks do, until the writers have ended and nothing is left.
async fn follow(db: Db, from: i64, ended: Arc<AtomicBool>) -> Vec<events::Event> {
    let mut seen: Vec<events::Event> = Vec::new();
    loop {
        let last = ended.load(Ordering::SeqCst);
        let place = seen.last().map_or(from, |event| event.seq);
        let found = events::after(&db, place, 7).await.unwrap();
        if found.is_empty() && last {
            return seen;
        }
        seen.extend(found);
        tokio::task::yield_now().await;
    }
}

async fn numbers_follow_commits_without_gaps_while_eight_write_and_one_reads(t: Testbed) {
    let ticket = t.open(Priority::Low).await.id;
    let from = events::head(&t.db).await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(t.db.clone(), from, Arc::clone(&ended)));
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(keep_writing(t.db.clone(), ticket, writer))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    ended.store(true, Ordering::SeqCst);
    let seen = tokio::time::timeout(Duration::from_secs(30), reader).await.unwrap().unwrap();
    let kept: i64 = (0..EACH).filter(|n| n % 5 != 4).map(|n| n % 3 + 1).sum();
    let numbers: Vec<i64> = seen.iter().map(|event| event.seq).collect();
    let expected: Vec<i64> = (from + 1..=from + WRITERS * kept).collect();
    assert_eq!(numbers, expected, "each number once, in order, none skipped by the reader");
    for writer in 0..WRITERS {
        let of_writer = seen.iter().filter(|event| event.data["writer"] == writer);
        let order: Vec<i64> = of_writer.map(|event| event.data["n"].as_i64().unwrap()).collect();
        assert!(order.is_sorted(), "the order in which it committed: {order:?}");
        assert_eq!(i64::try_from(order.len()).unwrap(), kept);
        assert!(order.iter().all(|n| n / 10 % 5 != 4), "nothing of what was given up: {order:?}");
    }
    assert_eq!(events::head(&t.db).await.unwrap(), from + WRITERS * kept);
}

async fn what_is_rolled_back_leaves_no_number(t: Testbed) {
    let ticket = t.open(Priority::Low).await.id;
    let head = events::head(&t.db).await.unwrap();
    let mut tx = begin(&t).await;
    events::publish(&mut tx, [event(ticket, 0, 0, t.now())]);
    tx.rollback().await.unwrap();
    assert_eq!(events::head(&t.db).await.unwrap(), head);
    let mut tx = begin(&t).await;
    events::publish(&mut tx, [event(TicketId::new(), 0, 0, t.now())]);
    tx.commit().await.expect_err("there is no such ticket");
    assert_eq!(events::head(&t.db).await.unwrap(), head, "a commit that fails takes none either");
    let mut tx = begin(&t).await;
    events::publish(&mut tx, [event(ticket, 0, 1, t.now())]);
    let _ = commit(tx).await;
    let found = events::after(&t.db, head, 10).await.unwrap();
    assert_eq!(found.iter().map(|event| event.seq).collect::<Vec<_>>(), [head + 1]);
}

/// Everything in the log that `only` lets through.
async fn told(t: &Testbed, only: Only) -> Vec<events::Told> {
    events::told(&t.db, 0, i64::MAX, only).await.unwrap()
}

async fn events_are_told_with_their_tickets_to_whom_they_concern(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let other = testkit::user("dana@example.org", Role::EndUser);
    write(&t, async |tx| shared::store::users::add(tx, &other).await).await;
    write(&t, async |tx| {
        events::publish(tx, [NewEvent { internal: true, ..event(ticket.id, 0, 0, t.now()) }]);
        shared::store::Result::Ok(())
    })
    .await;
    let all = told(&t, Only::default()).await;
    assert_eq!(all.iter().map(|told| told.event.seq).collect::<Vec<_>>(), [1, 2]);
    let view = all[0].view();
    let expected = json!({
        "id": 1,
        "type": "ticket.created",
        "at": "2027-01-15T08:00:00Z",
        "actor_id": t.staff.id,
        "version": 1,
        "status": "new",
        "ticket": {
            "id": ticket.id, "number": ticket.key(), "title": "The database is on fire", "status": "new",
            "priority": "high", "category": "incident", "assignee_id": t.staff.id, "team_id": null,
            "reporter_id": t.customer.id, "version": 1,
        },
    });
    assert_eq!(view, expected);
    let (staff, customer) =
        (Caller::alone(t.staff.id, Role::DevopsEngineer), Caller::alone(t.customer.id, Role::EndUser));
    let stranger = Caller::alone(other.id, Role::EndUser);
    let seen = |caller: &Caller| all.iter().map(|told| told.is_for(caller)).collect::<Vec<_>>();
    assert_eq!(seen(&staff), [true, true]);
    assert_eq!(seen(&customer), [true, false], "what is internal is for staff");
    assert_eq!(seen(&stranger), [false, false]);
    // What the database lets through for an end user is what the rules let through.
    for (user, expected) in [(t.customer.id, vec![1]), (other.id, vec![]), (UserId::new(), vec![])] {
        let narrowed = told(&t, Only { visible_to: Some(user), ticket: None }).await;
        assert_eq!(narrowed.iter().map(|told| told.event.seq).collect::<Vec<i64>>(), expected);
    }
    let of = async |ticket| told(&t, Only { visible_to: None, ticket: Some(ticket) }).await.len();
    assert_eq!((of(ticket.id).await, of(TicketId::new()).await), (2, 0));
    assert_eq!(events::told(&t.db, 1, 1, Only::default()).await.unwrap(), []);
    assert_eq!(events::told(&t.db, 1, 2, Only::default()).await.unwrap(), all[1..]);
}

async fn of_a_deleted_ticket_only_the_deletion_is_told(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let admin = Caller::alone(t.staff.id, Role::Admin);
    write(&t, async |tx| t.desk.delete(tx, ticket.id, None, &admin.clone().into()).await).await;
    let all = told(&t, Only::default()).await;
    let left: HashSet<EventKind> =
        all.iter().filter(|told| told.is_for(&admin)).map(|told| told.event.kind).collect();
    assert_eq!(left, HashSet::from([EventKind::TicketDeleted]));
    assert!(all.len() > 1, "there was more to tell");
    let view = all.iter().find(|told| told.event.kind == EventKind::TicketDeleted).unwrap().view();
    assert_eq!((&view["ticket"]["number"], &view["ticket"]["title"]), (&ticket.key().into(), &json!(null)));
}

async fn the_log_is_forgotten_from_its_front_and_never_before_webhooks_were_told(t: Testbed) {
    assert_eq!(events::floor(&t.db).await.unwrap(), 1, "nothing is missing from an empty log");
    let ticket = t.open(Priority::Low).await.id;
    // The third is put on record late: it happened before the second.
    for (n, when) in [(1, 30), (2, 1), (3, 40)] {
        write(&t, async |tx| {
            events::publish(tx, [event(ticket, 0, n, at(hours(when)))]);
            shared::store::Result::Ok(())
        })
        .await;
    }
    let prune = async |before, limit| write(&t, async |tx| events::prune(tx, before, limit).await).await;
    assert_eq!(prune(at(hours(100)), 100).await, 0, "webhooks have been told of nothing yet");
    write(&t, async |tx| deliveries::fan_out(tx, 100, t.now()).await).await;
    assert_eq!(prune(at(hours(0)), 100).await, 0);
    assert_eq!(prune(at(hours(20)), 100).await, 1, "what came on record behind something newer stays");
    assert_eq!(events::floor(&t.db).await.unwrap(), 2);
    assert_eq!(prune(at(hours(100)), 1).await, 1, "no more than it may at once");
    assert_eq!(prune(at(hours(100)), 100).await, 2);
    assert_eq!((events::floor(&t.db).await.unwrap(), events::head(&t.db).await.unwrap()), (5, 4));
}
