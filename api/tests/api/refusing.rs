//! Bodies that cannot be used, and what is said about them.

use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::on_both;
use shared::testkit::{Testbed, user};

use crate::answer::Answer;
use crate::server::{Client, Server};

on_both! {
    a_body_that_is_not_a_json_object_is_malformed,
    a_body_that_does_not_say_it_is_json_is_not_read,
    a_body_may_have_256_kib_and_no_more,
    each_field_is_checked_by_itself,
    all_bad_fields_are_listed_at_once,
    an_assignee_must_be_able_to_sign_in,
}

const OPEN: &str = "/api/v1/tickets";

async fn is_empty(client: &Client) -> bool {
    client.get("/tickets?count=true").await.expect(200).json["meta"]["total"] == 0
}

async fn a_body_that_is_not_a_json_object_is_malformed(t: Testbed) {
    let server = Server::over(t);
    let customer = &server.customer;
    let unreadable: [&[u8]; 8] = [
        b"{\"title\": \"x\"",
        b"{\"title\": \"x\"} {}",
        b"{'title': 'x'}",
        b"title=x",
        b"\xef\xbb\xbf{\"title\": \"x\"}",
        b"{\"title\": \"\xff\"}",
        b"{\"title\": \"\\ud800\"}",
        b"{\"version\": 1e999}",
    ];
    for body in unreadable {
        let answer = customer.send("POST", OPEN, body).await.fails(400, "malformed");
        assert!(answer.message().starts_with("The body is not JSON: line 1, column "), "{}", answer.text);
    }
    let deep = format!("{{\"contact\": {}", "[".repeat(100_000));
    customer.send("POST", OPEN, deep).await.fails(400, "malformed");
    for body in ["[]", "[{\"title\": \"x\"}]", "\"x\"", "5", "null", "true"] {
        let answer = customer.send("POST", OPEN, body).await.fails(400, "malformed");
        assert_eq!(answer.message(), "The body must be a JSON object.");
    }
    let answer = customer.send("POST", OPEN, "{\n  \"title\": x\n}").await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(answer.json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "malformed",
              "field": null,
              "message": "The body is not JSON: line 2, column 12."
            }
          ],
          "message": "The body is not JSON: line 2, column 12.",
          "success": false
        }
        "#);
    }
    assert!(is_empty(customer).await);
}

async fn a_body_that_does_not_say_it_is_json_is_not_read(t: Testbed) {
    let server = Server::over(t);
    let customer = &server.customer;
    let body = "{\"title\": \"x\"}";
    for other in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json; x"]
    {
        let client = customer.with("content-type", other);
        client.send("POST", OPEN, body).await.fails(415, "not_json");
    }
    assert!(is_empty(customer).await);
    for json in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        customer.with("content-type", json).send("POST", OPEN, body).await.expect(201);
    }
    let nothing = customer.with("content-type", "text/plain").act("/tickets").await;
    nothing.blames(&[("title", "required")]);
}

async fn a_body_may_have_256_kib_and_no_more(t: Testbed) {
    let server = Server::over(t);
    let customer = &server.customer;
    let padded = |size: usize| "{\"title\": \"x\"}".to_owned() + &" ".repeat(size - 14);
    customer.send("POST", OPEN, padded(256 * 1024)).await.expect(201);
    for size in [256 * 1024 + 1, 4 * 1024 * 1024] {
        customer.send("POST", OPEN, padded(size)).await.fails(413, "too_large");
        let keyed = customer.with("idempotency-key", "large");
        keyed.send("POST", OPEN, padded(size)).await.fails(413, "too_large");
    }
}

