//! What an end user learns of others' tickets: nothing.

use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Client, Server};

on_both! {
    no_list_search_or_count_tells_of_others_tickets,
    every_route_answers_for_others_tickets_as_for_unknown_ones,
    what_staff_work_from_and_say_among_themselves_stays_with_them,
}

/// A word that stands in everything that must stay hidden.
const SECRET: &str = "xylophone";

/// A ticket of the customer that says the word wherever it can, and an end user who must not learn of it.
async fn hidden(server: &Server) -> (Value, Client) {
    let ticket = server
        .open(json!({
            "title": "The xylophone is on fire", "description": "xylophone", "environment": "xylophone",
            "affected_service": "xylophone", "labels": ["xylophone"], "assignee_id": server.bed.staff.id,
            "contact": { "name": "xylophone", "email": "xylophone@example.org" },
        }))
        .await;
    (ticket, server.member(Role::EndUser).await.1)
}

async fn no_list_search_or_count_tells_of_others_tickets(t: Testbed) {
    let server = Server::over(t);
    let (ticket, eve) = hidden(&server).await;
    let own = eve.post("/tickets", json!({ "title": "Mine", "labels": ["mine"] })).await.expect(201);
    let (own, cleo, sam) = (text(&own.data()["id"]), server.bed.customer.id, server.bed.staff.id);
    for query in [
        "".to_owned(),
        "&q=xylophone".into(),
        "&q=xylo*".into(),
        "&label=xylophone".into(),
        "&contact=xylophone@example.org".into(),
        format!("&reporter={cleo}"),
        format!("&assignee={sam}"),
        "&status=new&priority=medium&category=incident".into(),
        "&sort=priority".into(),
        "&sort=-due_at".into(),
        "&sort=updated_at&offset=0".into(),
        "&created_from=2020-01-01T00:00:00Z".into(),
        "&sla=at_risk".into(),
    ] {
        let list = eve.get(&format!("/tickets?count=true{query}")).await.expect(200);
        let (ids, total) = (list.each("id"), list.json["meta"]["total"].as_u64().unwrap());
        assert!(ids.iter().all(|id| id == own), "{query}: {ids:?}");
        assert_eq!(usize::try_from(total), Ok(ids.len()), "{query}");
        assert!(!list.text.contains(SECRET) && !list.text.contains(text(&ticket["id"])), "{query}");
        let exported = eve.read(&format!("/tickets/export.csv?{}", query.replace("&offset=0", ""))).await;
        assert!(!exported.contains(SECRET) && !exported.contains(text(&ticket["number"])), "{query}");
    }
    // A cursor from somebody else's list leads nowhere else.
    let theirs = server.staff.get("/tickets?limit=1").await.expect(200);
    let cursor = text(&theirs.json["meta"]["next_cursor"]);
    assert_eq!(eve.get(&format!("/tickets?cursor={cursor}")).await.expect(200).each("id"), [""; 0]);
    let labels = eve.get("/labels?count=true").await.expect(200);
    assert_eq!((labels.each("label"), &labels.json["meta"]["total"]), (vec!["mine".to_owned()], &1.into()));
    let labels = eve.get("/labels?count=true&q=xylo").await.expect(200);
    assert_eq!((labels.each("label").len(), &labels.json["meta"]["total"]), (0, &0.into()));
    for path in [
        "/notifications",
        "/contacts?q=xylo",
        "/users",
        "/imports",
        "/jobs",
        "/reports/breaches",
        "/webhooks",
    ] {
        eve.get(path).await.fails(403, "forbidden");
    }
    for query in ["q=xylophone", "label=xylophone", "contact=xylophone@example.org"] {
        let list = server.staff.get(&format!("/tickets?count=true&{query}")).await.expect(200);
        assert_eq!(list.json["meta"]["total"], 1, "there is something to hide: {query}");
    }
}

/// Goes by the description of the API, so that a route that is added is tried as well.
async fn every_route_answers_for_others_tickets_as_for_unknown_ones(t: Testbed) {
    let server = Server::over(t);
    let (ticket, eve) = hidden(&server).await;
    let clock = server.clocks(&ticket).await[0]["id"].clone();
    let unknown = "018f3c6e-0000-7000-8000-000000000000";
    let document: Value = serde_json::from_str(&server.anybody.page("GET", "/openapi.json").await.2).unwrap();
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let names = if path.starts_with("/api/v1/tickets/{id}") {
            vec![(text(&ticket["id"]), unknown), (text(&ticket["number"]), "INC-999999")]
        } else if path.starts_with("/api/v1/slas/{id}") {
            vec![(text(&clock), unknown)]
        } else {
            continue;
        };
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let body = if body.is_null() { String::new() } else { body.to_string() };
            for (theirs, none) in &names {
                let ask = |name: &str| {
                    let (method, there) = (method.to_uppercase(), path.replace("{id}", name));
                    let (eve, body) = (eve.clone(), body.clone());
                    async move { eve.send(&method, &there, body).await }
                };
                let (theirs, none) = (ask(theirs).await, ask(none).await);
                assert_eq!((theirs.status, &theirs.text), (none.status, &none.text), "{method} {path}");
                assert!(matches!(theirs.status, 404 | 415 | 422), "{method} {path}: {}", theirs.text);
                assert_eq!(theirs.header("etag"), None, "{method} {path}");
                tried += 1;
            }
        }
    }
    assert!(tried > 25, "{tried}");
    for (name, none) in [(text(&ticket["id"]), unknown), (text(&ticket["number"]), "INC-999999")] {
        let bulk = |name: &str| json!({ "ticket_ids": [name, name], "status": "open" });
        let theirs = eve.post("/tickets/bulk-status", bulk(name)).await;
        let unknown = eve.post("/tickets/bulk-status", bulk(none)).await;
        assert_eq!(
            (theirs.status, theirs.text.replace(name, "?")),
            (unknown.status, unknown.text.replace(none, "?"))
        );
    }
    let after = server.staff.get(&crate::server::at(&ticket, "")).await.expect(200);
    assert_eq!(*after.data(), ticket, "nothing was changed");
}

async fn what_staff_work_from_and_say_among_themselves_stays_with_them(t: Testbed) {
    let server = Server::over(t);
    let (ticket, _) = hidden(&server).await;
    let shown = server.customer.get(&crate::server::at(&ticket, "/history")).await.expect(200);
    for change in shown.data().as_array().unwrap() {
        let own = change["actor_id"] == server.bed.customer.id.to_string();
        assert!(own || change["ip"].is_null(), "{change}");
    }
    server.customer.get(&crate::server::at(&ticket, "/notifications")).await.fails(403, "forbidden");
}
