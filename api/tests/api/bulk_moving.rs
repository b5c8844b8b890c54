//! Many tickets moved at once.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    many_tickets_are_moved_at_once,
    where_one_cannot_be_moved_none_is_and_each_is_named,
    what_the_caller_may_not_see_is_not_told_from_what_there_is_not,
    a_request_must_name_tickets_and_a_status,
    a_repeated_request_moves_once,
}

async fn three(server: &Server) -> [Value; 3] {
    [server.open(json!({})).await, server.open(json!({})).await, server.open(json!({})).await]
}

async fn many_tickets_are_moved_at_once(t: Testbed) {
    let server = Server::over(t);
    let [a, b, c] = three(&server).await;
    // By number or by identifier, in the order of the request.
    let ids = json!([c["number"], a["id"], b["id"]]);
    let body = json!({ "ticket_ids": ids, "status": "in_progress" });
    let moved = server.staff.post("/tickets/bulk-status", body).await.expect(200);
    assert_eq!(moved.each("id"), [text(&c["id"]), text(&a["id"]), text(&b["id"])]);
    assert_eq!(moved.each("status"), ["in_progress"; 3]);
    let [response, _] = server.clocks(&a).await;
    assert_eq!(response["state"], "met");
}

async fn where_one_cannot_be_moved_none_is_and_each_is_named(t: Testbed) {
    let server = Server::over(t);
    let [a, b, c] = three(&server).await;
    server.walk(&b, &["resolved"]).await;
    let ids = json!([a["id"], b["number"], "INC-77", c["id"], c["number"]]);
    let body = json!({ "ticket_ids": ids, "status": "in_progress" });
    let refused = server.staff.post("/tickets/bulk-status", body).await.expect(409);
    let errors = refused.json["errors"].as_array().unwrap();
    let mut named: Vec<_> = errors.iter().map(|e| (text(&e["field"]), text(&e["code"]))).collect();
    named.sort_unstable();
    let expected = [
        ("ticket_ids[1]", "transition_not_allowed"),
        ("ticket_ids[2]", "not_found"),
        ("ticket_ids[4]", "repeated"),
    ];
    assert_eq!(named, expected);
    for ticket in [a, c] {
        let read = server.staff.get(&at(&ticket, "")).await.expect(200);
        assert_eq!((&read.data()["status"], &read.data()["version"]), (&json!("new"), &json!(1)));
    }
}

async fn what_the_caller_may_not_see_is_not_told_from_what_there_is_not(t: Testbed) {
    let server = Server::over(t);
    let other = server.staff.post("/tickets", json!({ "title": "Not yours" })).await.expect(201);
    let ids = json!([other.data()["id"], "0190a0a0-0000-7000-8000-000000000000"]);
    let body = json!({ "ticket_ids": ids, "status": "open" });
    let refused = server.customer.post("/tickets/bulk-status", body).await.expect(409);
    let errors = refused.json["errors"].as_array().unwrap();
    assert_eq!(
        (errors[0]["code"].as_str(), errors[1]["code"].as_str()),
        (Some("not_found"), Some("not_found"))
    );
}

async fn a_request_must_name_tickets_and_a_status(t: Testbed) {
    let server = Server::over(t);
    let path = "/tickets/bulk-status";
    server.staff.post(path, json!({})).await.blames(&[("ticket_ids", "required"), ("status", "required")]);
    let odd = json!({ "ticket_ids": [], "status": "done", "version": 1 });
    let blamed = [("ticket_ids", "empty"), ("status", "unknown_value"), ("version", "unknown")];
    server.staff.post(path, odd).await.blames(&blamed[1..]);
    let many = json!({ "ticket_ids": vec!["INC-1001"; 101], "status": "open" });
    server.staff.post(path, many).await.blames(&[("ticket_ids", "too_long")]);
}

async fn a_repeated_request_moves_once(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let client = server.staff.with("idempotency-key", "evening");
    let body = json!({ "ticket_ids": [ticket["id"]], "status": "open" });
    let first = client.post("/tickets/bulk-status", body.clone()).await.expect(200);
    let again = client.post("/tickets/bulk-status", body).await.expect(200);
    assert_eq!((first.text, again.header("idempotent-replayed")), (again.text.clone(), Some("true")));
}
