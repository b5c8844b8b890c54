//! API keys.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::domain::scope::Scope;
use shared::on_both;
use shared::store::query::query;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Client, Server};

on_both! {
    a_key_acts_as_its_owner_within_its_scopes,
    every_route_asks_for_a_scope_or_for_a_person,
    a_key_is_shown_once_and_stored_hashed,
    a_key_ends_when_it_is_revoked_or_expires_or_its_owner_is_disabled,
    what_is_no_key_is_refused,
    a_key_makes_no_key_that_may_more,
    a_key_neither_changes_passwords_nor_makes_accounts,
    one_sees_ones_own_keys_and_an_admin_all,
    a_key_is_renamed_and_narrowed,
    when_a_key_was_used_is_noted,
}

/// Makes a key and returns its view and whoever sends it.
async fn make(server: &Server, owner: &Client, scopes: &[&str]) -> (Value, Client) {
    let body = json!({ "name": "Monitoring", "scopes": scopes });
    let made = owner.post("/api-keys", body).await.expect(201).data().clone();
    let holder = server.anybody.with("x-api-key", text(&made["key"]));
    (made, holder)
}

fn one(key: &Value) -> String {
    format!("/api-keys/{}", text(&key["id"]))
}

async fn a_key_acts_as_its_owner_within_its_scopes(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = crate::server::at(&ticket, "");
    let (_, reads) = make(&server, &server.staff, &["tickets:read"]).await;
    reads.get(&path).await.expect(200);
    assert_eq!(reads.get("/me").await.expect(200).data()["email"], "sam@example.org");
    let refused = reads.patch(&path, json!({ "title": "x" })).await.fails(403, "forbidden");
    assert_eq!(refused.message(), "The API key lacks the scope tickets:write.");
    let keyed = reads.with("idempotency-key", "k").post("/tickets", json!({ "title": "x" })).await;
    assert_eq!(keyed.fails(403, "forbidden").message(), "The API key lacks the scope tickets:write.");
    let refused = reads.get("/teams").await.fails(403, "forbidden");
    assert_eq!(refused.message(), "The API key lacks the scope settings:read.");
    let (_, writes) = make(&server, &server.customer, &["tickets:write", "settings:read"]).await;
    writes.patch(&path, json!({ "title": "x" })).await.expect(200);
    writes.get(&path).await.fails(403, "forbidden");
    // The owner is an end user, and a key never makes more of them.
    writes.get("/teams").await.fails(403, "forbidden");
    writes
        .patch(&crate::server::at(&ticket, "/status"), json!({ "status": "resolved" }))
        .await
        .fails(403, "forbidden");
}

/// Whoever adds a family of routes says in `scopes.rs` what it needs; what is left to people only is listed here.
async fn every_route_asks_for_a_scope_or_for_a_person(t: Testbed) {
    const PEOPLE_ONLY: [&str; 3] =
        ["POST /api/v1/users", "PATCH /api/v1/users/{id}", "PUT /api/v1/me/password"];
    let server = Server::over(t);
    let (_, admin) = server.hire("ada@example.org", Role::Admin).await;
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let (_, everything) = make(&server, &admin, &all).await;
    let mut narrow = Vec::new();
    for scope in &all {
        narrow.push((*scope, make(&server, &admin, &[scope]).await.1));
    }
    let document: Value = serde_json::from_str(&server.anybody.page("GET", "/openapi.json").await.2).unwrap();
    let mut people_only = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == json!([]) {
                continue;
            }
            let there = path.replace("{id}", "none").replace("{override}", "none");
            let method = method.to_uppercase();
            let place = format!("{method} {path}");
            let is_stream = ["/events", "/export.csv"].iter().any(|end| path.ends_with(end));
            let refusal = async |client: &Client| {
                if is_stream {
                    let status = client.file(there.trim_start_matches("/api/v1")).await.status();
                    return (status == 403).then(|| "The API key lacks the scope of a stream.".to_owned());
                }
                let answer = client.send(&method, &there, "{").await;
                let message = answer.message().to_owned();
                (answer.status == 403 && message.contains("API key")).then_some(message)
            };
            if refusal(&everything).await.is_some() {
                people_only.push(place);
                continue;
            }
            let mut good = Vec::new();
            for (scope, client) in &narrow {
                match refusal(client).await {
                    None => good.push(*scope),
                    Some(message) => {
                        assert!(message.starts_with("The API key lacks the scope "), "{place}: {message}");
                    }
                }
            }
            let any = place == "GET /api/v1/me";
            assert_eq!(good.len(), if any { all.len() } else { 1 }, "{place}: {good:?}");
            let reads = good.iter().all(|scope| scope.ends_with(":read"));
            assert!(any || reads == (method == "GET"), "{place}: {good:?}");
        }
    }
    people_only.sort_unstable();
    let mut expected = PEOPLE_ONLY;
    expected.sort_unstable();
    assert_eq!(people_only, expected);
}

