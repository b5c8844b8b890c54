//! Whom the steps of an escalation policy reach, what they do to a ticket, and the jobs on all clocks.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::definition::Kind;
use shared::domain::job::{Audit, Notify, Replan, SendMail};
use shared::domain::role::Role;
use shared::domain::sla::Mode;
use shared::domain::ticket::{Priority, Status};
use shared::ids::UserId;
use shared::on_both;
use shared::store::jobs::NewJob;
use shared::store::tickets::{self, Ticket};
use shared::store::{clocks, notifications, replans, users};
use shared::testkit::{Testbed, user};

use crate::context::Outcome;
use crate::testing::Bench;

on_both! {
    everybody_a_step_names_is_told_once,
    a_step_that_reaches_nobody_goes_to_the_oncall_address,
    a_step_does_to_the_ticket_what_it_says,
    who_is_on_call_is_told_and_given_the_ticket,
    a_re_plan_is_carried_through_by_its_job,
    the_audit_job_repairs_what_it_finds,
}

const ONCALL: &[(&str, &str)] = &[("ONCALL_EMAIL", "Oncall@example.org")];

async fn add(t: &Testbed, email: &str, role: Role) -> UserId {
    let user = user(email, role);
    let mut tx = t.db.begin().await.unwrap();
    users::add(&mut tx, &user).await.unwrap();
    let _ = tx.commit().await.unwrap();
    user.id
}

/// Opens a ticket under a policy with one step at the breach, and takes the step.
async fn take(bench: &Bench, step: Value) -> Ticket {
    let t = &bench.t;
    let mut step = step;
    step["when"] = json!({ "after": "0s" });
    let calls = t.define(Kind::EscalationPolicy, "Calls", json!({ "steps": [step] })).await;
    let promised = json!({ "medium": { "resolution": "1h" }, "high": { "resolution": "1h" } });
    let policy = json!({ "targets": promised, "warn_at": [], "escalation_policy_id": calls.id });
    t.define(Kind::SlaPolicy, "All", policy).await;
    let ticket = t.open(Priority::Medium).await;
    t.advance(TimeDelta::minutes(61));
    t.sweep().await;
    let mut tx = t.db.begin().await.unwrap();
    assert_eq!(t.desk.escalate(&mut tx, 100).await.unwrap(), 1);
    let _ = tx.commit().await.unwrap();
    for outcome in bench.run_all::<Notify>().await {
        assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
    }
    tickets::get(&t.db, ticket.id).await.unwrap().unwrap()
}

/// Who is told of the step.
async fn told(bench: &Bench, ticket: &Ticket) -> Vec<String> {
    let told = notifications::of_ticket(&bench.t.db, ticket.id).await.unwrap();
    let told = told.into_iter().filter(|n| n.cause.event() == "escalation.step");
    let mut told: Vec<String> = told.map(|n| n.recipient).collect();
    told.sort_unstable();
    told
}

async fn everybody_a_step_names_is_told_once(t: Testbed) {
    let bench = Bench::over(t, ONCALL);
    let t = &bench.t;
    let (ann, bob) =
        (add(t, "ann@example.org", Role::Manager).await, add(t, "bob@example.org", Role::Manager).await);
    let gone = add(t, "gone@example.org", Role::Manager).await;
    t.disable("gone@example.org").await;
    let team = json!({ "members": [t.staff.id, gone, ann], "email": "Web@example.org" });
    let team = t.define(Kind::Team, "Web", team).await;
    let targets = json!([
        { "type": "assignee" },
        { "type": "reporter" },
        { "type": "team", "id": team.id },
        { "type": "role", "role": "manager" },
        { "type": "user", "id": bob },
        { "type": "address", "email": "duty@example.org" },
    ]);
    let ticket = take(&bench, json!({ "targets": targets })).await;
    let everybody =
        ["ann", "bob", "cleo", "duty", "mona", "sam", "web"].map(|name| format!("{name}@example.org"));
    assert_eq!(told(&bench, &ticket).await, everybody);
    bench.run_all::<SendMail>().await;
    let calls = bench.sent().into_values().filter(|mail| mail.contains("X-Dogwatch-Event: escalation.step"));
    assert_eq!(calls.count(), everybody.len());
}

