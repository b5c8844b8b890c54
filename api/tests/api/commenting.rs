//! What is said about tickets, and who may read it.

use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::{Testbed, user};

use crate::answer::text;
use crate::server::{Client, Server, at};

on_both! {
    a_comment_is_posted_shown_edited_and_deleted,
    what_staff_says_among_themselves_never_shows,
    comments_are_paged_oldest_first,
    a_stale_edit_is_refused,
    what_cannot_be_said_is_named,
    nobody_comments_on_what_they_do_not_see,
    moves_and_closed_tickets_are_told,
    a_comment_posted_twice_with_one_key_is_one,
}

async fn post(client: &Client, ticket: &Value, content: &str, internal: bool) -> Value {
    let body = json!({ "content": content, "is_internal": internal });
    client.post(&at(ticket, "/comments"), body).await.expect(201).data().clone()
}

fn path(comment: &Value) -> String {
    format!("/comments/{}", text(&comment["id"]))
}

async fn a_comment_is_posted_shown_edited_and_deleted(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let said = post(&server.customer, &ticket, "It still burns.\nBadly.", false).await;
    let at_start = &said["created_at"];
    let expected = json!({
        "id": said["id"], "ticket_id": ticket["id"], "author_id": server.bed.customer.id, "author_name": "cleo",
        "content": "It still burns.\nBadly.", "is_internal": false, "is_system": false, "created_at": at_start,
        "edited_at": null, "edits": 0, "version": 1
    });
    assert_eq!(said, expected);
    assert_eq!(server.staff.get(&path(&said)).await.expect(200).data(), &expected);
    for (method, content, edits) in [("PUT", "It burns.", 1), ("PATCH", "It smokes.", 2)] {
        let uri = format!("/api/v1{}", path(&said));
        let body = json!({ "content": content }).to_string();
        let edited = server.customer.send(method, &uri, body).await.expect(200);
        assert_eq!((&edited.data()["content"], &edited.data()["edits"]), (&content.into(), &edits.into()));
        assert!(edited.data()["edited_at"].is_string());
    }
    let edits = format!("{}/edits", path(&said));
    let former = server.staff.get(&edits).await.expect(200);
    assert_eq!(former.each("content"), ["It still burns.\nBadly.", "It burns."]);
    server.customer.get(&edits).await.fails(403, "forbidden");
    server.staff.patch(&path(&said), json!({ "content": "x" })).await.fails(403, "forbidden");
    server.staff.delete(&path(&said)).await.fails(403, "forbidden");
    server.customer.delete(&path(&said)).await.expect(204);
    server.customer.get(&path(&said)).await.fails(404, "not_found");
    assert_eq!(server.customer.get(&at(&ticket, "/comments")).await.expect(200).data(), &json!([]));
    let history = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    assert_eq!(history.each("field"), ["status", "comment", "comment", "comment", "comment"]);
    assert!(!history.text.contains("burns") && !history.text.contains("smokes"));
}

async fn what_staff_says_among_themselves_never_shows(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let before = server.customer.get(&at(&ticket, "")).await.expect(200);
    let secret = post(&server.staff, &ticket, "Mind the xylophone", true).await;
    assert_eq!(secret["is_internal"], true);
    let seen = async |path: &str| server.customer.get(path).await.expect(200);
    assert_eq!(seen(&at(&ticket, "")).await.text, before.text, "not by a version, not by a time");
    let list = seen(&at(&ticket, "/comments?count=true")).await;
    assert_eq!((list.data(), &list.json["meta"]["total"]), (&json!([]), &json!(0)));
    assert_eq!(seen(&at(&ticket, "/history")).await.each("field"), ["status"]);
    let found = seen("/tickets?q=xylophone&count=true").await;
    assert_eq!((found.data(), &found.json["meta"]["total"]), (&json!([]), &json!(0)));
    for below in ["", "/edits"] {
        server.customer.get(&format!("{}{below}", path(&secret))).await.fails(404, "not_found");
    }
    server.customer.patch(&path(&secret), json!({ "content": "x" })).await.fails(404, "not_found");
    server.customer.delete(&path(&secret)).await.fails(404, "not_found");
    let body = json!({ "content": "Me too", "is_internal": true });
    server.customer.post(&at(&ticket, "/comments"), body).await.fails(403, "forbidden");
    let staff = server.staff.get("/tickets?q=xylophone").await.expect(200);
    assert_eq!(staff.each("id"), [text(&ticket["id"])]);
    assert_eq!(server.staff.get(&at(&ticket, "/comments")).await.expect(200).each("content").len(), 1);
    let publish = server.staff.patch(&path(&secret), json!({ "content": "x", "is_internal": false })).await;
    publish.blames(&[("is_internal", "invalid")]);
}

