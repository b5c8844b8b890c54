//! Passwords and tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use dogwatch_api::auth::{Tokens, hash_password};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shared::config::Secret;
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::on_both;
use shared::store::users::User;
use shared::testkit::{Testbed, user};

use crate::answer::{text, without_ids};
use crate::server::{SECRET, Server};

pub(crate) const LOGIN: &str = "/auth/login";

on_both! {
    the_right_password_gives_a_token_that_works,
    a_wrong_password_and_an_unknown_and_a_disabled_user_get_the_same_answer,
    a_user_without_a_password_cannot_sign_in,
    signing_in_needs_an_address_and_a_password,
    signing_in_takes_an_idempotency_key,
    ones_own_account_is_shown_without_the_password,
    a_token_that_is_not_ours_is_refused,
    a_token_ends_after_a_quarter_of_an_hour_of_the_shared_clock,
    a_disabled_users_token_stops_working,
    everything_but_health_and_signing_in_needs_a_token,
}

pub(crate) async fn with_password(server: &Server, email: &str, password: &str) -> User {
    let user = User { password_hash: hash_password(password).unwrap(), ..user(email, Role::TeamLead) };
    server.add_user(&user).await;
    user
}

pub(crate) fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

async fn the_right_password_gives_a_token_that_works(t: Testbed) {
    let server = Server::over(t);
    let lea = with_password(&server, "lea@example.org", "correct horse").await;
    for email in ["lea@example.org", "Lea@Example.ORG"] {
        let answer = server.anybody.post(LOGIN, credentials(email, "correct horse")).await.expect(200);
        let token = text(&answer.data()["access_token"]);
        let refresh = text(&answer.data()["refresh_token"]);
        assert_eq!(refresh.len(), 43);
        let expected = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": 900,
            "refresh_token": refresh, "refresh_expires_in": 2_592_000,
        });
        assert_eq!(*answer.data(), expected);
        for scheme in ["Bearer", "bearer"] {
            let lea_herself = server.anybody.with("authorization", &format!("{scheme} {token}"));
            let me = lea_herself.get("/me").await.expect(200);
            assert_eq!(me.data()["id"], lea.id.to_string());
        }
    }
}

async fn a_wrong_password_and_an_unknown_and_a_disabled_user_get_the_same_answer(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, "lea@example.org", "correct horse").await;
    with_password(&server, "gus@example.org", "correct horse").await;
    server.bed.disable("gus@example.org").await;
    let wrong = server.anybody.post(LOGIN, credentials("lea@example.org", "battery staple")).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(wrong.json, @r#"
        {
          "data": null,
          "errors": [
            {
              "code": "unauthorized",
              "field": null,
              "message": "The address or the password is wrong."
            }
          ],
          "message": "The address or the password is wrong.",
          "success": false
        }
        "#);
    }
    for email in ["nobody@example.org", "gus@example.org", "not an address", "'; --"] {
        let refused = server.anybody.post(LOGIN, credentials(email, "correct horse")).await.expect(401);
        assert_eq!(refused.text, wrong.text);
    }
}

async fn a_user_without_a_password_cannot_sign_in(t: Testbed) {
    let server = Server::over(t);
    for password in ["", "anything"] {
        server.anybody.post(LOGIN, credentials("sam@example.org", password)).await.expect(401);
    }
}

async fn signing_in_needs_an_address_and_a_password(t: Testbed) {
    let server = Server::over(t);
    let anybody = &server.anybody;
    let neither = [("email", "required"), ("password", "required")];
    anybody.act(LOGIN).await.blames(&neither);
    anybody.post(LOGIN, json!({})).await.blames(&neither);
    anybody.post(LOGIN, json!({ "email": null, "password": null })).await.blames(&neither);
    let wrong_types = json!({ "email": 1, "password": ["secret"], "remember": true });
    let blamed = [("email", "type"), ("password", "type"), ("remember", "unknown")];
    anybody.post(LOGIN, wrong_types).await.blames(&blamed);
    let answer = anybody.post(LOGIN, credentials("a\0b", "a\0b")).await;
    answer.blames(&[("email", "control_characters"), ("password", "control_characters")]);
}

async fn signing_in_takes_an_idempotency_key(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, "lea@example.org", "correct horse").await;
    let client = server.anybody.with("idempotency-key", "morning");
    for _ in 0..2 {
        let answer = client.post(LOGIN, credentials("lea@example.org", "correct horse")).await.expect(200);
        assert_eq!(answer.header("idempotent-replayed"), None, "a token is never stored");
    }
    client.post(LOGIN, credentials("lea@example.org", "battery staple")).await.expect(401);
}

