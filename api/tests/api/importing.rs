//! Tickets out of CSV files.

use serde_json::{Value, json};
use shared::domain::job::{ImportTickets, Job};
use shared::on_both;
use shared::store::jobs;
use shared::testkit::Testbed;

use crate::answer::{Answer, text};
use crate::server::{Client, Server};

on_both! {
    a_short_file_is_imported_at_once_and_every_bad_row_is_named,
    a_file_may_come_in_a_form,
    a_file_that_cannot_be_used_is_refused_as_a_whole,
    a_long_file_is_kept_for_a_job,
    a_file_sent_again_under_its_key_is_imported_once,
    only_staff_imports_and_sees_imports,
}

async fn send(client: &Client, file: impl Into<Vec<u8>>) -> Answer {
    client.with("content-type", "text/csv; charset=utf-8").send("POST", "/api/v1/tickets/import", file).await
}

fn many(rows: usize) -> String {
    let rows = (0..rows).map(|n| format!("Ticket {n}\n"));
    std::iter::once("title\n".to_owned()).chain(rows).collect()
}

async fn tickets(server: &Server) -> i64 {
    server.staff.get("/tickets?count=true&limit=1").await.expect(200).json["meta"]["total"].as_i64().unwrap()
}

async fn a_short_file_is_imported_at_once_and_every_bad_row_is_named(t: Testbed) {
    let server = Server::over(t);
    let file = "\u{feff}title;priority;labels;external_id\r\nOne;P1;a|b;x\r\n;urgent;;\r\n\"Two\nlines\";;;\r\nThree;;;x\r\n";
    let answer = send(&server.staff, file).await.expect(200);
    let data = answer.data();
    assert_eq!([&data["rows"], &data["imported"], &data["failed"], &data["skipped"]], [4, 1, 2, 1]);
    assert_eq!(data["tickets"].as_array().unwrap().len(), 1);
    let errors: Vec<(i64, &str)> = data["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_i64().unwrap(), text(&error["field"])))
        .collect();
    assert_eq!(errors, [(3, "priority"), (3, "title"), (4, "title"), (6, "external_id")]);
    let ticket = server.staff.get(&format!("/tickets/{}", text(&data["tickets"][0]))).await.expect(200);
    assert_eq!((&ticket.data()["title"], &ticket.data()["priority"]), (&json!("One"), &json!("critical")));
    assert_eq!(ticket.data()["labels"], json!(["a", "b"]));
    assert_eq!(ticket.data()["reporter_id"], json!(server.bed.staff.id));

    let path = format!("/imports/{}", text(&data["id"]));
    let shown = server.staff.get(&path).await.expect(200);
    assert_eq!((&shown.data()["state"], &shown.data()["imported"]), (&json!("done"), &json!(1)));
    assert_eq!(
        (&shown.data()["errors"], &shown.data()["errors_truncated"]),
        (&data["errors"], &json!(false))
    );
    let listed = server.staff.get("/imports?count=true").await.expect(200);
    assert_eq!(
        (listed.each("id"), &listed.json["meta"]["total"]),
        (vec![text(&data["id"]).into()], &json!(1))
    );
    let errors = server.staff.read(&format!("{path}/errors.csv")).await;
    assert!(errors.starts_with("line,field,reason\r\n3,priority,\"It must be one of"), "{errors}");
    assert_eq!(errors.lines().count(), 5);
    let again = send(&server.staff, "title,external_id\nAgain,x\n").await.expect(200);
    let why = format!("Was imported before, as {}.", text(&data["tickets"][0]));
    assert_eq!(again.data()["errors"], json!([{ "line": 2, "field": "external_id", "reason": why }]));
}

fn form(field: &str, file: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"t.csv\"\r\nContent-Type: text/csv\r\n\r\n\
        {file}\r\n--b--\r\n"
    )
}

async fn send_form(client: &Client, form: String) -> Answer {
    let client = client.with("content-type", "multipart/form-data; boundary=b");
    client.send("POST", "/api/v1/tickets/import", form).await
}

async fn a_file_may_come_in_a_form(t: Testbed) {
    let server = Server::over(t);
    let answer = send_form(&server.staff, form("file", "title\nOne\nTwo")).await.expect(200);
    assert_eq!(answer.data()["imported"], 2);
    send_form(&server.staff, form("upload", "title\nOne")).await.blames(&[("upload", "unknown")]);
    send_form(&server.staff, "--b--\r\n".into()).await.blames(&[("file", "required")]);
    send_form(&server.staff, "nothing of the kind".into()).await.fails(400, "malformed");
    assert_eq!(tickets(&server).await, 2);
}

