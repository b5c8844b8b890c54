//! Lists: which tickets, in which order.

use chrono::TimeDelta;
use serde_json::json;
use shared::ids::UserId;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    each_filter_lets_through_what_it_says,
    filters_narrow_each_other_and_a_repeated_one_widens,
    times_are_from_inclusive_to_exclusive,
    a_list_by_service_level_shows_what_was_recorded,
    a_list_is_ordered_by_each_key_both_ways,
    tickets_without_a_due_time_come_last,
    parameters_that_cannot_be_used_are_listed_at_once,
    a_parameter_that_takes_one_value_is_given_once,
    a_time_must_be_one_that_both_engines_understand,
}

/// Five tickets, an hour apart.
async fn five(t: Testbed) -> Server {
    let server = Server::over(t);
    let sam = server.bed.staff.id;
    let a = json!({ "title": "a", "priority": "critical", "assignee_id": sam, "labels": ["db", "eu"] });
    let b = json!({ "title": "b", "priority": "high", "category": "problem", "labels": ["db"] });
    let c = json!({ "title": "c", "category": "question" });
    let d =
        json!({ "title": "d", "priority": "low", "category": "service_request", "labels": ["DB", "100%"] });
    let e = json!({ "title": "e", "priority": "critical", "category": "change_request" });
    for (fields, status) in [(a, None), (b, Some("open")), (c, Some("resolved")), (d, Some("in_progress"))] {
        let ticket = server.open(fields).await;
        if let Some(status) = status {
            server.walk(&ticket, &[status]).await;
        }
        server.bed.advance(TimeDelta::hours(1));
    }
    let ticket = server.staff.post("/tickets", e).await.expect(201);
    server.walk(ticket.data(), &["pending_info"]).await;
    server
}

/// The titles of a list in one word, oldest first.
async fn titles(server: &Server, query: &str) -> String {
    server.staff.get(&format!("/tickets?sort=created_at&{query}")).await.expect(200).each("title").concat()
}

async fn each_filter_lets_through_what_it_says(t: Testbed) {
    let server = five(t).await;
    let (sam, cleo, nobody) = (server.bed.staff.id, server.bed.customer.id, UserId::new());
    let cases = [
        (String::new(), "abcde"),
        ("status=new".into(), "a"),
        ("status=open".into(), "b"),
        ("status=resolved".into(), "c"),
        ("status=in_progress".into(), "d"),
        ("status=pending_info".into(), "e"),
        ("status=closed".into(), ""),
        ("priority=critical".into(), "ae"),
        ("priority=P2".into(), "b"),
        ("priority=medium".into(), "c"),
        ("priority=low".into(), "d"),
        ("category=incident".into(), "a"),
        ("category=problem".into(), "b"),
        ("category=change_request".into(), "e"),
        (format!("assignee={sam}"), "a"),
        (format!("assignee={nobody}"), ""),
        (format!("reporter={cleo}"), "abcd"),
        (format!("reporter={sam}"), "e"),
        ("label=db".into(), "ab"),
        ("label=DB".into(), "d"),
        ("label=100%25".into(), "d"),
        ("label=d%25".into(), ""),
        ("label='%20OR%201=1%20--".into(), ""),
    ];
    for (query, expected) in cases {
        assert_eq!(titles(&server, &query).await, expected, "{query}");
    }
}

async fn filters_narrow_each_other_and_a_repeated_one_widens(t: Testbed) {
    let server = five(t).await;
    let cases = [
        ("status=new&status=open&status=closed", "ab"),
        ("priority=critical&priority=low", "ade"),
        ("priority=P1&priority=critical", "ae"),
        ("category=incident&category=problem&category=question", "abc"),
        ("status=new&status=open&priority=high", "b"),
        ("label=db&priority=critical", "a"),
        ("label=db&status=resolved", ""),
        ("status=new&status=open&label=db&category=problem&category=incident&priority=P1&priority=P2", "ab"),
    ];
    for (query, expected) in cases {
        assert_eq!(titles(&server, query).await, expected, "{query}");
        let counted = server.staff.get(&format!("/tickets?count=true&limit=1&{query}")).await.expect(200);
        assert_eq!(counted.json["meta"]["total"], expected.len(), "{query}");
    }
}

