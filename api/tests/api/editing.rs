//! Changes to a ticket's fields, their versions and their history.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::event::EventKind;
use shared::on_both;
use shared::store::events;
use shared::testkit::Testbed;

use crate::answer::{text, without_ids};
use crate::server::{Server, all_at_once, at};

on_both! {
    each_field_is_changed_by_itself,
    null_clears_what_may_be_empty_and_is_refused_elsewhere,
    a_contact_is_replaced_as_a_whole,
    an_edit_that_cannot_be_used_lists_all_fields_and_changes_nothing,
    an_edit_that_changes_nothing_is_no_new_version,
    fields_and_labels_in_one_body_are_one_version_and_one_event,
    a_version_in_the_body_must_be_the_last,
    a_version_in_if_match_must_be_the_last,
    an_if_match_that_is_no_etag_is_malformed,
    two_versions_that_differ_cannot_both_be_meant,
    of_two_edits_of_one_version_exactly_one_wins,
    history_tells_who_changed_what_from_where,
    history_cannot_be_changed,
    a_new_priority_gives_the_clocks_new_targets,
    a_tighter_target_that_is_used_up_is_breached_by_the_change,
}

async fn each_field_is_changed_by_itself(t: Testbed) {
    let server = Server::over(t);
    let mut expected = server.open(json!({})).await;
    let edits = [
        ("title", json!("<b>Still</b> on fire")),
        ("description", json!("More\nflames.")),
        ("category", json!("problem")),
        ("environment", json!("production")),
        ("affected_service", json!("checkout")),
        ("assignee_id", json!(server.bed.staff.id)),
        ("contact", json!({ "name": "Cleo", "email": "cleo@example.org" })),
        ("priority", json!("low")),
    ];
    for (version, (field, value)) in (2..).zip(edits) {
        server.bed.advance(TimeDelta::seconds(1));
        let edited = server.staff.patch(&at(&expected, ""), json!({ field: value })).await.expect(200);
        expected[field] = value;
        expected["version"] = version.into();
        expected["updated_at"] = json!(server.bed.now());
        assert_eq!(*edited.data(), expected);
        let read = server.staff.get(&at(&expected, "")).await.expect(200);
        assert_eq!((read.data(), read.header("etag")), (&expected, edited.header("etag")));
    }
    let all = json!({ "title": "x", "priority": "P1", "category": "question", "environment": "test" });
    let edited = server.staff.patch(&at(&expected, ""), all).await.expect(200);
    assert_eq!(edited.data()["priority"], "critical");
    assert_eq!(edited.data()["version"], 10);
}

async fn null_clears_what_may_be_empty_and_is_refused_elsewhere(t: Testbed) {
    let server = Server::over(t);
    let full = json!({
        "description": "Flames.",
        "environment": "production",
        "affected_service": "checkout",
        "assignee_id": server.bed.staff.id,
        "contact": { "name": "Cleo" },
    });
    let ticket = server.open(full.clone()).await;
    let path = at(&ticket, "");
    for field in full.as_object().unwrap().keys() {
        let edited = server.staff.patch(&path, json!({ field: null })).await.expect(200);
        let empty = if field == "description" { json!("") } else { Value::Null };
        assert_eq!(edited.data()[field], empty, "{field}");
    }
    let nulls = json!({ "title": null, "priority": null, "category": null });
    let blamed = [("title", "required"), ("priority", "required"), ("category", "required")];
    server.staff.patch(&path, nulls).await.blames(&blamed);
    assert_eq!(server.staff.get(&path).await.data()["version"], 7);
}

async fn a_contact_is_replaced_as_a_whole(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "contact": { "name": "Cleo", "email": "cleo@example.org" } })).await;
    let path = at(&ticket, "");
    let edited =
        server.staff.patch(&path, json!({ "contact": { "email": "ops@example.org" } })).await.expect(200);
    assert_eq!(edited.data()["contact"], json!({ "name": null, "email": "ops@example.org" }));
    let edited = server.staff.patch(&path, json!({ "contact": {} })).await.expect(200);
    assert_eq!(edited.data()["contact"], Value::Null);
}

