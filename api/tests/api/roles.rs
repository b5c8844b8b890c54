//! Who may do what over HTTP: every role, every route of a ticket and every relation to it, against tables that were
//! written out by hand.

use serde_json::{Value, json};
use shared::domain::access::Caller;
use shared::domain::definition::Kind;
use shared::domain::role::Role;
use shared::domain::ticket::{Priority, Status};
use shared::ids::{DefinitionId, UserId};
use shared::on_both;
use shared::store::clocks;
use shared::store::desk::{Actor, Draft};
use shared::store::tickets::Ticket;
use shared::testkit::Testbed;

use crate::server::{Client, Server};

on_both! {
    every_role_does_to_tickets_what_it_may,
    every_role_sees_and_changes_the_areas_it_may,
}

/// What is tried, in which status of the ticket, and for each role what comes of it with a ticket that is own, assigned,
/// of the team, of others: `y` it is done, `-` it is refused, `0` there is no such ticket.
struct Row {
    method: &'static str,
    below: &'static str,
    body: Value,
    from: &'static [Status],
    expected: [&'static str; 6],
}

const VIEW: [&str; 6] = ["y000", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"];
const UPDATE: [&str; 6] = ["y000", "-y--", "yyyy", "yyyy", "yyyy", "yyyy"];
const RESOLVE: [&str; 6] = ["-000", "-y--", "yyyy", "yyyy", "yyyy", "yyyy"];
const STAFF: [&str; 6] = ["-000", "yyyy", "yyyy", "yyyy", "yyyy", "yyyy"];
const LEADS: [&str; 6] = ["-000", "----", "----", "yyyy", "yyyy", "yyyy"];
const DELETE: [&str; 6] = ["-000", "----", "----", "----", "----", "yyyy"];

fn rows(me: UserId, mate: UserId, stranger: UserId) -> Vec<Row> {
    let row = |method, below, body, from, expected| Row { method, below, body, from, expected };
    let (nothing, resolved) = (Value::Null, &[Status::Resolved][..]);
    let give = |to: UserId| json!({ "assignee_id": to });
    vec![
        row("GET", "", nothing.clone(), &[], VIEW),
        row("GET", "/history", nothing.clone(), &[], VIEW),
        row("GET", "/sla", nothing.clone(), &[], VIEW),
        row("GET", "/notifications", nothing.clone(), &[], STAFF),
        row("PATCH", "", json!({ "title": "Another" }), &[], UPDATE),
        row("PUT", "", json!({ "title": "Another" }), &[], UPDATE),
        row("PUT", "/labels", json!({ "labels": ["new"] }), &[], UPDATE),
        row("PATCH", "/status", json!({ "status": "in_progress" }), &[], UPDATE),
        row("POST", "/reopen", nothing.clone(), resolved, UPDATE),
        row("PATCH", "/status", json!({ "status": "resolved" }), &[], RESOLVE),
        row("POST", "/resolve", nothing.clone(), &[], RESOLVE),
        row("PATCH", "/resolve", nothing.clone(), &[], RESOLVE),
        row("POST", "/close", nothing.clone(), resolved, RESOLVE),
        row("PATCH", "/status", json!({ "status": "closed" }), resolved, RESOLVE),
        row("POST", "/acknowledge", nothing.clone(), &[], STAFF),
        row("PUT", "/assign", give(me), &[], STAFF),
        row("PUT", "/assign", give(mate), &[], ["-000", "----", "yyyy", "yyyy", "yyyy", "yyyy"]),
        row("PUT", "/assign", give(stranger), &[], LEADS),
        row("DELETE", "", nothing, &[], DELETE),
    ]
}

fn clock_rows() -> Vec<Row> {
    let row = |method, below, body, expected| Row { method, below, body, from: &[], expected };
    vec![
        row("GET", "/explain", Value::Null, VIEW),
        row("PATCH", "/pause", json!({ "reason": "Waiting" }), RESOLVE),
        row("PATCH", "/resume", Value::Null, RESOLVE),
    ]
}

/// Somebody with a role, in a team with somebody else.
struct Actress {
    id: UserId,
    role: Role,
    client: Client,
    team: DefinitionId,
    mate: UserId,
    stranger: UserId,
}

async fn cast(server: &Server) -> Vec<Actress> {
    let (stranger, _) = server.member(Role::DevopsEngineer).await;
    let mut cast = Vec::new();
    for role in Role::ALL {
        let ((mate, _), (user, client)) =
            (server.member(Role::DevopsEngineer).await, server.member(*role).await);
        let team = json!({ "members": [user.id, mate.id], "email": null });
        let team = server.bed.define(Kind::Team, &format!("of {role}"), team).await.id;
        cast.push(Actress { id: user.id, role: *role, client, team, mate: mate.id, stranger: stranger.id });
    }
    cast
}

/// Opens a ticket for each relation: own, assigned, of the team, of others.
async fn open(server: &Server, of: &Actress, from: &[Status]) -> Vec<Ticket> {
    let manager: Actor = Caller::alone(server.bed.manager.id, Role::Manager).into();
    let base = Draft { assignee_id: None, actor: manager.clone(), ..server.bed.draft(Priority::Low) };
    let drafts = vec![
        Draft { reporter_id: of.id, ..base.clone() },
        Draft { assignee_id: Some(of.id), ..base.clone() },
        Draft { team_id: Some(of.team), ..base.clone() },
        base,
    ];
    let (desk, mut tx) = (&server.bed.desk, server.bed.db.begin().await.unwrap());
    let mut tickets = desk.open(&mut tx, drafts).await.unwrap();
    for ticket in &mut tickets {
        for status in from {
            *ticket = desk.move_to(&mut tx, ticket.id, None, &manager, *status).await.unwrap();
        }
    }
    let _ = tx.commit().await.unwrap();
    tickets
}

fn outcome(status: u16) -> char {
    match status {
        200..300 => 'y',
        403 => '-',
        404 => '0',
        _ => '?',
    }
}

async fn every_role_does_to_tickets_what_it_may(t: Testbed) {
    let server = Server::over(t);
    for (column, actress) in cast(&server).await.iter().enumerate() {
        let Actress { id, role, client, mate, stranger, .. } = actress;
        client.post("/tickets", json!({ "title": "x" })).await.expect(201);
        for Row { method, below, body, from, expected } in rows(*id, *mate, *stranger) {
            let mut came = String::new();
            for ticket in open(&server, actress, from).await {
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let path = format!("/api/v1/tickets/{}{below}", ticket.key());
                came.push(outcome(client.send(method, &path, body).await.status));
            }
            assert_eq!(came, expected[column], "{role} {method} {below} {body}");
        }
        let tickets = open(&server, actress, &[]).await;
        for Row { method, below, body, expected, .. } in clock_rows() {
            let mut came = String::new();
            for ticket in &tickets {
                let clock = clocks::of_ticket(&server.bed.db, ticket.id).await.unwrap()[0].id;
                if below == "/resume" {
                    let pause = json!({ "reason": "Waiting" });
                    server.manager.patch(&format!("/slas/{clock}/pause"), pause).await.expect(200);
                }
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let path = format!("/api/v1/slas/{clock}{below}");
                came.push(outcome(client.send(method, &path, body).await.status));
            }
            assert_eq!(came, expected[column], "{role} {method} {below}");
        }
        // Of many at once none is moved unless all may be.
        let may = UPDATE[column];
        for (ticket, may) in open(&server, actress, &[]).await.iter().zip(may.chars()) {
            let body = json!({ "ticket_ids": [ticket.id], "status": "in_progress" });
            let answer = client.post("/tickets/bulk-status", body).await;
            assert_eq!(answer.status, if may == 'y' { 200 } else { 409 }, "{role} {}", answer.text);
        }
    }
}

async fn every_role_sees_and_changes_the_areas_it_may(t: Testbed) {
    /// For each role, in the order of `Role::ALL`: whether it may.
    const STAFF: &str = "-yyyyy";
    const LEADS: &str = "---yyy";
    const ADMIN: &str = "-----y";
    let mut table = vec![
        ("GET", "/users", STAFF),
        ("POST", "/users", ADMIN),
        ("GET", "/users/none", STAFF),
        ("PATCH", "/users/none", ADMIN),
        ("DELETE", "/users/none", ADMIN),
        ("GET", "/users/none/history", ADMIN),
        ("GET", "/contacts", STAFF),
        ("POST", "/contacts", STAFF),
        ("PATCH", "/contacts/none", STAFF),
        ("DELETE", "/contacts/none", STAFF),
        ("GET", "/notifications", ADMIN),
        ("GET", "/schedules/none/overrides", STAFF),
        ("POST", "/schedules/none/overrides", STAFF),
        ("DELETE", "/schedules/none/overrides/none", STAFF),
        ("POST", "/calendars/none/preview", STAFF),
        ("POST", "/calendars/none/apply", LEADS),
        ("POST", "/sla-policies/none/apply", LEADS),
        ("GET", "/reports/top-assignees", STAFF),
        ("GET", "/reports/latency", STAFF),
        ("GET", "/reports/sla-compliance", STAFF),
        ("GET", "/reports/breaches", STAFF),
        ("GET", "/imports", STAFF),
        ("GET", "/imports/none", STAFF),
        ("GET", "/jobs", ADMIN),
        ("GET", "/jobs/none", ADMIN),
        ("POST", "/jobs/none/retry", ADMIN),
        ("GET", "/webhooks", ADMIN),
        ("POST", "/webhooks", ADMIN),
        ("GET", "/webhooks/none", ADMIN),
        ("PATCH", "/webhooks/none", ADMIN),
        ("DELETE", "/webhooks/none", ADMIN),
        ("GET", "/webhooks/none/deliveries", ADMIN),
        ("GET", "/me", "yyyyyy"),
        ("GET", "/labels", "yyyyyy"),
        ("GET", "/api-keys", "yyyyyy"),
    ];
    for (all, one) in [
        ("/calendars", "/calendars/none"),
        ("/sla-policies", "/sla-policies/none"),
        ("/escalation-policies", "/escalation-policies/none"),
        ("/schedules", "/schedules/none"),
        ("/teams", "/teams/none"),
    ] {
        let rows = [
            ("GET", all, STAFF),
            ("GET", one, STAFF),
            ("POST", all, LEADS),
            ("PATCH", one, LEADS),
            ("DELETE", one, LEADS),
        ];
        table.extend(rows);
    }
    let server = Server::over(t);
    for (column, Actress { role, client, .. }) in cast(&server).await.iter().enumerate() {
        for (method, path, expected) in &table {
            let status = client.send(method, &format!("/api/v1{path}"), "").await.status;
            assert!(matches!(status, 200 | 403 | 404 | 422), "{role} {method} {path}: {status}");
            assert_eq!(
                status != 403,
                expected.as_bytes()[column] == b'y',
                "{role} {method} {path}: {status}"
            );
        }
    }
}