async fn times_are_from_inclusive_to_exclusive(t: Testbed) {
    let server = five(t).await;
    let cases = [
        ("created_from=2027-01-15T10:00:00Z", "cde"),
        ("created_from=2027-01-15T10:00:00.000001Z", "de"),
        ("created_to=2027-01-15T10:00:00Z", "ab"),
        ("created_to=2027-01-15T10:00:00.000001Z", "abc"),
        ("created_from=2027-01-15T09:00:00Z&created_to=2027-01-15T11:00:00Z", "bc"),
        ("created_from=2027-01-15T11:00:00%2B02:00&created_to=2027-01-15T06:00:00-05:00", "bc"),
        ("updated_from=2027-01-15T11:00:00Z", "de"),
        ("updated_to=2027-01-15T09:00:00Z", "a"),
        ("created_from=0001-01-01T00:00:00Z&created_to=9999-12-31T23:59:59Z", "abcde"),
        ("created_from=2028-01-01T00:00:00Z", ""),
    ];
    for (query, expected) in cases {
        assert_eq!(titles(&server, query).await, expected, "{query}");
    }
    let first = server.staff.get("/tickets?sort=created_at&limit=1").await;
    server.staff.patch(&at(&first.data()[0], ""), json!({ "title": "A" })).await.expect(200);
    assert_eq!(titles(&server, "updated_from=2027-01-15T12:00:00Z").await, "Ae");
}

async fn a_list_by_service_level_shows_what_was_recorded(t: Testbed) {
    let server = five(t).await;
    assert_eq!(titles(&server, "sla=paused").await, "e");
    assert_eq!(titles(&server, "sla=breached").await, "", "no sweep has looked yet");
    server.bed.sweep().await;
    assert_eq!(titles(&server, "sla=breached").await, "a");
    assert_eq!(titles(&server, "sla=at_risk").await, "ab", "the resolution of a, the response to b");
    assert_eq!(titles(&server, "sla=at_risk&priority=high").await, "b");
    let [response, resolution] = {
        let list = server.staff.get("/tickets?sla=breached").await;
        server.clocks(&list.data()[0]).await
    };
    assert_eq!((&response["state"], &resolution["state"]), (&json!("breached"), &json!("active")));
    let pause = format!("/slas/{}/pause", text(&resolution["id"]));
    server.staff.patch(&pause, json!({ "reason": "vendor" })).await.expect(200);
    assert_eq!(titles(&server, "sla=paused").await, "ae");
    assert_eq!(titles(&server, "sla=breached").await, "a");
}

async fn a_list_is_ordered_by_each_key_both_ways(t: Testbed) {
    let server = five(t).await;
    server.bed.advance(TimeDelta::hours(1));
    let oldest = server.staff.get("/tickets?sort=created_at&limit=1").await;
    server.staff.patch(&at(&oldest.data()[0], ""), json!({ "environment": "test" })).await.expect(200);
    // Resolutions are due at: a 4 h, b 1 + 12 h, d 3 + 120 h; that of c has ended, that of e is paused.
    let orders = [
        ("created_at", "abcde"),
        ("updated_at", "bcdea"),
        ("priority", "aebcd"),
        ("status", "abdec"),
        ("due_at", "abdce"),
    ];
    for (key, expected) in orders {
        let ascending = server.staff.get(&format!("/tickets?sort={key}")).await.expect(200);
        assert_eq!(ascending.each("title").concat(), expected, "{key}");
        let descending = server.staff.get(&format!("/tickets?sort=-{key}")).await.expect(200);
        let reversed: String = expected.chars().rev().collect();
        assert_eq!(descending.each("title").concat(), reversed, "-{key}");
    }
    let default = server.staff.get("/tickets").await.expect(200);
    assert_eq!(default.each("title").concat(), "edcba");
}

async fn tickets_without_a_due_time_come_last(t: Testbed) {
    let server = Server::over(t);
    for (title, priority) in [("a", "low"), ("b", "critical"), ("c", "medium")] {
        let ticket = server.open(json!({ "title": title, "priority": priority })).await;
        if title == "c" {
            server.walk(&ticket, &["pending_info"]).await;
        }
    }
    for (sort, expected) in [("due_at", "bac"), ("-due_at", "cab")] {
        let list = server.staff.get(&format!("/tickets?sort={sort}")).await.expect(200);
        assert_eq!(list.each("title").concat(), expected);
        let mut paged = String::new();
        let mut query = format!("/tickets?sort={sort}&limit=1");
        loop {
            let page = server.staff.get(&query).await.expect(200);
            paged += &page.each("title").concat();
            let Some(cursor) = page.json["meta"]["next_cursor"].as_str() else { break };
            query = format!("/tickets?sort={sort}&limit=1&cursor={cursor}");
        }
        assert_eq!(paged, expected);
    }
}

