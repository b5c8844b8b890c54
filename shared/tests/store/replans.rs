//! Changes of definitions on their way to the clocks that run, and audits of clocks.

use chrono::TimeDelta;
use serde_json::json;
use shared::domain::definition::Kind;
use shared::domain::sla::{Metric, Mode, State};
use shared::domain::ticket::{Priority, Status};
use shared::ids::{DefinitionId, ReplanId};
use shared::on_both;
use shared::store::definitions::Definition;
use shared::store::desk::{Audit, Mismatch, Preview};
use shared::store::replans::{self, Replan};
use shared::store::rulebook::enter;
use shared::store::{clocks, tickets};
use shared::testkit::Testbed;

use crate::desk::{get, move_to};
use crate::rules::{clock, office, policy};
use crate::{at, hours, minutes, write};

on_both! {
    a_preview_says_what_would_move_or_breach_and_stores_nothing,
    a_calendar_reaches_the_clocks_that_count_by_it,
    a_policy_reaches_the_tickets_that_come_under_it_now,
    finished_clocks_are_left_alone,
    a_change_is_carried_on_batch_by_batch,
    an_audit_finds_and_repairs_what_is_not_as_the_events_say,
    an_audit_of_clocks_that_are_right_changes_nothing,
}

async fn start(t: &Testbed, definition: DefinitionId, mode: Mode) -> Replan {
    let id =
        write(t, async |tx| replans::create(tx, definition, mode, Some(t.staff.id), t.now()).await).await;
    replans::get(&t.db, id).await.unwrap().unwrap()
}

async fn carry_on(t: &Testbed, id: ReplanId) -> Replan {
    write(t, async |tx| {
        let mut replan = replans::lock(tx, id).await?.unwrap();
        t.desk.carry_on(tx, &mut replan).await.map(|()| replan)
    })
    .await
}

async fn carry_out(t: &Testbed, definition: DefinitionId, mode: Mode) -> Replan {
    let mut replan = start(t, definition, mode).await;
    while replan.finished_at.is_none() {
        replan = carry_on(t, replan.id).await;
    }
    assert_eq!(replans::get(&t.db, replan.id).await.unwrap(), Some(replan.clone()));
    replan
}

async fn preview(t: &Testbed, changed: &Definition, mode: Mode, limit: usize) -> Preview {
    let mut tx = crate::begin(t).await;
    let mut book = (*t.desk.rulebook(&mut tx).await.unwrap()).clone();
    enter(&mut book, changed).unwrap();
    let preview = t.desk.preview(&mut tx, &book, changed.id, mode, limit).await.unwrap();
    tx.rollback().await.unwrap();
    preview
}

/// A policy of four hours within office hours, and its calendar.
async fn office_hours(t: &Testbed) -> (Definition, Definition) {
    let calendar = t.define(Kind::Calendar, "Office", office()).await;
    let targets = json!({ "high": { "resolution": "4h" } });
    let body = json!({ "match": { "priority": ["high"] }, "calendar_id": calendar.id, "targets": targets });
    (policy(t, "Office hours", body).await, calendar)
}

async fn a_preview_says_what_would_move_or_breach_and_stores_nothing(t: Testbed) {
    let (made, _) = office_hours(&t).await;
    let ticket = t.open(Priority::High).await;
    t.open(Priority::Low).await;
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    t.advance(hours(3));
    let mut shorter = made.clone();
    shorter.body.0["targets"]["high"]["resolution"] = json!("1h");
    let found = preview(&t, &shorter, Mode::Retroactive, 100).await;
    assert_eq!((found.examined, found.moves.len(), found.complete), (1, 1, true));
    let moved = &found.moves[0];
    assert_eq!((moved.clock, moved.ticket, moved.breaches), (stored.id, ticket.number, true));
    assert_eq!((moved.due_before, moved.due_after), (Some(at(hours(5))), Some(at(hours(2)))));
    let found = preview(&t, &shorter, Mode::Restart, 100).await;
    assert_eq!((found.moves[0].breaches, found.moves[0].due_after), (false, Some(at(hours(4)))));
    assert_eq!(preview(&t, &made, Mode::Retroactive, 100).await.moves, []);
    assert_eq!(clock(&t, &ticket, Metric::Resolution).await, stored);
    assert!(!preview(&t, &made, Mode::Retroactive, 1).await.complete);
}

