//! Many requests at once.

use std::collections::BTreeSet;
use std::task::Poll;

use serde_json::json;
use shared::domain::role::Role;
use shared::on_both;
use shared::store::Db;
use shared::store::query::query;
use shared::testkit::{Testbed, user};

use crate::answer::text;
use crate::server::{Server, all_at_once, at};

on_both! {
    two_hundred_tickets_at_once_are_all_opened,
    a_draft_that_the_database_refuses_fails_alone,
    of_many_moves_at_once_one_is_made,
    of_many_acknowledgements_the_first_stays,
}

async fn two_hundred_tickets_at_once_are_all_opened(t: Testbed) {
    let server = Server::over(t);
    let answers = all_at_once((0..200).map(|n| {
        let client = if n % 2 == 0 { server.staff.clone() } else { server.customer.clone() };
        let client = if n % 10 == 0 { client.with("idempotency-key", &format!("k{n}")) } else { client };
        async move {
            client.post("/tickets", json!({ "title": format!("{n}"), "labels": [format!("l{n}")] })).await
        }
    }))
    .await;
    let mut numbers = BTreeSet::new();
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = answer.expect(201);
        assert_eq!(
            (text(&answer.data()["title"]), &answer.data()["labels"]),
            (&*n.to_string(), &json!([format!("l{n}")]))
        );
        let reporter = if n % 2 == 0 { server.bed.staff.id } else { server.bed.customer.id };
        assert_eq!(answer.data()["reporter_id"], reporter.to_string());
        numbers.insert(text(&answer.data()["number"]).to_owned());
        if n % 20 == 0 {
            assert_eq!(server.staff.get(&at(answer.data(), "")).await.text, answer.text);
            server.clocks(answer.data()).await;
            assert_eq!(server.staff.get(&at(answer.data(), "/history")).await.each("new_value"), ["new"]);
        }
    }
    let expected: BTreeSet<String> = (1001..1201).map(|number| format!("INC-{number}")).collect();
    assert_eq!(numbers, expected);
}

async fn a_draft_that_the_database_refuses_fails_alone(t: Testbed) {
    let server = Server::over(t);
    let ghost = user("gus@example.org", Role::DevopsEngineer);
    server.add_user(&ghost).await;
    // The API has seen them a moment ago and takes them for real, the database does not.
    for client in [&server.client(ghost.id), &server.staff, &server.manager] {
        client.get("/me").await.expect(200);
    }
    server.tamper(query("DELETE FROM users WHERE id = $1").bind(ghost.id)).await;
    // Nobody else writes until all have asked, so that they share transactions.
    let mut held = server.bed.db.begin().await.unwrap();
    if matches!(server.bed.db, Db::Postgres(_)) {
        query("LOCK TABLE tickets IN EXCLUSIVE MODE").execute(&mut held).await.unwrap();
    }
    let mut requests: Vec<_> = (0..60)
        .map(|n| {
            let assignee = if n % 20 == 7 { ghost.id } else { server.bed.staff.id };
            let body = json!({ "title": format!("{n}"), "assignee_id": assignee });
            Box::pin(server.manager.post("/tickets", body))
        })
        .collect();
    let ask_all = std::future::poll_fn(|cx| {
        Poll::Ready(requests.iter_mut().all(|request| request.as_mut().poll(cx).is_pending()))
    });
    assert!(tokio::task::unconstrained(ask_all).await);
    held.rollback().await.unwrap();
    for (n, request) in requests.into_iter().enumerate() {
        let answer = request.await;
        if n % 20 == 7 {
            answer.fails(409, "conflict");
        } else {
            assert_eq!(answer.expect(201).data()["title"], n.to_string());
        }
    }
    let counted = server.staff.get("/tickets?count=true").await.expect(200);
    assert_eq!(counted.json["meta"]["total"], 57);
    let keyed = server.manager.with("idempotency-key", "k");
    let body = json!({ "title": "x", "assignee_id": ghost.id });
    keyed.post("/tickets", body).await.fails(409, "conflict");
}

async fn of_many_moves_at_once_one_is_made(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let answers = all_at_once((0..16).map(|_| {
        let (client, path) = (server.staff.clone(), at(&ticket, "/status"));
        async move { client.patch(&path, json!({ "status": "in_progress" })).await }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(made.len(), 1);
    for answer in refused {
        answer.fails(409, "transition_not_allowed");
    }
    assert_eq!(server.staff.get(&at(&ticket, "")).await.data()["version"], 2);
    assert_eq!(server.staff.get(&at(&ticket, "/history")).await.each("new_value"), ["new", "in_progress"]);
}

async fn of_many_acknowledgements_the_first_stays(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let answers = all_at_once((0..16).map(|n| {
        let client = if n % 2 == 0 { server.staff.clone() } else { server.manager.clone() };
        let path = at(&ticket, "/acknowledge");
        async move { client.act(&path).await }
    }))
    .await;
    let first = answers[0].text.clone();
    for answer in answers {
        let answer = answer.expect(200);
        assert_eq!((&answer.data()["version"], answer.text == first), (&json!(2), true));
    }
    assert_eq!(server.staff.get(&at(&ticket, "/history")).await.each("field"), ["status", "acknowledged_by"]);
}
