//! Accounts over HTTP.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Client, Server};
use crate::signing_in::{LOGIN, credentials};

on_both! {
    an_admin_adds_an_account_that_can_sign_in,
    a_made_password_is_shown_once_and_never_again,
    staff_see_accounts_and_end_users_do_not,
    only_an_admin_changes_accounts,
    an_account_is_changed_at_the_version_that_was_seen,
    the_last_admin_can_be_neither_disabled_nor_demoted,
    a_disabled_account_is_locked_out_at_once_and_comes_back,
    a_password_that_an_admin_sets_signs_the_user_out,
    the_history_of_an_account_tells_who_changed_what,
    accounts_are_listed_page_by_page,
    what_cannot_be_an_account_is_refused,
}

async fn admin(server: &Server) -> Client {
    server.hire("ada@example.org", Role::Admin).await.1
}

fn lea() -> Value {
    json!({ "email": "Lea@Example.org", "name": "Lea", "role": "team_lead", "password": "correct horse battery" })
}

fn one(account: &Value) -> String {
    format!("/users/{}", text(&account["id"]))
}

async fn an_admin_adds_an_account_that_can_sign_in(t: Testbed) {
    let server = Server::over(t);
    let made = admin(&server).await.post("/users", lea()).await.expect(201);
    let lea = made.data();
    let told = json!({
        "id": lea["id"], "email": "lea@example.org", "name": "Lea", "role": "team_lead", "disabled_at": null,
        "version": 1, "created_at": server.bed.now(), "password": null,
    });
    assert_eq!(*lea, told);
    server.anybody.post(LOGIN, credentials("lea@example.org", "correct horse battery")).await.expect(200);
    assert_eq!(server.staff.get(&one(lea)).await.expect(200).data()["name"], "Lea");
}

async fn a_made_password_is_shown_once_and_never_again(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await.with("idempotency-key", "hire Gus");
    let gus = json!({ "email": "gus@example.org", "name": "Gus", "role": "end_user" });
    let made = admin.post("/users", gus.clone()).await.expect(201);
    let password = text(&made.data()["password"]).to_owned();
    assert!(password.len() >= 20);
    server.anybody.post(LOGIN, credentials("gus@example.org", &password)).await.expect(200);
    let again = admin.post("/users", gus).await.expect(201);
    assert_eq!(
        (again.header("idempotent-replayed"), &again.data()["password"]),
        (Some("true"), &Value::Null)
    );
    assert_eq!(again.data()["id"], made.data()["id"]);
}

async fn staff_see_accounts_and_end_users_do_not(t: Testbed) {
    let server = Server::over(t);
    let list = server.staff.get("/users").await.expect(200);
    assert_eq!(list.each("name"), ["cleo", "sam"]);
    assert!(!list.text.contains("password"));
    let me = format!("/users/{}", server.bed.customer.id);
    for path in ["/users", &me] {
        server.customer.get(path).await.fails(403, "forbidden");
    }
    for path in ["/users/x", "/users/018f3c6e-0000-7000-8000-000000000000"] {
        server.staff.get(path).await.fails(404, "not_found");
    }
}

async fn only_an_admin_changes_accounts(t: Testbed) {
    let server = Server::over(t);
    let (path, before) = (format!("/users/{}", server.bed.customer.id), server.bed.customer.clone());
    for role in Role::ALL.iter().filter(|role| **role != Role::Admin) {
        let (_, client) = server.hire(&format!("{role}@example.org"), *role).await;
        client.post("/users", lea()).await.fails(403, "forbidden");
        client.patch(&path, json!({ "role": "admin" })).await.fails(403, "forbidden");
        client.delete(&path).await.fails(403, "forbidden");
        client.get(&format!("{path}/history")).await.fails(403, "forbidden");
    }
    assert_eq!(shared::store::users::get(&server.bed.db, before.id).await.unwrap(), Some(before));
}

async fn an_account_is_changed_at_the_version_that_was_seen(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = admin.post("/users", lea()).await.expect(201);
    let path = one(made.data());
    let changed =
        admin.patch(&path, json!({ "name": "Lea B", "role": "manager", "version": 1 })).await.expect(200);
    assert_eq!((&changed.data()["name"], &changed.data()["version"]), (&"Lea B".into(), &2.into()));
    admin.patch(&path, json!({ "name": "x", "version": 1 })).await.fails(409, "version_conflict");
    admin.with("if-match", "\"1\"").patch(&path, json!({ "name": "x" })).await.fails(412, "stale");
    admin.with("if-match", "\"1\"").delete(&path).await.fails(412, "stale");
    admin.patch(&path, json!({ "email": "Sam@example.org" })).await.fails(409, "address_taken");
    admin.post("/users", lea()).await.fails(409, "address_taken");
    let same = admin.patch(&path, json!({ "name": "Lea B" })).await.expect(200);
    assert_eq!(same.data()["version"], 2);
}

