//! Webhooks, posted to a real server.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::config::Secret;
use shared::domain::cause::Cause;
use shared::domain::definition::Kind;
use shared::domain::job::{Ending, Notify, SendWebhook};
use shared::domain::ticket::Priority;
use shared::ids::NotificationId;
use shared::on_both;
use shared::store::notifications::{self, Notification, Recipient, State};
use shared::testkit::Testbed;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::PostError;
use crate::context::{JobError, Outcome};
use crate::jobs::tell;
use crate::registry::Run;
use crate::testing::Bench;

on_both! {
    a_webhook_is_signed_as_the_standard_has_it,
    what_the_receiver_answers_decides,
    a_private_address_is_refused_whatever_it_is_called,
    a_webhook_without_a_secret_is_not_signed,
    what_no_longer_applies_is_not_posted,
    a_step_is_posted_to_the_webhook_that_its_policy_names,
}

pub(super) const PRIVATE: &[(&str, &str)] =
    &[("WEBHOOK_ALLOW_PRIVATE", "true"), ("PUBLIC_URL", "https://desk.example.org")];

/// A request as the receiver saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// A server that gives the same answer to every request.
pub(super) struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub(super) async fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let mut headers = Vec::new();
                loop {
                    let mut header = String::new();
                    stream.read_line(&mut header).await.unwrap();
                    let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                    headers.push((name.to_lowercase(), value.to_owned()));
                }
                let request = Request { line: line.trim_end().to_owned(), headers, body: String::new() };
                let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
                stream.read_exact(&mut body).await.unwrap();
                seen.lock().unwrap().push(Request { body: String::from_utf8(body).unwrap(), ..request });
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { port, requests }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?team=1", self.port)
    }
}

async fn decide(t: &Testbed, cause: &Cause, url: &str) -> Notification {
    let to = [Recipient::webhook(url, None)];
    let mut tx = t.db.begin().await.unwrap();
    let decided = notifications::decide(&mut tx, cause, &to, t.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    notifications::get(&t.db, decided[0].id).await.unwrap().unwrap()
}

async fn now(bench: &Bench, id: NotificationId) -> (State, Option<String>) {
    let notification = notifications::get(&bench.t.db, id).await.unwrap().unwrap();
    (notification.state, notification.reason)
}

/// HMAC-SHA256 as RFC 2104 writes it, since what signs is what is tested.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

async fn a_webhook_is_signed_as_the_standard_has_it(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let ticket = bench.t.open(Priority::High).await;
    let receiver = Receiver::answering("204 No Content").await;
    let key = b"thirty-two bytes are quite enough";
    let secrets = [String::from_utf8_lossy(key).into_owned(), format!("whsec_{}", STANDARD.encode(key))];
    for (version, secret) in (1..).zip(secrets) {
        let cause =
            if version == 1 { Cause::Created { ticket: ticket.id } } else { resolved(&bench, &ticket).await };
        let notification = decide(&bench.t, &cause, &receiver.url()).await;
        let cx = bench.claim_new(&SendWebhook { notification: notification.id }).await;
        let outcome = tell(&cx, &notification, Some(Secret::new(secret))).await;
        assert_eq!(outcome.unwrap(), Outcome::Committed(Ending::Done));
        assert_eq!(now(&bench, notification.id).await, (State::Sent, None));
        let request = receiver.requests().pop().unwrap();
        assert_eq!(request.line, "POST /hook?team=1 HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("webhook-id"), notification.id.to_string());
        let at = bench.t.now().timestamp().to_string();
        assert_eq!(request.header("webhook-timestamp"), at);
        let message = format!("{}.{at}.{}", notification.id, request.body);
        let signature = STANDARD.encode(hmac(key, message.as_bytes()));
        assert_eq!(request.header("webhook-signature"), format!("v1,{signature}"));
    }
    let body: Value = serde_json::from_str(&receiver.requests()[0].body).unwrap();
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&"ticket.created".into(), &"2027-01-15T08:00:00Z".into())
    );
    let data = &body["data"];
    assert_eq!(data["ticket"]["id"], ticket.id.to_string());
    assert_eq!(data["ticket"]["number"], ticket.key());
    assert_eq!(data["ticket"]["link"], format!("https://desk.example.org/api/v1/tickets/{}", ticket.key()));
    assert_eq!((&data["ticket"]["priority"], &data["ticket"]["status"]), (&"high".into(), &"new".into()));
    assert_eq!(data["clocks"][0]["metric"], "first_response");
    assert_eq!(data["clocks"][0]["due_at"], "2027-01-15T12:00:00Z");
}

async fn resolved(bench: &Bench, ticket: &shared::store::tickets::Ticket) -> Cause {
    let mut tx = bench.t.db.begin().await.unwrap();
    let to = shared::domain::ticket::Status::Resolved;
    let ticket = bench.t.desk.move_to(&mut tx, ticket.id, None, &bench.t.staff(), to).await.unwrap();
    let _ = tx.commit().await.unwrap();
    Cause::Resolved { ticket: ticket.id, version: ticket.version }
}

