//! Whom tickets are with.

use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::{Server, at};

on_both! {
    an_engineer_takes_tickets_and_gives_none_away,
    a_senior_gives_tickets_within_their_team,
    a_lead_gives_tickets_to_anybody_and_takes_them_back,
    an_end_user_says_nothing_about_who_works_on_a_ticket,
    an_assignment_must_say_something_that_can_be_done,
    an_assignment_is_on_record_and_of_one_version,
}

async fn an_engineer_takes_tickets_and_gives_none_away(t: Testbed) {
    let server = Server::over(t);
    let (engineer, client) = server.member(Role::DevopsEngineer).await;
    let path = at(&server.open(json!({})).await, "/assign");
    client.put(&path, json!({ "assignee_id": server.bed.staff.id })).await.fails(403, "forbidden");
    let taken = client.put(&path, json!({ "assignee_id": engineer.id })).await.expect(200);
    assert_eq!(taken.data()["assignee_id"], json!(engineer.id));
    client.put(&path, json!({ "assignee_id": server.bed.staff.id })).await.fails(403, "forbidden");
    client.patch(&path.replace("/assign", ""), json!({ "title": "Mine now" })).await.expect(200);
}

async fn a_senior_gives_tickets_within_their_team(t: Testbed) {
    let server = Server::over(t);
    let (mate, _) = server.member(Role::DevopsEngineer).await;
    let (stranger, _) = server.member(Role::DevopsEngineer).await;
    let team = |name: &str, members: Value| json!({ "name": name, "members": members });
    let own = team("Web", json!([server.bed.staff.id, mate.id]));
    let own = server.manager.post("/teams", own).await.expect(201).data()["id"].clone();
    let other = team("Network", json!([stranger.id]));
    let other = server.manager.post("/teams", other).await.expect(201).data()["id"].clone();
    // What an account may is believed for some seconds: ask another process.
    let server = server.restarted();
    let path = at(&server.open(json!({})).await, "/assign");
    for refused in [json!({ "assignee_id": stranger.id }), json!({ "team_id": other })] {
        server.staff.put(&path, refused).await.fails(403, "forbidden");
    }
    for given in
        [json!({ "assignee_id": mate.id }), json!({ "team_id": own }), json!({ "assignee_id": null })]
    {
        server.staff.put(&path, given).await.expect(200);
    }
    server.manager.put(&path, json!({ "assignee_id": stranger.id })).await.expect(200);
    server.staff.put(&path, json!({ "assignee_id": null })).await.fails(403, "forbidden");
}

async fn a_lead_gives_tickets_to_anybody_and_takes_them_back(t: Testbed) {
    let server = Server::over(t);
    let path = at(&server.open(json!({})).await, "/assign");
    let given = server.manager.put(&path, json!({ "assignee_id": server.bed.staff.id })).await.expect(200);
    assert_eq!(given.data()["assignee_id"], json!(server.bed.staff.id));
    let taken = server.manager.put(&path, json!({ "assignee_id": null })).await.expect(200);
    assert_eq!(taken.data()["assignee_id"], Value::Null);
}

async fn an_end_user_says_nothing_about_who_works_on_a_ticket(t: Testbed) {
    let server = Server::over(t);
    let given = json!({ "title": "Fire", "assignee_id": server.bed.staff.id });
    server.customer.post("/tickets", given.clone()).await.fails(403, "forbidden");
    server.customer.with("idempotency-key", "1").post("/tickets", given).await.fails(403, "forbidden");
    let ticket = server.open(json!({})).await;
    let to = json!({ "assignee_id": server.bed.staff.id });
    server.customer.put(&at(&ticket, "/assign"), to.clone()).await.fails(403, "forbidden");
    server.customer.patch(&at(&ticket, ""), to).await.fails(403, "forbidden");
    let read = server.customer.get(&at(&ticket, "")).await.expect(200);
    assert_eq!(read.data()["version"], 1);
}

async fn an_assignment_must_say_something_that_can_be_done(t: Testbed) {
    let server = Server::over(t);
    let path = at(&server.open(json!({})).await, "/assign");
    server.manager.put(&path, json!({})).await.blames(&[("assignee_id", "required")]);
    let nobody = "0190a0a0-0000-7000-8000-000000000000";
    let unknown = json!({ "assignee_id": nobody, "team_id": nobody, "priority": "low" });
    let blamed = [("assignee_id", "unknown_user"), ("team_id", "unknown_team"), ("priority", "unknown")];
    server.manager.put(&path, unknown).await.blames(&blamed);
    server.manager.put("/tickets/INC-1/assign", json!({ "assignee_id": null })).await.fails(404, "not_found");
}

async fn an_assignment_is_on_record_and_of_one_version(t: Testbed) {
    let server = Server::over(t);
    let ticket = server.open(json!({})).await;
    let (path, id) = (at(&ticket, "/assign"), json!(server.bed.staff.id));
    server.manager.put(&path, json!({ "assignee_id": id, "version": 1 })).await.expect(200);
    server
        .manager
        .put(&path, json!({ "assignee_id": null, "version": 1 }))
        .await
        .fails(409, "version_conflict");
    let stale = server.manager.with("if-match", "\"1\"");
    stale.put(&path, json!({ "assignee_id": null })).await.fails(412, "stale");
    let history = server.staff.get(&at(&ticket, "/history")).await.expect(200);
    let last = &history.data()[1];
    assert_eq!((text(&last["field"]), &last["new_value"]), ("assignee_id", &id));
}
