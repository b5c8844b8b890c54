//! Escalation policies.

use serde_json::{Value, json};
use shared::ids::{DefinitionId, UserId};
use shared::on_both;
use shared::store::query::query;
use shared::testkit::Testbed;

use crate::definitions::{at, body, make};
use crate::server::Server;

on_both! {
    a_policy_is_shown_as_it_was_written,
    everything_wrong_with_a_policy_is_listed_at_once,
    delays_that_go_backwards_or_overlap_are_refused,
    what_a_policy_refers_to_must_exist,
    a_secret_is_never_shown_and_survives_a_change,
    doubts_are_told_on_saving_and_on_asking,
}

const PATH: &str = "/escalation-policies";

async fn a_policy_is_shown_as_it_was_written(t: Testbed) {
    let server = Server::over(t);
    let team = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let schedule = make(&server, "schedules", body(&server.bed, "schedules", "Web")).await;
    let sam = server.bed.staff.id;
    let steps = json!([
        { "when": { "fraction": 0.75 }, "targets": [{ "type": "assignee" }, { "type": "reporter" }], "actions": [] },
        {
            "when": { "after": "1h30m" },
            "targets": [
                { "type": "team", "id": team["id"] },
                { "type": "role", "role": "senior_engineer" },
                { "type": "on_call", "schedule_id": schedule["id"] },
                { "type": "user", "id": sam },
                { "type": "address", "email": "boss@example.org" },
                { "type": "webhook", "url": "https://example.org/hook" },
            ],
            "actions": [
                { "type": "reassign", "schedule_id": schedule["id"] },
                { "type": "raise_priority" },
                { "type": "set_escalated" },
            ],
        },
        { "when": { "after": "2h" }, "targets": [], "actions": [{ "type": "reassign", "user_id": sam }] },
    ]);
    let repeat = json!({ "times": 3, "every": "2h" });
    let made =
        make(&server, "escalation-policies", json!({ "name": "Loud", "steps": steps, "repeat": repeat }))
            .await;
    assert_eq!((&made["steps"], &made["repeat"], &made["findings"]), (&steps, &repeat, &json!([])));
    let path = at("escalation-policies", &made, "");
    let mut read = server.manager.get(&path).await.expect(200).json["data"].take();
    assert_eq!(read.get("findings"), None, "they are told on saving");
    read["findings"] = json!([]);
    assert_eq!(read, made);
    let once = server.manager.patch(&path, json!({ "repeat": null })).await.expect(200);
    assert_eq!((&once.data()["repeat"], &once.data()["steps"]), (&Value::Null, &steps));
}

async fn everything_wrong_with_a_policy_is_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let targets = json!([
        { "type": "assignee", "id": 7 },
        { "type": "manager" },
        { "type": "role", "role": "boss" },
        { "type": "address", "email": "boss" },
        { "type": "webhook", "url": "ftp://example.org", "secret": "********" },
        { "type": "on_call" },
        {},
        "assignee",
    ]);
    let bad = json!({
        "name": "Loud",
        "steps": [
            { "when": { "after": "soon" }, "targets": targets },
            { "when": { "fraction": 2 }, "targets": [{ "type": "assignee" }] },
            { "when": {} },
            { "when": { "fraction": 0.5, "after": "1h" } },
            {
                "when": { "after": "-5m" },
                "actions": [{ "type": "explode" }, { "type": "reassign" }, { "type": "reassign", "user_id": "sam" }],
            },
            { "targets": {} },
        ],
        "repeat": { "times": "3" },
    });
    server.manager.post(PATH, bad).await.blames(&[
        ("steps[0].when.after", "invalid"),
        ("steps[0].targets[0].id", "unknown"),
        ("steps[0].targets[1].type", "unknown_value"),
        ("steps[0].targets[2].role", "unknown_value"),
        ("steps[0].targets[3].email", "invalid"),
        ("steps[0].targets[4].secret", "invalid"),
        ("steps[0].targets[5].schedule_id", "required"),
        ("steps[0].targets[6].type", "required"),
        ("steps[0].targets[7]", "type"),
        ("steps[1].when.fraction", "invalid"),
        ("steps[2].when.after", "required"),
        ("steps[3].when.after", "invalid"),
        ("steps[4].when.after", "invalid"),
        ("steps[4].actions[0].type", "unknown_value"),
        ("steps[4].actions[1].user_id", "required"),
        ("steps[4].actions[2].user_id", "invalid"),
        ("steps[5].when", "required"),
        ("steps[5].targets", "type"),
        ("repeat.times", "invalid"),
        ("repeat.every", "required"),
    ]);
    let empty = json!({ "name": "Loud", "steps": [] });
    server.manager.post(PATH, empty).await.blames(&[("steps", "invalid")]);
    server.manager.post(PATH, json!({})).await.blames(&[("name", "required"), ("steps", "required")]);
}

