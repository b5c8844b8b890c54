//! What is done to tickets by those who may, and not by those who may not.

use serde_json::json;
use shared::domain::access::Caller;
use shared::domain::definition::Kind;
use shared::domain::escalation::StopReason;
use shared::domain::event::EventKind;
use shared::domain::role::Role;
use shared::domain::sla::State;
use shared::domain::ticket::{Priority, Status};
use shared::on_both;
use shared::store::desk::{Actor, Assignment, Draft, Error, Who};
use shared::store::{escalations, events, tickets, users};
use shared::testkit::{Testbed, user};

use crate::{hours, refused, write};

on_both! {
    a_caller_is_in_the_teams_that_name_them,
    the_desk_asks_who_may_under_the_lock,
    an_assignment_moves_a_ticket_to_the_policy_of_its_team,
    a_deleted_ticket_is_gone_for_everybody_and_everything,
    labels_are_replaced_and_put_on_record,
    fields_and_labels_are_changed_as_one,
    many_are_moved_or_none,
    what_happened_is_logged_as_it_is_committed,
    history_is_immutable,
}

async fn admin(t: &Testbed) -> Actor {
    let admin = user("ada@example.org", Role::Admin);
    write(t, async |tx| users::add(tx, &admin).await).await;
    Caller::alone(admin.id, admin.role).into()
}

async fn a_caller_is_in_the_teams_that_name_them(t: Testbed) {
    let team = t.define(Kind::Team, "Web", json!({ "members": [t.staff.id, t.manager.id] })).await;
    t.define(Kind::Team, "Network", json!({ "members": [t.manager.id] })).await;
    let caller = users::caller(&t.db, &t.staff).await.unwrap();
    assert_eq!((caller.teams, caller.colleagues), (vec![team.id], vec![t.staff.id, t.manager.id]));
    assert_eq!(users::caller(&t.db, &t.manager).await.unwrap().teams.len(), 2);
    assert_eq!(users::caller(&t.db, &t.customer).await.unwrap(), Caller::alone(t.customer.id, Role::EndUser));
}

async fn the_desk_asks_who_may_under_the_lock(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let stranger: Actor = Caller::alone(t.manager.id, Role::EndUser).into();
    let engineer: Actor = Caller::alone(t.manager.id, Role::DevopsEngineer).into();
    let mailbox = Actor { who: Who::Address("oncall@example.org".into()), ip: None };
    for (actor, hidden) in [(&stranger, true), (&engineer, false), (&mailbox, false)] {
        let rename = |ticket: &mut tickets::Ticket| ticket.title = "Mine".into();
        let error = refused(&t, async |tx| t.desk.edit(tx, ticket.id, None, actor, rename).await).await;
        let as_expected = match error {
            Error::NotFound("ticket") => hidden,
            Error::Forbidden(_) => !hidden,
            _ => false,
        };
        assert!(as_expected, "{actor:?}: {error:?}");
    }
    let draft = Draft { actor: t.customer(), ..t.draft(Priority::Low) };
    let error = refused(&t, async |tx| t.desk.open(tx, vec![draft]).await).await;
    assert!(matches!(error, Error::Forbidden(_)), "an end user does not say who works on it: {error:?}");
}

async fn an_assignment_moves_a_ticket_to_the_policy_of_its_team(t: Testbed) {
    let team = t.define(Kind::Team, "Web", json!({ "members": [] })).await;
    let policy = json!({ "match": { "team_id": [team.id] }, "targets": { "low": { "resolution": "1h" } } });
    let policy = t.define(Kind::SlaPolicy, "Web", policy).await;
    let ticket = t.open(Priority::Low).await;
    let to = Assignment { team: Some(Some(team.id)), assignee: Some(None) };
    let manager: Actor = Caller::alone(t.manager.id, Role::Manager).into();
    let given = write(&t, async |tx| t.desk.assign(tx, ticket.id, Some(1), &manager, to).await).await;
    assert_eq!((given.team_id, given.assignee_id, given.version), (Some(team.id), None, 2));
    assert_eq!(given.sla_policy_version_id, Some(policy.version_id));
    let error = refused(&t, async |tx| t.desk.assign(tx, ticket.id, Some(1), &manager, to).await).await;
    assert!(matches!(error, Error::Stale { current: 2, .. }), "{error:?}");
}

async fn a_deleted_ticket_is_gone_for_everybody_and_everything(t: Testbed) {
    let (ticket, admin) = (t.open(Priority::Critical).await, admin(&t).await);
    t.advance(hours(2));
    t.sweep().await;
    let deleted = write(&t, async |tx| t.desk.delete(tx, ticket.id, None, &admin).await).await;
    assert_eq!((deleted.deleted_at, deleted.version), (Some(t.now()), 2));
    let [escalation] = escalations::of_ticket(&t.db, ticket.id).await.unwrap().try_into().unwrap();
    assert_eq!(escalation.stop_reason, Some(StopReason::Deleted));
    let states: Vec<State> = t.clocks(&ticket).await.iter().map(|stored| stored.clock.state()).collect();
    assert_eq!(states, [State::Breached, State::Cancelled]);
    let all = tickets::Filter { limit: 10, ..tickets::Filter::default() };
    assert_eq!(tickets::list(&t.db, &all).await.unwrap().len(), 0);
    assert_eq!(tickets::count(&t.db, &all).await.unwrap(), 0);
    for actor in [&admin, &t.staff(), &t.customer()] {
        let moving = async |tx: &mut _| t.desk.move_to(tx, ticket.id, None, actor, Status::Open).await;
        let error = refused(&t, moving).await;
        assert!(matches!(error, Error::NotFound("ticket")), "{error:?}");
    }
    t.advance(hours(100));
    assert_eq!(t.sweep().await.breaches, []);
}