async fn a_file_that_cannot_be_used_is_refused_as_a_whole(t: Testbed) {
    let server = Server::over(t);
    send(&server.staff, "").await.blames(&[("title", "required")]);
    let colours = send(&server.staff, "colour,priority,priority\nred,,\n").await;
    colours.blames(&[("colour", "invalid"), ("priority", "invalid"), ("title", "required")]);
    server.staff.post("/tickets/import", json!({})).await.fails(415, "not_csv");
    assert_eq!(tickets(&server).await, 0);
    assert!(server.staff.get("/imports").await.expect(200).each("id").is_empty());
    let keyed = server.staff.with("idempotency-key", "a key with bl\u{e4}nks");
    send(&keyed, "title\nx\n").await.blames(&[("Idempotency-Key", "invalid")]);
    server.staff.get("/imports/nothing").await.fails(404, "not_found");
    server.staff.get(&format!("/imports/{}", server.bed.staff.id)).await.fails(404, "not_found");
}

async fn waiting(server: &Server) -> usize {
    let jobs = jobs::list(&server.bed.db, 100).await.unwrap();
    jobs.iter().filter(|job| job.kind == ImportTickets::KIND).count()
}

async fn a_long_file_is_kept_for_a_job(t: Testbed) {
    let server = Server::over(t);
    let short = send(&server.staff, many(1_000)).await.expect(200);
    assert_eq!(short.data()["imported"], 1_000);
    let wide = format!("title,description\n{}", format!("x,{}\n", "y".repeat(60_000)).repeat(20));
    for (begun, file) in [many(1_001), wide].into_iter().enumerate() {
        let answer = send(&server.staff, file.clone()).await.expect(202);
        assert_eq!((&answer.data()["state"], &answer.data()["rows"]), (&json!("waiting"), &json!(0)));
        assert_eq!(answer.data()["size"], file.len());
        assert_eq!(waiting(&server).await, begun + 1);
        let key = format!("imports/{}", text(&answer.data()["id"]));
        let stored = server.bed.blobs().size(&key).await.unwrap();
        assert_eq!(stored, Some(file.len().try_into().unwrap()));
        let shown = server.staff.get(&format!("/{key}")).await.expect(200);
        assert_eq!(shown.data()["errors"], json!([]));
    }
    assert_eq!(tickets(&server).await, 1_000);
}

async fn a_file_sent_again_under_its_key_is_imported_once(t: Testbed) {
    let server = Server::over(t);
    for (key, file) in [("short", many(2)), ("long", many(1_001))] {
        let keyed = server.staff.with("idempotency-key", key);
        let first = send(&keyed, file.clone()).await;
        assert!(first.status < 300 && first.header("idempotent-replayed").is_none(), "{first:?}");
        let second = send(&keyed, file).await;
        assert_eq!((second.status, &second.json), (first.status, &first.json));
        assert_eq!(second.header("idempotent-replayed"), Some("true"));
        let other: Value =
            send(&keyed, "title\nOther\n").await.blames(&[("Idempotency-Key", "key_reused")]).json;
        assert_eq!(other["success"], false);
    }
    assert_eq!((tickets(&server).await, waiting(&server).await), (2, 1));
    let mut kept = 0;
    for file in std::fs::read_dir(server.bed.files.path().join("imports")).unwrap() {
        kept += usize::from(file.is_ok());
    }
    assert_eq!(kept, 1, "files that were not imported are gone");
}

async fn only_staff_imports_and_sees_imports(t: Testbed) {
    let server = Server::over(t);
    send(&server.customer, "title\nOne\n").await.fails(403, "forbidden");
    let made = send(&server.staff, "title\nOne\n").await.expect(200);
    for path in ["".to_owned(), format!("/{}", text(&made.data()["id"]))] {
        server.customer.get(&format!("/imports{path}")).await.fails(403, "forbidden");
        server.anybody.get(&format!("/imports{path}")).await.fails(401, "unauthorized");
    }
    let path = format!("/imports/{}/errors.csv", text(&made.data()["id"]));
    server.customer.get(&path).await.fails(403, "forbidden");
    assert_eq!(tickets(&server).await, 1);
}
