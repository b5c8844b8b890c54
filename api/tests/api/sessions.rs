//! Staying signed in, guessing passwords, and choosing another.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::on_both;
use shared::store::query::query;
use shared::testkit::Testbed;

use crate::answer::{Answer, text};
use crate::server::{Client, Server};
use crate::signing_in::{LOGIN, credentials, with_password};

on_both! {
    a_refresh_token_gives_the_next_tokens,
    a_refresh_token_used_twice_ends_the_sign_in,
    a_refresh_token_ends_with_its_month_its_sign_in_and_its_account,
    what_is_no_refresh_token_is_refused,
    no_secret_is_stored,
    ten_failures_close_an_address_for_a_while,
    a_sign_in_forgets_failures,
    a_new_password_ends_every_sign_in,
    a_password_that_cannot_be_used_is_refused,
    the_present_password_cannot_be_guessed_either,
}

const LEA: &str = "lea@example.org";
const PASSWORD: &str = "correct horse battery";

async fn sign_in(server: &Server) -> Answer {
    server.anybody.post(LOGIN, credentials(LEA, PASSWORD)).await.expect(200)
}

fn bearer(server: &Server, tokens: &Value) -> Client {
    server.anybody.with("authorization", &format!("Bearer {}", text(&tokens["access_token"])))
}

async fn refresh(server: &Server, token: &Value) -> Answer {
    server.anybody.post("/auth/refresh", json!({ "refresh_token": token })).await
}

async fn a_refresh_token_gives_the_next_tokens(t: Testbed) {
    let server = Server::over(t);
    let lea = with_password(&server, LEA, PASSWORD).await;
    let mut tokens = sign_in(&server).await.data().clone();
    for _ in 0..3 {
        server.bed.advance(TimeDelta::minutes(20));
        bearer(&server, &tokens).get("/me").await.fails(401, "unauthorized");
        let next = refresh(&server, &tokens["refresh_token"]).await.expect(200);
        assert_eq!(next.data()["expires_in"], 900);
        assert_ne!(next.data()["refresh_token"], tokens["refresh_token"]);
        tokens = next.data().clone();
        let me = bearer(&server, &tokens).get("/me").await.expect(200);
        assert_eq!(me.data()["id"], lea.id.to_string());
    }
}

async fn a_refresh_token_used_twice_ends_the_sign_in(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let (first, other) = (sign_in(&server).await, sign_in(&server).await);
    let second = refresh(&server, &first.data()["refresh_token"]).await.expect(200);
    refresh(&server, &first.data()["refresh_token"]).await.fails(401, "unauthorized");
    refresh(&server, &second.data()["refresh_token"]).await.fails(401, "unauthorized");
    refresh(&server, &other.data()["refresh_token"]).await.expect(200);
}

async fn a_refresh_token_ends_with_its_month_its_sign_in_and_its_account(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let [ended, late, disabled] = [sign_in(&server).await, sign_in(&server).await, sign_in(&server).await]
        .map(|answer| answer.data()["refresh_token"].clone());
    for _ in 0..2 {
        server.anybody.post("/auth/logout", json!({ "refresh_token": ended })).await.expect(204);
    }
    refresh(&server, &ended).await.fails(401, "unauthorized");
    server.bed.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    let fresh = refresh(&server, &disabled).await.expect(200).data()["refresh_token"].clone();
    server.bed.advance(TimeDelta::seconds(1));
    refresh(&server, &late).await.fails(401, "unauthorized");
    server.bed.disable(LEA).await;
    refresh(&server, &fresh).await.fails(401, "unauthorized");
}

async fn what_is_no_refresh_token_is_refused(t: Testbed) {
    let server = Server::over(t);
    let anybody = &server.anybody;
    for path in ["/auth/refresh", "/auth/logout"] {
        anybody.post(path, json!({})).await.blames(&[("refresh_token", "required")]);
        anybody
            .post(path, json!({ "refresh_token": 1, "x": 2 }))
            .await
            .blames(&[("refresh_token", "type"), ("x", "unknown")]);
    }
    refresh(&server, &"garbage".into()).await.fails(401, "unauthorized");
    anybody.post("/auth/logout", json!({ "refresh_token": "garbage" })).await.expect(204);
    // A key is neither needed nor used: no token is ever stored.
    with_password(&server, LEA, PASSWORD).await;
    let token = sign_in(&server).await.data()["refresh_token"].clone();
    let keyed = anybody.with("idempotency-key", "again");
    let next = keyed.post("/auth/refresh", json!({ "refresh_token": token })).await.expect(200);
    assert_eq!(next.header("idempotent-replayed"), None);
    keyed.post("/auth/refresh", json!({ "refresh_token": token })).await.expect(401);
}

