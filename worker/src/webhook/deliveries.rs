//! Events posted to webhooks: to a real server, and checked as a receiver would by the text of the standard.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::Value;
use shared::domain::job::DeliverWebhook;
use shared::domain::ticket::Priority;
use shared::ids::WebhookId;
use shared::on_both;
use shared::store::deliveries::{self, Delivery, Filter, State};
use shared::store::webhooks::{self, Draft, Webhook};
use shared::testkit::Testbed;

use super::tests::{PRIVATE, Receiver, Request, hmac};
use crate::context::Outcome;
use crate::testing::Bench;

on_both! {
    an_event_is_posted_once_and_signed_as_the_standard_has_it,
    during_a_rotation_both_secrets_are_good,
    what_fails_is_tried_again_over_days_and_then_given_up,
    a_receiver_that_is_gone_is_told_nothing_more,
    a_webhook_to_which_everything_fails_for_five_days_is_disabled,
    what_was_failed_is_sent_again_under_the_same_name,
    a_private_address_is_not_posted_to,
    no_more_than_the_beginning_of_an_answer_is_kept,
}

/// A webhook that is told of everything.
async fn webhook(t: &Testbed, url: String) -> Webhook {
    let types = vec!["*".into()];
    let draft = Draft { name: url.clone(), url, types, team: None, internal: false, enabled: true };
    let mut tx = t.db.begin().await.unwrap();
    let made = webhooks::create(&mut tx, draft, None, t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    made
}

async fn fan_out(t: &Testbed) {
    let mut tx = t.db.begin().await.unwrap();
    deliveries::fan_out(&mut tx, 100, t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
}

/// What became of the deliveries to a webhook, oldest first.
async fn of(t: &Testbed, webhook: WebhookId) -> Vec<Delivery> {
    let mut found =
        deliveries::list(&t.db, &Filter { webhook, state: None, before: None, limit: 100 }).await.unwrap();
    found.reverse();
    found
}

async fn now(t: &Testbed, webhook: &Webhook) -> Webhook {
    webhooks::get(&t.db, webhook.id).await.unwrap().unwrap()
}

/// Which of these secrets a request was signed with, as "Verifying webhooks" of the standard describes it.
fn signed_with<'a>(request: &Request, secrets: &[&'a Webhook]) -> Vec<&'a str> {
    let message =
        format!("{}.{}.{}", request.header("webhook-id"), request.header("webhook-timestamp"), request.body);
    let given: Vec<&str> = request.header("webhook-signature").split(' ').collect();
    let fits = |webhook: &&Webhook| {
        let key = webhook.secret.expose().strip_prefix("whsec_").unwrap();
        let signature = STANDARD.encode(hmac(&STANDARD.decode(key).unwrap(), message.as_bytes()));
        given.contains(&format!("v1,{signature}").as_str())
    };
    let fitting: Vec<&str> = secrets.iter().filter(|w| fits(w)).map(|w| w.secret.expose()).collect();
    assert_eq!(fitting.len(), given.len(), "every signature is somebody's");
    fitting
}

async fn an_event_is_posted_once_and_signed_as_the_standard_has_it(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("204 No Content").await;
    let hook = webhook(&bench.t, receiver.url()).await;
    let ticket = bench.t.open(Priority::High).await;
    fan_out(&bench.t).await;
    fan_out(&bench.t).await;
    assert_eq!(run(&bench).await, 1);
    assert_eq!(run(&bench).await, 0);
    let request = receiver.requests().remove(0);
    assert_eq!(request.line, "POST /hook?team=1 HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-timestamp"), bench.t.now().timestamp().to_string());
    assert_eq!(signed_with(&request, &[&hook]), [hook.secret.expose()]);
    let delivery = of(&bench.t, hook.id).await.remove(0);
    assert_eq!(request.header("webhook-id"), delivery.id.to_string());
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&"ticket.created".into(), &"2027-01-15T08:00:00Z".into())
    );
    assert_eq!(body["data"]["ticket"]["number"], ticket.key());
    assert_eq!(body["data"]["id"], delivery.seq.unwrap());
    assert!(!request.body.contains("whsec_"));
    assert_eq!((delivery.state, delivery.attempts, delivery.last_status), (State::Delivered, 1, Some(204)));
    assert_eq!((delivery.last_error, delivery.next_attempt_at), (None, None));
}

/// Runs the deliveries that are due, and returns how many there were.
async fn run(bench: &Bench) -> usize {
    let outcomes = bench.run_all::<DeliverWebhook>().await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Ok(Outcome::Committed(_) | Outcome::Skip(_))), "{outcome:?}");
    }
    outcomes.len()
}

