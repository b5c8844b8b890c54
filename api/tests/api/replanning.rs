//! Previews and re-plans of calendars and policies, and explanations of clocks.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::on_both;
use shared::store::replans;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::definitions::{at, make};
use crate::server::{self, Server};

on_both! {
    a_preview_lists_what_would_move_and_changes_nothing,
    a_bad_preview_is_refused_like_a_bad_change,
    a_change_is_applied_by_a_job_that_tells_its_progress,
    a_clock_is_explained_stretch_by_stretch,
    a_clock_around_the_clock_is_explained_too,
    a_ticket_is_given_to_a_team_and_comes_under_its_policy,
    a_policy_that_is_never_reached_is_doubted,
}

/// The testbed starts on a Friday at 08:00 UTC.
fn office() -> Value {
    let day = ["09:00-17:00"];
    json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day })
}

/// A calendar, and a policy of four hours by it.
async fn office_hours(server: &Server) -> [Value; 2] {
    let calendar = json!({ "name": "Office", "tz": "Europe/Berlin", "weekly": office() });
    let calendar = make(server, "calendars", calendar).await;
    let targets = json!({ "high": { "resolution": "4h" } });
    let policy = json!({ "name": "Office hours", "calendar_id": calendar["id"], "targets": targets });
    let policy = make(server, "sla-policies", policy).await;
    [calendar, policy]
}

async fn resolution(server: &Server, ticket: &Value) -> Value {
    let answer = server.manager.get(&server::at(ticket, "/sla")).await.expect(200);
    answer.data().as_array().unwrap().iter().find(|clock| clock["metric"] == "resolution").unwrap().clone()
}

