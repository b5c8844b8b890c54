//! How often one may ask.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use serde_json::json;
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::{Testbed, user};

use crate::answer::Answer;
use crate::server::{Client, Server};

on_both! {
    each_caller_has_a_limit_of_their_own,
    strangers_are_counted_by_address,
    signing_in_has_a_stricter_limit,
    no_limit_is_no_header,
    a_refused_request_has_no_effect,
}

/// Asks from an address, as if there were a network.
async fn ask(client: &Client, method: &str, path: &str, from: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo::<SocketAddr>(from.parse().unwrap()));
    client.deliver(request).await
}

async fn each_caller_has_a_limit_of_their_own(t: Testbed) {
    let server = Server::with(t, &[("RATE_LIMIT_PER_MINUTE", "3")]);
    for left in [2, 1, 0] {
        let answer = server.staff.get("/me").await.expect(200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"requests\";q=3;w=60"));
        let said = answer.header("ratelimit").unwrap();
        assert!(said.starts_with(&format!("\"requests\";r={left};t=")), "{said}");
    }
    let answer = server.staff.get("/me").await.fails(429, "too_many_requests");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(answer.header("ratelimit"), Some(format!("\"requests\";r=0;t={wait}").as_str()));
    assert_eq!(answer.message(), format!("That is too many requests; try again in {wait} s."));
    // A limit is whose it is, wherever they are and whatever they ask for.
    ask(&server.staff, "GET", "/api/v1/tickets", "192.0.2.1:5").await.fails(429, "too_many_requests");
    server.customer.get("/me").await.expect(200);
}

async fn strangers_are_counted_by_address(t: Testbed) {
    let settings = [("RATE_LIMIT_PER_MINUTE", "1"), ("TRUSTED_PROXIES", "1")];
    let server = Server::with(t, &settings);
    let anybody = &server.anybody;
    ask(anybody, "GET", "/health", "192.0.2.1:1").await.expect(200);
    ask(anybody, "GET", "/health", "192.0.2.1:2").await.fails(429, "too_many_requests");
    let forged = anybody.with("authorization", "Bearer forged");
    ask(&forged, "GET", "/api/v1/me", "192.0.2.1:3").await.fails(429, "too_many_requests");
    ask(&forged, "GET", "/api/v1/me", "192.0.2.2:3").await.fails(401, "unauthorized");
    ask(anybody, "GET", "/health", "[2001:db8::1]:1").await.expect(200);
    ask(anybody, "GET", "/health", "[2001:db8::2]:1").await.fails(429, "too_many_requests");
    ask(anybody, "GET", "/health", "[2001:db8:0:1::1]:1").await.expect(200);
    let proxied = anybody.with("x-forwarded-for", "203.0.113.1, 198.51.100.7");
    ask(&proxied, "GET", "/health", "192.0.2.1:1").await.expect(200);
    let again = anybody.with("x-forwarded-for", "203.0.113.2, 198.51.100.7");
    ask(&again, "GET", "/health", "192.0.2.1:1").await.fails(429, "too_many_requests");
}

async fn signing_in_has_a_stricter_limit(t: Testbed) {
    let server = Server::with(t, &[("RATE_LIMIT_PER_MINUTE", "100")]);
    for _ in 0..10 {
        let answer = ask(&server.anybody, "POST", "/api/v1/auth/login", "192.0.2.1:1").await;
        assert_eq!(answer.header("ratelimit-policy"), Some("\"sign-ins\";q=10;w=60"));
        answer.blames(&[("email", "required"), ("password", "required")]);
    }
    // Neither another account's token nor another port makes it somebody else.
    ask(&server.staff, "POST", "/api/v1/auth/login", "192.0.2.1:2").await.fails(429, "too_many_requests");
    ask(&server.anybody, "GET", "/health", "192.0.2.1:1").await.expect(200);
    let elsewhere = ask(&server.anybody, "POST", "/api/v1/auth/login", "192.0.2.2:1").await;
    assert_eq!(elsewhere.status, 422);
}

async fn no_limit_is_no_header(t: Testbed) {
    let server = Server::with(t, &[("RATE_LIMIT_PER_MINUTE", "0")]);
    for _ in 0..20 {
        let answer = server.staff.get("/me").await.expect(200);
        assert_eq!(answer.header("ratelimit").or(answer.header("ratelimit-policy")), None);
    }
}

async fn a_refused_request_has_no_effect(t: Testbed) {
    let server = Server::with(t, &[("RATE_LIMIT_PER_MINUTE", "2")]);
    let keyed = server.staff.with("idempotency-key", "once");
    keyed.post("/tickets", json!({ "title": "first" })).await.expect(201);
    keyed.post("/tickets", json!({ "title": "first" })).await.expect(201);
    keyed.post("/tickets", json!({ "title": "second" })).await.fails(429, "too_many_requests");
    let manager = user("manager@example.org", Role::Manager);
    server.add_user(&manager).await;
    let listed = server.client(manager.id).get("/tickets?count=true").await.expect(200);
    assert_eq!((&listed.json["meta"]["total"], listed.each("title")), (&json!(1), vec!["first".to_owned()]));
}