async fn an_edit_that_cannot_be_used_lists_all_fields_and_changes_nothing(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let body = json!({
        "title": "a\nb",
        "description": 5,
        "priority": "urgent",
        "category": ["incident"],
        "environment": "x".repeat(101),
        "affected_service": " ",
        "contact": { "email": "x" },
        "version": 0,
        "status": "open",
        "labels": [""],
    });
    let blamed = [
        ("title", "control_characters"),
        ("description", "type"),
        ("priority", "unknown_value"),
        ("category", "type"),
        ("environment", "too_long"),
        ("affected_service", "empty"),
        ("contact.email", "invalid"),
        ("version", "invalid"),
        ("status", "unknown"),
        ("labels", "invalid"),
    ];
    server.staff.patch(&at(&ticket, ""), body).await.blames(&blamed);
    for version in [json!("1"), json!(["1"]), json!(1.5), json!(-1), json!(true)] {
        let body = json!({ "title": "x", "version": version });
        server.staff.patch(&at(&ticket, ""), body).await.blames(&[("version", "invalid")]);
    }
    server.staff.send("PATCH", &format!("/api/v1{}", at(&ticket, "")), "[").await.fails(400, "malformed");
    assert_eq!(*server.staff.get(&at(&ticket, "")).await.data(), ticket);
}

async fn an_edit_that_changes_nothing_is_no_new_version(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "environment": "test" })).await;
    server.bed.advance(TimeDelta::seconds(1));
    for same in [json!({}), json!({ "version": 1 }), json!({ "environment": "test", "priority": "P3" })] {
        let edited = server.staff.patch(&at(&ticket, ""), same).await.expect(200);
        assert_eq!(*edited.data(), ticket);
    }
    assert_eq!(server.staff.get(&at(&ticket, "/history")).await.each("field"), ["status"]);
}

async fn fields_and_labels_in_one_body_are_one_version_and_one_event(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "labels": ["a"] })).await;
    let path = at(&ticket, "");
    let both = json!({ "title": "Both", "labels": ["c", "b"], "version": 1 });
    let edited = server.staff.patch(&path, both.clone()).await.expect(200);
    assert_eq!((edited.header("etag"), &edited.data()["labels"]), (Some("\"2\""), &json!(["b", "c"])));
    server.staff.patch(&path, both).await.fails(409, "version_conflict");
    let put =
        server.staff.put(&path, json!({ "title": "Anew", "labels": [], "version": 2 })).await.expect(200);
    assert_eq!((&put.data()["version"], &put.data()["labels"]), (&json!(3), &json!([])));
    let logged = events::after(&server.bed.db, 0, 100).await.unwrap();
    let told: Vec<_> = logged.iter().map(|event| (event.kind, &event.data["changed"])).collect();
    let changed = json!(["labels", "title"]);
    let updated = (EventKind::TicketUpdated, &changed);
    assert_eq!(told, [(EventKind::TicketCreated, &Value::Null), updated, updated]);
}

async fn a_version_in_the_body_must_be_the_last(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = at(&ticket, "");
    server.staff.patch(&path, json!({ "title": "b", "version": 1 })).await.expect(200);
    for version in [1, 3, i64::MAX] {
        let stale = server.staff.patch(&path, json!({ "title": "c", "version": version })).await;
        let stale = stale.fails(409, "version_conflict");
        assert_eq!(
            stale.message(),
            "The ticket is at version 2 by now: read it again and repeat the change."
        );
    }
    server
        .staff
        .patch(&path, json!({ "title": "c", "version": 2.5 }))
        .await
        .blames(&[("version", "invalid")]);
    let huge = json!({ "title": "c", "version": 1e300 });
    server.staff.patch(&path, huge).await.blames(&[("version", "invalid")]);
    // JSON has one kind of number: 2.0 is as whole as 2.
    server.staff.patch(&path, json!({ "title": "c", "version": 2.0 })).await.expect(200);
    server.staff.patch(&path, json!({ "title": "d" })).await.expect(200);
    let stale = json!({ "status": "open", "version": 3 });
    server.staff.patch(&at(&ticket, "/status"), stale).await.fails(409, "version_conflict");
    for action in ["/acknowledge", "/resolve", "/close", "/reopen"] {
        let stale = server.staff.post(&at(&ticket, action), json!({ "version": 3 })).await;
        stale.fails(409, "version_conflict");
    }
    server.staff.post(&at(&ticket, "/resolve"), json!({ "version": 4 })).await.expect(200);
}

