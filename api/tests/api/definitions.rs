//! What all kinds of definitions have in common.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::{text, without_ids};
use crate::server::Server;

on_both! {
    a_definition_is_made_read_changed_and_deleted,
    every_kind_has_the_same_routes,
    only_staff_may_see_and_change_definitions,
    a_name_belongs_to_one_definition_of_a_kind,
    everything_wrong_with_a_team_is_listed_at_once,
    a_stale_change_is_refused,
    a_change_that_says_the_same_is_no_version,
    versions_tell_who_said_what_when,
    a_team_that_is_used_cannot_be_deleted,
    a_definition_is_made_once_under_one_key,
    lists_come_page_by_page,
    what_does_not_exist_is_not_found,
}

pub(crate) const KINDS: [&str; 5] =
    ["calendars", "sla-policies", "escalation-policies", "schedules", "teams"];

/// A body that makes a definition of a kind.
pub(crate) fn body(t: &Testbed, kind: &str, name: &str) -> Value {
    let layer = json!({
        "name": "first",
        "users": [t.staff.id],
        "start": "2026-01-05",
        "handoff": "09:00",
        "turn": "weekly",
    });
    match kind {
        "calendars" => json!({ "name": name, "tz": "Europe/Berlin", "weekly": { "mon": ["09:00-17:00"] } }),
        "sla-policies" => json!({ "name": name, "targets": { "critical": { "resolution": "4h" } } }),
        "escalation-policies" => {
            json!({ "name": name, "steps": [{ "when": { "after": "15m" }, "targets": [{ "type": "assignee" }] }] })
        }
        "schedules" => json!({ "name": name, "tz": "Europe/Berlin", "layers": [layer] }),
        _ => json!({ "name": name, "members": [t.staff.id] }),
    }
}

/// Makes a definition.
pub(crate) async fn make(server: &Server, kind: &str, body: Value) -> Value {
    server.manager.post(&format!("/{kind}"), body).await.expect(201).json["data"].take()
}

/// The path of a definition, or of something below it.
pub(crate) fn at(kind: &str, made: &Value, below: &str) -> String {
    format!("/{kind}/{}{below}", text(&made["id"]))
}

async fn a_definition_is_made_read_changed_and_deleted(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&made), @r#"
        {
          "created_at": "2027-01-15T08:00:00Z",
          "email": null,
          "id": "(id)",
          "members": [
            "(id)"
          ],
          "name": "Web",
          "updated_at": "2027-01-15T08:00:00Z",
          "version": 1
        }
        "#);
    }
    let path = at("teams", &made, "");
    assert_eq!(*server.manager.get(&path).await.expect(200).data(), made);
    let changed = server.manager.patch(&path, json!({ "email": "web@example.org" })).await.expect(200);
    assert_eq!((&changed.data()["version"], &changed.data()["members"]), (&json!(2), &made["members"]));
    let cleared = server.manager.patch(&path, json!({ "email": null, "name": "Net" })).await.expect(200);
    assert_eq!((&cleared.data()["email"], &cleared.data()["name"]), (&Value::Null, &json!("Net")));
    server.manager.delete(&path).await.expect(204);
    server.manager.get(&path).await.fails(404, "not_found");
    assert_eq!(server.manager.get("/teams").await.expect(200).each("id"), [""; 0]);
}

async fn every_kind_has_the_same_routes(t: Testbed) {
    let server = Server::over(t);
    for kind in KINDS {
        let made = make(&server, kind, body(&server.bed, kind, "Web")).await;
        let path = at(kind, &made, "");
        let read = server.manager.get(&path).await.expect(200);
        for field in ["id", "name", "version", "created_at", "updated_at"] {
            assert_eq!(read.data()[field], made[field], "{kind}");
        }
        let renamed = server.manager.patch(&path, json!({ "name": "Net" })).await.expect(200);
        assert_eq!((renamed.header("etag"), &renamed.data()["name"]), (Some("\"2\""), &json!("Net")));
        assert_eq!(server.manager.get(&format!("/{kind}")).await.expect(200).each("name"), ["Net"]);
        assert_eq!(server.manager.get(&format!("/{kind}?name=Web")).await.expect(200).each("name"), [""; 0]);
        let versions = server.manager.get(&at(kind, &made, "/versions")).await.expect(200);
        assert_eq!(versions.each("name"), ["Net", "Web"]);
        server.manager.send("PUT", &format!("/api/v1{path}"), "{}").await.fails(405, "method_not_allowed");
        server.manager.delete(&path).await.expect(204);
        server.manager.delete(&path).await.fails(404, "not_found");
    }
}