async fn no_secret_is_stored(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let token = text(&sign_in(&server).await.data()["refresh_token"]).to_owned();
    let stored: Vec<(String,)> =
        query("SELECT token_hash FROM refresh_tokens").all(&server.bed.db).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert!(stored[0].0.len() == 64 && !stored[0].0.contains(&token));
    server.anybody.post(LOGIN, credentials(LEA, "wrong")).await.expect(401);
    let counted: Vec<(String,)> =
        query("SELECT address_hash FROM sign_in_failures").all(&server.bed.db).await.unwrap();
    assert!(counted.len() == 1 && !counted[0].0.contains("lea"));
}

async fn ten_failures_close_an_address_for_a_while(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    for email in [LEA, "nobody@example.org"] {
        for i in 0..10 {
            let case = if i % 2 == 0 { email.to_owned() } else { email.to_uppercase() };
            server.anybody.post(LOGIN, credentials(&case, "wrong")).await.expect(401);
        }
        let refused =
            server.anybody.post(LOGIN, credentials(email, PASSWORD)).await.fails(429, "too_many_requests");
        assert_eq!(refused.header("retry-after"), Some("901"), "{email}");
    }
    let cleo = server.bed.customer.email.clone();
    server.anybody.post(LOGIN, credentials(&cleo, "wrong")).await.expect(401);
    // Another process over the same database agrees.
    let server = server.restarted();
    server.bed.advance(TimeDelta::seconds(890));
    let refused = server.anybody.post(LOGIN, credentials(LEA, PASSWORD)).await.expect(429);
    assert_eq!(refused.header("retry-after"), Some("11"));
    server.bed.advance(TimeDelta::seconds(10));
    server.anybody.post(LOGIN, credentials(LEA, PASSWORD)).await.expect(200);
}

async fn a_sign_in_forgets_failures(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    for _ in 0..3 {
        for _ in 0..9 {
            server.anybody.post(LOGIN, credentials(LEA, "wrong")).await.expect(401);
        }
        sign_in(&server).await;
    }
}

async fn a_new_password_ends_every_sign_in(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let (one, two) = (sign_in(&server).await, sign_in(&server).await);
    let lea = bearer(&server, one.data());
    server.bed.advance(TimeDelta::seconds(1));
    let change = json!({ "old_password": PASSWORD, "new_password": "something quite else" });
    lea.put("/me/password", change).await.expect(204);
    for tokens in [&one, &two] {
        bearer(&server, tokens.data()).get("/me").await.fails(401, "unauthorized");
        refresh(&server, &tokens.data()["refresh_token"]).await.fails(401, "unauthorized");
    }
    server.anybody.post(LOGIN, credentials(LEA, PASSWORD)).await.expect(401);
    let again = server.anybody.post(LOGIN, credentials(LEA, "something quite else")).await.expect(200);
    bearer(&server, again.data()).get("/me").await.expect(200);
}

async fn a_password_that_cannot_be_used_is_refused(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let lea = bearer(&server, sign_in(&server).await.data());
    lea.put("/me/password", json!({}))
        .await
        .blames(&[("new_password", "required"), ("old_password", "required")]);
    for (new, code) in
        [("too short", "invalid"), ("Lea@example.org", "invalid"), (&*"x".repeat(1_001), "too_long")]
    {
        let body = json!({ "old_password": PASSWORD, "new_password": new });
        lea.put("/me/password", body).await.blames(&[("new_password", code)]);
    }
    let body = json!({ "old_password": "wrong", "new_password": "something quite else" });
    lea.put("/me/password", body).await.blames(&[("old_password", "wrong")]);
    sign_in(&server).await;
}

async fn the_present_password_cannot_be_guessed_either(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, LEA, PASSWORD).await;
    let lea = bearer(&server, sign_in(&server).await.data());
    let body = json!({ "old_password": "wrong", "new_password": "something quite else" });
    for _ in 0..10 {
        lea.put("/me/password", body.clone()).await.expect(422);
    }
    lea.put("/me/password", body).await.fails(429, "too_many_requests");
}
