//! SLA policies.

use serde_json::json;
use shared::ids::DefinitionId;
use shared::on_both;
use shared::testkit::Testbed;

use crate::definitions::{at, body, make};
use crate::server::Server;

on_both! {
    a_policy_says_what_is_usual_where_nothing_is_given,
    a_policy_is_shown_as_it_was_written,
    everything_wrong_with_a_policy_is_listed_at_once,
    a_target_of_nothing_is_refused,
    what_a_policy_refers_to_must_exist,
    policies_stand_where_they_are_put,
    what_a_policy_uses_cannot_be_deleted,
}

const PATH: &str = "/sla-policies";

async fn a_policy_says_what_is_usual_where_nothing_is_given(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "sla-policies", body(&server.bed, "sla-policies", "Gold")).await;
    let expected = json!({
        "id": made["id"],
        "name": "Gold",
        "position": 1,
        "version": 1,
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
        "enabled": true,
        "match": {},
        "targets": { "critical": { "resolution": "4h" } },
        "calendar_id": null,
        "warn_at": [0.5, 0.75, 0.9],
        "pause_statuses": ["pending_info"],
        "escalation_policy_id": null,
        "mode": "retroactive",
        "findings": [],
    });
    assert_eq!(made, expected);
}

async fn a_policy_is_shown_as_it_was_written(t: Testbed) {
    let server = Server::over(t);
    let calendar = make(&server, "calendars", body(&server.bed, "calendars", "Office")).await;
    let team = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let escalation =
        make(&server, "escalation-policies", body(&server.bed, "escalation-policies", "Loud")).await;
    let policy = json!({
        "name": "Gold",
        "enabled": false,
        "match": {
            "category": ["incident"],
            "priority": ["critical", "high"],
            "team_id": [team["id"]],
            "label": ["vip"],
            "environment": ["production"],
            "contact": ["@example.org"],
        },
        "targets": {
            "critical": { "first_response": "15m", "next_response": "30m", "resolution": "1h30m" },
            "high": { "resolution": "2d" },
        },
        "calendar_id": calendar["id"],
        "warn_at": [0.25, 1.0],
        "pause_statuses": [],
        "escalation_policy_id": escalation["id"],
        "mode": "carry_fraction",
    });
    let made = make(&server, "sla-policies", policy.clone()).await;
    for (field, value) in policy.as_object().unwrap() {
        assert_eq!(made[field], *value, "{field}");
    }
    let path = at("sla-policies", &made, "");
    let plain = json!({ "match": null, "calendar_id": null, "escalation_policy_id": null });
    let plain = server.manager.patch(&path, plain).await.expect(200);
    assert_eq!((&plain.data()["match"], &plain.data()["calendar_id"]), (&json!({}), &json!(null)));
    assert_eq!(plain.data()["targets"], policy["targets"]);
}

async fn everything_wrong_with_a_policy_is_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let bad = json!({
        "name": 7,
        "enabled": "yes",
        "position": -1,
        "match": { "category": ["outage", "incident"], "priority": [], "color": ["red"], "label": "vip" },
        "targets": { "urgent": {}, "critical": { "resolution": "-4h", "lunch": "1h" }, "high": { "resolution": 4 } },
        "warn_at": [0, 0.5, "0.7", 1.5],
        "pause_statuses": ["closed", "asleep"],
        "calendar_id": "office",
        "mode": "magic",
    });
    server.manager.post(PATH, bad).await.blames(&[
        ("name", "type"),
        ("enabled", "type"),
        ("position", "invalid"),
        ("match.category[0]", "unknown_value"),
        ("match.priority", "invalid"),
        ("match.color", "unknown"),
        ("match.label", "type"),
        ("targets.urgent", "unknown"),
        ("targets.critical.resolution", "invalid"),
        ("targets.critical.lunch", "unknown"),
        ("targets.high.resolution", "type"),
        ("warn_at[0]", "invalid"),
        ("warn_at[2]", "type"),
        ("pause_statuses[0]", "invalid"),
        ("pause_statuses[1]", "unknown_value"),
        ("calendar_id", "invalid"),
        ("mode", "unknown_value"),
    ]);
    let none = json!({ "name": "Gold", "targets": {} });
    server.manager.post(PATH, none).await.blames(&[("targets", "invalid")]);
    server.manager.post(PATH, json!({})).await.blames(&[("name", "required"), ("targets", "required")]);
}

async fn a_target_of_nothing_is_refused(t: Testbed) {
    let server = Server::over(t);
    for nothing in ["0s", "0m", "", "4", "1h1h", "4001d"] {
        let targets = json!({ "critical": { "resolution": nothing, "first_response": "1h" } });
        let refused =
            server.manager.post(PATH, json!({ "name": "Gold", "targets": targets })).await.expect(422);
        let errors = refused.json["errors"].as_array().unwrap();
        assert_eq!(
            (errors.len(), &errors[0]["field"]),
            (1, &json!("targets.critical.resolution")),
            "{nothing}"
        );
    }
}

async fn what_a_policy_refers_to_must_exist(t: Testbed) {
    let server = Server::over(t);
    let mut policy = body(&server.bed, "sla-policies", "Gold");
    policy["calendar_id"] = json!(DefinitionId::new());
    policy["escalation_policy_id"] = json!(DefinitionId::new());
    policy["match"] = json!({ "team_id": [DefinitionId::new()] });
    server.manager.post(PATH, policy).await.blames(&[
        ("calendar_id", "invalid"),
        ("escalation_policy_id", "invalid"),
        ("match.team_id[0]", "invalid"),
    ]);
}

async fn policies_stand_where_they_are_put(t: Testbed) {
    let server = Server::over(t);
    let first = make(&server, "sla-policies", body(&server.bed, "sla-policies", "a")).await;
    let mut front = body(&server.bed, "sla-policies", "b");
    front["position"] = json!(0);
    make(&server, "sla-policies", front).await;
    assert_eq!(server.manager.get(PATH).await.expect(200).each("name"), ["b", "a"]);
    let moved =
        server.manager.patch(&at("sla-policies", &first, ""), json!({ "position": 0 })).await.expect(200);
    assert_eq!((&moved.data()["position"], &moved.data()["version"]), (&json!(0), &json!(2)));
    assert_eq!(
        server.manager.get(PATH).await.expect(200).each("name"),
        ["a", "b"],
        "the older one counts first"
    );
    let team = json!({ "name": "Web", "members": [], "position": 1 });
    server.manager.post("/teams", team).await.blames(&[("position", "unknown")]);
}

async fn what_a_policy_uses_cannot_be_deleted(t: Testbed) {
    let server = Server::over(t);
    let calendar = make(&server, "calendars", body(&server.bed, "calendars", "Office")).await;
    let mut policy = body(&server.bed, "sla-policies", "Gold");
    policy["calendar_id"] = calendar["id"].clone();
    let policy = make(&server, "sla-policies", policy).await;
    let refused = server.manager.delete(&at("calendars", &calendar, "")).await.fails(409, "in_use");
    assert_eq!(refused.message(), "The calendar is used by the SLA policy Gold: change them first.");
    server.manager.patch(&at("sla-policies", &policy, ""), json!({ "calendar_id": null })).await.expect(200);
    server.manager.delete(&at("calendars", &calendar, "")).await.expect(204);
}
