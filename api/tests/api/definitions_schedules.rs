//! On-call schedules: who is on call, shifts, and exceptions.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::on_both;
use shared::testkit::{Testbed, user};

use crate::answer::text;
use crate::definitions::{at, body, make};
use crate::server::{Server, all_at_once};

on_both! {
    a_schedule_is_shown_as_it_was_written,
    everything_wrong_with_a_schedule_is_listed_at_once,
    the_person_on_call_is_named_with_the_reason,
    shifts_are_listed_without_holes,
    an_override_puts_somebody_else_on_call_until_it_is_taken_back,
    an_override_that_cannot_be_is_refused,
    an_override_is_added_once_under_one_key,
    of_overrides_added_at_the_same_time_none_is_lost,
    only_staff_may_see_who_is_on_call,
}

fn layer(users: &Value) -> Value {
    json!({ "name": "first", "users": users, "start": "2026-01-05", "handoff": "09:00", "turn": "weekly" })
}

/// A schedule of the senior engineer and somebody else in turns, who is returned too.
async fn two(server: &Server) -> (Value, UserId) {
    let ann = user("ann@example.org", Role::DevopsEngineer);
    server.add_user(&ann).await;
    let layer = layer(&json!([server.bed.staff.id, ann.id]));
    let schedule = json!({ "name": "Web", "tz": "Europe/Berlin", "layers": [layer] });
    (make(server, "schedules", schedule).await, ann.id)
}

async fn a_schedule_is_shown_as_it_was_written(t: Testbed) {
    let server = Server::over(t);
    let sam = server.bed.staff.id;
    let mut layers = vec![layer(&json!([sam])); 4];
    for (i, turn) in
        [json!("daily"), json!({ "days": 3 }), json!({ "hours": 12 }), json!("weekly")].iter().enumerate()
    {
        layers[i]["name"] = format!("layer {i}").into();
        layers[i]["turn"] = turn.clone();
    }
    layers[3]["hours"] = json!({ "mon": ["09:00-12:00", "13:00-17:00"], "sun": [] });
    let exception = json!({ "user": sam, "from": "2027-01-15T08:00:00+01:00", "to": "2027-01-16T07:00:00Z" });
    let schedule =
        json!({ "name": "Web", "tz": "Europe/Berlin", "layers": layers, "overrides": [exception] });
    let made = make(&server, "schedules", schedule).await;
    assert_eq!((&made["layers"], &made["tz"]), (&json!(layers), &json!("Europe/Berlin")));
    assert_eq!(made["overrides"][0]["from"], "2027-01-15T07:00:00Z");
    assert!(made["overrides"][0]["id"].is_string());
    let again = json!({ "overrides": made["overrides"] });
    let edited = server.manager.patch(&at("schedules", &made, ""), again).await.expect(200);
    assert_eq!(*edited.data(), made);
}

async fn everything_wrong_with_a_schedule_is_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let (sam, nobody) = (server.bed.staff.id, UserId::new());
    let bad = json!({
        "name": "Web",
        "tz": "Europe/Bielefeld",
        "layers": [
            { "name": "", "users": [], "start": "2026-02-30", "handoff": "9 o'clock", "turn": "monthly" },
            { "users": [sam, nobody], "start": "1900-01-01", "handoff": "24:00", "turn": { "days": 0 }, "color": "red" },
            {
                "name": "hours", "users": [sam], "start": "2026-01-05", "handoff": "09:00", "turn": { "days": 1, "hours": 2 },
                "hours": { "mon": ["17:00-09:00", "09:00-12:00", "11:00-13:00"], "noday": [], "tue": "09:00-12:00" },
            },
            "not a layer",
        ],
        "overrides": [
            { "user": sam, "from": "2027-01-15T08:00:00Z", "to": "2027-01-15T08:00:00Z" },
            { "user": nobody, "from": "2027-01-15T08:00:00Z" },
            { "user": "sam", "from": "yesterday", "to": 7 },
        ],
        "colour": "red",
    });
    server.manager.post("/schedules", bad).await.blames(&[
        ("tz", "invalid"),
        ("layers[0].name", "empty"),
        ("layers[0].users", "invalid"),
        ("layers[0].start", "invalid"),
        ("layers[0].handoff", "invalid"),
        ("layers[0].turn", "unknown_value"),
        ("layers[1].name", "required"),
        ("layers[1].users[1]", "invalid"),
        ("layers[1].start", "invalid"),
        ("layers[1].handoff", "invalid"),
        ("layers[1].turn", "invalid"),
        ("layers[1].color", "unknown"),
        ("layers[2].turn.hours", "invalid"),
        ("layers[2].hours.mon[0]", "invalid"),
        ("layers[2].hours.mon[2]", "invalid"),
        ("layers[2].hours.noday", "invalid"),
        ("layers[2].hours.tue", "type"),
        ("layers[3]", "type"),
        ("overrides[0].to", "invalid"),
        ("overrides[1].to", "required"),
        ("overrides[2].user", "invalid"),
        ("overrides[2].from", "invalid"),
        ("overrides[2].to", "type"),
        ("colour", "unknown"),
    ]);
    let empty = json!({ "name": "Web", "tz": "UTC", "layers": [] });
    server.manager.post("/schedules", empty).await.blames(&[("layers", "invalid")]);
    let nothing = [("name", "required"), ("tz", "required"), ("layers", "required")];
    server.manager.post("/schedules", json!({})).await.blames(&nothing);
    for turn in [json!({}), json!({ "days": "3" }), json!(7), json!({ "hours": 0 }), json!({ "hours": 1e30 })]
    {
        let mut one = layer(&json!([sam]));
        one["turn"] = turn;
        let schedule = json!({ "name": "Web", "tz": "UTC", "layers": [one] });
        let refused = server.manager.post("/schedules", schedule).await.expect(422);
        assert!(text(&refused.json["errors"][0]["field"]).starts_with("layers[0].turn"), "{}", refused.text);
        assert_eq!(refused.json["errors"].as_array().unwrap().len(), 1, "{}", refused.text);
    }
}

