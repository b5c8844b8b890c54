//! Programs that are told of events, as an admin keeps them.

use serde_json::{Value, json};
use shared::domain::definition::Kind;
use shared::domain::role::Role;
use shared::on_both;
use shared::store::deliveries::{self, Delivery, State};
use shared::store::webhooks;
use shared::testkit::{self, Testbed};

use crate::answer::{Answer, text};
use crate::server::{Client, Server};

on_both! {
    a_webhook_is_made_shown_changed_and_deleted,
    a_secret_is_shown_where_it_was_made_and_nowhere_else,
    only_an_admin_sees_and_changes_webhooks,
    what_a_webhook_cannot_be_is_refused_all_at_once,
    private_addresses_are_refused,
    somebody_else_changed_it_meanwhile,
    deliveries_are_listed_and_sent_again,
}

async fn admin(server: &Server) -> Client {
    let admin = testkit::user("ada@example.org", Role::Admin);
    server.add_user(&admin).await;
    server.client(admin.id)
}

const URL: &str = "https://hooks.example.org/one";

async fn create(admin: &Client, name: &str) -> Answer {
    admin.post("/webhooks", json!({ "name": name, "url": URL })).await.expect(201)
}

fn path(webhook: &Answer, below: &str) -> String {
    format!("/webhooks/{}{below}", text(&webhook.data()["id"]))
}

async fn a_webhook_is_made_shown_changed_and_deleted(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let team = server.bed.define(Kind::Team, "Web", json!({ "members": [], "email": null })).await.id;
    let made = create(&admin, "One").await;
    let shown = admin.get(&path(&made, "")).await.expect(200);
    let mut expected = made.data().clone();
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.data(), &expected);
    assert_eq!(
        (&expected["types"], &expected["enabled"], &expected["internal"]),
        (&json!(["*"]), &json!(true), &json!(false))
    );
    let edit = json!({ "types": ["sla.breached", "ticket.created", "sla.breached"], "team_id": team, "enabled": false });
    let edited = admin.patch(&path(&made, ""), edit).await.expect(200);
    assert_eq!(edited.data()["types"], json!(["sla.breached", "ticket.created"]));
    assert_eq!((&edited.data()["team_id"], &edited.data()["version"]), (&json!(team), &json!(2)));
    assert_eq!((&edited.data()["name"], &edited.data()["url"]), (&json!("One"), &json!(URL)));
    let edited = admin.patch(&path(&made, ""), json!({ "team_id": null })).await.expect(200);
    assert_eq!((&edited.data()["team_id"], &edited.data()["enabled"]), (&Value::Null, &json!(false)));
    let other = create(&admin, "Two").await;
    admin.post("/webhooks", json!({ "name": "Two", "url": URL })).await.fails(409, "name_taken");
    let list = admin.get("/webhooks?limit=1&count=true").await.expect(200);
    assert_eq!((list.each("name"), &list.json["meta"]["total"]), (vec!["Two".to_owned()], &json!(2)));
    let next = format!("/webhooks?cursor={}", text(&list.json["meta"]["next_cursor"]));
    assert_eq!(admin.get(&next).await.expect(200).each("name"), ["One"]);
    admin.delete(&path(&other, "")).await.expect(204);
    for answer in [
        admin.get(&path(&other, "")).await,
        admin.delete(&path(&other, "")).await,
        admin.act(&path(&other, "/test")).await,
    ] {
        answer.fails(404, "not_found");
    }
    admin.get("/webhooks/one").await.fails(404, "not_found");
}

async fn a_secret_is_shown_where_it_was_made_and_nowhere_else(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = create(&admin, "One").await;
    let secret = text(&made.data()["secret"]).to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 38, "{secret}");
    let rotated = admin.act(&path(&made, "/rotate-secret")).await.expect(200);
    assert_ne!(rotated.data()["secret"], json!(secret));
    assert_eq!(rotated.data()["old_secret_until"], "2027-01-16T08:00:00Z");
    for answer in [
        admin.get("/webhooks").await,
        admin.get(&path(&made, "")).await,
        admin.patch(&path(&made, ""), json!({ "name": "Other" })).await,
        admin.act(&path(&made, "/test")).await,
        admin.get(&path(&made, "/deliveries")).await,
    ] {
        assert!((200..300).contains(&answer.status) && !answer.text.contains("whsec_"), "{}", answer.text);
    }
    // A request that is repeated finds the webhook, but no secret: none is kept with the answer.
    let (keyed, body) = (admin.with("idempotency-key", "once"), json!({ "name": "Twice", "url": URL }));
    assert!(keyed.post("/webhooks", body.clone()).await.expect(201).text.contains("whsec_"));
    let again = keyed.post("/webhooks", body).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), again.text.contains("whsec_")), (Some("true"), false));
    // Nobody chooses it, so that none is weak.
    let chosen = json!({ "name": "Mine", "url": URL, "secret": "whsec_aGVsbG8=" });
    admin.post("/webhooks", chosen).await.blames(&[("secret", "unknown")]);
}

async fn only_an_admin_sees_and_changes_webhooks(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = create(&admin, "One").await;
    let manager = testkit::user("max@example.org", Role::Manager);
    server.add_user(&manager).await;
    for caller in [server.client(manager.id), server.staff.clone(), server.customer.clone()] {
        for answer in [
            caller.get("/webhooks").await,
            caller.get(&path(&made, "")).await,
            caller.post("/webhooks", json!({})).await,
            caller.patch(&path(&made, ""), json!({})).await,
            caller.delete(&path(&made, "")).await,
            caller.act(&path(&made, "/rotate-secret")).await,
            caller.act(&path(&made, "/test")).await,
            caller.get(&path(&made, "/deliveries")).await,
            caller.act(&path(&made, "/deliveries/0/resend")).await,
        ] {
            answer.fails(403, "forbidden");
        }
    }
    server.anybody.get("/webhooks").await.fails(401, "unauthorized");
}

