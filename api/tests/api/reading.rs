//! Tickets by name, and what surrounds every answer.

use serde_json::json;
use shared::ids::TicketId;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    a_ticket_is_found_by_its_identifier_and_by_its_number,
    a_ticket_that_does_not_exist_is_not_found_anywhere,
    a_name_that_cannot_be_one_is_not_found,
    an_address_that_does_not_exist_is_not_found,
    a_method_that_is_not_taken_is_refused_with_those_that_are,
    every_answer_has_a_request_identifier,
    a_parameter_that_is_not_known_is_refused_everywhere,
}

/// Every route below a ticket, with its method.
const BELOW: &[(&str, &str)] = &[
    ("GET", ""),
    ("PATCH", ""),
    ("PATCH", "/status"),
    ("POST", "/acknowledge"),
    ("POST", "/resolve"),
    ("PATCH", "/resolve"),
    ("POST", "/close"),
    ("POST", "/reopen"),
    ("GET", "/history"),
    ("GET", "/notifications"),
    ("GET", "/sla"),
];

fn body(below: &str) -> String {
    if below == "/status" { json!({ "status": "open" }).to_string() } else { String::new() }
}

async fn a_ticket_is_found_by_its_identifier_and_by_its_number(t: Testbed) {
    let server = Server::over(t);
    let (ticket, _other) = (server.open(json!({})).await, server.open(json!({})).await);
    for below in ["", "/history", "/sla"] {
        let by_id = server.staff.get(&at(&ticket, below)).await.expect(200);
        let by_number = server.staff.get(&format!("/tickets/INC-1001{below}")).await.expect(200);
        assert_eq!(by_id.text, by_number.text);
        assert_eq!(by_id.header("etag"), by_number.header("etag"));
    }
    let read = server.staff.get("/tickets/INC-1001").await.expect(200);
    assert_eq!(*read.data(), ticket);
    let moved = server.staff.patch("/tickets/INC-1001/status", json!({ "status": "open" })).await.expect(200);
    assert_eq!(moved.data()["id"], ticket["id"]);
}

async fn a_ticket_that_does_not_exist_is_not_found_anywhere(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({})).await;
    for name in [TicketId::new().to_string(), "INC-1002".into()] {
        for (method, below) in BELOW {
            let uri = format!("/api/v1/tickets/{name}{below}");
            let answer = server.staff.send(method, &uri, body(below)).await.fails(404, "not_found");
            assert_eq!(answer.message(), "There is no such ticket.");
        }
    }
}

async fn a_name_that_cannot_be_one_is_not_found(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({})).await;
    let names = [
        "1001",
        "INC-",
        "INC-abc",
        "INC--5",
        "INC-+1001",
        "INC-1001.0",
        "INC-99999999999999999999",
        "inc-1001",
        "INC-1001%20",
        "%20",
        "%00",
        "%FF%FE",
        "a%2Fb",
        "..%2F..%2Fetc%2Fpasswd",
        "'%20OR%201=1",
        "0190f3b4-7c1a-7d3e-9f00",
    ];
    for name in names {
        for (method, below) in BELOW {
            let uri = format!("/api/v1/tickets/{name}{below}");
            server.staff.send(method, &uri, body(below)).await.fails(404, "not_found");
        }
    }
}

async fn an_address_that_does_not_exist_is_not_found(t: Testbed) {
    let server = Server::over(t);
    let uris =
        ["/", "/api", "/api/v1", "/api/v1/", "/api/v1/ticket", "/tickets", "/api/v2/tickets", "/health/x"];
    for uri in uris {
        for client in [&server.staff, &server.anybody, &server.anybody.with("idempotency-key", "k")] {
            for method in ["GET", "POST", "DELETE"] {
                let answer = client.send(method, uri, "").await.fails(404, "not_found");
                assert_eq!(answer.message(), "There is no such address.");
            }
        }
    }
    let answer = server.staff.get("/nowhere").await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(answer.json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "not_found",
              "field": null,
              "message": "There is no such address."
            }
          ],
          "message": "There is no such address.",
          "success": false
        }
        "#);
    }
}

