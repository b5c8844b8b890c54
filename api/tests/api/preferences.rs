//! How people say how they want to be told.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::Server;

on_both! {
    zone_and_quiet_hours_are_kept_until_they_are_cleared,
    everything_wrong_with_quiet_hours_is_listed,
}

fn nights() -> Value {
    json!({ "tz": "Europe/Berlin", "weekly": { "mon": ["22:00-24:00"], "tue": ["00:00-07:00"] } })
}

async fn zone_and_quiet_hours_are_kept_until_they_are_cleared(t: Testbed) {
    let server = Server::over(t);
    let set = server.staff.patch("/me", json!({ "quiet_hours": nights() })).await.expect(200);
    assert_eq!((&set.data()["quiet_hours"], &set.data()["tz"]), (&nights(), &Value::Null));
    let set = server.staff.patch("/me", json!({ "tz": "America/New_York" })).await.expect(200);
    assert_eq!((&set.data()["quiet_hours"], &set.data()["tz"]), (&nights(), &"America/New_York".into()));
    assert_eq!(server.staff.get("/me").await.expect(200).data(), set.data());
    assert_eq!(server.customer.get("/me").await.expect(200).data()["quiet_hours"], Value::Null);
    let cleared = server.staff.patch("/me", json!({ "quiet_hours": null, "tz": null })).await.expect(200);
    assert_eq!((&cleared.data()["quiet_hours"], &cleared.data()["tz"]), (&Value::Null, &Value::Null));
    server.staff.patch("/me", json!({})).await.expect(200);
}

async fn everything_wrong_with_quiet_hours_is_listed(t: Testbed) {
    let server = Server::over(t);
    let wrong = json!({ "tz": "Mars", "weekly": { "mon": ["25:00-26:00"], "someday": ["09:00-10:00"] } });
    let answer =
        server.staff.patch("/me", json!({ "tz": "Moon", "quiet_hours": wrong, "role": "admin" })).await;
    answer.expect(422).blames(&[
        ("quiet_hours.tz", "invalid"),
        ("quiet_hours.weekly.mon[0]", "invalid"),
        ("quiet_hours.weekly.someday", "invalid"),
        ("role", "unknown"),
        ("tz", "invalid"),
    ]);
    for odd in [json!("always"), json!([]), json!({ "weekly": {} }), json!({ "tz": "UTC", "days": {} })] {
        let answer = server.staff.patch("/me", json!({ "quiet_hours": odd })).await;
        answer.expect(422).blames(&[("quiet_hours", "invalid")]);
    }
    let always: serde_json::Map<String, Value> = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        .map(|day| (day.to_owned(), json!(["00:00-24:00"])))
        .into_iter()
        .collect();
    let answer = server.staff.patch("/me", json!({ "quiet_hours": { "tz": "UTC", "weekly": always } })).await;
    answer.expect(422).blames(&[("quiet_hours.weekly", "invalid")]);
    assert_eq!(server.staff.get("/me").await.expect(200).data()["quiet_hours"], Value::Null);
}