async fn what_a_webhook_cannot_be_is_refused_all_at_once(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    admin.post("/webhooks", json!({})).await.blames(&[("name", "required"), ("url", "required")]);
    let wrong = json!({
        "name": "", "url": "ftp://example.org", "types": ["*", "ticket.exploded"], "internal": "yes", "enabled": 1,
        "team_id": "00000000-0000-7000-8000-000000000000", "colour": "red",
    });
    admin.post("/webhooks", wrong).await.blames(&[
        ("name", "empty"),
        ("url", "invalid"),
        ("types[1]", "unknown_value"),
        ("internal", "type"),
        ("enabled", "type"),
        ("team_id", "unknown_team"),
        ("colour", "unknown"),
    ]);
    for types in [json!([]), json!([7])] {
        let answer = admin.post("/webhooks", json!({ "name": "One", "url": URL, "types": types })).await;
        assert_eq!(
            answer.expect(422).json["errors"][0]["field"].as_str().map(|field| &field[..5]),
            Some("types")
        );
    }
}

async fn private_addresses_are_refused(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = create(&admin, "One").await;
    for host in
        ["127.0.0.1", "127.1", "0x7f000001", "[::1]", "[::ffff:10.0.0.1]", "10.1.2.3", "169.254.169.254"]
    {
        let url = format!("http://{host}/hook");
        let answer = admin.post("/webhooks", json!({ "name": "In", "url": url })).await;
        assert!(answer.blames(&[("url", "invalid")]).text.contains("private address"), "{host}");
        admin.patch(&path(&made, ""), json!({ "url": url })).await.blames(&[("url", "invalid")]);
    }
}

async fn somebody_else_changed_it_meanwhile(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = create(&admin, "One").await;
    admin.patch(&path(&made, ""), json!({ "name": "Other", "version": 1 })).await.expect(200);
    admin
        .patch(&path(&made, ""), json!({ "name": "Mine", "version": 1 }))
        .await
        .fails(409, "version_conflict");
    let stale = admin.with("if-match", "\"1\"");
    stale.patch(&path(&made, ""), json!({ "name": "Mine" })).await.fails(412, "stale");
    stale.act(&path(&made, "/rotate-secret")).await.fails(412, "stale");
    stale.delete(&path(&made, "")).await.fails(412, "stale");
    admin.with("if-match", "\"2\"").delete(&path(&made, "")).await.expect(204);
}

async fn deliveries_are_listed_and_sent_again(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let made = create(&admin, "One").await;
    let other = create(&admin, "Two").await;
    let tested = admin.act(&path(&made, "/test")).await.expect(202);
    assert_eq!(
        (&tested.data()["type"], &tested.data()["state"]),
        (&json!("webhook.test"), &json!("pending"))
    );
    let ticket = server.open(json!({})).await;
    let now = server.bed.now();
    let mut tx = server.bed.db.begin().await.unwrap();
    deliveries::fan_out(&mut tx, 100, now).await.unwrap();
    let found = deliveries::get(&mut tx, text(&tested.data()["id"]).parse().unwrap()).await.unwrap().unwrap();
    let (state, settled_at, next_attempt_at) = (State::Failed, Some(now), None);
    let mut failed =
        Delivery { state, settled_at, next_attempt_at, attempts: 10, last_status: Some(500), ..found };
    assert!(deliveries::save(&mut tx, &mut failed, now).await.unwrap());
    let _ = tx.commit().await.unwrap();
    let list = admin.get(&path(&made, "/deliveries?count=true")).await.expect(200);
    assert_eq!(list.each("type"), ["ticket.created", "webhook.test"]);
    assert_eq!(list.data()[0]["ticket_id"], ticket["id"]);
    assert_eq!(list.json["meta"]["total"], 2);
    let failed = admin.get(&path(&made, "/deliveries?state=failed")).await.expect(200);
    assert_eq!((failed.each("id").len(), &failed.data()[0]["last_status"]), (1, &json!(500)));
    admin.get(&path(&made, "/deliveries?state=lost")).await.blames(&[("state", "unknown_value")]);
    let resend = format!("/deliveries/{}/resend", text(&tested.data()["id"]));
    admin.act(&path(&other, &resend)).await.fails(404, "not_found");
    admin.act(&path(&made, "/deliveries/1/resend")).await.fails(404, "not_found");
    let resent = admin.act(&path(&made, &resend)).await.expect(202);
    assert_eq!((&resent.data()["id"], &resent.data()["state"]), (&tested.data()["id"], &json!("pending")));
    assert_eq!(resent.data()["attempts"], 10);
    let mut tx = server.bed.db.begin().await.unwrap();
    let id = text(&made.data()["id"]).parse().unwrap();
    assert!(webhooks::disable(&mut tx, id, "Gone.", now).await.unwrap());
    let _ = tx.commit().await.unwrap();
    admin.act(&path(&made, &resend)).await.fails(409, "webhook_disabled");
    admin.act(&path(&made, "/test")).await.fails(409, "webhook_disabled");
    assert_eq!(admin.get(&path(&made, "")).await.expect(200).data()["disabled_reason"], "Gone.");
}