async fn the_person_on_call_is_named_with_the_reason(t: Testbed) {
    let server = Server::over(t);
    let (schedule, ann) = two(&server).await;
    let path = at("schedules", &schedule, "/on-call");
    // The testbed's clock stands at 2027-01-15; weeks begin on Mondays and the first was Sam's, on 2026-01-05.
    let now = server.manager.get(&path).await.expect(200);
    assert_eq!(now.data()["at"], "2027-01-15T08:00:00Z");
    assert_eq!(now.data()["user"]["id"], json!(ann));
    let then = server.manager.get(&format!("{path}?at=2027-01-18T07:59:59Z")).await.expect(200);
    assert_eq!(then.data()["user"]["id"], json!(ann));
    let next = server.manager.get(&format!("{path}?at=2027-01-18T08:00:00Z")).await.expect(200);
    let expected = json!({
        "at": "2027-01-18T08:00:00Z",
        "user": { "id": server.bed.staff.id, "name": "sam", "email": "sam@example.org" },
        "layer": "first",
    });
    assert_eq!(*next.data(), expected);
    let before = server.manager.get(&format!("{path}?at=2026-01-01T00:00:00Z")).await.expect(200);
    assert_eq!(*before.data(), json!({ "at": "2026-01-01T00:00:00Z", "user": null }));
    let odd = server.manager.get(&format!("{path}?at=noon&on=x")).await;
    odd.blames(&[("at", "invalid"), ("on", "unknown")]);
}

async fn shifts_are_listed_without_holes(t: Testbed) {
    let server = Server::over(t);
    let (schedule, _) = two(&server).await;
    let path = at("schedules", &schedule, "/shifts");
    let window = "from=2025-12-31T00:00:00Z&to=2026-01-20T00:00:00Z";
    let shifts = server.manager.get(&format!("{path}?{window}")).await.expect(200);
    let shifts = shifts.data().as_array().unwrap();
    let told: Vec<_> =
        shifts.iter().map(|s| (text(&s["from"]), text(&s["to"]), s["user"]["name"].as_str())).collect();
    let handoffs = ["2025-12-31", "2026-01-05", "2026-01-12", "2026-01-19", "2026-01-20"];
    let times = handoffs.map(|day| {
        format!("{day}T{}:00:00Z", if day.ends_with("31") || day.ends_with("20") { "00" } else { "08" })
    });
    let people = [None, Some("sam"), Some("ann"), Some("sam")];
    for (i, person) in people.into_iter().enumerate() {
        assert_eq!(told[i], (times[i].as_str(), times[i + 1].as_str(), person));
    }
    assert_eq!(told.len(), 4);
    server.manager.get(&path).await.blames(&[("from", "required"), ("to", "required")]);
    for window in [
        "from=2026-01-01T00:00:00Z&to=2026-04-01T00:00:01Z",
        "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
    ] {
        server.manager.get(&format!("{path}?{window}")).await.blames(&[("to", "invalid")]);
    }
    let most = "from=2026-01-01T00:00:00Z&to=2026-04-01T00:00:00Z";
    server.manager.get(&format!("{path}?{most}")).await.expect(200);
}

