//! The labels in use.

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::Server;

on_both! {
    labels_are_listed_with_their_numbers,
    labels_are_paged_without_a_hole,
    what_cannot_narrow_the_list_is_refused,
}

async fn labels_are_listed_with_their_numbers(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({ "labels": ["disk", "network"] })).await;
    server.staff.post("/tickets", json!({ "title": "x", "labels": ["disk", "db"] })).await.expect(201);
    let all = server.staff.get("/labels?count=true").await.expect(200);
    let expected = json!([{ "label": "db", "tickets": 1 }, { "label": "disk", "tickets": 2 }, { "label": "network", "tickets": 1 }]);
    assert_eq!((all.data(), &all.json["meta"]["total"]), (&expected, &3.into()));
    assert_eq!(server.staff.get("/labels?q=D").await.expect(200).each("label"), ["db", "disk"]);
    // Only what is on their own tickets, and only as often.
    let own = server.customer.get("/labels?count=true").await.expect(200);
    assert_eq!(*own.data(), json!([{ "label": "disk", "tickets": 1 }, { "label": "network", "tickets": 1 }]));
    assert_eq!(own.json["meta"]["total"], 2);
}

async fn labels_are_paged_without_a_hole(t: Testbed) {
    let server = Server::over(t);
    let labels = ["a", "b", "c d", "ä", "Z", "日本", &"😀".repeat(50)];
    server.open(json!({ "labels": labels })).await;
    let mut found = Vec::new();
    let mut path = "/labels?limit=2".to_owned();
    loop {
        let page = server.staff.get(&path).await.expect(200);
        found.extend(page.each("label"));
        let Value::String(cursor) = &page.json["meta"]["next_cursor"] else { break };
        path = format!("/labels?limit=2&cursor={cursor}");
    }
    found.sort_unstable();
    let mut expected: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(server.staff.get("/labels?offset=6").await.expect(200).each("label").len(), 1);
}

async fn what_cannot_narrow_the_list_is_refused(t: Testbed) {
    let server = Server::over(t);
    server.staff.get("/labels?limit=0&cursor=x&sort=up").await.blames(&[
        ("cursor", "invalid"),
        ("limit", "invalid"),
        ("sort", "unknown"),
    ]);
}