async fn a_version_in_if_match_must_be_the_last(t: Testbed) {
    let server = Server::over(t);
    let opened = server.customer.post("/tickets", json!({ "title": "a" })).await.expect(201);
    let (path, etag) = (at(opened.data(), ""), opened.header("etag").unwrap());
    let first = server.staff.with("if-match", etag);
    let edited = first.patch(&path, json!({ "title": "b" })).await.expect(200);
    assert_eq!(edited.header("etag"), Some("\"2\""));
    let stale = first.patch(&path, json!({ "title": "c" })).await.fails(412, "stale");
    assert_eq!(stale.message(), "The ticket is at version 2 by now: read it again and repeat the change.");
    let status = at(opened.data(), "/status");
    first.patch(&status, json!({ "status": "open" })).await.fails(412, "stale");
    for action in ["/acknowledge", "/resolve", "/close", "/reopen"] {
        first.act(&at(opened.data(), action)).await.fails(412, "stale");
    }
    server.staff.with("if-match", "\"2\"").patch(&path, json!({ "title": "c" })).await.expect(200);
    server.staff.with("if-match", "*").patch(&path, json!({ "title": "d" })).await.expect(200);
    let third = server.staff.with("if-match", "\"4\"");
    third.patch(&status, json!({ "status": "open" })).await.expect(200);
}

async fn an_if_match_that_is_no_etag_is_malformed(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for odd in ["\"\"", "\"abc\"", "\"1\", \"2\"", "1.0", "\"caf\u{e9}\"", "\"99999999999999999999\""] {
        let client = server.staff.with("if-match", odd);
        client.patch(&at(&ticket, ""), json!({ "title": "b" })).await.fails(400, "malformed");
    }
    // A list of no versions is readable, and none of them is the ticket's.
    let nothing = server.staff.with("if-match", "");
    nothing.patch(&at(&ticket, ""), json!({ "title": "b" })).await.fails(412, "stale");
}

async fn two_versions_that_differ_cannot_both_be_meant(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = at(&ticket, "");
    server.staff.patch(&path, json!({ "title": "b" })).await.expect(200);
    let second = server.staff.with("if-match", "\"2\"");
    second.patch(&path, json!({ "title": "c", "version": 1 })).await.blames(&[("version", "invalid")]);
    let moved = second.patch(&at(&ticket, "/status"), json!({ "status": "open", "version": 1 })).await;
    moved.blames(&[("version", "invalid")]);
    second.post(&at(&ticket, "/resolve"), json!({ "version": 1 })).await.blames(&[("version", "invalid")]);
    second
        .post(&at(&ticket, "/acknowledge"), json!({ "version": 1 }))
        .await
        .blames(&[("version", "invalid")]);
    second.patch(&path, json!({ "title": "c", "version": 2 })).await.expect(200);
}

async fn of_two_edits_of_one_version_exactly_one_wins(t: Testbed) {
    let server = Server::over(t);
    for round in 0..10 {
        let ticket = server.open(json!({})).await;
        let answers = all_at_once((0..4).map(|n| {
            let (client, path) = (server.staff.clone(), at(&ticket, ""));
            let body = json!({ "title": format!("by {n}"), "version": 1 });
            let with_header = round % 2 == 0;
            async move {
                if with_header {
                    return client.with("if-match", "\"1\"").patch(&path, body).await;
                }
                client.patch(&path, body).await
            }
        }))
        .await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        let lost = if round % 2 == 0 { 412 } else { 409 };
        assert_eq!(statuses, [200, lost, lost, lost]);
        let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
        let read = server.staff.get(&at(&ticket, "")).await;
        assert_eq!(read.data(), winner.data());
        assert_eq!(read.data()["version"], 2);
    }
}

