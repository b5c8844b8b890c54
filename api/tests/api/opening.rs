//! Tickets as they are opened.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::{text, without_ids};
use crate::server::{Server, at};

on_both! {
    a_title_is_enough_to_open_a_ticket,
    every_field_is_kept,
    an_alias_of_a_priority_is_understood,
    null_is_the_same_as_nothing,
    text_is_kept_as_it_was_written,
    labels_come_sorted_and_once_whoever_asks,
    numbers_ascend_and_the_newest_ticket_leads_the_list,
    the_reporter_is_whoever_opens_it,
}

async fn a_title_is_enough_to_open_a_ticket(t: Testbed) {
    let server = Server::over(t);
    let answer = server.customer.post("/tickets", json!({ "title": "No coffee" })).await.expect(201);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&answer.json), @r#"
        {
          "data": {
            "acknowledged_at": null,
            "acknowledged_by": null,
            "affected_service": null,
            "assignee_id": null,
            "category": "incident",
            "closed_at": null,
            "contact": null,
            "created_at": "2027-01-15T08:00:00Z",
            "description": "",
            "environment": null,
            "id": "(id)",
            "labels": [],
            "number": "INC-1001",
            "priority": "medium",
            "reporter_id": "(id)",
            "resolved_at": null,
            "responded_at": null,
            "sla_policy_version_id": null,
            "status": "new",
            "team_id": null,
            "title": "No coffee",
            "updated_at": "2027-01-15T08:00:00Z",
            "version": 1
          },
          "errors": [],
          "message": null,
          "success": true
        }
        "#);
    }
}

async fn every_field_is_kept(t: Testbed) {
    let server = Server::over(t);
    let fields = json!({
        "title": "Checkout is slow",
        "description": "Since noon.\n\tEvery third call.",
        "priority": "high",
        "category": "problem",
        "environment": "production",
        "affected_service": "checkout",
        "assignee_id": server.bed.staff.id,
        "labels": ["latency", "shop"],
        "contact": { "name": "Cleo", "email": "cleo@example.org" },
    });
    let opened = server.open(fields.clone()).await;
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(opened[field], *value, "{field}");
    }
    let read = server.staff.get(&at(&opened, "")).await.expect(200);
    assert_eq!(*read.data(), opened);
    let listed = server.staff.get("/tickets").await.expect(200);
    assert_eq!(*listed.data(), json!([opened]));
}

async fn an_alias_of_a_priority_is_understood(t: Testbed) {
    let server = Server::over(t);
    let aliases = [("P1", "critical"), ("P2", "high"), ("P3", "medium"), ("P4", "low")];
    for (alias, priority) in aliases {
        assert_eq!(server.open(json!({ "priority": alias })).await["priority"], priority);
    }
    let listed = server.staff.get("/tickets?priority=P1&priority=low&sort=priority").await.expect(200);
    assert_eq!(listed.each("priority"), ["critical", "low"]);
}

async fn null_is_the_same_as_nothing(t: Testbed) {
    let server = Server::over(t);
    let mut nulls = json!({ "title": "x" });
    let fields = [
        "description",
        "priority",
        "category",
        "environment",
        "affected_service",
        "assignee_id",
        "labels",
        "contact",
    ];
    for field in fields {
        nulls[field] = Value::Null;
    }
    let (mut with, mut without) = (server.open(nulls).await, server.open(json!({ "title": "x" })).await);
    for ticket in [&mut with, &mut without] {
        ticket["number"].take();
    }
    assert_eq!(without_ids(&with), without_ids(&without));
}

async fn text_is_kept_as_it_was_written(t: Testbed) {
    let server = Server::over(t);
    let titles = [
        "<script>alert('x')</script> & \"more\"".to_owned(),
        "'; DROP TABLE tickets; --".to_owned(),
        "  room on both sides  ".to_owned(),
        "%00 \\u0000 {{ 7 * 7 }} $1 {rows}".to_owned(),
        "\u{1f525}".repeat(255),
        "e\u{301}\u{5d0}\u{200f}\u{fffd}".to_owned(),
    ];
    for title in titles {
        let opened = server.open(json!({ "title": title, "description": title })).await;
        let read = server.staff.get(&at(&opened, "")).await.expect(200);
        assert_eq!((text(&read.data()["title"]), text(&read.data()["description"])), (&*title, &*title));
    }
    let long = format!("{}\r\n\t{}", "ü".repeat(65_000), "z".repeat(533));
    assert_eq!(server.open(json!({ "description": long })).await["description"], long);
}

async fn labels_come_sorted_and_once_whoever_asks(t: Testbed) {
    let server = Server::over(t);
    let mixed = json!(["zebra", "Zoo", "apple", "zebra", "a b", "éclair", "_x", "Apple"]);
    let opened = server.open(json!({ "labels": mixed })).await;
    assert_eq!(opened["labels"], json!(["Apple", "Zoo", "_x", "a b", "apple", "zebra", "éclair"]));
    let read = server.staff.get(&at(&opened, "")).await.expect(200);
    assert_eq!(read.data()["labels"], opened["labels"]);
    let listed = server.staff.get("/tickets").await.expect(200);
    assert_eq!(listed.data()[0]["labels"], opened["labels"]);
    let longest: Vec<String> = (0..20).map(|i| format!("{i:02}{}", "ü".repeat(48))).collect();
    assert_eq!(server.open(json!({ "labels": longest })).await["labels"], json!(longest));
}

async fn numbers_ascend_and_the_newest_ticket_leads_the_list(t: Testbed) {
    let server = Server::over(t);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(text(&server.open(json!({})).await["number"]).to_owned());
    }
    assert_eq!(numbers, ["INC-1001", "INC-1002", "INC-1003"]);
    let listed = server.staff.get("/tickets").await.expect(200);
    assert_eq!(listed.each("number"), ["INC-1003", "INC-1002", "INC-1001"]);
}

async fn the_reporter_is_whoever_opens_it(t: Testbed) {
    let server = Server::over(t);
    let own = server.staff.post("/tickets", json!({ "title": "x" })).await.expect(201);
    assert_eq!(own.data()["reporter_id"], server.bed.staff.id.to_string());
    assert_eq!(server.open(json!({})).await["reporter_id"], server.bed.customer.id.to_string());
}
