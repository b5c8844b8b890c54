//! What is said when something is broken, and what is not.

use serde_json::json;
use shared::on_both;
use shared::store::query::query;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, all_at_once, at};

on_both! {
    the_api_and_its_database_are_well,
    a_database_that_is_away_is_said_to_be_away,
    a_schema_that_does_not_fit_is_unhealthy,
    a_defect_is_not_shown,
}

async fn the_api_and_its_database_are_well(t: Testbed) {
    let server = Server::over(t);
    let anybody = &server.anybody;
    let health = anybody.send("GET", "/health", "").await.expect(200);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(health.json, @r#"
        {
          "data": {
            "status": "ok"
          },
          "errors": [],
          "message": null,
          "success": true
        }
        "#);
    }
    let health = anybody.send("GET", "/db-health", "").await.expect(200);
    assert_eq!(*health.data(), json!({ "db": "ok" }));
}

async fn a_database_that_is_away_is_said_to_be_away(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let [clock, _] = server.clocks(&ticket).await;
    server.bed.db.close().await;
    let asked = [
        ("GET", "/api/v1/tickets".to_owned(), json!(null)),
        ("POST", "/api/v1/tickets".into(), json!({ "title": "x" })),
        ("GET", format!("/api/v1{}", at(&ticket, "")), json!(null)),
        ("GET", "/api/v1/tickets/INC-1001".into(), json!(null)),
        ("PATCH", format!("/api/v1{}", at(&ticket, "")), json!({ "title": "x" })),
        ("PATCH", format!("/api/v1{}", at(&ticket, "/status")), json!({ "status": "open" })),
        ("POST", format!("/api/v1{}", at(&ticket, "/acknowledge")), json!({})),
        ("POST", format!("/api/v1{}", at(&ticket, "/resolve")), json!({})),
        ("GET", format!("/api/v1{}", at(&ticket, "/history")), json!(null)),
        ("GET", format!("/api/v1{}", at(&ticket, "/sla")), json!(null)),
        ("PATCH", format!("/api/v1/slas/{}/pause", text(&clock["id"])), json!({ "reason": "x" })),
        ("PATCH", format!("/api/v1/slas/{}/resume", text(&clock["id"])), json!({})),
        ("POST", "/api/v1/auth/login".into(), json!({ "email": "sam@example.org", "password": "x" })),
        ("GET", "/db-health".into(), json!(null)),
    ];
    for (method, uri, body) in asked {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        for client in [&server.staff, &server.staff.with("idempotency-key", "k")] {
            let answer = client.send(method, &uri, body.clone()).await.fails(503, "unavailable");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    let many = all_at_once((0..20).map(|_| {
        let client = server.customer.clone();
        async move { client.post("/tickets", json!({ "title": "x" })).await }
    }));
    assert!(many.await.iter().all(|answer| answer.status == 503));
    server.anybody.send("GET", "/health", "").await.expect(200);
    let unknown = server.restarted();
    let answer = unknown.staff.get("/me").await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(answer.expect(503).json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "unavailable",
              "field": null,
              "message": "The database is not available at the moment; try again in a second."
            }
          ],
          "message": "The database is not available at the moment; try again in a second.",
          "success": false
        }
        "#);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_file_that_is_gone_is_said_to_be_away() {
    let server = Server::over(Testbed::sqlite().await);
    server.open(json!({})).await;
    let staff = server.staff.clone();
    drop(server);
    // The folder is gone with the testbed: connections that are open still read, new ones cannot be had.
    let answers = all_at_once((0..40).map(|_| {
        let staff = staff.clone();
        async move { staff.get("/tickets?count=true").await }
    }));
    for answer in answers.await.into_iter().filter(|answer| answer.status != 200) {
        answer.fails(503, "unavailable");
    }
}

async fn a_schema_that_does_not_fit_is_unhealthy(t: Testbed) {
    let server = Server::over(t);
    server.tamper(query("DELETE FROM _sqlx_migrations")).await;
    server.anybody.send("GET", "/db-health", "").await.fails(503, "unavailable");
    server.anybody.send("GET", "/health", "").await.expect(200);
}

async fn a_defect_is_not_shown(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    server.tamper(query("DROP TABLE ticket_history")).await;
    let answer = server.staff.get(&at(&ticket, "/history")).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(answer.expect(500).json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "internal",
              "field": null,
              "message": "Something went wrong here; report it with the X-Request-Id of this answer."
            }
          ],
          "message": "Something went wrong here; report it with the X-Request-Id of this answer.",
          "success": false
        }
        "#);
    }
    server.staff.patch(&at(&ticket, ""), json!({ "title": "x" })).await.fails(500, "internal");
    server.staff.post("/tickets", json!({ "title": "x" })).await.fails(500, "internal");
    let keyed = server.staff.with("idempotency-key", "k");
    keyed.post("/tickets", json!({ "title": "x" })).await.fails(500, "internal");
    let many = all_at_once((0..20).map(|_| {
        let client = server.customer.clone();
        async move { client.post("/tickets", json!({ "title": "x" })).await }
    }));
    assert!(many.await.iter().all(|answer| answer.status >= 500));
    assert_eq!(*server.staff.get(&at(&ticket, "")).await.expect(200).data(), ticket, "nothing was half done");
    assert_eq!(server.staff.get("/tickets").await.expect(200).each("number").len(), 1);
}