async fn history_tells_who_changed_what_from_where(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "contact": { "name": "Cleo" } })).await;
    server.bed.advance(TimeDelta::seconds(90));
    let body = json!({
        "title": "x",
        "description": "y",
        "priority": "critical",
        "category": "question",
        "environment": "test",
        "affected_service": "shop",
        "contact": { "name": "Cleo", "email": "cleo@example.org" },
        "assignee_id": server.bed.staff.id,
    });
    let uri = format!("/api/v1{}", at(&ticket, ""));
    let from = ConnectInfo::<SocketAddr>("[2001:db8::7]:4711".parse().unwrap());
    let request = Request::patch(uri).extension(from).body(Body::from(body.to_string())).unwrap();
    server.staff.deliver(request).await.expect(200);
    server.staff.act(&at(&ticket, "/acknowledge")).await.expect(200);

    let shown = server.customer.get(&at(&ticket, "/history")).await.expect(200);
    assert_eq!(shown.data()[1]["ip"], Value::Null, "where staff work from is nobody else's business");
    let answer = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    let history = answer.data().as_array().unwrap();
    let change = |c: &Value| json!([c["field"], c["old_value"], c["new_value"], c["version"]]);
    let (sam, title) = (server.bed.staff.id, &ticket["title"]);
    let mut changes: Vec<Value> = history.iter().map(change).collect();
    changes[1..9].sort_by_key(|change| text(&change[0]).to_owned());
    assert_eq!(
        json!(changes),
        json!([
            ["status", null, "new", 1],
            ["affected_service", null, "shop", 2],
            ["assignee_id", null, sam, 2],
            ["category", "incident", "question", 2],
            ["contact", "Cleo <>", "Cleo <cleo@example.org>", 2],
            ["description", "", "y", 2],
            ["environment", null, "test", 2],
            ["priority", "medium", "critical", 2],
            ["title", title, "x", 2],
            ["acknowledged_by", null, sam, 3],
        ])
    );
    assert_eq!(history[0]["actor_id"], server.bed.customer.id.to_string());
    assert!(history[1..].iter().all(|change| change["actor_id"] == sam.to_string()));
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&history[1]), @r#"
        {
          "actor_id": "(id)",
          "at": "2027-01-15T08:01:30Z",
          "field": "title",
          "ip": "2001:db8::7",
          "new_value": "x",
          "old_value": "The database is on fire",
          "version": 2
        }
        "#);
    }
}

async fn history_cannot_be_changed(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let before = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        server.staff.send(method, &format!("/api/v1{}", at(&ticket, "/history")), "{}").await.expect(405);
    }
    assert_eq!(server.staff.get(&at(&ticket, "/history")).await.text, before.text);
}

async fn a_new_priority_gives_the_clocks_new_targets(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "medium" })).await;
    server.bed.advance(TimeDelta::minutes(30));
    let hour = 3_600_000;
    for (priority, hours) in [("critical", [1, 4]), ("low", [24, 120]), ("high", [4, 12])] {
        server.staff.patch(&at(&ticket, ""), json!({ "priority": priority })).await.expect(200);
        for (clock, hours) in server.clocks(&ticket).await.into_iter().zip(hours) {
            assert_eq!(clock["target_ms"], hours * hour, "{clock}");
            assert_eq!(clock["elapsed_ms"], hour / 2, "what was used up counts against the new target");
            assert_eq!(clock["remaining_ms"], hours * hour - hour / 2);
            let due = shared::testkit::start() + TimeDelta::hours(hours);
            assert_eq!((&clock["due_at"], &clock["state"]), (&json!(due), &json!("active")));
        }
    }
}

async fn a_tighter_target_that_is_used_up_is_breached_by_the_change(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "low" })).await;
    server.bed.advance(TimeDelta::hours(3));
    server.staff.patch(&at(&ticket, ""), json!({ "priority": "P1" })).await.expect(200);
    let [response, resolution] = server.clocks(&ticket).await;
    assert_eq!(response["state"], "breached");
    assert_eq!(response["breached_at"], json!(server.bed.now()), "never before the change");
    assert_eq!(response["overrun_ms"], 2 * 3_600_000);
    assert_eq!((&resolution["state"], &resolution["remaining_ms"]), (&json!("active"), &json!(3_600_000)));
    let listed = server.staff.get("/tickets?sla=breached").await.expect(200);
    assert_eq!(listed.each("id"), [text(&ticket["id"])]);
}
