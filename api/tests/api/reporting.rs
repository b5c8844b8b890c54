//! Reports over HTTP; that they count right is tested at the store.

use chrono::TimeDelta;
use serde_json::json;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    reports_tell_of_the_last_thirty_days,
    breaches_are_listed_page_by_page,
    a_window_that_cannot_be_is_refused,
    reports_are_for_staff,
}

const REPORTS: [&str; 4] = ["top-assignees", "latency", "sla-compliance", "breaches"];

/// A ticket that was breached, taken on, and resolved after two hours, half an hour of which it waited.
async fn one_day(server: &Server) -> serde_json::Value {
    let staff = server.bed.staff.id;
    let fields = json!({ "title": "Late", "priority": "critical", "assignee_id": staff });
    let ticket = server.staff.post("/tickets", fields).await.expect(201).json["data"].take();
    server.walk(&ticket, &["pending_info"]).await;
    server.bed.advance(TimeDelta::minutes(30));
    server.walk(&ticket, &["open"]).await;
    server.bed.advance(TimeDelta::minutes(75));
    server.bed.sweep().await;
    server.staff.act(&at(&ticket, "/acknowledge")).await.expect(200);
    server.bed.advance(TimeDelta::minutes(15));
    server.walk(&ticket, &["resolved"]).await;
    ticket
}

async fn reports_tell_of_the_last_thirty_days(t: Testbed) {
    let server = Server::over(t);
    let ticket = one_day(&server).await;
    server.bed.advance(TimeDelta::seconds(1));
    let sam = server.bed.staff.id;
    let top = server.staff.get("/reports/top-assignees").await.expect(200);
    assert_eq!(
        *top.data(),
        json!([{ "user_id": sam, "name": "sam", "resolved": 1, "open": 0, "breached": 1 }])
    );
    let latency = server.staff.get("/reports/latency").await.expect(200);
    let (wall, clock) = (7_200_000, 5_400_000);
    assert_eq!(
        *latency.data(),
        json!([{ "user_id": sam, "name": "sam", "resolved": 1, "clocked": 1,
            "wall_mean_ms": wall, "wall_p50_ms": wall, "wall_p90_ms": wall,
            "clock_mean_ms": clock, "clock_p50_ms": clock, "clock_p90_ms": clock }])
    );
    let all = server.staff.get("/reports/sla-compliance").await.expect(200);
    let none = json!(null);
    assert_eq!(
        *all.data(),
        json!([{ "priority": none, "team_id": none, "day": none, "metric": none, "met": 1, "breached": 1, "open": 0, "ratio": 0.5 }])
    );
    let by = server.staff.get("/reports/sla-compliance?group_by=priority&group_by=metric&group_by=day").await;
    let by = by.expect(200);
    assert_eq!(by.each("metric"), ["first_response", "resolution"]);
    assert_eq!(by.each("priority"), ["critical", "critical"]);
    assert_eq!(by.each("day"), ["2027-01-15", "2027-01-15"]);
    let breaches = server.staff.get("/reports/breaches").await.expect(200);
    let breach = &breaches.data()[0];
    assert_eq!((&breach["ticket"], text(&breach["metric"])), (&ticket["number"], "first_response"));
    assert_eq!(
        (&breach["overrun_ms"], &breach["acknowledged_after_ms"]),
        (&json!(1_800_000), &json!(900_000))
    );
    server.bed.advance(TimeDelta::days(31));
    for report in REPORTS {
        let later = server.staff.get(&format!("/reports/{report}")).await.expect(200);
        assert_eq!(*later.data(), json!([]), "{report}");
    }
}

async fn breaches_are_listed_page_by_page(t: Testbed) {
    let server = Server::over(t);
    for _ in 0..3 {
        server.open(json!({ "priority": "critical" })).await;
    }
    server.bed.advance(TimeDelta::days(1));
    server.bed.sweep().await;
    let whole = server.staff.get("/reports/breaches?limit=100").await.expect(200);
    assert_eq!(whole.each("clock_id").len(), 6);
    let (mut walked, mut next) = (Vec::new(), String::new());
    loop {
        let page = server.staff.get(&format!("/reports/breaches?limit=2{next}")).await.expect(200);
        walked.extend(page.each("clock_id"));
        if page.json["meta"]["has_more"] == false {
            break;
        }
        next = format!("&cursor={}", text(&page.json["meta"]["next_cursor"]));
    }
    assert_eq!(walked, whole.each("clock_id"));
    server.staff.get("/reports/breaches?cursor=x").await.blames(&[("cursor", "invalid")]);
}

async fn a_window_that_cannot_be_is_refused(t: Testbed) {
    let server = Server::over(t);
    for report in REPORTS {
        let ask = async |query: &str| server.staff.get(&format!("/reports/{report}?{query}")).await;
        ask("from=2026-01-01T00:00:00Z&to=2027-01-02T00:00:00Z").await.expect(200);
        ask("from=2026-01-01T00:00:00Z&to=2027-01-02T00:00:01Z").await.blames(&[("from", "invalid")]);
        ask("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z").await.blames(&[("to", "invalid")]);
        ask("to=0001-01-01T00:00:00Z").await.blames(&[("to", "invalid")]);
        ask("from=yesterday&limit=0&colour=red").await.blames(&[
            ("from", "invalid"),
            ("limit", "invalid"),
            ("colour", "unknown"),
        ]);
    }
    server.staff.get("/reports/sla-compliance?group_by=moon").await.blames(&[("group_by", "unknown_value")]);
}

async fn reports_are_for_staff(t: Testbed) {
    let server = Server::over(t);
    for report in REPORTS {
        server.customer.get(&format!("/reports/{report}")).await.fails(403, "forbidden");
        server.anybody.get(&format!("/reports/{report}")).await.fails(401, "unauthorized");
    }
}
