//! What the service desk does under policies and calendars that somebody defined.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::cause::Cause;
use shared::domain::definition::Kind;
use shared::domain::escalation::StopReason;
use shared::domain::job::Notify;
use shared::domain::sla::{Hold, Metric, State};
use shared::domain::ticket::{Category, Priority, Status};
use shared::on_both;
use shared::store::clocks::{self, Stored};
use shared::store::definitions::Definition;
use shared::store::desk::{Actor, Draft, Remark};
use shared::store::tickets::{self, Ticket};
use shared::store::{escalations, jobs, rulebook, users, versions};
use shared::testkit::Testbed;

use crate::desk::{acknowledge, escalate, escalations as of, get, move_to, stops};
use crate::{at, hours, micros, minutes, write};

on_both! {
    a_ticket_comes_under_the_first_policy_that_matches,
    clocks_count_by_the_calendar_of_their_policy,
    a_new_version_leaves_running_clocks_alone,
    a_policy_that_is_switched_off_matches_nothing,
    another_priority_is_retargeted_by_the_policy_as_it_was,
    a_ticket_that_changes_its_policy_takes_its_promises_and_hours,
    a_policy_says_which_statuses_pause,
    the_next_response_is_counted_from_the_oldest_unanswered_message,
    people_are_called_before_and_after_the_breach_as_the_policy_says,
    an_escalation_keeps_the_version_it_was_opened_under,
    a_definition_that_cannot_be_read_is_left_out,
    roles_are_asked_for_those_who_can_sign_in,
}

/// The testbed starts on a Friday at 08:00 UTC.
pub(crate) fn office() -> Value {
    let day = ["09:00-17:00"];
    json!({ "tz": "UTC", "weekly": { "mon": day, "tue": day, "wed": day, "thu": day, "fri": day } })
}

pub(crate) async fn policy(t: &Testbed, name: &str, body: Value) -> Definition {
    t.define(Kind::SlaPolicy, name, body).await
}

pub(crate) async fn open(t: &Testbed, draft: Draft) -> Ticket {
    write(t, async |tx| t.desk.open(tx, vec![draft]).await).await.pop().unwrap()
}

pub(crate) async fn clock(t: &Testbed, ticket: &Ticket, metric: Metric) -> Stored {
    let clocks = t.clocks(ticket).await;
    clocks.into_iter().rev().find(|stored| stored.metric == metric).expect("there is such a clock")
}

async fn targets(t: &Testbed, ticket: &Ticket) -> Vec<(Metric, TimeDelta)> {
    t.clocks(ticket).await.into_iter().map(|stored| (stored.metric, stored.clock.target)).collect()
}

async fn edit(t: &Testbed, ticket: &Ticket, edit: impl FnOnce(&mut Ticket)) -> Ticket {
    write(t, async |tx| t.desk.edit(tx, ticket.id, None, &t.staff(), edit).await).await
}

async fn a_ticket_comes_under_the_first_policy_that_matches(t: Testbed) {
    let vip = json!({ "match": { "label": ["vip"] }, "targets": { "high": { "resolution": "2h" } } });
    let vip = policy(&t, "VIP", vip).await;
    let high = json!({ "match": { "priority": ["high"] }, "targets": { "high": { "resolution": "3h" } } });
    let high = policy(&t, "High", high).await;
    let labelled = open(&t, Draft { labels: vec!["vip".into()], ..t.draft(Priority::High) }).await;
    assert_eq!(labelled.sla_policy_version_id, Some(vip.version_id));
    assert_eq!(targets(&t, &labelled).await, [(Metric::Resolution, hours(2))]);
    let plain = t.open(Priority::High).await;
    assert_eq!(get(&t, &plain).await.sla_policy_version_id, Some(high.version_id));
    assert_eq!(targets(&t, &plain).await, [(Metric::Resolution, hours(3))]);
    let other = t.open(Priority::Low).await;
    assert_eq!(other.sla_policy_version_id, None);
    assert_eq!(
        targets(&t, &other).await,
        [(Metric::FirstResponse, hours(24)), (Metric::Resolution, hours(120))]
    );
    let mut tx = crate::begin(&t).await;
    let ids = [labelled.id, plain.id, other.id];
    let mut of = tickets::promises_of(&mut tx, &ids).await.unwrap();
    of.sort_unstable();
    let of: Vec<_> = of.into_iter().map(|(id, _, version)| (id, version)).collect();
    let expected = [(labelled.id, Some(vip.version_id)), (plain.id, Some(high.version_id)), (other.id, None)];
    assert_eq!(of, expected);
    tx.rollback().await.unwrap();
}

