//! Requests that are sent again under an idempotency key.

use chrono::TimeDelta;
use serde_json::json;
use shared::on_both;
use shared::store::query::query;
use shared::testkit::Testbed;

use crate::answer::Answer;
use crate::server::{Client, Server, all_at_once, at};

on_both! {
    a_repeated_request_gets_the_first_answer_and_acts_once,
    an_action_on_a_ticket_is_repeated_as_well,
    a_key_belongs_to_one_request,
    a_key_belongs_to_one_caller,
    a_failed_request_leaves_its_key_free,
    of_fifty_at_once_one_acts,
    a_key_has_1_to_255_characters,
    a_key_needs_a_caller,
    a_request_whose_process_died_can_be_sent_again_after_a_minute,
    only_a_post_is_remembered,
}

fn keyed(client: &Client, key: &str) -> Client {
    client.with("idempotency-key", key)
}

async fn count(server: &Server) -> i64 {
    let answer = server.staff.get("/tickets?count=true&limit=1").await.expect(200);
    answer.json["meta"]["total"].as_i64().unwrap()
}

fn is_replay(answer: &Answer) -> bool {
    let header = answer.header("idempotent-replayed");
    assert!(header.is_none_or(|value| value == "true"), "{answer:?}");
    header.is_some()
}

async fn a_repeated_request_gets_the_first_answer_and_acts_once(t: Testbed) {
    let server = Server::over(t);
    let client = keyed(&server.customer, "open-1");
    let body = json!({ "title": "x", "labels": ["b", "a"], "contact": { "name": "Cleo" } });
    let first = client.post("/tickets", body.clone()).await.expect(201);
    assert!(!is_replay(&first));
    server.staff.patch(&at(first.data(), ""), json!({ "title": "y" })).await.expect(200);
    server.bed.advance(TimeDelta::hours(23));
    for _ in 0..2 {
        let again = client.post("/tickets", body.clone()).await.expect(201);
        assert!(is_replay(&again));
        assert_eq!(again.text, first.text);
        assert_eq!(again.header("etag"), Some("\"1\""));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(count(&server).await, 1);
    let restarted = server.restarted();
    let again = keyed(&restarted.customer, "open-1").post("/tickets", body.clone()).await.expect(201);
    assert!(is_replay(&again));
    let other = keyed(&restarted.customer, "open-2").post("/tickets", body).await.expect(201);
    assert!(!is_replay(&other));
    assert_eq!(count(&restarted).await, 2);
}

async fn an_action_on_a_ticket_is_repeated_as_well(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for (version, action) in (2..).zip(["/acknowledge", "/resolve", "/close", "/reopen"]) {
        let client = keyed(&server.staff, action);
        let first = client.act(&at(&ticket, action)).await.expect(200);
        assert_eq!(first.data()["version"], version);
        let again = client.act(&at(&ticket, action)).await.expect(200);
        assert!(is_replay(&again) && !is_replay(&first));
        assert_eq!((again.text, again.headers.get("etag")), (first.text, first.headers.get("etag")));
    }
    assert_eq!(server.staff.get(&at(&ticket, "")).await.data()["version"], 5);
}

async fn a_key_belongs_to_one_request(t: Testbed) {
    let server = Server::over(t);
    let client = keyed(&server.customer, "k");
    let opened = client.post("/tickets", json!({ "title": "x" })).await.expect(201);
    let reused = [("Idempotency-Key", "key_reused")];
    client.post("/tickets", json!({ "title": "y" })).await.blames(&reused);
    client.post("/tickets", json!({})).await.blames(&reused);
    client.send("POST", "/api/v1/tickets", "{").await.blames(&reused);
    client.post(&at(opened.data(), "/resolve"), json!({ "title": "x" })).await.blames(&reused);
    client.act(&at(opened.data(), "/acknowledge")).await.blames(&reused);
    assert_eq!(count(&server).await, 1);
    assert_eq!(*server.staff.get(&at(opened.data(), "")).await.data(), *opened.data());
}

async fn a_key_belongs_to_one_caller(t: Testbed) {
    let server = Server::over(t);
    for client in [&server.customer, &server.staff] {
        let answer = keyed(client, "k").post("/tickets", json!({ "title": "x" })).await.expect(201);
        assert!(!is_replay(&answer));
    }
    assert_eq!(count(&server).await, 2);
}

async fn a_failed_request_leaves_its_key_free(t: Testbed) {
    let server = Server::over(t);
    let client = keyed(&server.staff, "k");
    client.post("/tickets", json!({ "title": "" })).await.blames(&[("title", "empty")]);
    client.send("POST", "/api/v1/tickets", "{").await.fails(400, "malformed");
    client
        .with("content-type", "text/plain")
        .send("POST", "/api/v1/tickets", "x")
        .await
        .fails(415, "not_json");
    client.send("POST", "/api/v1/tickets", " ".repeat(300_000)).await.fails(413, "too_large");
    client.act("/tickets/INC-9/resolve").await.fails(404, "not_found");
    client.with("if-match", "x").act("/tickets/INC-9/resolve").await.fails(400, "malformed");
    let ticket = server.open(json!({})).await;
    client.act(&at(&ticket, "/close")).await.fails(409, "transition_not_allowed");
    client.post(&at(&ticket, "/resolve"), json!({ "version": 7 })).await.fails(409, "version_conflict");
    let opened = client.post("/tickets", json!({ "title": "x" })).await.expect(201);
    assert!(!is_replay(&opened));
    assert!(is_replay(&client.post("/tickets", json!({ "title": "x" })).await.expect(201)));
}

async fn of_fifty_at_once_one_acts(t: Testbed) {
    let server = Server::over(t);
    let answers = all_at_once((0..50).map(|_| {
        let client = keyed(&server.customer, "rush");
        async move { client.post("/tickets", json!({ "title": "x" })).await }
    }))
    .await;
    let (opened, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(opened.iter().filter(|answer| !is_replay(answer)).count(), 1);
    assert!(opened.iter().all(|answer| answer.text == opened[0].text));
    for answer in refused {
        answer.fails(409, "still_running");
    }
    assert_eq!(count(&server).await, 1);
    let last = keyed(&server.customer, "rush").post("/tickets", json!({ "title": "x" })).await.expect(201);
    assert!(is_replay(&last) && last.text == opened[0].text);
}

async fn a_key_has_1_to_255_characters(t: Testbed) {
    let server = Server::over(t);
    for key in ["", &"k".repeat(256), "caf\u{e9}"] {
        let answer = keyed(&server.customer, key).post("/tickets", json!({ "title": "x" })).await;
        answer.blames(&[("Idempotency-Key", "invalid")]);
    }
    assert_eq!(count(&server).await, 0);
    for key in ["k", &"k".repeat(255), "'; DROP TABLE idempotency_keys; --", "a b"] {
        let client = keyed(&server.customer, key);
        client.post("/tickets", json!({ "title": "x" })).await.expect(201);
        assert!(is_replay(&client.post("/tickets", json!({ "title": "x" })).await.expect(201)));
    }
}

async fn a_key_needs_a_caller(t: Testbed) {
    let server = Server::over(t);
    keyed(&server.anybody, "k").post("/tickets", json!({ "title": "x" })).await.fails(401, "unauthorized");
    let answer = keyed(&server.staff, "k").post("/tickets", json!({ "title": "x" })).await.expect(201);
    assert!(!is_replay(&answer));
}

async fn a_request_whose_process_died_can_be_sent_again_after_a_minute(t: Testbed) {
    let server = Server::over(t);
    let client = keyed(&server.customer, "k");
    client.post("/tickets", json!({ "title": "x" })).await.expect(201);
    // As if it had died after it claimed the key.
    let forget = query("UPDATE idempotency_keys SET status = NULL, etag = NULL, body = NULL");
    assert_eq!(server.tamper(forget).await, 1);
    let refused = client.post("/tickets", json!({ "title": "x" })).await.fails(409, "still_running");
    assert_eq!(
        refused.message(),
        "A request with this Idempotency-Key is still running; repeat it in a moment to get its answer."
    );
    client.post("/tickets", json!({ "title": "y" })).await.blames(&[("Idempotency-Key", "key_reused")]);
    server.bed.advance(TimeDelta::seconds(59));
    client.post("/tickets", json!({ "title": "x" })).await.fails(409, "still_running");
    server.bed.advance(TimeDelta::seconds(1));
    client.post("/tickets", json!({ "title": "y" })).await.blames(&[("Idempotency-Key", "key_reused")]);
    let second = client.post("/tickets", json!({ "title": "x" })).await.expect(201);
    assert!(!is_replay(&second));
    assert!(is_replay(&client.post("/tickets", json!({ "title": "x" })).await.expect(201)));
    assert_eq!(count(&server).await, 2);
}

async fn only_a_post_is_remembered(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let client = keyed(&server.staff, "k");
    for title in ["a", "b"] {
        let edited = client.patch(&at(&ticket, ""), json!({ "title": title })).await.expect(200);
        assert_eq!(edited.data()["title"], title);
    }
    assert!(!is_replay(&client.get("/tickets").await.expect(200)));
    assert!(!is_replay(&client.post("/tickets", json!({ "title": "x" })).await.expect(201)));
}