async fn a_preview_lists_what_would_move_and_changes_nothing(t: Testbed) {
    let server = Server::over(t);
    let [calendar, policy] = office_hours(&server).await;
    let ticket = server.open(json!({ "priority": "high" })).await;
    let before = resolution(&server, &ticket).await;
    assert_eq!(before["due_at"], "2027-01-15T12:00:00Z");
    let closed = json!({ "overrides": { "2027-01-15": [] } });
    let found = server.manager.post(&at("calendars", &calendar, "/preview"), closed).await.expect(200);
    let found = found.data();
    assert_eq!(
        (&found["examined"], &found["would_move"], &found["would_breach"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!((&found["complete"], &found["mode"]), (&json!(true), &json!("retroactive")));
    let moved = &found["clocks"][0];
    assert_eq!((&moved["ticket"], &moved["clock_id"]), (&ticket["number"], &before["id"]));
    assert_eq!(
        (&moved["due_before"], &moved["due_after"]),
        (&json!("2027-01-15T12:00:00Z"), &json!("2027-01-18T12:00:00Z"))
    );
    server.bed.advance(TimeDelta::hours(2));
    let shorter = json!({ "targets": { "high": { "resolution": "1h" } } });
    let found = server.manager.post(&at("sla-policies", &policy, "/preview"), shorter).await.expect(200);
    assert_eq!(found.data()["would_breach"], 1);
    server.customer.post(&at("calendars", &calendar, "/preview"), json!({})).await.fails(403, "forbidden");
    assert_eq!(resolution(&server, &ticket).await["due_at"], before["due_at"]);
    assert_eq!(server.manager.get(&at("calendars", &calendar, "")).await.expect(200).data()["version"], 1);
}

async fn a_bad_preview_is_refused_like_a_bad_change(t: Testbed) {
    let server = Server::over(t);
    let [calendar, policy] = office_hours(&server).await;
    let bad = json!({ "tz": "Mars/Olympus", "mode": "gently", "colour": "red" });
    let answer = server.manager.post(&at("calendars", &calendar, "/preview"), bad).await.expect(422);
    let fields: Vec<&str> =
        answer.json["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect();
    assert_eq!(fields.len(), 3, "{fields:?}");
    let zero = json!({ "targets": { "high": { "resolution": "0s" } } });
    server.manager.post(&at("sla-policies", &policy, "/preview"), zero).await.expect(422);
    server.manager.post("/teams/nobody/preview", json!({})).await.fails(404, "not_found");
    server.manager.get("/replans/nobody").await.fails(404, "not_found");
}

async fn a_change_is_applied_by_a_job_that_tells_its_progress(t: Testbed) {
    let server = Server::over(t);
    let [_, policy] = office_hours(&server).await;
    let ticket = server.open(json!({ "priority": "high" })).await;
    let shorter = json!({ "targets": { "high": { "resolution": "1h" } } });
    server.manager.patch(&at("sla-policies", &policy, ""), shorter).await.expect(200);
    let keyed = server.manager.with("idempotency-key", "apply-1");
    let begun =
        keyed.post(&at("sla-policies", &policy, "/apply"), json!({ "mode": "restart" })).await.expect(202);
    assert_eq!((&begun.data()["state"], &begun.data()["mode"]), (&json!("waiting"), &json!("restart")));
    let again =
        keyed.post(&at("sla-policies", &policy, "/apply"), json!({ "mode": "restart" })).await.expect(202);
    assert_eq!(again.data()["id"], begun.data()["id"]);
    let path = format!("/replans/{}", text(&begun.data()["id"]));
    // The worker's part, batch by batch.
    let id = text(&begun.data()["id"]).parse().unwrap();
    for state in ["running", "done"] {
        let mut tx = server.bed.db.begin().await.unwrap();
        let mut replan = replans::lock(&mut tx, id).await.unwrap().unwrap();
        server.bed.desk.carry_on(&mut tx, &mut replan).await.unwrap();
        let _ = tx.commit().await.unwrap();
        let shown = server.manager.get(&path).await.expect(200);
        assert_eq!((&shown.data()["state"], &shown.data()["moved"]), (&json!(state), &json!(1)));
    }
    assert_eq!(resolution(&server, &ticket).await["due_at"], "2027-01-15T09:00:00Z");
}

async fn a_clock_is_explained_stretch_by_stretch(t: Testbed) {
    let server = Server::over(t);
    office_hours(&server).await;
    let ticket = server.open(json!({ "priority": "high" })).await;
    let clock = resolution(&server, &ticket).await;
    server.bed.advance(TimeDelta::hours(1));
    let path = |what: &str| format!("/slas/{}/{what}", text(&clock["id"]));
    server.manager.patch(&path("pause"), json!({ "reason": "vendor" })).await.expect(200);
    server.bed.advance(TimeDelta::hours(6));
    server.manager.patch(&path("resume"), json!({})).await.expect(200);
    let explained = server.manager.get(&path("explain")).await.expect(200);
    let data = explained.data();
    let told: Vec<(&str, &str, i64)> = data["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (text(&s["kind"]), text(&s["to_local"]), s["elapsed_ms"].as_i64().unwrap() / 60_000))
        .collect();
    let expected = [
        ("open", "2027-01-15T10:00:00+01:00", 60),
        ("paused", "2027-01-15T16:00:00+01:00", 60),
        ("open", "2027-01-15T17:00:00+01:00", 120),
        ("closed", "2027-01-18T09:00:00+01:00", 120),
        ("open", "2027-01-18T11:00:00+01:00", 240),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&data["calendar"]["name"], &data["clock"]["tz"]),
        (&json!("Office"), &json!("Europe/Berlin"))
    );
    assert_eq!(data["clock"]["due_at"], "2027-01-18T10:00:00Z");
    let kinds: Vec<&str> =
        data["events"].as_array().unwrap().iter().map(|event| text(&event["kind"])).collect();
    assert_eq!(kinds, ["started", "paused", "resumed"]);
    assert_eq!((&data["events"][1]["reason"], &data["more"]), (&json!("vendor"), &json!(false)));
    server.manager.get("/slas/nobody/explain").await.fails(404, "not_found");
}

async fn a_clock_around_the_clock_is_explained_too(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "high" })).await;
    let clock = resolution(&server, &ticket).await;
    let explained = server.manager.get(&format!("/slas/{}/explain", text(&clock["id"]))).await.expect(200);
    assert_eq!(explained.data()["calendar"], Value::Null);
    assert_eq!(explained.data()["segments"].as_array().unwrap().len(), 1);
}

async fn a_ticket_is_given_to_a_team_and_comes_under_its_policy(t: Testbed) {
    let server = Server::over(t);
    let team = make(&server, "teams", json!({ "name": "Web", "members": [server.bed.staff.id] })).await;
    let targets = json!({ "medium": { "resolution": "30m" } });
    let policy = json!({ "name": "Web", "match": { "team_id": [team["id"]] }, "targets": targets });
    let policy = make(&server, "sla-policies", policy).await;
    let version = server.manager.get(&at("sla-policies", &policy, "/versions")).await.expect(200);
    let version = version.data()[0]["id"].clone();
    let ticket = server.open(json!({ "team_id": team["id"] })).await;
    assert_eq!((&ticket["team_id"], &ticket["sla_policy_version_id"]), (&team["id"], &version));
    let other = server.open(json!({})).await;
    let given = json!({ "team_id": team["id"] });
    let given = server.manager.patch(&server::at(&other, ""), given).await.expect(200);
    assert_eq!(given.data()["sla_policy_version_id"], version);
    assert_eq!(resolution(&server, &other).await["due_at"], "2027-01-15T08:30:00Z");
    let unknown = json!({ "title": "x", "team_id": server.bed.staff.id });
    server.customer.post("/tickets", unknown).await.fails(422, "unknown_team");
}

async fn a_policy_that_is_never_reached_is_doubted(t: Testbed) {
    let server = Server::over(t);
    office_hours(&server).await;
    let targets = json!({ "high": { "resolution": "1h" } });
    let late = json!({ "name": "Late", "match": { "label": ["vip"] }, "targets": targets, "enabled": false });
    let made = make(&server, "sla-policies", late).await;
    let fields: Vec<&str> =
        made["findings"].as_array().unwrap().iter().map(|finding| text(&finding["field"])).collect();
    assert_eq!(fields, ["enabled", "match"]);
}
