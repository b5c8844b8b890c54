//! Where a ticket may go, and what going there does.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::{Server, at};

on_both! {
    a_ticket_goes_where_the_workflow_leads_and_nowhere_else,
    a_move_must_name_a_status,
    a_ticket_is_resolved_by_post_and_by_patch,
    a_ticket_is_closed_and_reopened,
    a_closed_ticket_can_be_reopened_for_seven_days,
    waiting_for_information_holds_the_clocks,
    a_ticket_that_waits_is_resolved_with_its_clocks,
    staff_that_starts_work_has_responded,
    an_end_user_who_starts_work_has_not_responded,
    acknowledging_is_no_response_and_twice_is_harmless,
    reopening_resumes_the_resolution_clock_and_asks_for_acknowledgement_again,
    every_move_is_in_the_history,
}

/// The workflow as it is documented.
const LEADS: &[(&str, &[&str])] = &[
    ("new", &["open", "in_progress", "pending_info", "escalated", "resolved"]),
    ("open", &["in_progress", "pending_info", "escalated", "resolved"]),
    ("in_progress", &["open", "pending_info", "escalated", "resolved"]),
    ("pending_info", &["open", "in_progress", "resolved"]),
    ("escalated", &["in_progress", "pending_info", "resolved"]),
    ("resolved", &["closed", "reopened"]),
    ("closed", &["reopened"]),
    ("reopened", &["in_progress", "pending_info", "escalated", "resolved"]),
];

