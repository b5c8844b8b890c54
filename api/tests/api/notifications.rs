//! Who has been told what.

use serde_json::{Value, json};
use shared::domain::cause::Cause;
use shared::domain::role::Role;
use shared::ids::{ClockId, TicketId};
use shared::on_both;
use shared::store::notifications::{self, Recipient, State};
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    staff_see_who_has_been_told_what,
    lists_are_narrowed_and_turned_over,
    an_end_user_does_not_see_who_has_been_told_what,
    what_cannot_narrow_a_list_is_refused,
}

/// Decides to tell somebody about a breach of a ticket.
async fn tell(server: &Server, ticket: &Value, recipient: Recipient) -> notifications::Decided {
    let ticket: TicketId = text(&ticket["id"]).parse().unwrap();
    let cause = Cause::Breached { ticket, clock: ClockId::new() };
    let mut tx = server.bed.db.begin().await.unwrap();
    let mut decided = notifications::decide(&mut tx, &cause, &[recipient], server.bed.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    decided.remove(0)
}

async fn staff_see_who_has_been_told_what(t: Testbed) {
    let server = Server::over(t);
    let (_, admin) = server.member(Role::Admin).await;
    let ticket = server.open(json!({})).await;
    let mail = tell(&server, &ticket, Recipient::mail("sam@example.org")).await;
    let hook =
        tell(&server, &ticket, Recipient::webhook("https://u:p@hooks.example.org/secret?t=1", None)).await;
    let mut tx = server.bed.db.begin().await.unwrap();
    let (state, why) = (State::Failed, Some("no such user"));
    notifications::settle(&mut tx, mail.id, state, why, server.bed.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let list = admin.get("/notifications").await.expect(200);
    assert_eq!(list.each("id"), [hook.id.to_string(), mail.id.to_string()]);
    assert_eq!(list.each("recipient"), ["https://hooks.example.org/…", "sam@example.org"]);
    assert!(!list.text.contains("secret"), "{}", list.text);
    let mail = &list.data()[1];
    let mut fields: Vec<_> = mail.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "cause",
        "channel",
        "created_at",
        "event",
        "id",
        "reason",
        "recipient",
        "release_at",
        "settled_at",
        "state",
        "ticket",
    ];
    assert_eq!(fields, expected);
    assert_eq!((&mail["ticket"], &mail["event"]), (&ticket["id"], &"sla.breached".into()));
    assert_eq!((&mail["state"], &mail["reason"]), (&"failed".into(), &"no such user".into()));
    assert_eq!((&mail["channel"], &mail["release_at"]), (&"email".into(), &Value::Null));
    assert_eq!((&mail["created_at"], &mail["settled_at"]), (&ticket["created_at"], &ticket["created_at"]));
    assert_eq!(mail["cause"]["event"], "sla.breached");
    let below = server.staff.get(&at(&ticket, "/notifications")).await.expect(200);
    assert_eq!(below.data(), list.data());
}

async fn lists_are_narrowed_and_turned_over(t: Testbed) {
    let server = Server::over(t);
    let (_, admin) = server.member(Role::Admin).await;
    let (one, two) = (server.open(json!({})).await, server.open(json!({})).await);
    let mut ids = Vec::new();
    for (i, ticket) in [&one, &two, &one, &two, &one].into_iter().enumerate() {
        let address = if i < 2 { "ann@example.org" } else { "ben@example.org" };
        ids.push(tell(&server, ticket, Recipient::mail(address)).await.id.to_string());
    }
    let some = |indices: &[usize]| indices.iter().map(|i| ids[*i].clone()).collect::<Vec<_>>();
    let by_id = format!("ticket={}", text(&two["id"]));
    for (query, expected) in [
        ("ticket=INC-1001", &[4, 2, 0][..]),
        (&by_id, &[3, 1]),
        ("recipient=Ann@example.org", &[1, 0]),
        ("recipient=ben@example.org&ticket=INC-1002", &[3]),
        ("state=pending", &[4, 3, 2, 1, 0]),
        ("state=held", &[]),
        ("event=sla.breached&limit=2", &[4, 3]),
        ("event=ticket.created", &[]),
    ] {
        let list = admin.get(&format!("/notifications?{query}")).await.expect(200);
        assert_eq!(list.each("id"), some(expected), "{query}");
    }
    let first = admin.get("/notifications?limit=3&count=true").await.expect(200);
    assert_eq!(first.each("id"), some(&[4, 3, 2]));
    assert_eq!((&first.json["meta"]["has_more"], &first.json["meta"]["total"]), (&true.into(), &5.into()));
    let cursor = text(&first.json["meta"]["next_cursor"]);
    tell(&server, &one, Recipient::mail("cid@example.org")).await;
    let second = admin.get(&format!("/notifications?limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!(second.each("id"), some(&[1, 0]));
    let end = json!({ "has_more": false, "next_cursor": null, "limit": 3 });
    assert_eq!(second.json["meta"], end);
}

async fn an_end_user_does_not_see_who_has_been_told_what(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    for path in ["/notifications", &at(&ticket, "/notifications")] {
        server.customer.get(path).await.fails(403, "forbidden");
    }
    server.staff.get("/notifications").await.fails(403, "forbidden");
    server.staff.get(&at(&ticket, "/notifications")).await.expect(200);
}

async fn what_cannot_narrow_a_list_is_refused(t: Testbed) {
    let server = Server::over(t);
    let (_, admin) = server.member(Role::Admin).await;
    let query = "state=lost&event=digest&ticket=INC-9&limit=0&cursor=abc&order=up&count=maybe";
    let answer = admin.get(&format!("/notifications?{query}")).await;
    answer.expect(422).blames(&[
        ("count", "invalid"),
        ("cursor", "invalid"),
        ("event", "unknown_value"),
        ("limit", "invalid"),
        ("order", "unknown"),
        ("state", "unknown_value"),
        ("ticket", "unknown_ticket"),
    ]);
}