async fn only_staff_may_see_and_change_definitions(t: Testbed) {
    let server = Server::over(t);
    for kind in KINDS {
        let made = make(&server, kind, body(&server.bed, kind, "Web")).await;
        let (all, one) = (format!("/{kind}"), at(kind, &made, ""));
        server.customer.get(&all).await.fails(403, "forbidden");
        server.customer.get(&one).await.fails(403, "forbidden");
        server.customer.get(&at(kind, &made, "/versions")).await.fails(403, "forbidden");
        server.customer.post(&all, json!({})).await.fails(403, "forbidden");
        server.customer.patch(&one, json!({})).await.fails(403, "forbidden");
        let refused = server.customer.delete(&one).await.fails(403, "forbidden");
        let why = "Only team leads, managers and admins may change calendars, policies, schedules and teams.";
        assert_eq!(refused.message(), why);
        server.staff.get(&one).await.expect(200);
        server.staff.patch(&one, json!({})).await.fails(403, "forbidden");
        server.anybody.get(&all).await.fails(401, "unauthorized");
    }
}

async fn a_name_belongs_to_one_definition_of_a_kind(t: Testbed) {
    let server = Server::over(t);
    for kind in KINDS {
        let first = make(&server, kind, body(&server.bed, kind, "Web")).await;
        let again = server.manager.post(&format!("/{kind}"), body(&server.bed, kind, "Web")).await;
        let again = again.fails(409, "name_taken");
        assert!(again.message().ends_with(" with the name Web: choose another."), "{}", again.message());
        make(&server, kind, body(&server.bed, kind, "Net")).await;
        server.manager.patch(&at(kind, &first, ""), json!({ "name": "Net" })).await.fails(409, "name_taken");
    }
}

async fn everything_wrong_with_a_team_is_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let (sam, nobody) = (server.bed.staff.id, shared::ids::UserId::new());
    let bad = json!({ "members": [sam, sam, nobody, 7, "x", null], "email": "web", "nmae": "Web" });
    server.manager.post("/teams", bad.clone()).await.blames(&[
        ("name", "required"),
        ("members[1]", "invalid"),
        ("members[2]", "invalid"),
        ("members[3]", "type"),
        ("members[4]", "invalid"),
        ("members[5]", "required"),
        ("email", "invalid"),
        ("nmae", "unknown"),
    ]);
    server.manager.post("/teams", json!({})).await.blames(&[("name", "required"), ("members", "required")]);
    let made = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let nulls = json!({ "name": null, "members": null, "email": null, "version": 0 });
    let edited = server.manager.patch(&at("teams", &made, ""), nulls).await;
    edited.blames(&[("name", "required"), ("members", "required"), ("version", "invalid")]);
    let edited = server.manager.patch(&at("teams", &made, ""), json!({ "members": sam })).await;
    edited.blames(&[("members", "type")]);
    let long =
        server.manager.post("/teams", json!({ "name": "x".repeat(101), "members": vec![1; 5_000] })).await;
    assert_eq!(long.expect(422).json["errors"].as_array().unwrap().len(), 1_000, "there is an end to it");
}

async fn a_stale_change_is_refused(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let path = at("teams", &made, "");
    server.manager.patch(&path, json!({ "name": "Net", "version": 1 })).await.expect(200);
    let stale = server.manager.patch(&path, json!({ "name": "Web", "version": 1 })).await;
    let stale = stale.fails(409, "version_conflict");
    assert_eq!(stale.message(), "The team is at version 2 by now: read it again and repeat the change.");
    let first = server.manager.with("if-match", "\"1\"");
    first.patch(&path, json!({ "name": "Web" })).await.fails(412, "stale");
    first.delete(&path).await.fails(412, "stale");
    let second = server.manager.with("if-match", "\"2\"");
    second.patch(&path, json!({ "name": "Web", "version": 1 })).await.blames(&[("version", "invalid")]);
    second.patch(&path, json!({ "name": "Web", "version": 2 })).await.expect(200);
    server.manager.with("if-match", "\"3\"").delete(&path).await.expect(204);
}

async fn a_change_that_says_the_same_is_no_version(t: Testbed) {
    let server = Server::over(t);
    for kind in KINDS {
        let body = body(&server.bed, kind, "Web");
        let made = make(&server, kind, body.clone()).await;
        server.bed.advance(chrono::TimeDelta::seconds(1));
        for same in [json!({}), body] {
            let edited = server.manager.patch(&at(kind, &made, ""), same).await.expect(200);
            assert_eq!(*edited.data(), made);
        }
    }
}

