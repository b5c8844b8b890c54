//! The book of contacts.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::Server;

on_both! {
    a_contact_is_added_changed_and_deleted,
    contacts_are_for_staff,
    a_contact_is_changed_at_the_version_that_was_seen,
    contacts_are_listed_page_by_page,
    what_cannot_be_a_contact_is_refused,
    tickets_keep_their_own_copy_and_are_found_by_it,
}

fn ada() -> Value {
    json!({ "name": "Ada", "email": "Ada@Example.org", "organization": "Engines", "notes": "Prefers\nmail." })
}

async fn a_contact_is_added_changed_and_deleted(t: Testbed) {
    let server = Server::over(t);
    let made = server.staff.post("/contacts", ada()).await.expect(201);
    let path = format!("/contacts/{}", text(&made.data()["id"]));
    let now = server.bed.now();
    let expected = json!({
        "id": made.data()["id"], "name": "Ada", "email": "ada@example.org", "phone": null, "organization": "Engines",
        "notes": "Prefers\nmail.", "version": 1, "created_at": now, "updated_at": now,
    });
    assert_eq!(*made.data(), expected);
    let changed = server.staff.patch(&path, json!({ "phone": "112", "notes": null })).await.expect(200);
    assert_eq!((&changed.data()["phone"], &changed.data()["notes"]), (&"112".into(), &Value::Null));
    assert_eq!((&changed.data()["organization"], &changed.data()["version"]), (&"Engines".into(), &2.into()));
    assert_eq!(server.staff.get(&path).await.expect(200).data(), changed.data());
    server.staff.delete(&path).await.expect(204);
    server.staff.get(&path).await.fails(404, "not_found");
    server.staff.delete(&path).await.fails(404, "not_found");
}

async fn contacts_are_for_staff(t: Testbed) {
    let server = Server::over(t);
    let made = server.staff.post("/contacts", ada()).await.expect(201);
    let path = format!("/contacts/{}", text(&made.data()["id"]));
    server.customer.get("/contacts").await.fails(403, "forbidden");
    server.customer.post("/contacts", ada()).await.fails(403, "forbidden");
    server.customer.get(&path).await.fails(403, "forbidden");
    server.customer.patch(&path, json!({ "name": "x" })).await.fails(403, "forbidden");
    server.customer.delete(&path).await.fails(403, "forbidden");
}

async fn a_contact_is_changed_at_the_version_that_was_seen(t: Testbed) {
    let server = Server::over(t);
    let made = server.staff.post("/contacts", ada()).await.expect(201);
    let path = format!("/contacts/{}", text(&made.data()["id"]));
    server.staff.patch(&path, json!({ "name": "Ada L", "version": 1 })).await.expect(200);
    server.staff.patch(&path, json!({ "name": "x", "version": 1 })).await.fails(409, "version_conflict");
    server.staff.with("if-match", "\"1\"").patch(&path, json!({ "name": "x" })).await.fails(412, "stale");
    server.staff.with("if-match", "\"1\"").delete(&path).await.fails(412, "stale");
    server.staff.with("if-match", "\"2\"").delete(&path).await.expect(204);
}

async fn contacts_are_listed_page_by_page(t: Testbed) {
    let server = Server::over(t);
    for name in ["Ann", "Ben", "Cid"] {
        let body = json!({ "name": name, "email": format!("{name}@example.org") });
        server.staff.post("/contacts", body).await.expect(201);
    }
    let first = server.staff.get("/contacts?limit=2&count=true").await.expect(200);
    assert_eq!(
        (first.each("name"), &first.json["meta"]["total"]),
        (vec!["Cid".into(), "Ben".into()], &3.into())
    );
    let cursor = text(&first.json["meta"]["next_cursor"]);
    let second = server.staff.get(&format!("/contacts?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((second.each("name"), &second.json["meta"]["has_more"]), (vec!["Ann".into()], &false.into()));
    assert_eq!(server.staff.get("/contacts?q=ben@").await.expect(200).each("name"), ["Ben"]);
    assert_eq!(server.staff.get("/contacts?offset=2").await.expect(200).each("name"), ["Ann"]);
    server.staff.get("/contacts?limit=0&cursor=x&name=y").await.blames(&[
        ("cursor", "invalid"),
        ("limit", "invalid"),
        ("name", "unknown"),
    ]);
}

async fn what_cannot_be_a_contact_is_refused(t: Testbed) {
    let server = Server::over(t);
    let staff = &server.staff;
    staff.post("/contacts", json!({})).await.blames(&[("email", "required"), ("name", "required")]);
    let odd =
        json!({ "name": "a\nb", "email": "nobody", "phone": "1".repeat(51), "organization": 1, "id": 2 });
    staff.post("/contacts", odd).await.blames(&[
        ("email", "invalid"),
        ("id", "unknown"),
        ("name", "control_characters"),
        ("organization", "type"),
        ("phone", "too_long"),
    ]);
    let made = staff.post("/contacts", ada()).await.expect(201);
    staff.post("/contacts", ada()).await.fails(409, "address_taken");
    let path = format!("/contacts/{}", text(&made.data()["id"]));
    staff
        .patch(&path, json!({ "name": null, "email": null }))
        .await
        .blames(&[("email", "required"), ("name", "required")]);
    staff.get("/contacts/none").await.fails(404, "not_found");
}

async fn tickets_keep_their_own_copy_and_are_found_by_it(t: Testbed) {
    let server = Server::over(t);
    let made = server.staff.post("/contacts", ada()).await.expect(201);
    let ticket = server.open(json!({ "contact": { "name": "Ada", "email": "ada@example.org" } })).await;
    server.open(json!({})).await;
    let path = format!("/contacts/{}", text(&made.data()["id"]));
    server.staff.delete(&path).await.expect(204);
    let found = server.staff.get("/tickets?contact=ADA@example.org&count=true").await.expect(200);
    assert_eq!(
        (found.each("number"), &found.json["meta"]["total"]),
        (vec![text(&ticket["number"]).to_owned()], &1.into())
    );
    assert_eq!(found.data()[0]["contact"]["name"], "Ada");
    assert_eq!(server.staff.get("/tickets?contact=ada").await.expect(200).each("number"), [""; 0]);
}