async fn parameters_that_cannot_be_used_are_listed_at_once(t: Testbed) {
    let server = Server::over(t);
    let staff = &server.staff;
    let cases = [
        ("status=done", &[("status", "unknown_value")][..]),
        ("status=new&status=done&status=", &[("status", "unknown_value"); 2]),
        ("priority=P5&category=bug", &[("priority", "unknown_value"), ("category", "unknown_value")]),
        ("status=new,open", &[("status", "unknown_value")]),
        ("assignee=sam&reporter=", &[("assignee", "invalid"), ("reporter", "invalid")]),
        ("label=&label%00=x", &[("label", "empty"), ("label\0", "unknown")]),
        ("label=a%00b", &[("label", "control_characters")]),
        ("label=%0A", &[("label", "empty")]),
        ("sla=late", &[("sla", "unknown_value")]),
        ("sort=title", &[("sort", "unknown_value")]),
        ("sort=--created_at", &[("sort", "unknown_value")]),
        ("sort=created_at-", &[("sort", "unknown_value")]),
        ("sort=-", &[("sort", "unknown_value")]),
        ("sort=", &[("sort", "empty")]),
        ("count=1", &[("count", "invalid")]),
        ("count=TRUE", &[("count", "invalid")]),
        ("page=2&per_page=5", &[("page", "unknown"), ("per_page", "unknown")]),
        ("Status=new&status%5B%5D=new", &[("Status", "unknown"), ("status[]", "unknown")]),
        (
            "status=x&limit=0&offset=-1&created_from=noon&colour=red&sort=x",
            &[
                ("status", "unknown_value"),
                ("limit", "invalid"),
                ("offset", "invalid"),
                ("created_from", "invalid"),
                ("colour", "unknown"),
                ("sort", "unknown_value"),
            ],
        ),
    ];
    for (query, blamed) in cases {
        staff.get(&format!("/tickets?{query}")).await.blames(blamed);
    }
    staff.get("/tickets?").await.expect(200);
    staff.get("/tickets?&&").await.expect(200);
}

async fn a_parameter_that_takes_one_value_is_given_once(t: Testbed) {
    let server = Server::over(t);
    let sam = server.bed.staff.id.to_string();
    let singles = [
        ("limit", "5"),
        ("offset", "0"),
        ("sort", "created_at"),
        ("sla", "paused"),
        ("count", "true"),
        ("label", "x"),
        ("assignee", &sam),
        ("reporter", &sam),
        ("created_from", "2027-01-15T10:00:00Z"),
        ("updated_to", "2027-01-15T10:00:00Z"),
    ];
    for (name, value) in singles {
        server.staff.get(&format!("/tickets?{name}={value}")).await.expect(200);
        let twice = server.staff.get(&format!("/tickets?{name}={value}&{name}={value}")).await;
        twice.blames(&[(name, "repeated")]);
    }
    let twice = server.staff.get("/tickets?cursor=x&cursor=y").await;
    twice.blames(&[("cursor", "repeated")]);
}

async fn a_time_must_be_one_that_both_engines_understand(t: Testbed) {
    let server = five(t).await;
    let odd = [
        "",
        "yesterday",
        "1800000000",
        "2027-01-15",
        "2027-01-15T08:00:00",
        "2027-01-15T08:00:00+00:00",
        "2027-02-30T08:00:00Z",
        "2027-01-15T25:00:00Z",
        "-200000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0000-06-01T00:00:00Z",
        "0001-01-01T00:00:00%2B01:00",
        "9999-12-31T23:59:59-01:00",
        "%2B12000-01-01T00:00:00Z",
    ];
    for time in odd {
        for name in ["created_from", "created_to", "updated_from", "updated_to"] {
            server.staff.get(&format!("/tickets?{name}={time}")).await.blames(&[(name, "invalid")]);
        }
    }
}
