//! The page behind the link in a mail.

use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::ids::{ClockId, TicketId, UserId};
use shared::links::{self, LIFETIME, Link};
use shared::on_both;
use shared::store::notifications::{self, Recipient};
use shared::store::{escalations, tickets};
use shared::testkit::Testbed;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    looking_changes_nothing_and_pressing_the_button_acknowledges,
    whoever_was_first_stays_on_record,
    an_address_without_an_account_acknowledges_under_its_name,
    a_link_expires_after_a_week,
    a_link_that_was_not_made_here_leads_nowhere,
    a_link_dies_with_the_right_to_use_it,
    a_hostile_title_is_shown_and_not_run,
    all_who_press_at_once_see_the_same_name,
    no_log_holds_a_link,
}

const SAM: &str = "sam@example.org";

/// Mails somebody about a breach of a ticket, and returns the path of the link.
async fn link(server: &Server, ticket: &Value, address: &str, user: Option<UserId>) -> String {
    let bed = &server.bed;
    let ticket: TicketId = text(&ticket["id"]).parse().unwrap();
    let cause = Cause::Breached { ticket, clock: ClockId::new() };
    let mut tx = bed.db.begin().await.unwrap();
    let decided =
        notifications::decide(&mut tx, &cause, &[Recipient::mail(address)], bed.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    let key = links::key(&bed.db, bed.now()).await.unwrap();
    let link = Link { notification: decided[0].id, user, expires_at: bed.now() + LIFETIME };
    format!("/acknowledge/{}", link.sign(&key, ticket, address))
}

async fn to_sam(server: &Server, ticket: &Value) -> String {
    link(server, ticket, SAM, Some(server.bed.staff.id)).await
}

fn check_headers(headers: &HeaderMap) {
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-robots-tag", "noindex, nofollow"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers.contains_key("x-request-id"));
}

/// Asks for a page and returns its text.
async fn ask(server: &Server, method: &str, path: &str, status: u16) -> String {
    let (answered, headers, body) = server.anybody.page(method, path).await;
    assert_eq!(answered, status, "{body}");
    check_headers(&headers);
    body
}

async fn looking_changes_nothing_and_pressing_the_button_acknowledges(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "priority": "critical" })).await;
    server.bed.advance(TimeDelta::hours(2));
    server.bed.sweep().await;
    let before = server.staff.get(&at(&ticket, "")).await.text;
    let path = to_sam(&server, &ticket).await;
    for method in ["GET", "HEAD", "GET"] {
        let page = ask(&server, method, &path, 200).await;
        assert_eq!(page.is_empty(), method == "HEAD");
        let shown = ["INC-1001", "The database is on fire", "status: new", "<form method=\"post\">"];
        assert!(method == "HEAD" || shown.iter().all(|text| page.contains(text)), "{page}");
    }
    assert_eq!(server.staff.get(&at(&ticket, "")).await.text, before);
    let page = ask(&server, "POST", &path, 200).await;
    let done = "Acknowledged by sam at 2027-01-15 10:00:00 UTC.";
    assert!(page.contains(done) && !page.contains("<form"), "{page}");
    let acknowledged = server.staff.get(&at(&ticket, "")).await.expect(200);
    assert_eq!(acknowledged.data()["acknowledged_by"], server.bed.staff.id.to_string());
    let id = text(&ticket["id"]).parse().unwrap();
    let stopped = escalations::of_ticket(&server.bed.db, id).await.unwrap();
    assert_eq!(stopped[0].stop_reason, Some(StopReason::Acknowledged));
    server.bed.advance(TimeDelta::hours(1));
    for method in ["GET", "POST", "POST"] {
        assert!(ask(&server, method, &path, 200).await.contains(done));
    }
    assert_eq!(server.staff.get(&at(&ticket, "")).await.text, acknowledged.text);
}

async fn whoever_was_first_stays_on_record(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = link(&server, &ticket, "oncall@example.org", None).await;
    server.staff.act(&at(&ticket, "/acknowledge")).await.expect(200);
    for method in ["GET", "POST"] {
        assert!(ask(&server, method, &path, 200).await.contains("Acknowledged by sam at"));
    }
}

