//! The stream of events: what it tells, to whom, and how it goes on.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::store::{deliveries, events};
use shared::testkit::{self, Testbed};

use crate::answer::text;
use crate::server::{Client, Server, at};

on_both! {
    a_stream_tells_what_happens_in_order_whichever_process_did_it,
    a_client_that_was_cut_off_goes_on_where_it_was,
    an_end_user_is_told_of_their_own_tickets_and_nothing_internal,
    a_stream_tells_only_what_was_asked_for,
    who_comes_back_too_late_is_told_to_start_anew,
    a_stream_ends_when_its_caller_is_disabled_or_the_token_expires,
    one_caller_has_ten_streams_at_most,
    what_cannot_be_asked_for_is_refused,
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that is being read.
struct Stream {
    body: Body,
    text: String,
}

/// An event as a client sees it.
#[derive(Debug, PartialEq)]
struct Told {
    id: i64,
    kind: String,
    data: Value,
}

impl Stream {
    async fn open(client: &Client, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/api/v1/events{query}")).body(Body::empty()).unwrap();
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        let response = client.raw(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert!(response.headers().contains_key("x-request-id"));
        let mut stream = Self { body: response.into_body(), text: String::new() };
        let first = stream.block().await.expect("it begins");
        assert!(first.contains("retry: 3000"), "{first:?}");
        stream
    }

    /// The next block of lines; `None` when the stream is over.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("in time")?;
            let data = frame.expect("a frame").into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("UTF-8"));
        }
    }

    /// The next event; `None` when the stream is over.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim_start().to_owned())
            };
            if let Some(kind) = field("event:") {
                let id = field("id:").and_then(|id| id.parse().ok()).expect("an id");
                let data = serde_json::from_str(&field("data:").expect("data")).expect("JSON");
                return Some(Told { id, kind, data });
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Told> {
        let mut told = Vec::new();
        while told.len() < count {
            told.push(self.next().await.expect("it goes on"));
        }
        told
    }
}

fn ids(told: &[Told]) -> Vec<i64> {
    told.iter().map(|told| told.id).collect()
}

async fn a_stream_tells_what_happens_in_order_whichever_process_did_it(t: Testbed) {
    let server = Server::over(t);
    let other = server.another();
    server.open(json!({})).await;
    let (mut here, mut there) =
        (Stream::open(&server.staff, "", None).await, Stream::open(&other, "", None).await);
    let mut expected = Vec::new();
    for n in 0..5 {
        let ticket = server.open(json!({ "title": format!("Number {n}") })).await;
        other.patch(&at(&ticket, "/status"), json!({ "status": "in_progress" })).await.expect(200);
        expected.push(("ticket.created".to_owned(), ticket["number"].clone()));
        expected.push(("ticket.status_changed".to_owned(), ticket["number"].clone()));
    }
    let mut seen = Vec::new();
    for stream in [&mut here, &mut there] {
        let mut told = Vec::new();
        while told.len() < expected.len() {
            let event = stream.next().await.unwrap();
            assert_eq!(event.data["id"], event.id);
            assert_eq!(event.data["type"], event.kind);
            // Moving on to work stops a clock, too.
            if event.kind.starts_with("ticket.") {
                told.push((event.kind, event.data["ticket"]["number"].clone()));
            }
            seen.push(event.id);
        }
        assert_eq!(told, expected, "nothing from before, everything since, in order");
    }
    let (first, second) = seen.split_at(seen.len() / 2);
    assert_eq!(first, second, "all processes tell the same");
    let numbers: Vec<i64> = (first[0]..).take(first.len()).collect();
    assert_eq!(first, numbers, "staff miss no number");
}

async fn a_client_that_was_cut_off_goes_on_where_it_was(t: Testbed) {
    let server = Server::over(t);
    for _ in 0..3 {
        server.open(json!({})).await;
    }
    let mut stream = Stream::open(&server.staff, "", Some("0")).await;
    let first = stream.take(2).await;
    assert_eq!(ids(&first), [1, 2]);
    drop(stream);
    server.open(json!({})).await;
    let other = server.another();
    for (query, header) in [("", Some("2")), ("?last_event_id=2", None), ("?last_event_id=1", Some("2"))] {
        let mut stream = Stream::open(&other, query, header).await;
        assert_eq!(ids(&stream.take(2).await), [3, 4]);
    }
    // More than is read at once, while more is happening.
    let drafts = (0..1_200).map(|_| server.bed.draft(shared::domain::ticket::Priority::Low));
    let mut tx = server.bed.db.begin().await.unwrap();
    server.bed.desk.open(&mut tx, drafts.collect()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let mut stream = Stream::open(&server.staff, "", Some("4")).await;
    server.open(json!({})).await;
    assert_eq!(ids(&stream.take(1_201).await), (5..=1_205).collect::<Vec<_>>());
}

async fn an_end_user_is_told_of_their_own_tickets_and_nothing_internal(t: Testbed) {
    let server = Server::over(t);
    let stranger = testkit::user("dana@example.org", Role::EndUser);
    server.add_user(&stranger).await;
    let stranger = server.client(stranger.id);
    let ticket = server.open(json!({ "title": "Mine", "priority": "critical" })).await;
    stranger.post("/tickets", json!({ "title": "Somebody else's" })).await.expect(201);
    server.bed.advance(TimeDelta::hours(5));
    server.bed.sweep().await;
    let mut tx = server.bed.db.begin().await.unwrap();
    server.bed.desk.escalate(&mut tx, 100).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let head = events::head(&server.bed.db).await.unwrap();
    // Replayed, and as it happens.
    let mut live = Stream::open(&server.customer, "", None).await;
    stranger.post("/tickets", json!({ "title": "Again somebody else's" })).await.expect(201);
    server.staff.patch(&at(&ticket, ""), json!({ "title": "Mine, edited" })).await.expect(200);
    let last = live.next().await.unwrap();
    assert_eq!((&*last.kind, last.id), ("ticket.updated", head + 2));
    let mut replayed = Stream::open(&server.customer, "", Some("0")).await;
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        told.push(replayed.next().await.unwrap());
    }
    assert!(told.iter().all(|told| told.data["ticket"]["id"] == ticket["id"]), "{told:?}");
    assert!(told.iter().any(|told| told.kind == "sla.breached"), "{told:?}");
    assert!(told.iter().all(|told| told.kind != "sla.escalated"), "what is internal is for staff");
    let mut staff = Stream::open(&server.staff, "?type=sla.escalated", Some("0")).await;
    assert_eq!(staff.next().await.unwrap().data["ticket"]["id"], ticket["id"]);
    // A stranger may not even ask for it.
    let path = format!("/events?ticket={}", text(&ticket["number"]));
    stranger.get(&path).await.blames(&[("ticket", "unknown_ticket")]);
}