/// How a new ticket gets to a status.
fn way_to(status: &'static str) -> Vec<&'static str> {
    match status {
        "new" => vec![],
        "closed" => vec!["resolved", "closed"],
        "reopened" => vec!["resolved", "reopened"],
        other => vec![other],
    }
}

async fn a_ticket_goes_where_the_workflow_leads_and_nowhere_else(t: Testbed) {
    let server = Server::over(t);
    for (from, allowed) in LEADS {
        let ticket = server.open(json!({})).await;
        server.walk(&ticket, &way_to(from)).await;
        let before = server.staff.get(&at(&ticket, "")).await.expect(200);
        for (to, _) in LEADS.iter().filter(|(to, _)| !allowed.contains(to)) {
            let refused = server.staff.patch(&at(&ticket, "/status"), json!({ "status": to })).await;
            let refused = refused.fails(409, "transition_not_allowed");
            let list = allowed.join(", ");
            let why = format!("A ticket that is {from} cannot become {to}; it can become: {list}.");
            assert_eq!(refused.message(), why);
        }
        let shortcuts = [("/resolve", "resolved"), ("/close", "closed"), ("/reopen", "reopened")];
        for (path, _) in shortcuts.iter().filter(|(_, to)| !allowed.contains(to)) {
            server.staff.act(&at(&ticket, path)).await.fails(409, "transition_not_allowed");
        }
        assert_eq!(server.staff.get(&at(&ticket, "")).await.text, before.text);
        for to in *allowed {
            let ticket = server.open(json!({})).await;
            server.walk(&ticket, &way_to(from)).await;
            let moved =
                server.staff.patch(&at(&ticket, "/status"), json!({ "status": to })).await.expect(200);
            assert_eq!(moved.data()["status"], *to, "{from}");
        }
    }
}

async fn a_move_must_name_a_status(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = at(&ticket, "/status");
    server.staff.patch(&path, json!({})).await.blames(&[("status", "required")]);
    server.staff.patch(&path, json!({ "status": null })).await.blames(&[("status", "required")]);
    for odd in ["done", "Open", "", "in progress"] {
        server.staff.patch(&path, json!({ "status": odd })).await.blames(&[("status", "unknown_value")]);
    }
    let body = json!({ "status": ["open"], "version": "1", "reason": "x" });
    let blamed = [("status", "type"), ("version", "invalid"), ("reason", "unknown")];
    server.staff.patch(&path, body).await.blames(&blamed);
    for action in ["/resolve", "/close", "/reopen", "/acknowledge"] {
        let body = json!({ "status": "open", "version": 0 });
        let answer = server.staff.post(&at(&ticket, action), body).await;
        answer.blames(&[("status", "unknown"), ("version", "invalid")]);
    }
}

async fn a_ticket_is_resolved_by_post_and_by_patch(t: Testbed) {
    let server = Server::over(t);
    for method in ["POST", "PATCH"] {
        for body in ["", "{}", "{\"version\": 1}"] {
            let ticket = server.open(json!({})).await;
            server.bed.advance(TimeDelta::minutes(5));
            let uri = format!("/api/v1{}", at(&ticket, "/resolve"));
            let resolved = server.staff.send(method, &uri, body).await.expect(200);
            assert_eq!(resolved.data()["status"], "resolved");
            assert_eq!(resolved.data()["resolved_at"], json!(server.bed.now()));
            assert_eq!(resolved.data()["version"], 2);
            let [response, resolution] = server.clocks(&ticket).await;
            assert_eq!((&response["state"], &resolution["state"]), (&json!("cancelled"), &json!("met")));
            assert_eq!(resolution["stopped_at"], json!(server.bed.now()));
        }
    }
}

async fn a_ticket_is_closed_and_reopened(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.walk(&ticket, &["in_progress", "resolved"]).await;
    server.bed.advance(TimeDelta::hours(1));
    let closed = server.staff.act(&at(&ticket, "/close")).await.expect(200);
    assert_eq!(closed.data()["status"], "closed");
    assert_eq!(closed.data()["closed_at"], json!(server.bed.now()));
    server.staff.act(&at(&ticket, "/resolve")).await.fails(409, "transition_not_allowed");
    let reopened = server.customer.act(&at(&ticket, "/reopen")).await.expect(200);
    assert_eq!(reopened.data()["status"], "reopened");
    let cleared = [&reopened.data()["resolved_at"], &reopened.data()["closed_at"]];
    assert_eq!(cleared, [&Value::Null, &Value::Null]);
    let resolved = server.staff.act(&at(&ticket, "/resolve")).await.expect(200);
    assert_eq!(resolved.data()["resolved_at"], json!(server.bed.now()));
}

async fn a_closed_ticket_can_be_reopened_for_seven_days(t: Testbed) {
    let server = Server::over(t);
    let (early, late) = (server.open(json!({})).await, server.open(json!({})).await);
    server.walk(&early, &["resolved", "closed"]).await;
    server.walk(&late, &["resolved", "closed"]).await;
    server.bed.advance(TimeDelta::days(7));
    server.staff.act(&at(&early, "/reopen")).await.expect(200);
    server.bed.advance(TimeDelta::microseconds(1));
    let refused = server.staff.act(&at(&late, "/reopen")).await.fails(409, "reopen_window_over");
    assert_eq!(
        refused.message(),
        "The ticket was closed more than 7d ago and cannot be reopened: open a new one."
    );
    let refused = server.staff.patch(&at(&late, "/status"), json!({ "status": "reopened" })).await;
    refused.fails(409, "reopen_window_over");
    let resolved = server.open(json!({})).await;
    server.walk(&resolved, &["resolved"]).await;
    server.bed.advance(TimeDelta::days(30));
    server.staff.act(&at(&resolved, "/reopen")).await.expect(200);
}

async fn waiting_for_information_holds_the_clocks(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::minutes(10));
    server.walk(&ticket, &["pending_info"]).await;
    server.bed.advance(TimeDelta::days(3));
    for clock in server.clocks(&ticket).await {
        assert_eq!(clock["state"], "paused");
        assert_eq!(clock["paused_by"], json!(["status"]));
        assert_eq!(clock["elapsed_ms"], 600_000);
        assert_eq!((&clock["due_at"], &clock["breach_at"]), (&Value::Null, &Value::Null));
    }
    server.walk(&ticket, &["open"]).await;
    server.bed.advance(TimeDelta::minutes(5));
    for clock in server.clocks(&ticket).await {
        assert_eq!((&clock["state"], &clock["paused_by"]), (&json!("active"), &json!([])));
        assert_eq!(clock["elapsed_ms"], 900_000);
        let due = shared::testkit::start() + TimeDelta::days(3);
        let target = TimeDelta::milliseconds(clock["target_ms"].as_i64().unwrap());
        assert_eq!(clock["due_at"], json!(due + target));
    }
}