async fn the_last_admin_can_be_neither_disabled_nor_demoted(t: Testbed) {
    let server = Server::over(t);
    let (ada, admin) = server.hire("ada@example.org", Role::Admin).await;
    let path = format!("/users/{}", ada.id);
    admin.delete(&path).await.fails(409, "last_admin");
    admin.patch(&path, json!({ "disabled": true })).await.fails(409, "last_admin");
    admin.patch(&path, json!({ "role": "manager" })).await.fails(409, "last_admin");
    server.hire("bob@example.org", Role::Admin).await;
    admin.patch(&path, json!({ "role": "manager" })).await.expect(200);
    admin.get(&format!("{path}/history")).await.fails(403, "forbidden");
}

async fn a_disabled_account_is_locked_out_at_once_and_comes_back(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let path = format!("/users/{}", server.bed.staff.id);
    server.staff.get("/me").await.expect(200);
    for _ in 0..2 {
        admin.delete(&path).await.expect(204);
    }
    server.staff.get("/me").await.fails(401, "unauthorized");
    assert_ne!(admin.get(&path).await.expect(200).data()["disabled_at"], Value::Null);
    let back = admin.patch(&path, json!({ "disabled": false })).await.expect(200);
    assert_eq!((&back.data()["disabled_at"], &back.data()["version"]), (&Value::Null, &3.into()));
    server.staff.get("/me").await.expect(200);
}

async fn a_password_that_an_admin_sets_signs_the_user_out(t: Testbed) {
    let server = Server::over(t);
    let (ada, admin) = server.hire("ada@example.org", Role::Admin).await;
    server.bed.advance(TimeDelta::seconds(1));
    let new = json!({ "password": "correct horse battery" });
    admin.patch(&format!("/users/{}", server.bed.staff.id), new.clone()).await.expect(200);
    server.staff.get("/me").await.fails(401, "unauthorized");
    server.anybody.post(LOGIN, credentials("sam@example.org", "correct horse battery")).await.expect(200);
    admin.patch(&format!("/users/{}", ada.id), new).await.blames(&[("password", "invalid")]);
}

async fn the_history_of_an_account_tells_who_changed_what(t: Testbed) {
    let server = Server::over(t);
    let (ada, admin) = server.hire("ada@example.org", Role::Admin).await;
    let made = admin.post("/users", lea()).await.expect(201);
    let path = one(made.data());
    admin.patch(&path, json!({ "role": "manager", "password": "another horse battery" })).await.expect(200);
    admin.delete(&path).await.expect(204);
    let history = admin.get(&format!("{path}/history")).await.expect(200);
    assert_eq!(history.each("field"), ["account", "role", "password", "disabled"]);
    assert_eq!(history.each("new_value"), ["team_lead", "manager", "", "true"]);
    assert!(history.each("actor_id").iter().all(|actor| *actor == ada.id.to_string()));
    assert!(!history.text.contains("battery") && !history.text.contains("argon2"));
}

async fn accounts_are_listed_page_by_page(t: Testbed) {
    let server = Server::over(t);
    for i in 0..3 {
        server.hire(&format!("user{i}@example.org"), Role::Manager).await;
    }
    let mut path = "/users?limit=2&count=true".to_owned();
    let mut names = Vec::new();
    loop {
        let page = server.staff.get(&path).await.expect(200);
        names.extend(page.each("name"));
        assert_eq!(page.json["meta"]["total"], 5);
        let Some(cursor) = page.json["meta"]["next_cursor"].as_str() else { break };
        path = format!("/users?limit=2&count=true&cursor={cursor}");
    }
    assert_eq!(names, ["user2", "user1", "user0", "cleo", "sam"]);
    for (query, expected) in [
        ("role=manager&limit=1", &["user2"][..]),
        ("q=CLEO", &["cleo"]),
        ("q=user&offset=2", &["user0"]),
        ("disabled=true", &[]),
        ("disabled=false&role=end_user", &["cleo"]),
    ] {
        assert_eq!(
            server.staff.get(&format!("/users?{query}")).await.expect(200).each("name"),
            expected,
            "{query}"
        );
    }
    let odd = "role=king&disabled=maybe&cursor=x&limit=0&order=up";
    server.staff.get(&format!("/users?{odd}")).await.blames(&[
        ("cursor", "invalid"),
        ("disabled", "invalid"),
        ("limit", "invalid"),
        ("order", "unknown"),
        ("role", "unknown_value"),
    ]);
}

async fn what_cannot_be_an_account_is_refused(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let required = [("email", "required"), ("name", "required"), ("role", "required")];
    admin.post("/users", json!({})).await.blames(&required);
    let odd = json!({ "email": "a@b, c@d", "name": "a\nb", "role": "king", "password": "short", "id": 1 });
    admin.post("/users", odd).await.blames(&[
        ("email", "invalid"),
        ("id", "unknown"),
        ("name", "control_characters"),
        ("password", "invalid"),
        ("role", "unknown_value"),
    ]);
    let path = format!("/users/{}", server.bed.customer.id);
    let nulls = json!({ "name": null, "role": null, "disabled": "yes", "email": null });
    let blamed = [("disabled", "type"), ("email", "required"), ("name", "required"), ("role", "required")];
    admin.patch(&path, nulls).await.blames(&blamed);
}