async fn a_stream_tells_only_what_was_asked_for(t: Testbed) {
    let server = Server::over(t);
    let (one, two) = (server.open(json!({})).await, server.open(json!({})).await);
    let of = |ticket: &Value| {
        format!("?ticket={}&type=ticket.status_changed&type=ticket.resolved", text(&ticket["number"]))
    };
    let mut stream = Stream::open(&server.staff, &of(&two), None).await;
    for ticket in [&one, &two] {
        server.staff.patch(&at(ticket, ""), json!({ "title": "Edited" })).await.expect(200);
        server.walk(ticket, &["open", "resolved"]).await;
    }
    let told = stream.take(2).await;
    let kinds: Vec<&str> = told.iter().map(|told| &*told.kind).collect();
    assert_eq!(kinds, ["ticket.status_changed", "ticket.resolved"]);
    assert!(told.iter().all(|told| told.data["ticket"]["id"] == two["id"]));
}

async fn who_comes_back_too_late_is_told_to_start_anew(t: Testbed) {
    let server = Server::over(t);
    for _ in 0..3 {
        server.open(json!({})).await;
    }
    let now = server.bed.now();
    let mut tx = server.bed.db.begin().await.unwrap();
    deliveries::fan_out(&mut tx, 100, now).await.unwrap();
    events::prune(&mut tx, now + TimeDelta::days(1), 2).await.unwrap();
    let _ = tx.commit().await.unwrap();
    for (last, resets) in [("0", true), ("1", true), ("2", false), ("3", false), ("99", true)] {
        let mut stream = Stream::open(&server.staff, "", Some(last)).await;
        let opened = server.open(json!({})).await;
        let first = stream.next().await.unwrap();
        assert_eq!(first.kind == "reset", resets, "{last}: {first:?}");
        if resets {
            let next = stream.next().await.unwrap();
            assert_eq!(next.id, first.id + 1, "then it goes on");
            assert_eq!(next.data["ticket"]["id"], opened["id"]);
        }
    }
}

async fn a_stream_ends_when_its_caller_is_disabled_or_the_token_expires(t: Testbed) {
    let server = Server::over(t);
    let now = server.bed.now();
    let token = server.tokens.issue(server.bed.staff.id, now, now + TimeDelta::minutes(1)).unwrap();
    let brief = server.anybody.with("authorization", &format!("Bearer {token}"));
    let (mut brief, mut customer) =
        (Stream::open(&brief, "", None).await, Stream::open(&server.customer, "", None).await);
    let mut staff = Stream::open(&server.staff, "", None).await;
    server.bed.disable(&server.bed.customer.email).await;
    server.bed.advance(TimeDelta::minutes(2));
    assert_eq!(brief.next().await, None);
    assert_eq!(customer.next().await, None);
    server.staff.post("/tickets", json!({ "title": "Still here" })).await.expect(201);
    assert_eq!(staff.next().await.unwrap().kind, "ticket.created");
}

async fn one_caller_has_ten_streams_at_most(t: Testbed) {
    let server = Server::over(t);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(Stream::open(&server.staff, "", None).await);
    }
    server.staff.get("/events").await.fails(429, "too_many_requests");
    Stream::open(&server.customer, "", None).await;
    streams.pop();
    Stream::open(&server.staff, "", None).await;
}

async fn what_cannot_be_asked_for_is_refused(t: Testbed) {
    let server = Server::over(t);
    server.anybody.get("/events").await.fails(401, "unauthorized");
    let wrong = [
        ("?type=ticket.exploded", "type", "unknown_value"),
        ("?ticket=INC-99", "ticket", "unknown_ticket"),
        ("?last_event_id=-1", "last_event_id", "invalid"),
        ("?since=1", "since", "unknown"),
    ];
    for (query, field, code) in wrong {
        server.staff.get(&format!("/events{query}")).await.blames(&[(field, code)]);
    }
    let odd = server.staff.with("last-event-id", "seven");
    odd.get("/events?type=x").await.blames(&[("type", "unknown_value"), ("Last-Event-ID", "invalid")]);
}