async fn clocks_count_by_the_calendar_of_their_policy(t: Testbed) {
    let calendar = t.define(Kind::Calendar, "Office", office()).await;
    let body = json!({ "calendar_id": calendar.id, "targets": { "high": { "resolution": "9h" } } });
    policy(&t, "Office hours", body).await;
    let ticket = t.open(Priority::High).await;
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    assert_eq!(stored.clock.calendar.version(), Some(calendar.version_id));
    // Eight hours on Friday, one on Monday.
    assert_eq!(stored.clock.due_at(), Some(at(hours(74))));
    t.advance(hours(74));
    assert_eq!(t.sweep().await.breaches.len(), 0);
    t.advance(micros(1));
    assert_eq!(t.sweep().await.breaches.len(), 1);
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    assert_eq!(stored.clock.breached_at, Some(at(hours(74))));
    let known = versions::calendars(&t.db, [calendar.version_id]).await.unwrap();
    assert_eq!(known.get(calendar.version_id).unwrap(), stored.clock.calendar);
}

async fn a_new_version_leaves_running_clocks_alone(t: Testbed) {
    let calendar = t.define(Kind::Calendar, "Office", office()).await;
    let body =
        |target: &str| json!({ "calendar_id": calendar.id, "targets": { "high": { "resolution": target } } });
    let made = policy(&t, "Office hours", body("4h")).await;
    let ticket = t.open(Priority::High).await;
    let before = clock(&t, &ticket, Metric::Resolution).await;
    t.redefine(&calendar, json!({ "tz": "UTC", "weekly": { "sat": ["09:00-17:00"] } })).await;
    let made = t.redefine(&made, body("1h")).await;
    edit(&t, &ticket, |ticket| ticket.title = "Another title".into()).await;
    move_to(&t, &ticket, Status::InProgress).await;
    assert_eq!(clock(&t, &ticket, Metric::Resolution).await, before);
    let next = t.open(Priority::High).await;
    assert_eq!(next.sla_policy_version_id, Some(made.version_id));
    assert_eq!(clock(&t, &next, Metric::Resolution).await.clock.due_at(), Some(at(hours(26))));
}

async fn a_policy_that_is_switched_off_matches_nothing(t: Testbed) {
    let body = |enabled: bool| json!({ "enabled": enabled, "targets": { "high": { "resolution": "4h" } } });
    let made = policy(&t, "All", body(true)).await;
    assert_eq!(t.open(Priority::High).await.sla_policy_version_id, Some(made.version_id));
    t.redefine(&made, body(false)).await;
    assert_eq!(t.open(Priority::High).await.sla_policy_version_id, None);
}

async fn another_priority_is_retargeted_by_the_policy_as_it_was(t: Testbed) {
    let body = |high: &str| {
        let targets = json!({ "low": { "resolution": "10h" }, "high": { "resolution": high } });
        json!({ "mode": "carry_fraction", "targets": targets })
    };
    let made = policy(&t, "All", body("4h")).await;
    let ticket = t.open(Priority::Low).await;
    t.redefine(&made, body("1h")).await;
    t.advance(hours(5));
    let edited = edit(&t, &ticket, |ticket| ticket.priority = Priority::High).await;
    assert_eq!(edited.sla_policy_version_id, Some(made.version_id));
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    assert_eq!((stored.clock.target, stored.clock.due_at()), (hours(4), Some(at(hours(7)))));
    // Nothing is promised to tickets of this priority.
    edit(&t, &ticket, |ticket| ticket.priority = Priority::Medium).await;
    assert_eq!(clock(&t, &ticket, Metric::Resolution).await.clock.state(), State::Cancelled);
}

async fn a_ticket_that_changes_its_policy_takes_its_promises_and_hours(t: Testbed) {
    let calendar = t.define(Kind::Calendar, "Office", office()).await;
    let targets = json!({ "high": { "first_response": "2h" } });
    let body =
        json!({ "match": { "category": ["question"] }, "calendar_id": calendar.id, "targets": targets });
    let made = policy(&t, "Questions", body).await;
    let ticket = t.open(Priority::High).await;
    t.advance(hours(3));
    let edited = edit(&t, &ticket, |ticket| ticket.category = Category::Question).await;
    assert_eq!(edited.sla_policy_version_id, Some(made.version_id));
    let [response, resolution] = crate::desk::pair(&t, &ticket).await;
    // Two of the three hours were open: the target is used up exactly now.
    assert_eq!((response.clock.target, response.clock.due_at()), (hours(2), Some(at(hours(3)))));
    assert_eq!(response.clock.calendar.version(), Some(calendar.version_id));
    assert_eq!(resolution.clock.state(), State::Cancelled);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert!(history.iter().any(|change| change.field == "sla_policy_version_id"), "{history:?}");
}

