//! The jobs ledger, as admins see it.

use serde_json::{Value, json};
use shared::domain::job::{Ending, Noop, Priority};
use shared::domain::role::Role;
use shared::ids::{JobId, WorkerId};
use shared::on_both;
use shared::store::jobs::{self, End, NewJob};
use shared::testkit::{Testbed, user};

use crate::answer::text;
use crate::server::{Client, Server};

on_both! {
    only_an_admin_sees_and_retries_jobs,
    jobs_are_listed_page_by_page_and_filtered,
    a_dead_job_is_retried_once_under_one_key,
    only_dead_jobs_are_retried,
}

async fn admin(server: &Server) -> Client {
    let admin = user("root@example.org", Role::Admin);
    server.add_user(&admin).await;
    server.client(admin.id)
}

async fn enqueue(server: &Server, new: Vec<NewJob>) -> Vec<JobId> {
    let mut tx = server.bed.db.begin().await.unwrap();
    let ids = jobs::enqueue(&mut tx, new, server.bed.now()).await.unwrap();
    let _ = tx.commit().await.unwrap();
    ids
}

async fn kill(server: &Server, id: JobId) {
    let (worker, mut tx) = (WorkerId::new(), server.bed.db.begin().await.unwrap());
    let job = jobs::claim(&mut tx, worker, &[id], server.bed.now()).await.unwrap().pop().unwrap();
    let note = Some("550 no such user ada@example.org".to_owned());
    jobs::finish(&mut tx, worker, vec![End { job, ending: Ending::Dead, note }], server.bed.now())
        .await
        .unwrap();
    let _ = tx.commit().await.unwrap();
}

async fn only_an_admin_sees_and_retries_jobs(t: Testbed) {
    let server = Server::over(t);
    let id = enqueue(&server, vec![NewJob::of(&Noop {})]).await[0];
    for client in [&server.staff, &server.customer] {
        client.get("/jobs").await.fails(403, "forbidden");
        client.get(&format!("/jobs/{id}")).await.fails(403, "forbidden");
        client.act(&format!("/jobs/{id}/retry")).await.fails(403, "forbidden");
    }
    server.anybody.get("/jobs").await.fails(401, "unauthorized");
    let admin = admin(&server).await;
    for unknown in [JobId::new().to_string(), "5".into()] {
        admin.get(&format!("/jobs/{unknown}")).await.fails(404, "not_found");
        admin.act(&format!("/jobs/{unknown}/retry")).await.fails(404, "not_found");
    }
}

async fn jobs_are_listed_page_by_page_and_filtered(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let high = NewJob::of(&Noop {}).priority(Priority::High);
    let ids = enqueue(&server, vec![NewJob::of(&Noop {}), high, NewJob::of(&Noop {})]).await;
    kill(&server, ids[0]).await;
    let first = admin.get("/jobs?limit=2&count=true").await.expect(200);
    assert_eq!(
        (first.json["meta"]["total"].as_i64(), &first.json["meta"]["has_more"]),
        (Some(3), &Value::Bool(true))
    );
    let cursor = text(&first.json["meta"]["next_cursor"]);
    let second = admin.get(&format!("/jobs?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((first.each("state").len(), second.each("state").len()), (2, 1));
    let dead = admin.get("/jobs?state=dead").await.expect(200);
    assert_eq!(text(&dead.data()[0]["id"]), ids[0].to_string());
    assert_eq!(dead.data()[0]["last_error"], "550 no such user [address]");
    let urgent = admin.get("/jobs?priority=high&kind=noop&state=ready").await.expect(200);
    assert_eq!(urgent.each("id"), [ids[1].to_string().as_str()]);
    let wrong = admin.get("/jobs?state=asleep&priority=urgent&limit=0&cursor=x&nothing=1").await;
    wrong.blames(&[
        ("cursor", "invalid"),
        ("limit", "invalid"),
        ("nothing", "unknown"),
        ("priority", "unknown_value"),
        ("state", "unknown_value"),
    ]);
}

async fn a_dead_job_is_retried_once_under_one_key(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await.with("idempotency-key", "retry");
    let id = enqueue(&server, vec![NewJob::of(&Noop {}).unique("only")]).await[0];
    kill(&server, id).await;
    let made = admin.act(&format!("/jobs/{id}/retry")).await.expect(201);
    assert_eq!((&made.data()["state"], &made.data()["attempt"]), (&json!("ready"), &json!(0)));
    assert_ne!(text(&made.data()["id"]), id.to_string());
    let again = admin.act(&format!("/jobs/{id}/retry")).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), again.data()), (Some("true"), made.data()));
    let other = admin.with("idempotency-key", "other");
    other.act(&format!("/jobs/{id}/retry")).await.fails(409, "waits_already");
}

async fn only_dead_jobs_are_retried(t: Testbed) {
    let server = Server::over(t);
    let admin = admin(&server).await;
    let id = enqueue(&server, vec![NewJob::of(&Noop {})]).await[0];
    let refused = admin.act(&format!("/jobs/{id}/retry")).await.fails(409, "not_dead");
    assert_eq!(refused.message(), "Only dead jobs can be retried; this one is ready.");
    admin.post(&format!("/jobs/{id}/retry"), json!({ "now": true })).await.blames(&[("now", "unknown")]);
}