async fn delays_that_go_backwards_or_overlap_are_refused(t: Testbed) {
    let server = Server::over(t);
    let step = |when: Value| json!({ "when": when, "targets": [{ "type": "assignee" }] });
    let policy = json!({
        "name": "Loud",
        "steps": [
            step(json!({ "fraction": 0.9 })),
            step(json!({ "fraction": 0.5 })),
            step(json!({ "after": "2h" })),
            step(json!({ "after": "1h" })),
            step(json!({ "fraction": 1 })),
            { "when": { "after": "3h" } },
        ],
        "repeat": { "times": 101, "every": "1h" },
    });
    server.manager.post(PATH, policy).await.blames(&[
        ("steps[1].when.fraction", "invalid"),
        ("steps[3].when.after", "invalid"),
        ("steps[4].when.fraction", "invalid"),
        ("steps[4].when.fraction", "invalid"),
        ("steps[5].targets", "invalid"),
        ("repeat.times", "invalid"),
    ]);
    let repeated = |every: &str| {
        let steps = [step(json!({ "after": "10m" })), step(json!({ "after": "1h" }))];
        json!({ "name": "Loud", "steps": steps, "repeat": { "times": 2, "every": every } })
    };
    for every in ["59m", "0s"] {
        server.manager.post(PATH, repeated(every)).await.blames(&[("repeat.every", "invalid")]);
    }
    server.manager.post(PATH, repeated("60m")).await.expect(201);
}

async fn what_a_policy_refers_to_must_exist(t: Testbed) {
    let server = Server::over(t);
    let team = make(&server, "teams", body(&server.bed, "teams", "Web")).await;
    let steps = json!([{
        "when": { "after": "0s" },
        "targets": [
            { "type": "team", "id": DefinitionId::new() },
            { "type": "on_call", "schedule_id": team["id"] },
            { "type": "user", "id": UserId::new() },
            { "type": "user", "id": server.bed.customer.id },
        ],
        "actions": [{ "type": "reassign", "user_id": UserId::new() }],
    }]);
    let refused = server.manager.post(PATH, json!({ "name": "Loud", "steps": steps })).await.blames(&[
        ("steps[0].targets[0].id", "invalid"),
        ("steps[0].targets[1].schedule_id", "invalid"),
        ("steps[0].targets[2].id", "invalid"),
        ("steps[0].actions[0].user_id", "invalid"),
    ]);
    let said: Vec<&str> = refused.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|error| error["message"].as_str())
        .collect();
    let user = "There is no such user.";
    assert_eq!(said, ["There is no such team.", "There is no such schedule.", user, user]);
}

async fn a_secret_is_never_shown_and_survives_a_change(t: Testbed) {
    let server = Server::over(t);
    let hook =
        |secret: &str| json!({ "type": "webhook", "url": "https://example.org/hook", "secret": secret });
    let steps = |secret: &str| json!([{ "when": { "after": "0s" }, "targets": [hook(secret)] }]);
    let made =
        server.manager.post(PATH, json!({ "name": "Loud", "steps": steps("hunter2") })).await.expect(201);
    let path = at("escalation-policies", made.data(), "");
    let renamed = json!({ "name": "Louder", "steps": made.data()["steps"] });
    let renamed = server.manager.patch(&path, renamed).await.expect(200);
    let read = server.manager.get(&path).await.expect(200);
    let versions = server.manager.get(&format!("{path}/versions")).await.expect(200);
    for answer in [&made, &renamed, &read, &versions] {
        assert!(!answer.text.contains("hunter2") && answer.text.contains("********"), "{}", answer.text);
    }
    let kept =
        query("UPDATE definitions SET position = 9 WHERE CAST(body AS TEXT) LIKE $1").bind("%hunter2%");
    assert_eq!(server.tamper(kept).await, 1, "it is still there");
    let mut elsewhere = steps("********");
    elsewhere[0]["targets"][0]["url"] = "https://example.org/other".into();
    let refused = server.manager.patch(&path, json!({ "steps": elsewhere })).await;
    refused.blames(&[("steps[0].targets[0].secret", "invalid")]);
    server.manager.patch(&path, json!({ "steps": steps("new") })).await.expect(200);
    let gone =
        query("UPDATE definitions SET position = 9 WHERE CAST(body AS TEXT) LIKE $1").bind("%hunter2%");
    assert_eq!(server.tamper(gone).await, 0);
}

async fn doubts_are_told_on_saving_and_on_asking(t: Testbed) {
    let server = Server::over(t);
    let mut schedule = body(&server.bed, "schedules", "Web");
    schedule["layers"][0]["hours"] = json!({});
    let schedule = make(&server, "schedules", schedule).await;
    let target = json!({ "type": "on_call", "schedule_id": schedule["id"] });
    let steps = json!([
        { "when": { "after": "0s" }, "targets": [target, { "type": "role", "role": "admin" }] },
    ]);
    let made = make(&server, "escalation-policies", json!({ "name": "Loud", "steps": steps })).await;
    let nobody = "Nobody is on call in the next 30 days.";
    let expected = json!([
        { "severity": "error", "field": "steps[0].targets[0]", "message": nobody },
        { "severity": "error", "field": "steps[0].targets[1]", "message": "Nobody who can sign in has this role." },
    ]);
    assert_eq!(made["findings"], expected);
    let path = at("escalation-policies", &made, "/lint");
    assert_eq!(*server.manager.act(&path).await.expect(200).data(), json!({ "findings": expected }));
    let hours = json!({ "layers": body(&server.bed, "schedules", "Web")["layers"] });
    server.manager.patch(&at("schedules", &schedule, ""), hours).await.expect(200);
    let left = server.manager.act(&path).await.expect(200);
    assert_eq!(left.data()["findings"], json!([expected[1]]));
    server.customer.act(&path).await.fails(403, "forbidden");
    server.manager.act("/escalation-policies/x/lint").await.fails(404, "not_found");
    server.manager.post(&path, json!({ "x": 1 })).await.blames(&[("x", "unknown")]);
}