async fn each_field_is_checked_by_itself(t: Testbed) {
    let server = Server::over(t);
    let customer = &server.customer;
    let refused = async |fields: Value| -> Answer {
        let mut body = json!({ "title": "x" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        customer.post("/tickets", body).await
    };
    let long = |length: usize| "ü".repeat(length);
    let controls = ["a\nb", "a\r\nBcc: b", "a\0b", "\u{1b}[31m", "a\tb", "\u{7f}", "a\u{85}b"];

    refused(json!({ "title": null })).await.blames(&[("title", "required")]);
    for (field, max) in [("title", 255), ("environment", 100), ("affected_service", 100)] {
        for wrong in [json!(5), json!(true), json!(["x"]), json!([["x"]]), json!({}), json!(["x", "y"])] {
            refused(json!({ field: wrong })).await.blames(&[(field, "type")]);
        }
        for blank in ["", " ", "\u{3000}\u{a0}"] {
            refused(json!({ field: blank })).await.blames(&[(field, "empty")]);
        }
        refused(json!({ field: long(max + 1) })).await.blames(&[(field, "too_long")]);
        for control in controls {
            refused(json!({ field: control })).await.blames(&[(field, "control_characters")]);
        }
    }
    for control in ["a\0b", "\u{1b}[31m", "\u{8}"] {
        refused(json!({ "description": control })).await.blames(&[("description", "control_characters")]);
    }
    refused(json!({ "description": long(65_537) })).await.blames(&[("description", "too_long")]);
    refused(json!({ "description": ["x"] })).await.blames(&[("description", "type")]);
    for field in ["priority", "category"] {
        for unknown in ["urgent", "", "HIGH", "Incident", " high", "p1"] {
            refused(json!({ field: unknown })).await.blames(&[(field, "unknown_value")]);
        }
        for wrong in [json!(1), json!(["high"]), json!(["incident"])] {
            refused(json!({ field: wrong })).await.blames(&[(field, "type")]);
        }
    }
    for wrong in ["sam", "", "00000000-0000-0000-0000-00000000000", "sam@example.org"] {
        refused(json!({ "assignee_id": wrong })).await.blames(&[("assignee_id", "invalid")]);
    }
    refused(json!({ "assignee_id": 7 })).await.blames(&[("assignee_id", "type")]);
    for wrong in [json!("x"), json!({ "0": "x" }), json!(5)] {
        refused(json!({ "labels": wrong })).await.blames(&[("labels", "type")]);
    }
    let too_many: Vec<String> = (0..21).map(|i| i.to_string()).collect();
    let bad = [json!([5]), json!([null]), json!([["x"]]), json!(too_many), json!([long(51)])];
    for wrong in bad.into_iter().chain(["", " x", "x ", "a\nb", "a\0b"].map(|label| json!(["fine", label]))) {
        refused(json!({ "labels": wrong })).await.blames(&[("labels", "invalid")]);
    }
    for wrong in [json!("cleo@example.org"), json!([]), json!(5)] {
        refused(json!({ "contact": wrong })).await.blames(&[("contact", "type")]);
    }
    for wrong in ["cleo", "a@b, c@d", "Cleo <cleo@example.org>", "a@b@c", "@example.org", "a b@c"] {
        refused(json!({ "contact": { "email": wrong } })).await.blames(&[("contact.email", "invalid")]);
    }
    let injected = json!({ "email": "a@b\r\nBcc: c@d", "name": "a\nb" });
    let blamed = [("contact.email", "control_characters"), ("contact.name", "control_characters")];
    refused(json!({ "contact": injected })).await.blames(&blamed);
    let odd = json!({ "email": ["a@b"], "name": long(101), "phone": 1 });
    let blamed = [("contact.email", "type"), ("contact.name", "too_long"), ("contact.phone", "unknown")];
    refused(json!({ "contact": odd })).await.blames(&blamed);
    for unknown in ["status", "id", "number", "reporter_id", "version", "Title", "", "a\0b"] {
        refused(json!({ unknown: "x" })).await.blames(&[(unknown, "unknown")]);
    }
    assert!(is_empty(customer).await);
}

async fn all_bad_fields_are_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let body = json!({
        "description": "a\0b",
        "priority": "urgent",
        "category": "bug",
        "environment": "",
        "affected_service": 5,
        "assignee_id": UserId::new(),
        "labels": "x",
        "contact": { "email": "x" },
        "colour": "red",
    });
    let blamed = [
        ("title", "required"),
        ("description", "control_characters"),
        ("priority", "unknown_value"),
        ("category", "unknown_value"),
        ("environment", "empty"),
        ("affected_service", "type"),
        ("assignee_id", "unknown_user"),
        ("labels", "type"),
        ("contact.email", "invalid"),
        ("colour", "unknown"),
    ];
    server.customer.post("/tickets", body).await.blames(&blamed);
    let two = json!({ "title": "x".repeat(256), "priority": "urgent" });
    let answer = server.customer.post("/tickets", two).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(answer.json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "too_long",
              "field": "title",
              "message": "Must be at most 255 characters; this is 256."
            },
            {
              "code": "unknown_value",
              "field": "priority",
              "message": "It must be one of: critical, high, medium, low."
            }
          ],
          "message": "The fields title, priority cannot be used as sent.",
          "success": false
        }
        "#);
    }
    assert!(is_empty(&server.customer).await);
}

async fn an_assignee_must_be_able_to_sign_in(t: Testbed) {
    let server = Server::over(t);
    let gone = user("gus@example.org", Role::DevopsEngineer);
    server.add_user(&gone).await;
    server.bed.disable(&gone.email).await;
    let ticket = server.open(json!({})).await;
    for id in [gone.id, UserId::new()] {
        let blamed = [("assignee_id", "unknown_user")];
        let body = json!({ "title": "x", "assignee_id": id });
        server.customer.post("/tickets", body).await.blames(&blamed);
        let path = crate::server::at(&ticket, "");
        server.staff.patch(&path, json!({ "assignee_id": id })).await.blames(&blamed);
        let blamed = [("assignee_id", "unknown_user"), ("title", "empty")];
        server.staff.patch(&path, json!({ "assignee_id": id, "title": "" })).await.blames(&blamed);
    }
}