async fn a_key_is_shown_once_and_stored_hashed(t: Testbed) {
    let server = Server::over(t);
    let staff = server.staff.with("idempotency-key", "k");
    let body =
        json!({ "name": "Monitoring", "scopes": ["tickets:read", "tickets:read"], "expires_at": null });
    let made = staff.post("/api-keys", body.clone()).await.expect(201);
    let key = text(&made.data()["key"]).to_owned();
    assert!(key.starts_with(&format!("{}_", text(&made.data()["prefix"]))) && key.len() == 79, "{key}");
    assert_eq!(made.data()["scopes"], json!(["tickets:read"]));
    let again = staff.post("/api-keys", body).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.data()["key"]), (Some("true"), &Value::Null));
    for path in ["/api-keys", &one(made.data())] {
        assert!(!server.staff.get(path).await.expect(200).text.contains(&key));
    }
    let secret = key.rsplit_once('_').map(|(_, secret)| secret).unwrap();
    let stored: Vec<(String,)> = query("SELECT secret_hash FROM api_keys").all(&server.bed.db).await.unwrap();
    assert!(stored.len() == 1 && stored[0].0.len() == 64 && !stored[0].0.contains(secret));
    let bodies: Vec<(Option<String>,)> =
        query("SELECT body FROM idempotency_keys").all(&server.bed.db).await.unwrap();
    assert!(bodies.iter().all(|(body,)| body.as_ref().is_none_or(|body| !body.contains(secret))));
}

async fn a_key_ends_when_it_is_revoked_or_expires_or_its_owner_is_disabled(t: Testbed) {
    let server = Server::over(t);
    let (key, holder) = make(&server, &server.staff, &["tickets:read"]).await;
    holder.get("/tickets").await.expect(200);
    server.staff.delete(&one(&key)).await.expect(204);
    holder.get("/tickets").await.fails(401, "unauthorized");
    server.staff.delete(&one(&key)).await.fails(404, "not_found");
    let until = server.bed.now() + TimeDelta::hours(1);
    let body = json!({ "name": "Brief", "scopes": ["tickets:read"], "expires_at": until });
    let brief = server.staff.post("/api-keys", body).await.expect(201);
    let brief = server.anybody.with("x-api-key", text(&brief.data()["key"]));
    server.bed.advance(TimeDelta::seconds(3599));
    brief.get("/tickets").await.expect(200);
    server.bed.advance(TimeDelta::seconds(1));
    brief.get("/tickets").await.fails(401, "unauthorized");
    let (_, last) = make(&server, &server.staff, &["tickets:read"]).await;
    let (_, admin) = server.hire("ada@example.org", Role::Admin).await;
    admin.delete(&format!("/users/{}", server.bed.staff.id)).await.expect(204);
    last.get("/tickets").await.fails(401, "unauthorized");
}

async fn what_is_no_key_is_refused(t: Testbed) {
    let server = Server::over(t);
    let (made, _) = make(&server, &server.staff, &["tickets:read"]).await;
    let key = text(&made["key"]);
    let other = make(&server, &server.staff, &["tickets:read"]).await.0;
    let mixed = format!("{}_{}", text(&other["prefix"]), &key[36..]);
    for odd in ["", "dw_", &key[..key.len() - 1], &key.to_uppercase(), &mixed, "\u{e9}", &format!("{key}x")] {
        server.anybody.with("x-api-key", odd).get("/tickets").await.fails(401, "unauthorized");
    }
    server.staff.post("/api-keys", json!({})).await.blames(&[("name", "required"), ("scopes", "required")]);
    let past = server.bed.now() - TimeDelta::seconds(1);
    let odd = json!({ "name": "", "scopes": ["everything"], "expires_at": past, "user_id": "x" });
    let blamed = [
        ("expires_at", "invalid"),
        ("name", "empty"),
        ("scopes[0]", "unknown_value"),
        ("user_id", "unknown"),
    ];
    server.staff.post("/api-keys", odd).await.blames(&blamed);
    let none = json!({ "name": "x", "scopes": [] });
    server.staff.post("/api-keys", none).await.blames(&[("scopes", "empty")]);
}

async fn a_key_makes_no_key_that_may_more(t: Testbed) {
    let server = Server::over(t);
    let until = server.bed.now() + TimeDelta::hours(1);
    let scopes = ["settings:read", "settings:write"];
    let body = json!({ "name": "Brief", "scopes": scopes, "expires_at": until });
    let own = server.staff.post("/api-keys", body).await.expect(201);
    let holder = server.anybody.with("x-api-key", text(&own.data()["key"]));
    let more = json!({ "name": "x", "scopes": ["settings:read", "tickets:read"], "expires_at": until });
    let refused = holder.post("/api-keys", more).await.blames(&[("scopes", "invalid")]);
    assert!(refused.text.contains("lacks tickets:read itself"), "{}", refused.text);
    let longer =
        json!({ "name": "x", "scopes": ["settings:read"], "expires_at": until + TimeDelta::seconds(1) });
    holder.post("/api-keys", longer).await.blames(&[("expires_at", "invalid")]);
    holder
        .post("/api-keys", json!({ "name": "x", "scopes": ["settings:read"] }))
        .await
        .blames(&[("expires_at", "invalid")]);
    holder
        .patch(&one(own.data()), json!({ "scopes": ["tickets:write"] }))
        .await
        .blames(&[("scopes", "invalid")]);
    let less = json!({ "name": "x", "scopes": ["settings:read"], "expires_at": until });
    holder.post("/api-keys", less).await.expect(201);
}