async fn what_the_receiver_answers_decides(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let answers = [
        ("200 OK", "sent"),
        ("410 Gone", "failed"),
        ("400 Bad Request", "failed"),
        ("404 Not Found", "failed"),
        ("408 Request Timeout", "retried"),
        ("429 Too Many Requests", "retried"),
        ("500 Internal Server Error", "retried"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "retried"),
    ];
    for (answer, becomes) in answers {
        let receiver = Receiver::answering(answer).await;
        let cause = Cause::Created { ticket: bench.t.open(Priority::Low).await.id };
        let notification = decide(&bench.t, &cause, &receiver.url()).await;
        let cx = bench.claim_new(&SendWebhook { notification: notification.id }).await;
        let outcome = tell(&cx, &notification, Some(Secret::new("secret".into()))).await;
        let (state, reason) = now(&bench, notification.id).await;
        let seen = match (&outcome, state) {
            (Ok(Outcome::Committed(Ending::Done)), State::Sent) => "sent",
            (Ok(Outcome::Committed(Ending::Dead)), State::Failed) => "failed",
            (Err(JobError::Retry(_)), State::Pending) => "retried",
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, becomes, "{answer}: {outcome:?}");
        assert!(state != State::Failed || reason.unwrap().contains(&answer[..3]), "{answer}");
        assert_eq!(receiver.requests().len(), 1, "no redirect is followed");
    }
}

async fn a_private_address_is_refused_whatever_it_is_called(t: Testbed) {
    let bench = Bench::over(t, &[]);
    let receiver = Receiver::answering("200 OK").await;
    let port = receiver.port;
    let secret = Secret::new("secret".into());
    let hosts = ["127.0.0.1", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0"];
    for host in hosts {
        let url = format!("http://{host}:{port}/hook");
        let posted = bench
            .worker
            .poster
            .post(NotificationId::new(), &url, Some(&secret), String::new(), bench.t.now())
            .await;
        let Err(PostError::Refused(why)) = posted else { panic!("{host}: {posted:?}") };
        assert!(why.contains("private address"), "{host}: {why}");
    }
    for odd in ["ftp://example.org/", "hook", "file:///etc/passwd"] {
        let posted = bench
            .worker
            .poster
            .post(NotificationId::new(), odd, Some(&secret), String::new(), bench.t.now())
            .await;
        assert!(matches!(posted, Err(PostError::Refused(_))), "{odd}: {posted:?}");
    }
    assert!(receiver.requests().is_empty());
}

async fn a_webhook_without_a_secret_is_not_signed(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("200 OK").await;
    let cause = Cause::Created { ticket: bench.t.open(Priority::Low).await.id };
    let notification = decide(&bench.t, &cause, &receiver.url()).await;
    let job = SendWebhook { notification: notification.id };
    let outcome = job.run(&bench.claim_new(&job).await).await.unwrap();
    assert_eq!(outcome, Outcome::Committed(Ending::Done));
    assert_eq!(now(&bench, notification.id).await, (State::Sent, None));
    let request = receiver.requests().remove(0);
    assert_eq!(
        (request.header("webhook-id"), request.header("webhook-signature")),
        (&*notification.id.to_string(), "")
    );
    let again = job.run(&bench.claim_new(&job).await).await.unwrap();
    assert_eq!(again, Outcome::Skip("the notification was sent before".into()));
    assert_eq!(receiver.requests().len(), 1);
}

async fn what_no_longer_applies_is_not_posted(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("200 OK").await;
    let cause = Cause::Resolved { ticket: bench.t.open(Priority::Low).await.id, version: 2 };
    let notification = decide(&bench.t, &cause, &receiver.url()).await;
    let cx = bench.claim_new(&SendWebhook { notification: notification.id }).await;
    let outcome = tell(&cx, &notification, Some(Secret::new("secret".into()))).await.unwrap();
    assert_eq!(outcome, Outcome::Committed(Ending::Discarded));
    let reopened = Some("the ticket was reopened".to_owned());
    assert_eq!(now(&bench, notification.id).await, (State::Suppressed, reopened));
    assert!(receiver.requests().is_empty());
}

async fn a_step_is_posted_to_the_webhook_that_its_policy_names(t: Testbed) {
    let bench = Bench::over(t, PRIVATE);
    let receiver = Receiver::answering("204 No Content").await;
    let (key, t) = (b"thirty-two bytes are quite enough", &bench.t);
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let targets = json!([
        { "type": "assignee" },
        { "type": "webhook", "url": receiver.url(), "secret": secret },
    ]);
    let steps = json!([{ "when": { "after": "5m" }, "targets": targets }]);
    let calls = t.define(Kind::EscalationPolicy, "Calls", json!({ "steps": steps })).await;
    let promised = json!({ "high": { "resolution": "1h" } });
    let policy = json!({ "targets": promised, "warn_at": [], "escalation_policy_id": calls.id });
    t.define(Kind::SlaPolicy, "All", policy).await;
    let ticket = t.open(Priority::High).await;
    t.advance(TimeDelta::minutes(66));
    t.sweep().await;
    let mut tx = t.db.begin().await.unwrap();
    t.desk.escalate(&mut tx, 100).await.unwrap();
    let _ = tx.commit().await.unwrap();
    bench.run_all::<Notify>().await;
    for outcome in bench.run_all::<SendWebhook>().await {
        assert!(matches!(outcome, Ok(Outcome::Committed(Ending::Done))), "{outcome:?}");
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let (id, timestamp) = (requests[0].header("webhook-id"), requests[0].header("webhook-timestamp"));
    let signed = format!("{id}.{timestamp}.{}", requests[0].body);
    let signature = format!("v1,{}", STANDARD.encode(hmac(key, signed.as_bytes())));
    assert_eq!(requests[0].header("webhook-signature"), signature);
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["step"]), (&json!("escalation.step"), &json!(1)));
    assert_eq!(body["data"]["ticket"]["number"], ticket.key());
    assert!(!requests[0].body.contains("whsec_"));
}