async fn a_calendar_reaches_the_clocks_that_count_by_it(t: Testbed) {
    let (_, calendar) = office_hours(&t).await;
    let (ticket, other) = (t.open(Priority::High).await, t.open(Priority::Low).await);
    let untouched = clock(&t, &other, Metric::Resolution).await;
    t.advance(hours(2));
    let mut body = calendar.body.0.clone();
    body["overrides"] = json!({ "2027-01-15": ["09:30-10:00"] });
    let changed = t.redefine(&calendar, body).await;
    let replan = carry_out(&t, calendar.id, Mode::Retroactive).await;
    assert_eq!((replan.examined, replan.moved, replan.breached), (1, 1, 0));
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    assert_eq!(stored.clock.calendar.version(), Some(changed.version_id));
    // Half an hour on Friday, three and a half on Monday from 09:00.
    assert_eq!(stored.clock.due_at(), Some(at(hours(73) + minutes(210))));
    assert_eq!(clock(&t, &other, Metric::Resolution).await, untouched);
    let told = Replan { examined: 7, ..replan };
    write(&t, async |tx| replans::save(tx, &told).await).await;
    assert_eq!(replans::get(&t.db, told.id).await.unwrap(), Some(told));
    let again = carry_out(&t, calendar.id, Mode::Retroactive).await;
    assert_eq!((again.examined, again.moved), (1, 0), "there is nothing left to change");
}

async fn a_policy_reaches_the_tickets_that_come_under_it_now(t: Testbed) {
    let built_in = t.open(Priority::High).await;
    let (made, _) = office_hours(&t).await;
    t.advance(hours(6));
    let replan = carry_out(&t, made.id, Mode::Retroactive).await;
    // The first response is no longer promised; of the resolution's four hours five have passed.
    assert_eq!((replan.examined, replan.moved, replan.breached), (2, 2, 1));
    let ticket = get(&t, &built_in).await;
    assert_eq!((ticket.sla_policy_version_id, ticket.version), (Some(made.version_id), 2));
    let stored = clock(&t, &built_in, Metric::Resolution).await;
    assert_eq!(
        stored.clock.breached_at,
        Some(t.now()),
        "a breach is never earlier than the change that made it"
    );
    let response = clock(&t, &built_in, Metric::FirstResponse).await.clock;
    assert_eq!((response.cancelled, response.state()), (true, State::Breached), "what was late stays late");
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(history.last().unwrap().actor_id, Some(t.staff.id));
}

async fn finished_clocks_are_left_alone(t: Testbed) {
    let (made, _) = office_hours(&t).await;
    let ticket = t.open(Priority::High).await;
    move_to(&t, &ticket, Status::Resolved).await;
    let before = clock(&t, &ticket, Metric::Resolution).await;
    t.redefine(&made, json!({ "targets": { "high": { "resolution": "1m" } } })).await;
    let replan = carry_out(&t, made.id, Mode::Restart).await;
    assert_eq!((replan.examined, replan.moved), (0, 0));
    assert_eq!(clock(&t, &ticket, Metric::Resolution).await, before);
}