async fn a_key_neither_changes_passwords_nor_makes_accounts(t: Testbed) {
    let server = Server::over(t);
    let (_, admin) = server.hire("ada@example.org", Role::Admin).await;
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let (_, holder) = make(&server, &admin, &all).await;
    let change = json!({ "old_password": "x", "new_password": "correct horse battery" });
    let path = format!("/users/{}", server.bed.staff.id);
    for refused in [
        holder.put("/me/password", change).await,
        holder.patch(&path, json!({ "password": "correct horse battery" })).await,
        holder.patch(&path, json!({ "role": "admin" })).await,
        holder.post("/users", json!({})).await,
    ] {
        let message = refused.fails(403, "forbidden").message().to_owned();
        assert_eq!(message, "An API key may not be used for this; sign in instead.");
    }
    holder.get(&path).await.expect(200);
    holder.delete(&path).await.expect(204);
}

async fn one_sees_ones_own_keys_and_an_admin_all(t: Testbed) {
    let server = Server::over(t);
    let (_, admin) = server.hire("ada@example.org", Role::Admin).await;
    let sams = make(&server, &server.staff, &["tickets:read"]).await.0;
    let cleos = make(&server, &server.customer, &["tickets:read"]).await.0;
    let (sam, cleo) = (text(&sams["id"]), text(&cleos["id"]));
    assert_eq!(server.staff.get("/api-keys").await.expect(200).each("id"), [sam]);
    assert_eq!(server.customer.get("/api-keys?count=true").await.expect(200).json["meta"]["total"], 1);
    assert_eq!(admin.get("/api-keys").await.expect(200).each("id"), [cleo, sam]);
    let of_sam = format!("/api-keys?user={}", server.bed.staff.id);
    assert_eq!(admin.get(&of_sam).await.expect(200).each("id"), [sam]);
    assert_eq!(server.staff.get(&of_sam).await.expect(200).each("id"), [sam]);
    server.customer.get(&of_sam).await.fails(403, "forbidden");
    for path in [one(&sams), "/api-keys/none".to_owned()] {
        server.customer.get(&path).await.fails(404, "not_found");
        server.customer.patch(&path, json!({ "name": "x" })).await.fails(404, "not_found");
        server.customer.delete(&path).await.fails(404, "not_found");
    }
    admin.delete(&one(&sams)).await.expect(204);
    assert_eq!(server.staff.get("/api-keys").await.expect(200).each("id"), [""; 0]);
    server.staff.get("/api-keys?user=x&limit=0&cursor=y&z=1").await.blames(&[
        ("cursor", "invalid"),
        ("limit", "invalid"),
        ("user", "invalid"),
        ("z", "unknown"),
    ]);
}

async fn a_key_is_renamed_and_narrowed(t: Testbed) {
    let server = Server::over(t);
    let (key, holder) = make(&server, &server.staff, &["tickets:read", "tickets:write"]).await;
    let path = one(&key);
    let changed = server
        .staff
        .patch(&path, json!({ "name": "Reader", "scopes": ["tickets:read"], "version": 1 }))
        .await;
    assert_eq!(changed.expect(200).data()["version"], 2);
    holder.post("/tickets", json!({ "title": "x" })).await.fails(403, "forbidden");
    server.staff.patch(&path, json!({ "name": "x", "version": 1 })).await.fails(409, "version_conflict");
    server.staff.with("if-match", "\"1\"").delete(&path).await.fails(412, "stale");
    let nulls = json!({ "name": null, "scopes": null });
    server.staff.patch(&path, nulls).await.blames(&[("name", "required"), ("scopes", "required")]);
}

async fn when_a_key_was_used_is_noted(t: Testbed) {
    let server = Server::over(t);
    let (key, holder) = make(&server, &server.staff, &["tickets:read"]).await;
    let used = async || server.staff.get(&one(&key)).await.expect(200).data()["last_used_at"].clone();
    assert_eq!(used().await, Value::Null);
    holder.get("/tickets").await.expect(200);
    let first = used().await;
    assert_eq!(first, json!(server.bed.now()));
    server.bed.advance(TimeDelta::seconds(60));
    holder.get("/tickets").await.expect(200);
    assert_eq!(used().await, first);
    server.bed.advance(TimeDelta::seconds(1));
    holder.get("/tickets").await.expect(200);
    assert_eq!(used().await, json!(server.bed.now()));
}
