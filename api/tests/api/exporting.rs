//! Tickets as CSV files.

use http_body_util::BodyExt;
use serde_json::json;
use shared::domain::ticket::Priority;
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::Server;

on_both! {
    an_export_can_be_imported_again,
    an_export_is_narrowed_like_the_list,
    an_end_user_exports_what_they_reported_and_learns_of_no_staff,
    an_export_that_fails_on_its_way_is_cut_off,
}

async fn open_many(t: &Testbed, count: usize) {
    let mut tx = t.db.begin().await.unwrap();
    let drafts = (0..count).map(|_| t.draft(Priority::Low)).collect();
    t.desk.open(&mut tx, drafts).await.unwrap();
    let _ = tx.commit().await.unwrap();
}

/// The columns that an import reads, of every line.
fn readable(file: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let known = [
        "title",
        "description",
        "priority",
        "category",
        "environment",
        "labels",
        "contact_name",
        "contact_email",
    ];
    let places: Vec<usize> =
        known.iter().map(|name| columns.iter().position(|column| column == *name).unwrap()).collect();
    let row = |record: csv::StringRecord| places.iter().map(|place| record[*place].to_owned()).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

async fn an_export_can_be_imported_again(t: Testbed) {
    let server = Server::over(t);
    let odd = ["=1+1", "+49 30", "-", "@home", "'=quoted", "It's, \"fine\"; ü", "''"];
    for title in odd {
        let contact = json!({ "name": title, "email": "+x@example.org" });
        let labels = json!(["a|b", "c;d", "-e\\"]);
        let fields = json!({ "title": title, "description": format!("{title}\r\n\ttab"), "labels": labels,
            "contact": contact, "environment": title, "priority": "high", "category": "problem" });
        server.open(fields).await;
    }
    server.open(json!({ "title": "plain", "description": "\t\ttabs" })).await;
    let exported = server.staff.read("/tickets/export.csv?sort=created_at").await;
    for line in readable(&exported).concat() {
        assert!(!line.starts_with(['=', '+', '-', '@', '\t', '\r']), "{line:?}");
    }
    let csv = server.staff.with("content-type", "text/csv");
    let imported = csv.send("POST", "/api/v1/tickets/import", exported.clone()).await.expect(200);
    assert_eq!(
        (&imported.data()["imported"], &imported.data()["errors"]),
        (&json!(odd.len() + 1), &json!([]))
    );
    let path = format!("/tickets/export.csv?sort=created_at&reporter={}", server.bed.staff.id);
    let again = server.staff.read(&path).await;
    let (mut before, mut after) = (readable(&exported), readable(&again));
    before.sort();
    after.sort();
    assert_eq!(after, before);
}

async fn an_export_is_narrowed_like_the_list(t: Testbed) {
    let server = Server::over(t);
    open_many(&server.bed, 405).await;
    server.open(json!({ "title": "urgent", "priority": "critical" })).await;
    let response = server.staff.file("/tickets/export.csv").await;
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"tickets.csv\"");
    let whole = server.staff.read("/tickets/export.csv").await;
    let mut numbers: Vec<&str> = whole.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(numbers.len(), 406);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 406);
    for sort in ["priority", "-status", "due_at"] {
        assert_eq!(server.staff.read(&format!("/tickets/export.csv?sort={sort}")).await.lines().count(), 407);
    }
    let narrowed = server.staff.read("/tickets/export.csv?priority=critical").await;
    assert_eq!(narrowed.lines().count(), 2);
    assert!(narrowed.lines().nth(1).unwrap().contains(",urgent,"), "{narrowed}");
    let none = server.staff.read("/tickets/export.csv?q=nothing").await;
    assert_eq!(none.lines().count(), 1);
    let odd = "/tickets/export.csv?limit=5&cursor=x&offset=1&count=true&colour=red";
    let refused = server.staff.get(odd).await.expect(422);
    assert_eq!(refused.json["errors"].as_array().unwrap().len(), 6, "{}", refused.text);
}

async fn an_end_user_exports_what_they_reported_and_learns_of_no_staff(t: Testbed) {
    let server = Server::over(t);
    server.open(json!({ "title": "mine" })).await;
    server.staff.post("/tickets", json!({ "title": "secret" })).await.expect(201);
    open_many(&server.bed, 1).await;
    let seen = server.customer.read("/tickets/export.csv").await;
    assert_eq!(seen.lines().count(), 3);
    assert!(seen.contains("mine") && !seen.contains("secret") && !seen.contains("sam@"), "{seen}");
    let staff = server.staff.read("/tickets/export.csv").await;
    assert!(staff.contains("secret") && staff.contains("sam@example.org"));
    server.anybody.get("/tickets/export.csv").await.fails(401, "unauthorized");
}

async fn an_export_that_fails_on_its_way_is_cut_off(t: Testbed) {
    let server = Server::over(t);
    open_many(&server.bed, 450).await;
    let response = server.staff.file("/tickets/export.csv").await;
    assert_eq!(response.status(), 200);
    server.bed.db.close().await;
    let read = response.into_body().collect().await;
    assert!(read.is_err(), "a part looks like the whole");
}