async fn an_address_without_an_account_acknowledges_under_its_name(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = link(&server, &ticket, "oncall@example.org", None).await;
    assert!(
        ask(&server, "POST", &path, 200).await.contains("Acknowledged by oncall@example.org at 2027-01-15")
    );
    let other = to_sam(&server, &ticket).await;
    assert!(ask(&server, "POST", &other, 200).await.contains("Acknowledged by oncall@example.org at"));
    let ticket = server.staff.get(&at(&ticket, "")).await.expect(200);
    assert_eq!((&ticket.data()["acknowledged_by"], &ticket.data()["version"]), (&Value::Null, &2.into()));
    assert_ne!(ticket.data()["acknowledged_at"], Value::Null);
}

async fn a_link_expires_after_a_week(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = to_sam(&server, &ticket).await;
    server.bed.advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    ask(&server, "GET", &path, 200).await;
    server.bed.advance(TimeDelta::seconds(1));
    for method in ["GET", "POST"] {
        let page = ask(&server, method, &path, 410).await;
        assert!(page.contains("expired") && !page.contains("on fire"), "{page}");
    }
    assert_eq!(server.staff.get(&at(&ticket, "")).await.data()["acknowledged_at"], Value::Null);
}

async fn a_link_that_was_not_made_here_leads_nowhere(t: Testbed) {
    let server = Server::over(t);
    let (ticket, other) = (server.open(json!({})).await, server.open(json!({})).await);
    let path = to_sam(&server, &ticket).await;
    let garbled: String = path.chars().rev().take(98).collect();
    let mut forged =
        vec![path[..path.len() - 1].to_owned(), format!("{path}A"), format!("/acknowledge/{garbled}")];
    forged.extend(["/acknowledge/a", "/acknowledge/%00", "/acknowledge/%2e%2e"].map(str::to_owned));
    // Genuine parts of two links, and what is right but for the key.
    let second = to_sam(&server, &other).await;
    forged.push(format!("{}{}", &path[..60], &second[60..]));
    for path in forged {
        for method in ["GET", "POST"] {
            let page = ask(&server, method, &path, 404).await;
            assert!(!page.contains("on fire") && !page.contains("INC-"), "{path}: {page}");
        }
    }
    for ticket in [&ticket, &other] {
        let id: TicketId = text(&ticket["id"]).parse().unwrap();
        assert_eq!(tickets::get(&server.bed.db, id).await.unwrap().unwrap().acknowledged_at, None);
    }
    server.anybody.send("DELETE", &path, "").await.fails(405, "method_not_allowed");
}

async fn a_link_dies_with_the_right_to_use_it(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = to_sam(&server, &ticket).await;
    let cleo = link(&server, &ticket, "cleo@example.org", Some(server.bed.customer.id)).await;
    ask(&server, "POST", &cleo, 410).await;
    let wrong = link(&server, &ticket, "oncall@example.org", Some(server.bed.staff.id)).await;
    ask(&server, "POST", &wrong, 410).await;
    server.bed.disable(SAM).await;
    for method in ["GET", "POST"] {
        ask(&server, method, &path, 410).await;
    }
    let id: TicketId = text(&ticket["id"]).parse().unwrap();
    assert_eq!(tickets::get(&server.bed.db, id).await.unwrap().unwrap().acknowledged_at, None);
}

async fn a_hostile_title_is_shown_and_not_run(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({ "title": "<script>alert(1)</script> \"'&" })).await;
    let page = ask(&server, "GET", &to_sam(&server, &ticket).await, 200).await;
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(1)"), "{page}");
}

async fn all_who_press_at_once_see_the_same_name(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let mut pressing = Vec::new();
    for i in 0..8 {
        let path = link(&server, &ticket, &format!("oncall{i}@example.org"), None).await;
        let client = server.anybody.clone();
        pressing.push(tokio::spawn(async move { client.page("POST", &path).await }));
    }
    let mut pages = Vec::new();
    for pressing in pressing {
        let (status, _, page) = pressing.await.unwrap();
        assert_eq!(status, 200, "{page}");
        pages.push(page);
    }
    assert!(pages.iter().all(|page| *page == pages[0]), "{pages:?}");
    let history = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    assert_eq!(history.each("field").iter().filter(|field| *field == "acknowledged_as").count(), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn no_log_holds_a_link(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let path = to_sam(&server, &ticket).await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    let asking = async {
        for (method, path, status) in [("GET", &*path, 200), ("POST", &path, 200), ("GET", &path[..90], 404)]
        {
            ask(&server, method, path, status).await;
        }
    };
    asking.with_subscriber(subscriber).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("/acknowledge/{token}"), "{log}");
    assert!(!log.contains(&path[13..60]), "{log}");
}
