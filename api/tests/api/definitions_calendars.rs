//! Calendars, and holidays from files.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::definitions::{at, body, make};
use crate::server::{Client, Server};

on_both! {
    a_calendar_is_shown_as_it_was_written,
    everything_wrong_with_a_calendar_is_listed_at_once,
    holidays_are_imported_over_what_was_there,
    an_import_happens_once_under_one_key,
    a_file_that_is_no_calendar_is_refused,
}

async fn a_calendar_is_shown_as_it_was_written(t: Testbed) {
    let server = Server::over(t);
    let (weekly, overrides) =
        (json!({ "mon": ["09:00-12:00", "13:00:30-24:00"] }), json!({ "2026-12-25": [] }));
    let calendar =
        json!({ "name": "Office", "tz": "Europe/Berlin", "weekly": weekly, "overrides": overrides });
    let made = make(&server, "calendars", calendar).await;
    assert_eq!(
        (&made["weekly"], &made["overrides"], &made["tz"]),
        (&weekly, &overrides, &json!("Europe/Berlin"))
    );
    let path = at("calendars", &made, "");
    let edited = server
        .manager
        .patch(&path, json!({ "overrides": { "2026-12-24": ["09:00-12:00"] } }))
        .await
        .expect(200);
    assert_eq!(edited.data()["overrides"], json!({ "2026-12-24": ["09:00-12:00"] }), "replaced as a whole");
    assert_eq!(edited.data()["weekly"], weekly);
}

async fn everything_wrong_with_a_calendar_is_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let bad = json!({
        "tz": "Mars/Olympus",
        "weekly": {
            "mon": ["17:00-09:00", "09:00-12:00", "11:59-13:00"],
            "tue": ["9-12", 7],
            "noday": [],
            "wed": "09:00-12:00",
        },
        "overrides": { "2026-02-30": [], "2026-12-24": ["12:00-12:00"], "2026-12-25": null },
        "zone": "UTC",
    });
    server.manager.post("/calendars", bad).await.blames(&[
        ("name", "required"),
        ("tz", "invalid"),
        ("weekly.mon[0]", "invalid"),
        ("weekly.mon[2]", "invalid"),
        ("weekly.tue[0]", "invalid"),
        ("weekly.tue[1]", "type"),
        ("weekly.noday", "invalid"),
        ("weekly.wed", "type"),
        ("overrides.2026-02-30", "invalid"),
        ("overrides.2026-12-24[0]", "invalid"),
        ("overrides.2026-12-25", "required"),
        ("zone", "unknown"),
    ]);
    let nothing = [("name", "required"), ("tz", "required"), ("weekly", "required")];
    server.manager.post("/calendars", json!({})).await.blames(&nothing);
}

fn file(events: &[&str]) -> String {
    let events: String = events.iter().map(|e| format!("BEGIN:VEVENT\r\n{e}\r\nEND:VEVENT\r\n")).collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//a//b//EN\r\n{events}END:VCALENDAR\r\n")
}

async fn import(client: &Client, calendar: &Value, file: impl Into<Vec<u8>>) -> crate::answer::Answer {
    let client = client.with("content-type", "text/calendar; charset=utf-8");
    client.send("POST", &format!("/api/v1{}", at("calendars", calendar, "/import")), file).await
}

async fn holidays_are_imported_over_what_was_there(t: Testbed) {
    let server = Server::over(t);
    let mut calendar = body(&server.bed, "calendars", "Office");
    calendar["overrides"] = json!({ "2026-12-24": ["09:00-12:00"], "2026-12-25": ["09:00-12:00"] });
    let calendar = make(&server, "calendars", calendar).await;
    let events = file(&[
        "SUMMARY:Christmas\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227",
        "SUMMARY:Standup\r\nDTSTART:20260105T090000Z",
        "SUMMARY:May Day\r\nDTSTART;VALUE=DATE:20260501\r\nRRULE:FREQ=YEARLY",
    ]);
    let imported = import(&server.manager, &calendar, events.clone()).await.expect(200);
    let overrides = json!({ "2026-12-24": ["09:00-12:00"], "2026-12-25": [], "2026-12-26": [] });
    let skipped = json!([
        { "summary": "Standup", "reason": "It does not last whole days." },
        { "summary": "May Day", "reason": "It recurs; add each of its dates." },
    ]);
    let answer = imported.data();
    assert_eq!((&answer["imported"], &answer["skipped"]), (&json!(1), &skipped));
    assert_eq!((&answer["calendar"]["overrides"], &answer["calendar"]["version"]), (&overrides, &json!(2)));
    assert_eq!(*server.manager.get(&at("calendars", &calendar, "")).await.data(), answer["calendar"]);
    let again = import(&server.manager, &calendar, events.clone()).await.expect(200);
    assert_eq!(again.data()["calendar"]["version"], 2, "it says nothing new");
    import(&server.customer, &calendar, events.clone()).await.fails(403, "forbidden");
    import(&server.manager.with("if-match", "\"1\""), &calendar, events).await.fails(412, "stale");
}

async fn an_import_happens_once_under_one_key(t: Testbed) {
    let server = Server::over(t);
    let calendar = make(&server, "calendars", body(&server.bed, "calendars", "Office")).await;
    let keyed = server.manager.with("idempotency-key", "k-1");
    // More than a JSON body may have.
    let padding = format!("SUMMARY:{}\r\nDTSTART;VALUE=DATE:20260501", "x".repeat(300 * 1024));
    let first = import(&keyed, &calendar, file(&[&padding])).await.expect(200);
    let again = import(&keyed, &calendar, file(&[&padding])).await.expect(200);
    assert_eq!((first.data(), again.header("idempotent-replayed")), (again.data(), Some("true")));
}

async fn a_file_that_is_no_calendar_is_refused(t: Testbed) {
    let server = Server::over(t);
    let calendar = make(&server, "calendars", body(&server.bed, "calendars", "Office")).await;
    for odd in [
        Vec::new(),
        b"hello".to_vec(),
        b"{}".to_vec(),
        vec![0xff, 0xfe],
        b"BEGIN:VCALENDAR\r\n".repeat(9_000),
    ] {
        import(&server.manager, &calendar, odd).await.fails(400, "malformed");
    }
    let path = at("calendars", &calendar, "/import");
    server.manager.post(&path, json!({})).await.fails(415, "not_calendar");
    let large = import(&server.manager, &calendar, vec![b' '; 1024 * 1024 + 1]).await.fails(413, "too_large");
    assert_eq!(large.message(), "The body is larger than 1024 KiB.");
    let keyed = server.manager.with("idempotency-key", "k-1");
    import(&keyed, &calendar, vec![b' '; 1024 * 1024 + 1]).await.fails(413, "too_large");
    let large = server.manager.send("POST", "/api/v1/teams", vec![b' '; 256 * 1024 + 1]).await;
    assert_eq!(large.fails(413, "too_large").message(), "The body is larger than 256 KiB.");
}