async fn a_policy_says_which_statuses_pause(t: Testbed) {
    let targets = json!({ "high": { "resolution": "4h" } });
    policy(&t, "All", json!({ "pause_statuses": ["escalated", "new"], "targets": targets })).await;
    let ticket = t.open(Priority::High).await;
    let held = async || clock(&t, &ticket, Metric::Resolution).await.clock.held_by_status;
    assert!(held().await);
    t.advance(hours(1));
    move_to(&t, &ticket, Status::InProgress).await;
    assert!(!held().await);
    t.advance(hours(1));
    move_to(&t, &ticket, Status::PendingInfo).await;
    assert!(!held().await);
    t.advance(hours(1));
    move_to(&t, &ticket, Status::InProgress).await;
    move_to(&t, &ticket, Status::Escalated).await;
    assert!(held().await);
    assert_eq!(clock(&t, &ticket, Metric::Resolution).await.clock.elapsed(t.now()), hours(2));
}

async fn the_next_response_is_counted_from_the_oldest_unanswered_message(t: Testbed) {
    policy(&t, "All", json!({ "targets": { "high": { "first_response": "1h", "next_response": "2h" } } }))
        .await;
    let ticket = t.open(Priority::High).await;
    let say = async |actor: Actor| {
        let remark = Remark { content: "Well?".into(), internal: false };
        write(&t, async |tx| t.desk.comment(tx, ticket.id, &actor, remark).await).await;
        get(&t, &ticket).await
    };
    let (customer, staff) = (async || say(t.customer()).await, async || say(t.staff()).await);
    let states =
        async || -> Vec<_> { t.clocks(&ticket).await.iter().map(|s| (s.metric, s.clock.state())).collect() };
    customer().await;
    assert_eq!(states().await, [(Metric::FirstResponse, State::Active)], "the first response is still owed");
    t.advance(minutes(30));
    assert_eq!(staff().await.responded_at, Some(at(minutes(30))));
    assert_eq!(states().await, [(Metric::FirstResponse, State::Met)]);
    t.advance(minutes(30));
    customer().await;
    t.advance(minutes(30));
    customer().await;
    let next = clock(&t, &ticket, Metric::NextResponse).await;
    assert_eq!(next.clock.due_at(), Some(at(hours(3))), "the second message does not begin anew");
    t.advance(hours(2));
    staff().await;
    let next = clock(&t, &ticket, Metric::NextResponse).await;
    assert_eq!((next.clock.breached_at, next.clock.stopped_at), (Some(at(hours(3))), Some(t.now())));
    customer().await;
    assert_eq!(states().await.len(), 3, "a cycle of its own");
    move_to(&t, &ticket, Status::Resolved).await;
    assert_eq!(clock(&t, &ticket, Metric::NextResponse).await.clock.state(), State::Cancelled);
}

/// What people are to be told of escalation: the step, or the share at which it comes before the breach.
async fn calls(t: &Testbed) -> Vec<String> {
    let mut calls = Vec::new();
    for job in jobs::list(&t.db, 1_000).await.unwrap() {
        let Notify { cause } = serde_json::from_value(job.payload.0).unwrap();
        match cause {
            Cause::EarlyStep { step, .. } => calls.push(format!("early {step}")),
            Cause::EscalationStep { step, .. } => calls.push(format!("step {step}")),
            Cause::Warning { fraction, .. } => calls.push(format!("warn {}", fraction.whole_percent())),
            _ => {}
        }
    }
    calls.sort_unstable();
    calls
}

async fn escalating(t: &Testbed, steps: Value) -> Definition {
    let calls = t.define(Kind::EscalationPolicy, "Calls", steps).await;
    let targets = json!({ "high": { "resolution": "10h" } });
    let body = json!({ "escalation_policy_id": calls.id, "targets": targets, "warn_at": [0.5, 0.75] });
    policy(t, "All", body).await;
    calls
}