async fn a_ticket_that_waits_is_resolved_with_its_clocks(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::minutes(10));
    server.walk(&ticket, &["pending_info"]).await;
    server.bed.advance(TimeDelta::days(1));
    server.walk(&ticket, &["resolved"]).await;
    let [_, resolution] = server.clocks(&ticket).await;
    assert_eq!((&resolution["state"], &resolution["elapsed_ms"]), (&json!("met"), &json!(600_000)));
}

async fn staff_that_starts_work_has_responded(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.walk(&ticket, &["open"]).await;
    server.bed.advance(TimeDelta::minutes(20));
    server.walk(&ticket, &["in_progress"]).await;
    let first = json!(server.bed.now());
    server.bed.advance(TimeDelta::minutes(20));
    server.walk(&ticket, &["open", "in_progress"]).await;
    let read = server.staff.get(&at(&ticket, "")).await;
    assert_eq!(read.data()["responded_at"], first, "the first response stays the first");
    let [response, resolution] = server.clocks(&ticket).await;
    assert_eq!((&response["state"], &response["stopped_at"]), (&json!("met"), &first));
    assert_eq!(response["elapsed_ms"], 20 * 60_000);
    assert_eq!(resolution["state"], "active");
}

async fn an_end_user_who_starts_work_has_not_responded(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let moved =
        server.customer.patch(&at(&ticket, "/status"), json!({ "status": "in_progress" })).await.expect(200);
    assert_eq!(moved.data()["responded_at"], Value::Null);
    let [response, _] = server.clocks(&ticket).await;
    assert_eq!((&response["state"], &response["stopped_at"]), (&json!("active"), &Value::Null));
}

async fn acknowledging_is_no_response_and_twice_is_harmless(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.bed.advance(TimeDelta::minutes(1));
    let taken = server.staff.act(&at(&ticket, "/acknowledge")).await.expect(200);
    assert_eq!(taken.data()["acknowledged_by"], server.bed.staff.id.to_string());
    assert_eq!(taken.data()["acknowledged_at"], json!(server.bed.now()));
    assert_eq!((&taken.data()["version"], &taken.data()["responded_at"]), (&json!(2), &Value::Null));
    server.bed.advance(TimeDelta::minutes(1));
    for client in [&server.staff, &server.manager] {
        let again = client.act(&at(&ticket, "/acknowledge")).await.expect(200);
        assert_eq!(again.text, taken.text, "the first stays on record");
    }
    assert_eq!(server.clocks(&ticket).await[0]["state"], "active");
    assert_eq!(server.staff.get(&at(&ticket, "/history")).await.each("field"), ["status", "acknowledged_by"]);
}

async fn reopening_resumes_the_resolution_clock_and_asks_for_acknowledgement_again(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::hours(1));
    server.staff.act(&at(&ticket, "/acknowledge")).await.expect(200);
    server.walk(&ticket, &["in_progress", "resolved"]).await;
    server.bed.advance(TimeDelta::days(2));
    let reopened = server.customer.act(&at(&ticket, "/reopen")).await.expect(200);
    assert_eq!(reopened.data()["acknowledged_by"], Value::Null);
    server.bed.advance(TimeDelta::minutes(30));
    let [response, resolution] = server.clocks(&ticket).await;
    assert_eq!(response["state"], "met");
    assert_eq!((&resolution["state"], &resolution["elapsed_ms"]), (&json!("active"), &json!(90 * 60_000)));
    assert_eq!(resolution["stopped_at"], Value::Null);
}

async fn every_move_is_in_the_history(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.walk(&ticket, &["in_progress", "pending_info", "resolved", "closed", "reopened"]).await;
    let answer = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    assert_eq!(answer.each("field"), ["status"; 6]);
    let expected = ["new", "in_progress", "pending_info", "resolved", "closed", "reopened"];
    assert_eq!(answer.each("new_value"), expected);
    assert_eq!(answer.each("old_value")[1..], expected[..5]);
    let versions: Vec<i64> =
        answer.data().as_array().unwrap().iter().map(|c| c["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
}
