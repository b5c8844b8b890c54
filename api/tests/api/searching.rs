//! Tickets found by their words.

use serde_json::json;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    words_are_found_in_titles_and_descriptions,
    what_a_ticket_says_now_is_found,
    searches_are_narrowed_by_other_filters_and_paged,
    what_engines_would_choke_on_is_only_text,
    an_end_user_finds_only_their_own,
}

async fn found(server: &Server, query: &str) -> Vec<String> {
    let path: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    server.staff.get(&format!("/tickets?sort=created_at&q={path}")).await.expect(200).each("title")
}

async fn words_are_found_in_titles_and_descriptions(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({ "title": "Disk full on web-1.example.com", "description": "No space left." })).await;
    server.open(json!({ "title": "Printer jams", "description": "The DISK light blinks, Größe A4." })).await;
    server.open(json!({ "title": "Read only file system", "description": "after the reboot" })).await;
    let (disk, printer, read) = ("Disk full on web-1.example.com", "Printer jams", "Read only file system");
    for (query, expected) in [
        ("disk", vec![disk, printer]),
        ("disk full", vec![disk]),
        ("disk -printer", vec![disk]),
        ("\"read only\"", vec![read]),
        ("\"only read\"", vec![]),
        ("example", vec![disk]),
        ("web-1", vec![disk]),
        ("boo", vec![]),
        ("reb*", vec![read]),
        ("GRÖSSE", vec![]),
        ("größe", vec![printer]),
        ("disk OR printer", vec![]),
    ] {
        assert_eq!(found(&server, query).await, expected, "{query}");
    }
}

async fn what_a_ticket_says_now_is_found(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "title": "Alpha", "description": "beta" })).await;
    server.staff.patch(&at(&ticket, ""), json!({ "title": "Gamma" })).await.expect(200);
    assert_eq!(found(&server, "alpha").await, [""; 0]);
    assert_eq!(found(&server, "gamma beta").await, ["Gamma"]);
    let (_, admin) = server.member(shared::domain::role::Role::Admin).await;
    admin.delete(&at(&ticket, "")).await.expect(204);
    assert_eq!(found(&server, "gamma").await, [""; 0]);
}

async fn searches_are_narrowed_by_other_filters_and_paged(t: Testbed) {
    let server = Server::over(t);
    for n in 0..7 {
        let priority = if n % 2 == 0 { "high" } else { "low" };
        server.open(json!({ "title": format!("Outage {n}"), "priority": priority })).await;
    }
    let first = server.staff.get("/tickets?q=outage&priority=high&limit=3&count=true").await.expect(200);
    assert_eq!(first.each("title"), ["Outage 6", "Outage 4", "Outage 2"]);
    assert_eq!(first.json["meta"]["total"], 4);
    let next = text(&first.json["meta"]["next_cursor"]);
    let rest = server.staff.get(&format!("/tickets?q=outage&priority=high&limit=3&cursor={next}")).await;
    assert_eq!(rest.expect(200).each("title"), ["Outage 0"]);
}

async fn what_engines_would_choke_on_is_only_text(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({ "title": "It's a NEAR miss: title:x AND (y" })).await;
    for query in [
        "it's",
        "NEAR(miss)",
        "title:x",
        "AND (y",
        "\"unclosed",
        "miss')) --",
        "miss:*",
        "a\u{0301}\u{1F525}",
    ] {
        let path: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let status = server.staff.get(&format!("/tickets?q={path}")).await.status;
        assert!(status == 200 || status == 422, "{query}: {status}");
    }
    for nothing in ["", "%20", "-x", "%22%22", "!!"] {
        let answer = server.staff.get(&format!("/tickets?q={nothing}")).await.expect(422);
        assert_eq!(answer.json["errors"][0]["field"], "q");
    }
}

async fn an_end_user_finds_only_their_own(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({ "title": "Mine is secret" })).await;
    server.staff.post("/tickets", json!({ "title": "Theirs is secret" })).await.expect(201);
    let mine = server.customer.get("/tickets?q=secret&count=true").await.expect(200);
    assert_eq!((mine.each("title"), &mine.json["meta"]["total"]), (vec!["Mine is secret".into()], &json!(1)));
    assert_eq!(found(&server, "secret").await.len(), 2);
}