fn steps() -> Value {
    let to = json!([{ "type": "assignee" }]);
    json!({
        "steps": [
            { "when": { "fraction": 0.25 }, "targets": to },
            { "when": { "fraction": 0.5 }, "targets": to },
            { "when": { "after": "0s" }, "targets": to },
            { "when": { "after": "30m" }, "targets": to },
        ],
        "repeat": { "times": 1, "every": "1h" },
    })
}

async fn people_are_called_before_and_after_the_breach_as_the_policy_says(t: Testbed) {
    escalating(&t, steps()).await;
    let ticket = t.open(Priority::High).await;
    let stored = clock(&t, &ticket, Metric::Resolution).await;
    assert_eq!(stored.clock.warnings().map(|(f, _)| f.whole_percent()).collect::<Vec<_>>(), [25, 50, 75]);
    t.advance(minutes(151));
    t.sweep().await;
    assert_eq!(calls(&t).await, ["early 1"], "nobody is warned at a share that only calls");
    t.advance(hours(4));
    t.sweep().await;
    assert_eq!(calls(&t).await, ["early 1", "early 2", "warn 50"]);
    t.advance(at(hours(10) + micros(1)) - t.now());
    t.sweep().await;
    let escalation = of(&t, &ticket).await.pop().unwrap();
    assert_eq!((escalation.opened_at, escalation.next_step_at), (at(hours(10)), Some(at(hours(10)))));
    assert_eq!(escalate(&t).await, 1);
    assert_eq!(of(&t, &ticket).await[0].next_step_at, Some(at(minutes(630))));
    // An outage until after the last step: each place of the policy is announced once.
    t.advance(hours(30));
    assert_eq!((escalate(&t).await, escalate(&t).await), (1, 0));
    assert_eq!(calls(&t).await, ["early 1", "early 2", "step 1", "step 3", "step 4", "warn 50", "warn 75"]);
    assert_eq!(of(&t, &ticket).await[0].steps_done, 4);
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Exhausted)]);
}

async fn an_escalation_keeps_the_version_it_was_opened_under(t: Testbed) {
    let made = escalating(&t, steps()).await;
    let ticket = t.open(Priority::High).await;
    t.advance(hours(10) + micros(1));
    t.sweep().await;
    let to = json!([{ "type": "reporter" }]);
    t.redefine(&made, json!({ "steps": [{ "when": { "after": "5h" }, "targets": to }] })).await;
    assert_eq!(of(&t, &ticket).await[0].policy_version_id, Some(made.version_id));
    assert_eq!(escalate(&t).await, 1);
    assert_eq!(of(&t, &ticket).await[0].next_step_at, Some(at(minutes(630))));
    let read = versions::escalation_policies(&t.db, [made.version_id]).await.unwrap();
    assert_eq!(read.get(made.version_id).unwrap().steps.len(), 4);
    acknowledge(&t, &ticket).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Acknowledged)]);
    let stored = escalations::get(&t.db, of(&t, &ticket).await[0].id).await.unwrap().unwrap();
    assert_eq!(stored.next_step_at, None);
}

async fn a_definition_that_cannot_be_read_is_left_out(t: Testbed) {
    policy(&t, "From a newer release", json!({ "targets": { "high": { "delight": "1h" } } })).await;
    let good = policy(&t, "All", json!({ "targets": { "high": { "resolution": "4h" } } })).await;
    let ticket = t.open(Priority::High).await;
    assert_eq!(ticket.sla_policy_version_id, Some(good.version_id));
    let book = t.desk.book.open(&t.db, &t.desk.rules).await.unwrap();
    let before = rulebook::by_version(&t.db, &book, Some(good.version_id)).await.unwrap();
    let now = t.redefine(&good, json!({ "targets": { "high": { "resolution": "5h" } } })).await;
    let book = t.desk.book.open(&t.db, &t.desk.rules).await.unwrap();
    assert_eq!(book.by_version(Some(now.version_id)).unwrap().version, Some(now.version_id));
    assert_eq!(rulebook::by_version(&t.db, &book, Some(good.version_id)).await.unwrap(), before);
    let held = clocks::of_tickets(&t.db, &[ticket.id]).await.unwrap();
    assert!(held.iter().all(|stored| !stored.clock.held_by_status), "{:?}", Hold::Status);
}

async fn roles_are_asked_for_those_who_can_sign_in(t: Testbed) {
    let with = async || -> Vec<_> {
        users::with_role(&t.db, t.staff.role).await.unwrap().into_iter().map(|user| user.id).collect()
    };
    assert_eq!(with().await, [t.staff.id]);
    t.disable(&t.staff.email).await;
    assert_eq!(with().await, []);
}