async fn labels_are_replaced_and_put_on_record(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let (old, new) = (vec!["blue".to_owned(), "red".to_owned()], vec!["green".to_owned()]);
    write(&t, async |tx| tickets::relabel(tx, ticket.id, &old).await).await;
    let relabel = async |tx: &mut _| t.desk.relabel(tx, ticket.id, None, &t.staff(), &new).await;
    let labelled = write(&t, relabel).await;
    assert_eq!((labelled.version, tickets::labels(&t.db, ticket.id).await.unwrap()), (2, new.clone()));
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let last = history.last().unwrap();
    let values = (last.old_value.as_deref(), last.new_value.as_deref());
    assert_eq!((last.field.as_str(), values), ("labels", (Some("blue, red"), Some("green"))));
    assert_eq!(write(&t, relabel).await.version, 2, "the same labels are no change");
}

async fn fields_and_labels_are_changed_as_one(t: Testbed) {
    let targets = json!({ "low": { "resolution": "9h" }, "high": { "resolution": "2h" } });
    let vip = json!({ "match": { "label": ["vip"] }, "targets": targets });
    let vip = t.define(Kind::SlaPolicy, "VIP", vip).await;
    let ticket = t.open(Priority::Low).await;
    let urgent = |ticket: &mut tickets::Ticket| ticket.priority = Priority::High;
    let (staff, labels) = (t.staff(), ["vip".to_owned()]);
    let revise = async |tx: &mut _| t.desk.revise(tx, ticket.id, None, &staff, urgent, Some(&labels)).await;
    let revised = write(&t, revise).await;
    assert_eq!((revised.version, revised.sla_policy_version_id), (2, Some(vip.version_id)));
    assert_eq!(write(&t, revise).await, revised, "the same again is no change");
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let mut changed: Vec<(&str, i64)> = history.iter().map(|c| (c.field.as_str(), c.version)).collect();
    changed.sort_unstable();
    assert_eq!(changed, [("labels", 2), ("priority", 2), ("sla_policy_version_id", 2), ("status", 1)]);
    let logged = events::after(&t.db, 0, 100).await.unwrap();
    let of = |kind: EventKind| logged.iter().filter(|event| event.kind == kind).count();
    assert_eq!(of(EventKind::TicketUpdated), 1);
    assert_eq!(
        of(EventKind::SlaRetargeted),
        1,
        "at once to the target of the new policy at the new priority"
    );
}

async fn many_are_moved_or_none(t: Testbed) {
    let (a, b) = (t.open(Priority::Low).await, t.open(Priority::High).await);
    let (ids, staff) = ([b.id, a.id], t.staff());
    let moved =
        write(&t, async |tx| t.desk.move_all(tx, &ids, &staff, Status::Resolved).await).await.unwrap();
    assert_eq!(moved.iter().map(|ticket| ticket.id).collect::<Vec<_>>(), ids);
    let mut tx = crate::begin(&t).await;
    let refused = t.desk.move_all(&mut tx, &ids, &staff, Status::Escalated).await.unwrap().unwrap_err();
    assert_eq!(refused.iter().map(|refusal| refusal.ticket).collect::<Vec<_>>(), ids);
    assert!(matches!(refused[0].error, Error::Transition { .. }));
}

async fn what_happened_is_logged_as_it_is_committed(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    write(&t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), Status::Open).await).await;
    t.advance(hours(2));
    t.sweep().await;
    let logged = events::after(&t.db, 0, 100).await.unwrap();
    let kinds: Vec<EventKind> = logged.iter().map(|event| event.kind).collect();
    assert_eq!(kinds[..2], [EventKind::TicketCreated, EventKind::TicketMoved]);
    assert!(kinds[2..].contains(&EventKind::SlaBreached), "{kinds:?}");
    assert_eq!(
        logged.iter().map(|event| event.seq).collect::<Vec<_>>(),
        (1..).take(kinds.len()).collect::<Vec<_>>()
    );
    assert_eq!(events::head(&t.db).await.unwrap(), logged.last().unwrap().seq);
    assert_eq!((logged[1].ticket_id, logged[1].actor_id), (ticket.id, Some(t.staff.id)));
}

async fn history_is_immutable(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    for statement in ["UPDATE ticket_history SET field = 'x'", "DELETE FROM ticket_history"] {
        let mut tx = crate::begin(&t).await;
        let refused = shared::store::query::query(statement).execute(&mut tx).await;
        assert!(refused.is_err(), "{statement}: {refused:?}");
    }
    assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap().len(), 1);
}