async fn comments_are_paged_oldest_first(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for n in 0..5 {
        post(&server.customer, &ticket, &n.to_string(), false).await;
    }
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = server.staff.get(&at(&ticket, &format!("/comments?limit=2{cursor}"))).await.expect(200);
        seen.extend(page.each("content"));
        let Some(next) = page.json["meta"]["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    let back = server.staff.get(&at(&ticket, "/comments?sort=-created_at&limit=2")).await.expect(200);
    assert_eq!(back.each("content"), ["4", "3"]);
    let odd = server.staff.get(&at(&ticket, "/comments?sort=name&limit=0&cursor=x&color=red")).await;
    odd.blames(&[
        ("sort", "unknown_value"),
        ("limit", "invalid"),
        ("cursor", "invalid"),
        ("color", "unknown"),
    ]);
}

async fn a_stale_edit_is_refused(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let said = post(&server.staff, &ticket, "one", false).await;
    server.staff.patch(&path(&said), json!({ "content": "two", "version": 1 })).await.expect(200);
    let stale = server.staff.patch(&path(&said), json!({ "content": "three", "version": 1 })).await;
    let stale = stale.fails(409, "version_conflict");
    assert_eq!(stale.message(), "The comment is at version 2 by now: read it again and repeat the change.");
    let conditional = server.staff.with("if-match", "\"1\"");
    conditional.patch(&path(&said), json!({ "content": "three" })).await.fails(412, "stale");
    conditional.delete(&path(&said)).await.fails(412, "stale");
    server.staff.with("if-match", "\"2\"").delete(&path(&said)).await.expect(204);
}

async fn what_cannot_be_said_is_named(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let say = async |body: Value| server.staff.post(&at(&ticket, "/comments"), body).await;
    say(json!({})).await.blames(&[("content", "required")]);
    say(json!({ "content": " \n" })).await.blames(&[("content", "empty")]);
    say(json!({ "content": "x".repeat(65_537) })).await.blames(&[("content", "too_long")]);
    say(json!({ "content": "a\u{0}b" })).await.blames(&[("content", "control_characters")]);
    let several = say(json!({ "content": 1, "is_internal": "yes", "author": "me" })).await;
    several.blames(&[("content", "type"), ("is_internal", "type"), ("author", "unknown")]);
    say(json!({ "content": "x".repeat(65_536) })).await.expect(201);
}

async fn nobody_comments_on_what_they_do_not_see(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let said = post(&server.customer, &ticket, "Mine", false).await;
    let (stranger, lead) = (user("eve@example.org", Role::EndUser), user("kim@example.org", Role::TeamLead));
    for user in [&stranger, &lead] {
        server.add_user(user).await;
    }
    let (stranger, lead) = (server.client(stranger.id), server.client(lead.id));
    stranger.get(&at(&ticket, "/comments")).await.fails(404, "not_found");
    stranger.post(&at(&ticket, "/comments"), json!({ "content": "x" })).await.fails(404, "not_found");
    stranger.get(&path(&said)).await.fails(404, "not_found");
    stranger.delete(&path(&said)).await.fails(404, "not_found");
    stranger.get("/comments/nothing").await.fails(404, "not_found");
    server.anybody.get(&path(&said)).await.fails(401, "unauthorized");
    lead.patch(&path(&said), json!({ "content": "x" })).await.fails(403, "forbidden");
    lead.delete(&path(&said)).await.expect(204);
}

async fn moves_and_closed_tickets_are_told(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "high" })).await;
    server.staff.patch(&at(&ticket, ""), json!({ "assignee_id": server.bed.staff.id })).await;
    server.walk(&ticket, &["open", "resolved", "closed"]).await;
    let told = server.customer.get(&at(&ticket, "/comments")).await.expect(200);
    let expected = ["from new to open", "from open to resolved", "from resolved to closed"];
    assert_eq!(told.each("content"), expected.map(|what| format!("Status changed {what}.")));
    assert!(told.data().as_array().unwrap().iter().all(|comment| comment["is_system"] == true));
    let late = server.customer.post(&at(&ticket, "/comments"), json!({ "content": "Thanks" })).await;
    assert_eq!(late.fails(409, "ticket_closed").message(), "The ticket is closed: reopen it first.");
}

async fn a_comment_posted_twice_with_one_key_is_one(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let keyed = server.customer.with("idempotency-key", "comment-1");
    let first = keyed.post(&at(&ticket, "/comments"), json!({ "content": "Once" })).await.expect(201);
    let second = keyed.post(&at(&ticket, "/comments"), json!({ "content": "Once" })).await.expect(201);
    assert_eq!((first.text, second.header("idempotent-replayed")), (second.text.clone(), Some("true")));
    assert_eq!(server.staff.get(&at(&ticket, "/comments")).await.expect(200).each("content"), ["Once"]);
}