async fn ones_own_account_is_shown_without_the_password(t: Testbed) {
    let server = Server::over(t);
    let me = server.customer.get("/me").await.expect(200);
    assert_eq!(me.data()["id"], server.bed.customer.id.to_string());
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(without_ids(&me.json), @r#"
        {
          "data": {
            "created_at": "2027-01-15T08:00:00Z",
            "email": "cleo@example.org",
            "id": "(id)",
            "name": "cleo",
            "quiet_hours": null,
            "role": "end_user",
            "tz": null
          },
          "errors": [],
          "message": null,
          "success": true
        }
        "#);
    }
}

fn signed(algorithm: Algorithm, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        .unwrap()
}

fn unsigned(claims: &Value) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(json!({ "typ": "JWT", "alg": "none" })), part(claims.clone()))
}

async fn a_token_that_is_not_ours_is_refused(t: Testbed) {
    let server = Server::over(t);
    let (now, hour, me) = (server.bed.now(), TimeDelta::hours(1), server.bed.staff.id);
    let good = server.tokens.issue(me, now, now + hour).unwrap();
    let stranger = Tokens::new(&Secret::new("another secret, also long enough to be one".into()));
    let claims = json!({ "sub": me, "iat": now.timestamp(), "exp": (now + hour).timestamp() });
    let endless = json!({ "sub": me, "iat": now.timestamp() });
    let nobody = json!({ "sub": "root", "iat": now.timestamp(), "exp": (now + hour).timestamp() });
    let bad = [
        String::new(),
        "garbage".into(),
        "a.b.c".into(),
        good[..good.len() - 2].into(),
        format!("{good}{good}"),
        stranger.issue(me, now, now + hour).unwrap(),
        server.tokens.issue(me, now - hour * 2, now - hour).unwrap(),
        server.tokens.issue(me, now - hour, now).unwrap(),
        server.tokens.issue(UserId::new(), now, now + hour).unwrap(),
        unsigned(&claims),
        signed(Algorithm::HS512, &claims),
        signed(Algorithm::HS256, &endless),
        signed(Algorithm::HS256, &nobody),
    ];
    for token in bad {
        let client = server.anybody.with("authorization", &format!("Bearer {token}"));
        client.get("/me").await.fails(401, "unauthorized");
    }
    for header in ["", "Bearer", "Basic c2FtOnNlY3JldA==", "Bearer \u{e9}", &good] {
        server.anybody.with("authorization", header).get("/me").await.fails(401, "unauthorized");
    }
    let claims = signed(Algorithm::HS256, &claims);
    server.anybody.with("authorization", &format!("Bearer {claims}")).get("/me").await.expect(200);
}

async fn a_token_ends_after_a_quarter_of_an_hour_of_the_shared_clock(t: Testbed) {
    let server = Server::over(t);
    with_password(&server, "lea@example.org", "correct horse").await;
    let answer = server.anybody.post(LOGIN, credentials("lea@example.org", "correct horse")).await;
    let bearer = format!("Bearer {}", text(&answer.data()["access_token"]));
    let lea = server.anybody.with("authorization", &bearer);
    server.bed.advance(TimeDelta::seconds(899));
    lea.get("/me").await.expect(200);
    server.bed.advance(TimeDelta::seconds(1));
    lea.get("/me").await.fails(401, "unauthorized");
}

async fn a_disabled_users_token_stops_working(t: Testbed) {
    let server = Server::over(t);
    server.staff.get("/me").await.expect(200);
    server.bed.disable("sam@example.org").await;
    let server = server.restarted();
    server.staff.get("/me").await.fails(401, "unauthorized");
    server.staff.with("idempotency-key", "k").post("/tickets", json!({ "title": "x" })).await.expect(401);
    server.customer.get("/me").await.expect(200);
}

async fn everything_but_health_and_signing_in_needs_a_token(t: Testbed) {
    let server = Server::over(t);
    let anybody = &server.anybody;
    let closed = [
        ("GET", "/me"),
        ("PATCH", "/me"),
        ("GET", "/notifications"),
        ("GET", "/tickets/INC-1001/notifications"),
        ("GET", "/tickets"),
        ("GET", "/tickets?nonsense=1"),
        ("POST", "/tickets"),
        ("GET", "/tickets/INC-1001"),
        ("PATCH", "/tickets/INC-1001"),
        ("PATCH", "/tickets/INC-1001/status"),
        ("POST", "/tickets/INC-1001/acknowledge"),
        ("POST", "/tickets/INC-1001/resolve"),
        ("PATCH", "/tickets/INC-1001/resolve"),
        ("POST", "/tickets/INC-1001/close"),
        ("POST", "/tickets/INC-1001/reopen"),
        ("GET", "/tickets/INC-1001/history"),
        ("GET", "/tickets/INC-1001/sla"),
        ("PATCH", "/slas/1/pause"),
        ("PATCH", "/slas/1/resume"),
    ];
    for (method, path) in closed {
        let answer = anybody.send(method, &format!("/api/v1{path}"), "{").await.fails(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for path in ["/health", "/db-health"] {
        anybody.send("GET", path, "").await.expect(200);
    }
}