async fn an_override_puts_somebody_else_on_call_until_it_is_taken_back(t: Testbed) {
    let server = Server::over(t);
    let (schedule, ann) = two(&server).await;
    let (now, sam) = (server.bed.now(), server.bed.staff.id);
    let hour = json!({ "user": sam, "from": now, "to": now + TimeDelta::hours(1) });
    let added =
        server.manager.post(&at("schedules", &schedule, "/overrides"), hour.clone()).await.expect(201);
    let id = text(&added.data()["id"]);
    assert_eq!((&added.data()["user"], &added.data()["from"]), (&hour["user"], &hour["from"]));
    let who = async || {
        server.manager.get(&at("schedules", &schedule, "/on-call")).await.expect(200).json["data"].take()
    };
    let on_call = who().await;
    assert_eq!((&on_call["user"]["id"], &on_call["override"]), (&json!(sam), &json!(id)));
    let read = server.manager.get(&at("schedules", &schedule, "")).await.expect(200);
    assert_eq!((&read.data()["version"], &read.data()["overrides"][0]), (&json!(2), added.data()));
    let listed = server.manager.get(&at("schedules", &schedule, "/overrides")).await.expect(200);
    assert_eq!(listed.data(), &json!([added.data()]));
    let path = at("schedules", &schedule, &format!("/overrides/{id}"));
    server.customer.delete(&path).await.fails(403, "forbidden");
    server.manager.with("if-match", "\"1\"").delete(&path).await.fails(412, "stale");
    server.manager.delete(&path).await.expect(204);
    let gone = server.manager.delete(&path).await.fails(404, "not_found");
    assert_eq!(gone.message(), "There is no such override.");
    assert_eq!(who().await["user"]["id"], json!(ann));
}

async fn an_override_that_cannot_be_is_refused(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "schedules", body(&server.bed, "schedules", "Web")).await;
    let path = at("schedules", &made, "/overrides");
    let (now, sam) = (server.bed.now(), server.bed.staff.id);
    let inverted = json!({ "user": sam, "from": now, "to": now - TimeDelta::hours(1) });
    server.manager.post(&path, inverted).await.blames(&[("to", "invalid")]);
    let unknown = json!({ "user": UserId::new(), "from": now, "to": now, "why": "x" });
    let blamed = [("user", "invalid"), ("to", "invalid"), ("why", "unknown")];
    server.manager.post(&path, unknown).await.blames(&blamed);
    let nothing = [("user", "required"), ("from", "required"), ("to", "required")];
    server.manager.post(&path, json!({})).await.blames(&nothing);
    server.manager.delete(&format!("{path}/x")).await.fails(404, "not_found");
    server.manager.post("/schedules/x/overrides", json!({})).await.fails(404, "not_found");
    assert_eq!(*server.manager.get(&at("schedules", &made, "")).await.data(), made);
}

async fn an_override_is_added_once_under_one_key(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "schedules", body(&server.bed, "schedules", "Web")).await;
    let (now, sam) = (server.bed.now(), server.bed.staff.id);
    let hour = json!({ "user": sam, "from": now, "to": now + TimeDelta::hours(1) });
    let keyed = server.manager.with("idempotency-key", "k-1");
    let first = keyed.post(&at("schedules", &made, "/overrides"), hour.clone()).await.expect(201);
    let again = keyed.post(&at("schedules", &made, "/overrides"), hour).await.expect(201);
    assert_eq!(first.data(), again.data());
    let read = server.manager.get(&at("schedules", &made, "")).await;
    assert_eq!(read.data()["overrides"].as_array().unwrap().len(), 1);
}

async fn of_overrides_added_at_the_same_time_none_is_lost(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "schedules", body(&server.bed, "schedules", "Web")).await;
    let (now, sam) = (server.bed.now(), server.bed.staff.id);
    let answers = all_at_once((1..=6).map(|hours| {
        let (client, path) = (server.manager.clone(), at("schedules", &made, "/overrides"));
        let body = json!({ "user": sam, "from": now, "to": now + TimeDelta::hours(hours) });
        async move { client.post(&path, body).await }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    let read = server.manager.get(&at("schedules", &made, "")).await;
    assert_eq!(read.data()["overrides"].as_array().unwrap().len(), 6);
    assert_eq!(read.data()["version"], 7);
}

async fn only_staff_may_see_who_is_on_call(t: Testbed) {
    let server = Server::over(t);
    let made = make(&server, "schedules", body(&server.bed, "schedules", "Web")).await;
    server.customer.get(&at("schedules", &made, "/on-call")).await.fails(403, "forbidden");
    server.customer.get(&at("schedules", &made, "/shifts")).await.fails(403, "forbidden");
    server.customer.post(&at("schedules", &made, "/overrides"), json!({})).await.fails(403, "forbidden");
}