async fn a_method_that_is_not_taken_is_refused_with_those_that_are(t: Testbed) {
    let server = Server::over(t);
    let staff = &server.staff;
    let wrong = [
        ("DELETE", "/api/v1/tickets", "GET,HEAD,POST"),
        ("POST", "/api/v1/tickets/INC-1", "DELETE,GET,HEAD,PATCH,PUT"),
        ("POST", "/api/v1/tickets/INC-1/status", "PATCH"),
        ("GET", "/api/v1/tickets/INC-1/resolve", "PATCH,POST"),
        ("PATCH", "/api/v1/tickets/INC-1/close", "POST"),
        ("GET", "/api/v1/auth/login", "POST"),
        ("POST", "/health", "GET,HEAD"),
        ("BREW", "/api/v1/me", "GET,HEAD,PATCH"),
    ];
    for (method, uri, allowed) in wrong {
        let answer = staff.send(method, uri, "").await.fails(405, "method_not_allowed");
        let mut methods: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{method} {uri}");
        let keyed = staff.with("idempotency-key", "k");
        keyed.send(method, uri, "").await.fails(405, "method_not_allowed");
    }
}

async fn every_answer_has_a_request_identifier(t: Testbed) {
    let server = Server::over(t);
    let asked = [
        ("GET", "/health", ""),
        ("GET", "/api/v1/tickets", ""),
        ("POST", "/api/v1/tickets", "{}"),
        ("POST", "/api/v1/tickets", "{"),
        ("DELETE", "/api/v1/tickets", ""),
        ("GET", "/nowhere", ""),
        ("GET", "/api/v1/tickets/INC-1", ""),
    ];
    let mut seen = std::collections::HashSet::new();
    for (method, uri, body) in asked {
        for client in [&server.staff, &server.anybody] {
            let sane = client.with("x-request-id", "run-7/step.2#ok").send(method, uri, body).await;
            assert_eq!(sane.header("x-request-id"), Some("run-7/step.2#ok"));
            for insane in ["", " ", "two words", "tab\there", "caf\u{e9}", &"x".repeat(129)] {
                let answer = client.with("x-request-id", insane).send(method, uri, body).await;
                let id = answer.header("x-request-id").unwrap();
                assert_ne!(id, insane);
                assert_eq!(id.len(), 36, "{id}");
            }
            let own = client.send(method, uri, body).await;
            assert!(seen.insert(own.header("x-request-id").unwrap().to_owned()), "given twice");
        }
    }
    let longest = "x".repeat(128);
    let answer = server.anybody.with("x-request-id", &longest).send("GET", "/health", "").await;
    assert_eq!(answer.header("x-request-id"), Some(&*longest));
}

async fn a_parameter_that_is_not_known_is_refused_everywhere(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for (method, below) in BELOW {
        let uri = format!("/api/v1{}?dry_run=true&page=5", at(&ticket, below));
        let answer = server.staff.send(method, &uri, body(below)).await;
        answer.blames(&[("dry_run", "unknown"), ("page", "unknown")]);
    }
    let [clock, _] = server.clocks(&ticket).await;
    for uri in ["/me?x=1".into(), "/tickets?x=1".into(), format!("/slas/{}/pause?x=1", text(&clock["id"]))] {
        let method = if uri.starts_with("/slas") { "PATCH" } else { "GET" };
        server.staff.send(method, &format!("/api/v1{uri}"), "").await.blames(&[("x", "unknown")]);
    }
    let unknown = [("x", "unknown")];
    server.customer.post("/tickets?x=1", json!({ "title": "y" })).await.blames(&unknown);
    assert_eq!(server.staff.get(&at(&ticket, "?")).await.expect(200).data()["version"], 1);
    assert_eq!(server.staff.get("/tickets").await.expect(200).each("number").len(), 1);
}
