//! Tickets that are deleted, and labels that are replaced.

use serde_json::json;
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::{Server, at};

on_both! {
    only_an_admin_deletes_and_then_nobody_sees_it,
    the_clocks_of_a_deleted_ticket_no_longer_count,
    labels_are_replaced_as_a_whole,
    a_put_says_everything_anew_but_keeps_whom_it_is_with,
}

async fn only_an_admin_deletes_and_then_nobody_sees_it(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = at(&ticket, "");
    for client in [&server.customer, &server.staff, &server.manager] {
        client.delete(&path).await.fails(403, "forbidden");
    }
    let (_, admin) = server.member(Role::Admin).await;
    admin.with("if-match", "\"7\"").delete(&path).await.fails(412, "stale");
    admin.delete(&path).await.expect(204);
    for client in [&server.customer, &server.staff, &admin] {
        for below in ["", "/history", "/sla"] {
            client.get(&at(&ticket, below)).await.fails(404, "not_found");
        }
        client.patch(&path, json!({ "title": "Back" })).await.fails(404, "not_found");
        assert!(client.get("/tickets").await.expect(200).each("id").is_empty());
    }
    admin.delete(&path).await.fails(404, "not_found");
}

async fn the_clocks_of_a_deleted_ticket_no_longer_count(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "critical" })).await;
    let [_, resolution] = server.clocks(&ticket).await;
    let (_, admin) = server.member(Role::Admin).await;
    admin.delete(&at(&ticket, "")).await.expect(204);
    server.bed.advance(chrono::TimeDelta::days(3));
    assert_eq!(server.bed.sweep().await.breaches, []);
    let clock = format!("/slas/{}", resolution["id"].as_str().unwrap());
    server.staff.get(&format!("{clock}/explain")).await.fails(404, "not_found");
    server.staff.patch(&format!("{clock}/pause"), json!({ "reason": "x" })).await.fails(404, "not_found");
}

async fn labels_are_replaced_as_a_whole(t: Testbed) {
    let server = Server::over(t);
    let targets = json!({ "medium": { "resolution": "1h" } });
    let policy = json!({ "name": "Gold", "match": { "label": ["gold"] }, "targets": targets });
    server.manager.post("/sla-policies", policy).await.expect(201);
    let ticket = server.open(json!({ "labels": ["blue", "red"] })).await;
    let path = at(&ticket, "/labels");
    let body = json!({ "labels": ["red", "gold", "red"], "version": 1 });
    let labelled = server.staff.put(&path, body.clone()).await.expect(200);
    assert_eq!(labelled.data()["labels"], json!(["gold", "red"]));
    assert_eq!(labelled.data()["version"], 2);
    let [_, resolution] = server.clocks(&ticket).await;
    assert_eq!(resolution["target_ms"], 3_600_000, "the label brought it under another policy");
    server.staff.put(&path, body).await.fails(409, "version_conflict");
    let odd = json!({ "labels": ["fine", ""] });
    server.staff.put(&path, odd).await.blames(&[("labels", "invalid")]);
    server.staff.put(&path, json!({})).await.blames(&[("labels", "required")]);
    let read = server.staff.get(&at(&ticket, "")).await.expect(200);
    assert_eq!(read.data()["labels"], json!(["gold", "red"]), "all or nothing");
    let history = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    assert!(history.each("field").contains(&"labels".to_owned()));
}

async fn a_put_says_everything_anew_but_keeps_whom_it_is_with(t: Testbed) {
    let server = Server::over(t);
    let id = json!(server.bed.staff.id);
    let fields = json!({ "description": "d", "environment": "e", "priority": "P1", "labels": ["a"], "assignee_id": id });
    let ticket = server.open(fields).await;
    let path = at(&ticket, "");
    let put = server.staff.put(&path, json!({ "title": "Anew", "version": 2 })).await.expect(200);
    let put = put.data();
    assert_eq!(
        (&put["title"], &put["description"], &put["environment"]),
        (&json!("Anew"), &json!(""), &json!(null))
    );
    assert_eq!(
        (&put["priority"], &put["assignee_id"], &put["labels"]),
        (&json!("medium"), &id, &json!(["a"]))
    );
    server.staff.put(&path, json!({ "priority": "low" })).await.blames(&[("title", "required")]);
    server.staff.put(&path, json!({ "title": "x", "version": 2 })).await.fails(409, "version_conflict");
}
