//! Two schedulers and two workers, each killed again and again between a breach and its last mail: the notifications
//! are those that the rules say, each once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use shared::store::notifications::{self, State};
use shared::testkit::eventually;

use crate::system::{ERIK, IN_TIME, ONCALL, RITA, System, Ticket};

const TICKETS: usize = 12;

/// How long processes are killed: past the last step of every ticket.
const MAYHEM: Duration = Duration::from_secs(14);

async fn define(system: &System, path: &str, body: Value) -> String {
    let made = system.call(RITA, Method::POST, path, Some(&body)).await;
    made["id"].as_str().expect("an id").to_owned()
}

/// Who is told by which cause of a ticket, and how often it was decided.
async fn decided(system: &System, ticket: &Ticket) -> BTreeMap<(String, String), usize> {
    let mut decided = BTreeMap::new();
    for told in notifications::of_ticket(&system.db, ticket.id).await.expect("notifications") {
        let mut cause = serde_json::to_value(&told.cause.0).expect("JSON");
        let step = cause["step"].take();
        let place = if step.is_null() { cause["fraction"].to_string() } else { step.to_string() };
        *decided.entry((format!("{} {place}", told.cause.event()), told.recipient)).or_default() += 1;
    }
    decided
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_when_the_notifications_are_the_expected_ones() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    let to = |kind: &str| json!([{ "type": kind }]);
    let address = json!([{ "type": "address", "email": "duty@example.org" }]);
    let steps = json!([
        { "when": { "fraction": 0.5 }, "targets": to("assignee") },
        { "when": { "after": "0s" }, "targets": address },
        { "when": { "after": "2s" }, "targets": to("reporter"), "actions": [{ "type": "set_escalated" }] },
    ]);
    let calls = define(&system, "/escalation-policies", json!({ "name": "Calls", "steps": steps })).await;
    let targets = json!({ "critical": { "resolution": "4s" } });
    let policy =
        json!({ "name": "All", "targets": targets, "warn_at": [0.75], "escalation_policy_id": calls });
    define(&system, "/sla-policies", policy).await;

    let mut tickets = Vec::new();
    for _ in 0..TICKETS {
        tickets.push(system.open("critical").await);
    }
    let began = Instant::now();
    let names = ["scheduler-1", "worker-1", "scheduler-2", "worker-2"];
    for name in names.iter().cycle() {
        if began.elapsed() > MAYHEM {
            break;
        }
        system.part(name).kill().await;
        // As soon as the next one is back, the one after it is killed: at whatever it is doing then.
        system.restart(name).await;
    }
    let expected: BTreeMap<_, _> = [
        ("ticket.created null", vec![ERIK, RITA]),
        ("escalation.step 1", vec![ERIK, "duty@example.org"]),
        ("escalation.step 2", vec![RITA]),
        ("sla.warning 750000", vec![ERIK, RITA]),
        ("sla.breached null", vec![ERIK, RITA]),
    ]
    .into_iter()
    .flat_map(|(cause, people)| people.into_iter().map(move |who| ((cause.to_owned(), who.to_owned()), 1)))
    .collect();
    for ticket in &tickets {
        let all = async || (decided(&system, ticket).await == expected).then_some(());
        eventually("everything has been decided on", IN_TIME, all).await;
    }
    system.settled().await;
    let mails = system.smtp.accepted();
    for ticket in &tickets {
        assert_eq!(decided(&system, ticket).await, expected, "{}", ticket.key);
        for told in notifications::of_ticket(&system.db, ticket.id).await.unwrap() {
            let id = format!("<{}@localhost>", told.id);
            let copies = mails.iter().filter(|mail| mail.message_id == id).count();
            match told.state {
                // Twice only where a worker died between the server's acceptance and its own record.
                State::Sent => assert!((1..=2).contains(&copies), "{copies} copies of {told:?}"),
                State::Suppressed => assert!(told.reason.is_some() && copies <= 1, "{told:?}"),
                _ => panic!("{told:?}"),
            }
        }
        let shown = system.call(ERIK, Method::GET, &format!("/tickets/{}", ticket.key), None).await;
        assert_eq!(shown["status"], "escalated");
        let history = system.call(ERIK, Method::GET, &format!("/tickets/{}/history", ticket.key), None).await;
        let moves = history.as_array().unwrap().iter().filter(|change| change["field"] == "status").count();
        assert_eq!(moves, 2, "opened, and escalated once: {history}");
    }
    assert!(!mails.iter().any(|mail| mail.to == ONCALL), "the policy says who is called");
}
