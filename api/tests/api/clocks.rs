//! A ticket's clocks, as they stand and as they are paused.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::ids::ClockId;
use shared::on_both;
use shared::testkit::{Testbed, start};

use crate::answer::{text, without_ids};
use crate::server::{Server, at};

on_both! {
    a_new_ticket_has_a_clock_for_the_response_and_one_for_the_resolution,
    a_clock_is_paused_with_a_reason,
    a_paused_clock_stands_still_until_it_is_resumed,
    pausing_twice_and_resuming_twice_change_nothing,
    a_clock_held_by_the_status_is_not_resumed_by_hand,
    a_clock_held_twice_runs_when_both_let_go,
    a_clock_that_has_ended_can_be_neither_paused_nor_resumed,
    a_clock_that_does_not_exist_is_not_found,
    a_breach_shows_before_any_sweep_has_recorded_it,
    at_the_target_itself_nothing_is_breached,
    a_paused_breach_is_still_a_breach,
}

fn clock(clock: &Value, action: &str) -> String {
    format!("/slas/{}/{action}", text(&clock["id"]))
}

async fn a_new_ticket_has_a_clock_for_the_response_and_one_for_the_resolution(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::milliseconds(2_100_001));
    let answer = server.customer.get(&at(&ticket, "/sla")).await.expect(200);
    assert!(answer.data().as_array().unwrap().iter().all(|clock| clock["ticket_id"] == ticket["id"]));
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&answer.data()[0]), @r#"
        {
          "breach_at": "2027-01-15T09:00:00Z",
          "breached_at": null,
          "calendar_version_id": null,
          "detected_at": null,
          "due_at": "2027-01-15T09:00:00Z",
          "elapsed_ms": 2100001,
          "id": "(id)",
          "metric": "first_response",
          "overrun_ms": 0,
          "paused_by": [],
          "remaining_ms": 1499999,
          "started_at": "2027-01-15T08:00:00Z",
          "state": "active",
          "stopped_at": null,
          "target_ms": 3600000,
          "ticket_id": "(id)",
          "tz": "UTC",
          "unreachable": false,
          "waived_at": null,
          "warnings": [
            {
              "at": "2027-01-15T08:30:00Z",
              "fraction": 0.5
            },
            {
              "at": "2027-01-15T08:45:00Z",
              "fraction": 0.75
            },
            {
              "at": "2027-01-15T08:54:00Z",
              "fraction": 0.9
            }
          ]
        }
        "#);
    }
    for (priority, hours) in
        [("critical", [1, 4]), ("high", [4, 12]), ("medium", [8, 48]), ("low", [24, 120])]
    {
        let ticket = server.open(json!({ "priority": priority })).await;
        let targets = server.clocks(&ticket).await.map(|clock| clock["target_ms"].clone());
        assert_eq!(targets, hours.map(|hours| json!(hours * 3_600_000)));
    }
}

async fn a_clock_is_paused_with_a_reason(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let [response, _] = server.clocks(&ticket).await;
    let path = clock(&response, "pause");
    server.staff.patch(&path, json!({})).await.blames(&[("reason", "required")]);
    let cases = [("", "empty"), (" \t", "empty"), ("a\nb", "control_characters")];
    for (reason, code) in cases {
        server.staff.patch(&path, json!({ "reason": reason })).await.blames(&[("reason", code)]);
    }
    server.staff.patch(&path, json!({ "reason": "x".repeat(501) })).await.blames(&[("reason", "too_long")]);
    let body = json!({ "reason": ["x"], "until": "noon" });
    server.staff.patch(&path, body).await.blames(&[("reason", "type"), ("until", "unknown")]);
    let resume = clock(&response, "resume");
    server.staff.patch(&resume, json!({ "reason": "x" })).await.blames(&[("reason", "unknown")]);
    assert_eq!(server.clocks(&ticket).await[0], response);
    let paused = server.staff.patch(&path, json!({ "reason": "waits for a <vendor>" })).await.expect(200);
    assert_eq!(
        (&paused.data()["state"], &paused.data()["paused_by"]),
        (&json!("paused"), &json!(["manual"]))
    );
}