async fn versions_tell_who_said_what_when(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    server.bed.advance(chrono::TimeDelta::seconds(1));
    server.manager.patch(&at("teams", &made, ""), json!({ "members": [] })).await.expect(200);
    let versions = server.manager.get(&at("teams", &made, "/versions")).await.expect(200);
    assert_eq!(versions.data()[1]["members"], made["members"]);
    let page = server.manager.get(&at("teams", &made, "/versions?limit=1")).await.expect(200);
    assert_eq!(*page.data(), json!([versions.data()[0]]));
    let next = format!("/versions?cursor={}", text(&page.json["meta"]["next_cursor"]));
    let page = server.manager.get(&at("teams", &made, &next)).await.expect(200);
    assert_eq!((page.data(), &page.json["meta"]["has_more"]), (&json!([versions.data()[1]]), &json!(false)));
    assert_eq!(versions.data()[0]["actor_id"], json!(server.bed.manager.id));
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&versions.data()[0]), @r#"
        {
          "actor_id": "(id)",
          "created_at": "2027-01-15T08:00:01Z",
          "email": null,
          "id": "(id)",
          "members": [],
          "name": "Web",
          "version": 2
        }
        "#);
    }
}

async fn a_team_that_is_used_cannot_be_deleted(t: Testbed) {
    let server = Server::over(t);
    let team = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let target = json!({ "type": "team", "id": team["id"] });
    let steps = json!([{ "when": { "after": "0s" }, "targets": [target] }]);
    let policy = make(&server, "escalation-policies", json!({ "name": "Loud", "steps": steps })).await;
    let refused = server.manager.delete(&at("teams", &team, "")).await.fails(409, "in_use");
    assert_eq!(refused.message(), "The team is used by the escalation policy Loud: change them first.");
    server.manager.delete(&at("escalation-policies", &policy, "")).await.expect(204);
    server.manager.delete(&at("teams", &team, "")).await.expect(204);
}

async fn a_definition_is_made_once_under_one_key(t: Testbed) {
    let server = Server::over(t);
    let keyed = server.manager.with("idempotency-key", "k-1");
    let first = keyed.post("/teams", body(&server.bed, "teams", "Web")).await.expect(201);
    let again = keyed.post("/teams", body(&server.bed, "teams", "Web")).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((again.data(), again.header("etag")), (first.data(), first.header("etag")));
    keyed.post("/teams", body(&server.bed, "teams", "Net")).await.fails(422, "key_reused");
}

async fn lists_come_page_by_page(t: Testbed) {
    let server = Server::over(t);
    for name in ["a", "b", "c"] {
        make(&server, "teams", body(&server.bed, "teams", name)).await;
        make(&server, "sla-policies", body(&server.bed, "sla-policies", name)).await;
    }
    let first = server.manager.get("/teams?limit=2&count=true").await.expect(200);
    assert_eq!(first.each("name"), ["c", "b"], "newest first");
    assert_eq!((&first.json["meta"]["total"], &first.json["meta"]["has_more"]), (&json!(3), &json!(true)));
    let cursor = text(&first.json["meta"]["next_cursor"]);
    let second = server.manager.get(&format!("/teams?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((second.each("name"), &second.json["meta"]["has_more"]), (vec!["a".into()], &json!(false)));
    let other = server.manager.get(&format!("/teams?sort=updated_at&cursor={cursor}")).await;
    other.blames(&[("cursor", "invalid")]);
    let policies = server.manager.get("/sla-policies").await.expect(200);
    assert_eq!(policies.each("name"), ["a", "b", "c"], "in the order in which they count");
    server.manager.get("/teams?sort=name&limit=0&colour=red").await.blames(&[
        ("sort", "unknown_value"),
        ("limit", "invalid"),
        ("colour", "unknown"),
    ]);
}

async fn what_does_not_exist_is_not_found(t: Testbed) {
    let server = Server::over(t);
    let team = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    for name in ["x", "00000000-0000-0000-0000-000000000000", text(&team["id"])] {
        let path = format!("/schedules/{name}");
        server.manager.get(&path).await.fails(404, "not_found");
        server.manager.patch(&path, json!({})).await.fails(404, "not_found");
        server.manager.delete(&path).await.fails(404, "not_found");
        server.manager.get(&format!("{path}/versions")).await.fails(404, "not_found");
        server.manager.get(&format!("{path}/on-call")).await.fails(404, "not_found");
    }
    let missing = server.manager.get("/sla-policies/x").await.fails(404, "not_found");
    assert_eq!(missing.message(), "There is no such SLA policy.");
}