async fn a_step_that_reaches_nobody_goes_to_the_oncall_address(t: Testbed) {
    let bench = Bench::over(t, ONCALL);
    let team = bench.t.define(Kind::Team, "Nobody", json!({ "members": [] })).await;
    let ticket = take(&bench, json!({ "targets": [{ "type": "team", "id": team.id }] })).await;
    assert_eq!(told(&bench, &ticket).await, ["oncall@example.org"]);
}

async fn a_step_does_to_the_ticket_what_it_says(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let ann = add(&bench.t, "ann@example.org", Role::TeamLead).await;
    let actions = json!([
        { "type": "reassign", "user_id": ann },
        { "type": "raise_priority" },
        { "type": "set_escalated" },
    ]);
    let ticket = take(&bench, json!({ "targets": [{ "type": "assignee" }], "actions": actions })).await;
    let is = (ticket.assignee_id, ticket.priority, ticket.status);
    assert_eq!(is, (Some(ann), Priority::High, Status::Escalated));
    assert_eq!(told(&bench, &ticket).await, ["ann@example.org"], "who works on it now");
    let history = tickets::history(&bench.t.db, ticket.id).await.unwrap();
    let by_the_rules: Vec<_> = history.iter().filter(|c| c.actor_id.is_none()).map(|c| &*c.field).collect();
    assert_eq!(by_the_rules, ["assignee_id", "priority", "status"]);
}

async fn who_is_on_call_is_told_and_given_the_ticket(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let t = &bench.t;
    let (ann, bob) =
        (add(t, "ann@example.org", Role::TeamLead).await, add(t, "bob@example.org", Role::TeamLead).await);
    // The ticket is opened at 08:00 and breached at 09:00, when Bob has just taken over.
    let layer = json!({
        "name": "first", "users": [ann, bob], "start": "2027-01-14", "handoff": "09:00", "turn": "daily",
    });
    let schedule = t.define(Kind::Schedule, "Web", json!({ "tz": "UTC", "layers": [layer] })).await;
    let step = json!({
        "targets": [{ "type": "on_call", "schedule_id": schedule.id }],
        "actions": [{ "type": "reassign", "schedule_id": schedule.id }],
    });
    let ticket = take(&bench, step).await;
    assert_eq!(told(&bench, &ticket).await, ["bob@example.org"]);
    assert_eq!(ticket.assignee_id, Some(bob));
}

async fn a_re_plan_is_carried_through_by_its_job(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let t = &bench.t;
    let body = |target: &str| json!({ "targets": { "high": { "resolution": target } } });
    let policy = t.define(Kind::SlaPolicy, "All", body("4h")).await;
    let mut tx = t.db.begin().await.unwrap();
    t.desk.open(&mut tx, vec![t.draft(Priority::High); 250]).await.unwrap();
    let _ = tx.commit().await.unwrap();
    t.redefine(&policy, body("1h")).await;
    t.advance(TimeDelta::hours(2));
    let mut tx = t.db.begin().await.unwrap();
    let replan = replans::create(&mut tx, policy.id, Mode::Retroactive, None, t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let _ = t.enqueue(vec![NewJob::of(&Replan { replan })]).await;
    let outcomes = bench.run_all::<Replan>().await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Done)]), "{outcomes:?}");
    let done = replans::get(&t.db, replan).await.unwrap().unwrap();
    assert_eq!((done.examined, done.moved, done.breached), (250, 250, 250));
    assert_eq!(done.finished_at, Some(t.now()));
    assert_eq!(t.sweep().await.clocks, 0, "the change itself breached them");
}

async fn the_audit_job_repairs_what_it_finds(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let t = &bench.t;
    let ticket = t.open(Priority::High).await;
    let right = t.clocks(&ticket).await;
    let mut wrong = right[0].clone();
    wrong.clock.stopped_at = Some(t.now());
    let mut tx = t.db.begin().await.unwrap();
    clocks::repair(&mut tx, &[wrong]).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let _ = t.enqueue(vec![NewJob::of(&Audit {})]).await;
    let outcomes = bench.run_all::<Audit>().await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Done)]), "{outcomes:?}");
    assert_eq!(t.clocks(&ticket).await, right);
    t.advance(TimeDelta::hours(5));
    assert_eq!(t.sweep().await.breaches.len(), 1, "what was forgotten is found by the sweep again");
}