async fn a_change_is_carried_on_batch_by_batch(t: Testbed) {
    let (made, _) = office_hours(&t).await;
    let drafts = vec![t.draft(Priority::High); 450];
    write(&t, async |tx| t.desk.open(tx, drafts).await).await;
    t.redefine(&made, json!({ "targets": { "high": { "resolution": "1h" } } })).await;
    let started = start(&t, made.id, Mode::CarryFraction).await;
    let mut progress = Vec::new();
    let mut replan = started.clone();
    while replan.finished_at.is_none() {
        replan = carry_on(&t, started.id).await;
        progress.push(replan.moved);
    }
    assert_eq!(progress, [200, 400, 450, 450]);
    assert_eq!(replans::tickets_behind(&t.db, replan.cursor_id, 10).await.unwrap(), []);
    assert_eq!(replans::get(&t.db, ReplanId::new()).await.unwrap(), None);
}

async fn audit(t: &Testbed) -> Vec<Audit> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let batch = write(t, async |tx| t.desk.audit(tx, after, t.now() - hours(48), 3).await).await;
        let Some(last) = batch.last else { return found };
        after = Some(last);
        found.push(batch);
    }
}

async fn an_audit_finds_and_repairs_what_is_not_as_the_events_say(t: Testbed) {
    office_hours(&t).await;
    for _ in 0..4 {
        t.open(Priority::High).await;
    }
    let ticket = t.open(Priority::Low).await;
    t.advance(minutes(90));
    t.sweep().await;
    let [response, _] = crate::desk::pair(&t, &ticket).await;
    let mut wrong = response.clone();
    (wrong.clock.credit, wrong.clock.held_manually) = (TimeDelta::seconds(1), true);
    wrong.clock.running_since = None;
    write(&t, async |tx| clocks::repair(tx, &[wrong]).await).await;
    let found: Vec<Mismatch> = audit(&t).await.into_iter().flat_map(|audit| audit.mismatches).collect();
    let fields = vec!["state", "due_at", "next_fire_at", "credit_us", "running_since", "held_manually"];
    assert_eq!(found, [Mismatch { clock: response.id, fields, repaired: true }]);
    assert_eq!(clocks::get(&t.db, response.id).await.unwrap(), Some(response));
    assert!(audit(&t).await.iter().all(|audit| audit.mismatches.is_empty()));
}

async fn an_audit_of_clocks_that_are_right_changes_nothing(t: Testbed) {
    let (made, calendar) = office_hours(&t).await;
    let tickets = [t.open(Priority::High).await, t.open(Priority::High).await, t.open(Priority::Low).await];
    t.advance(hours(3));
    t.redefine(&calendar, json!({ "tz": "UTC", "weekly": { "fri": ["10:00-12:00"] } })).await;
    carry_out(&t, calendar.id, Mode::CarryFraction).await;
    let mut body = made.body.0.clone();
    body["targets"]["high"]["resolution"] = json!("20m");
    t.redefine(&made, body).await;
    carry_out(&t, made.id, Mode::Restart).await;
    move_to(&t, &tickets[0], Status::Resolved).await;
    t.advance(hours(24 * 8));
    t.sweep().await;
    move_to(&t, &tickets[1], Status::PendingInfo).await;
    let audits = audit(&t).await;
    assert!(audits.iter().all(|audit| audit.mismatches.is_empty()), "{audits:?}");
    let audited: usize = audits.iter().map(|audit| audit.audited).sum();
    assert_eq!(audited, 3, "the resolved one was last heard of long ago");
    let mut tx = crate::begin(&t).await;
    let ids: Vec<_> = t.clocks(&tickets[1]).await.iter().map(|stored| stored.id).collect();
    assert!(!clocks::events_of(&mut tx, &ids).await.unwrap()[&ids[0]].is_empty());
    let claimed = clocks::claim_for_audit(&mut tx, None, t.now() - hours(24 * 30), 100).await.unwrap();
    assert_eq!(claimed.len(), 4);
    clocks::lock_of_tickets(&mut tx, &[tickets[1].id]).await.unwrap();
    assert_eq!(tickets::lock_all(&mut tx, &[tickets[1].id]).await.unwrap().len(), 1);
    tx.rollback().await.unwrap();
    assert_eq!(tickets::all_of(&t.db, &tickets.map(|ticket| ticket.id)).await.unwrap().len(), 3);
}
