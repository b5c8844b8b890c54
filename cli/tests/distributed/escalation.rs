//! Calling again and again until somebody acknowledges.

use chrono::TimeDelta;
use reqwest::Method;
use shared::store::escalations::{self, Escalation};
use shared::testkit::eventually;

use crate::system::{ERIK, EVERYBODY, IN_TIME, ONCALL, RITA, System, Ticket};

const STEP: TimeDelta = TimeDelta::milliseconds(1_200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neglected_breach_is_escalated_at_doubling_waits_until_acknowledged() {
    let Some(mut system) = System::prepare().await else { return };
    system.settings.insert("ESCALATION_STEP_MINUTES", "0.02".into());
    system.start(2, 2).await;
    let ticket = system.open("critical").await;
    let breach = system.breach(&ticket).await;
    // Steps fall at 1, 3, 7… times the first wait after the breach.
    let falls = |step: i32| breach.at + STEP * ((1 << step) - 1);
    for step in 1..=2 {
        let done = async || {
            escalation(&system, &ticket).await.filter(|escalation| escalation.steps_done >= step.into())
        };
        let escalation = eventually("another step was taken", IN_TIME, done).await;
        assert_eq!((escalation.steps_done, escalation.next_step_at), (step.into(), Some(falls(step + 1))));
        let calls = usize::try_from(step).unwrap() * 2;
        let mails = system.mailed(&ticket, "escalation.step", calls, IN_TIME).await;
        assert_eq!(mails.len(), calls);
    }

    let path = format!("/tickets/{}/acknowledge", ticket.key);
    let acknowledged = system.call(ERIK, Method::POST, &path, None).await;
    assert!(!acknowledged["acknowledged_at"].is_null(), "{acknowledged}");
    let later = async || (shared::time::wall() > falls(3) + TimeDelta::seconds(1)).then_some(());
    eventually("the next step would have been taken", IN_TIME, later).await;
    let stopped = escalation(&system, &ticket).await.expect("it stays on record");
    assert_eq!((stopped.steps_done, stopped.next_step_at), (2, None));
    let calls = ("escalation.step", [ERIK, ERIK, ONCALL, ONCALL]);
    let told: [(&str, &[&str]); 3] =
        [("ticket.created", &[ERIK, RITA]), ("sla.breached", &EVERYBODY), (calls.0, &calls.1)];
    system.reckon(&ticket, &told).await;
}

async fn escalation(system: &System, ticket: &Ticket) -> Option<Escalation> {
    let all = escalations::of_ticket(&system.db, ticket.id).await.expect("escalations");
    assert!(all.len() <= 1, "{all:?}");
    all.into_iter().next()
}