async fn during_a_rotation_both_secrets_are_good(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("200 OK").await;
    let old = webhook(&bench.t, receiver.url()).await;
    let mut tx = bench.t.db.begin().await.unwrap();
    let new = webhooks::rotate(&mut tx, &old, bench.t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    for hours in [0, 24] {
        bench.t.advance(TimeDelta::hours(hours));
        bench.t.open(Priority::Low).await;
        fan_out(&bench.t).await;
        run(&bench).await;
    }
    let requests = receiver.requests();
    assert_eq!(signed_with(&requests[0], &[&new, &old]), [new.secret.expose(), old.secret.expose()]);
    assert_eq!(signed_with(&requests[1], &[&new, &old]), [new.secret.expose()]);
}

async fn what_fails_is_tried_again_over_days_and_then_given_up(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("503 Service Unavailable").await;
    let hook = webhook(&bench.t, receiver.url()).await;
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    let mut waits = Vec::new();
    loop {
        assert_eq!(run(&bench).await, 1);
        let delivery = of(&bench.t, hook.id).await.remove(0);
        assert_eq!(delivery.last_error.as_deref(), Some("The receiver answered 503 Service Unavailable."));
        let Some(next) = delivery.next_attempt_at else { break };
        assert_eq!(run(&bench).await, 0, "not before its time");
        waits.push((next - bench.t.now()).num_seconds());
        bench.t.advance(next - bench.t.now());
    }
    let hour = 3_600;
    let expected = [5, 300, 1_800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour];
    assert_eq!(waits.len(), expected.len());
    for (wait, least) in waits.iter().zip(expected) {
        assert!(least <= *wait && *wait <= least + least / 5, "{waits:?}");
    }
    let delivery = of(&bench.t, hook.id).await.remove(0);
    assert_eq!((delivery.state, delivery.attempts), (State::Failed, 10));
    let requests = receiver.requests();
    assert_eq!(requests.len(), 10, "no redirect, nothing more");
    let one = (requests[0].header("webhook-id"), &requests[0].body);
    assert!(requests.iter().all(|r| (r.header("webhook-id"), &r.body) == one), "every try says the same");
}

async fn a_receiver_that_is_gone_is_told_nothing_more(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("410 Gone").await;
    let hook = webhook(&bench.t, receiver.url()).await;
    bench.t.open(Priority::Low).await;
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    run(&bench).await;
    let disabled = now(&bench.t, &hook).await;
    assert!(!disabled.enabled);
    assert_eq!(disabled.disabled_reason.as_deref(), Some("The receiver answered 410 Gone."));
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    run(&bench).await;
    assert_eq!(receiver.requests().len(), 1);
    let states: Vec<State> = of(&bench.t, hook.id).await.iter().map(|delivery| delivery.state).collect();
    assert_eq!(states, [State::Failed, State::Cancelled]);
}

async fn a_webhook_to_which_everything_fails_for_five_days_is_disabled(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("500 Internal Server Error").await;
    let hook = webhook(&bench.t, receiver.url()).await;
    for day in 0..6 {
        assert!(now(&bench.t, &hook).await.enabled, "on day {day}");
        bench.t.open(Priority::Low).await;
        fan_out(&bench.t).await;
        run(&bench).await;
        bench.t.advance(TimeDelta::days(1));
    }
    let disabled = now(&bench.t, &hook).await;
    assert!(!disabled.enabled && disabled.disabled_reason.unwrap().contains("five days"));
    let waiting =
        async || of(&bench.t, hook.id).await.iter().any(|delivery| delivery.state == State::Pending);
    while waiting().await {
        bench.t.advance(TimeDelta::days(2));
        run(&bench).await;
    }
    assert!(of(&bench.t, hook.id).await.iter().any(|delivery| delivery.state == State::Cancelled));
}

async fn what_was_failed_is_sent_again_under_the_same_name(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let broken = Receiver::answering("500 Internal Server Error").await;
    let hook = webhook(&bench.t, broken.url()).await;
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    run(&bench).await;
    let works = Receiver::answering("200 OK").await;
    let url = works.url();
    let draft = Draft {
        name: "Works".into(),
        url,
        types: vec!["*".into()],
        team: None,
        internal: false,
        enabled: true,
    };
    let mut tx = bench.t.db.begin().await.unwrap();
    webhooks::update(&mut tx, &hook, draft, bench.t.now()).await.unwrap();
    let mut delivery = deliveries::lock(&mut tx, of(&bench.t, hook.id).await[0].id).await.unwrap().unwrap();
    deliveries::resend(&mut tx, &mut delivery, bench.t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    assert_eq!(run(&bench).await, 1);
    assert_eq!(works.requests()[0].header("webhook-id"), broken.requests()[0].header("webhook-id"));
    assert_eq!(works.requests()[0].body, broken.requests()[0].body);
    let delivered = of(&bench.t, hook.id).await.remove(0);
    assert_eq!((delivered.state, delivered.attempts), (State::Delivered, 2));
    assert_eq!(now(&bench.t, &hook).await.failing_since, None);
    bench.t.advance(TimeDelta::hours(1));
    run(&bench).await;
    assert_eq!((works.requests().len(), broken.requests().len()), (1, 1), "the try that was planned is off");
}

async fn a_private_address_is_not_posted_to(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let receiver = Receiver::answering("200 OK").await;
    let hooks = [
        webhook(&bench.t, receiver.url()).await,
        webhook(&bench.t, receiver.url().replace("127.0.0.1", "localhost")).await,
    ];
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    run(&bench).await;
    for hook in hooks {
        let delivery = of(&bench.t, hook.id).await.remove(0);
        assert_eq!((delivery.state, delivery.last_status), (State::Failed, None));
        assert!(delivery.last_error.as_deref().unwrap().contains("private address"), "{delivery:?}");
    }
    assert!(receiver.requests().is_empty());
}

async fn no_more_than_the_beginning_of_an_answer_is_kept(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let long: &'static str = format!("200 OK\r\nx-odd: 1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n8000\r\n\0\u{7}{}\r\n0\r\n", "é".repeat(16_383)).leak();
    let receiver = Receiver::answering(long).await;
    let hook = webhook(&bench.t, receiver.url()).await;
    bench.t.open(Priority::Low).await;
    fan_out(&bench.t).await;
    run(&bench).await;
    let delivery = of(&bench.t, hook.id).await.remove(0);
    let kept = delivery.last_response.unwrap();
    assert_eq!(delivery.state, State::Delivered);
    assert!((1_000..=1_100).contains(&kept.len()) && kept.starts_with('é'), "{}", kept.len());
}