async fn a_paused_clock_stands_still_until_it_is_resumed(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    let [response, _] = server.clocks(&ticket).await;
    server.bed.advance(TimeDelta::minutes(45));
    let paused =
        server.staff.patch(&clock(&response, "pause"), json!({ "reason": "vendor" })).await.expect(200);
    server.bed.advance(TimeDelta::days(5));
    let [still, other] = server.clocks(&ticket).await;
    assert_eq!(still, *paused.data());
    let numbers = [&still["elapsed_ms"], &still["remaining_ms"], &still["overrun_ms"]];
    assert_eq!(numbers, [&json!(2_700_000), &json!(900_000), &json!(0)]);
    assert_eq!((&still["due_at"], &still["breach_at"]), (&Value::Null, &Value::Null));
    let ahead: Vec<_> =
        still["warnings"].as_array().unwrap().iter().map(|warning| warning["at"].is_null()).collect();
    assert_eq!(ahead, [false, false, true], "what has passed stays");
    assert_eq!(other["state"], "breached", "only the one was paused: {other}");

    let resumed = server.staff.patch(&clock(&response, "resume"), json!({})).await.expect(200);
    assert_eq!(resumed.data()["state"], "active");
    let due = start() + TimeDelta::days(5) + TimeDelta::hours(1);
    assert_eq!(resumed.data()["due_at"], json!(due));
    server.bed.advance(TimeDelta::minutes(15));
    assert_eq!(server.clocks(&ticket).await[0]["remaining_ms"], 0);
}

async fn pausing_twice_and_resuming_twice_change_nothing(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let [_, resolution] = server.clocks(&ticket).await;
    let (pause, resume) = (clock(&resolution, "pause"), clock(&resolution, "resume"));
    server.staff.patch(&resume, json!({})).await.expect(200);
    assert_eq!(server.clocks(&ticket).await[1], resolution);
    server.bed.advance(TimeDelta::minutes(1));
    let paused = server.staff.patch(&pause, json!({ "reason": "one" })).await.expect(200);
    server.bed.advance(TimeDelta::minutes(1));
    let again = server.staff.patch(&pause, json!({ "reason": "two" })).await.expect(200);
    assert_eq!(again.text, paused.text);
    let resumed = server.staff.patch(&resume, json!({})).await.expect(200);
    server.bed.advance(TimeDelta::minutes(1));
    let again = server.staff.send("PATCH", &format!("/api/v1{resume}"), "").await.expect(200);
    assert_eq!(resumed.data()["due_at"], again.data()["due_at"]);
    assert_eq!(again.data()["elapsed_ms"], 120_000);
}

async fn a_clock_held_by_the_status_is_not_resumed_by_hand(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.walk(&ticket, &["pending_info"]).await;
    let [_, resolution] = server.clocks(&ticket).await;
    let refused =
        server.staff.patch(&clock(&resolution, "resume"), json!({})).await.fails(409, "held_by_status");
    assert_eq!(
        refused.message(),
        "The clock is paused because the ticket is pending_info: move the ticket to resume it."
    );
    assert_eq!(server.clocks(&ticket).await[1], resolution);
}

async fn a_clock_held_twice_runs_when_both_let_go(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let [_, resolution] = server.clocks(&ticket).await;
    server.staff.patch(&clock(&resolution, "pause"), json!({ "reason": "vendor" })).await.expect(200);
    server.walk(&ticket, &["pending_info"]).await;
    assert_eq!(server.clocks(&ticket).await[1]["paused_by"], json!(["manual", "status"]));
    server.walk(&ticket, &["open"]).await;
    server.bed.advance(TimeDelta::hours(1));
    let [response, resolution] = server.clocks(&ticket).await;
    assert_eq!((&response["state"], &resolution["state"]), (&json!("active"), &json!("paused")));
    let resumed = server.staff.patch(&clock(&resolution, "resume"), json!({})).await.expect(200);
    assert_eq!((&resumed.data()["state"], &resumed.data()["elapsed_ms"]), (&json!("active"), &json!(0)));
}

async fn a_clock_that_has_ended_can_be_neither_paused_nor_resumed(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.walk(&ticket, &["resolved"]).await;
    for (ended, state) in server.clocks(&ticket).await.iter().zip(["cancelled", "met"]) {
        let pause = server.staff.patch(&clock(ended, "pause"), json!({ "reason": "x" })).await;
        let refused = pause.fails(409, "clock_ended");
        assert_eq!(refused.message(), format!("The clock is {state} and can be neither paused nor resumed."));
        server.staff.patch(&clock(ended, "resume"), json!({})).await.fails(409, "clock_ended");
    }
}

async fn a_clock_that_does_not_exist_is_not_found(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let ticket_id = text(&ticket["id"]);
    for name in [&*ClockId::new().to_string(), ticket_id, "INC-1001", "1", "%00", "%FF", "a%2Fb"] {
        let pause = server.staff.patch(&format!("/slas/{name}/pause"), json!({ "reason": "x" })).await;
        assert_eq!(pause.fails(404, "not_found").message(), "There is no such sla clock.");
        server.staff.patch(&format!("/slas/{name}/resume"), json!({})).await.fails(404, "not_found");
    }
}

async fn a_breach_shows_before_any_sweep_has_recorded_it(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::minutes(90));
    let [response, resolution] = server.clocks(&ticket).await;
    assert_eq!(response["state"], "breached");
    let numbers = [&response["elapsed_ms"], &response["remaining_ms"], &response["overrun_ms"]];
    assert_eq!(numbers, [&json!(5_400_000), &json!(0), &json!(1_800_000)]);
    assert_eq!(response["breached_at"], json!(start() + TimeDelta::hours(1)));
    assert_eq!(response["detected_at"], Value::Null, "nobody has seen it yet");
    assert_eq!((&resolution["state"], &resolution["remaining_ms"]), (&json!("active"), &json!(9_000_000)));

    server.bed.advance(TimeDelta::minutes(1));
    server.bed.sweep().await;
    let [swept, _] = server.clocks(&ticket).await;
    assert_eq!(swept["breached_at"], response["breached_at"]);
    assert_eq!(swept["detected_at"], json!(server.bed.now()));

    server.walk(&ticket, &["in_progress"]).await;
    server.bed.advance(TimeDelta::hours(1));
    let [stopped, _] = server.clocks(&ticket).await;
    assert_eq!((&stopped["state"], &stopped["overrun_ms"]), (&json!("breached"), &json!(31 * 60_000)));
}

async fn at_the_target_itself_nothing_is_breached(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::hours(1));
    let [response, _] = server.clocks(&ticket).await;
    assert_eq!((&response["state"], &response["remaining_ms"]), (&json!("active"), &json!(0)));
    server.bed.advance(TimeDelta::microseconds(1));
    let [response, _] = server.clocks(&ticket).await;
    assert_eq!((&response["state"], &response["overrun_ms"]), (&json!("breached"), &json!(0)));
    server.walk(&ticket, &["in_progress"]).await;
    assert_eq!(server.clocks(&ticket).await[0]["state"], "breached", "a late answer heals nothing");
}

async fn a_paused_breach_is_still_a_breach(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "P1" })).await;
    server.bed.advance(TimeDelta::minutes(61));
    let [response, _] = server.clocks(&ticket).await;
    let paused =
        server.staff.patch(&clock(&response, "pause"), json!({ "reason": "vendor" })).await.expect(200);
    assert_eq!(
        (&paused.data()["state"], &paused.data()["paused_by"]),
        (&json!("breached"), &json!(["manual"]))
    );
    assert_eq!(paused.data()["detected_at"], json!(server.bed.now()), "whoever acts has seen it");
    server.bed.advance(TimeDelta::hours(1));
    assert_eq!(server.clocks(&ticket).await[0]["overrun_ms"], 60_000);
}
