//! Tokens of another issuer, checked with keys from a real HTTP server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shared::domain::role::Role;
use shared::on_both;
use shared::store::accounts;
use shared::testkit::Testbed;

use crate::answer::{Answer, text};
use crate::server::Server;

on_both! {
    a_token_of_the_issuer_is_taken_for_a_verified_address,
    a_token_signed_by_elliptic_curve_is_taken,
    a_subject_stays_who_it_was_whatever_its_address,
    an_address_that_was_not_verified_is_nobody,
    somebody_without_an_account_gets_one_where_that_is_allowed,
    a_token_that_is_not_right_is_refused,
    a_signature_that_is_not_the_issuers_is_refused,
    times_are_judged_by_our_clock_with_some_leeway,
    keys_are_fetched_when_they_are_new_and_at_most_once_a_minute,
    an_issuer_that_is_away_or_lies_is_survived,
    without_a_setting_no_other_issuer_is_believed,
}

const AUDIENCE: &str = "dogwatch";

/// A key pair with its public half as the issuer publishes it.
struct Pair {
    sign: EncodingKey,
    public: Value,
}

fn pair(sign: EncodingKey, algorithm: Algorithm, kid: &str) -> Pair {
    let mut jwk = Jwk::from_encoding_key(&sign, algorithm).unwrap();
    jwk.common.key_id = Some(kid.into());
    Pair { public: serde_json::to_value(jwk).unwrap(), sign }
}

fn rsa(kid: &str) -> Pair {
    let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    // The library takes PKCS #1, which follows 26 bytes of PKCS #8 for keys of this size.
    pair(EncodingKey::from_rsa_der(&der.as_ref()[26..]), Algorithm::RS256, kid)
}

fn curve(kid: &str) -> Pair {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    pair(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256, kid)
}

static FIRST: LazyLock<Pair> = LazyLock::new(|| rsa("first"));
static SECOND: LazyLock<Pair> = LazyLock::new(|| rsa("second"));
static CURVE: LazyLock<Pair> = LazyLock::new(|| curve("curve"));

/// An issuer that answers over a socket with what it is told to.
#[derive(Clone)]
struct Issuer {
    url: String,
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(keys: &[&Pair]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url: url.clone(), keys: Arc::default(), asked: Arc::default() };
        issuer.publish(keys);
        let served = issuer.clone();
        let configuration = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(move || async move { configuration }))
            .route("/{name}", get(move |Path(name): Path<String>| async move { served.answer(&name) }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer
    }

    fn publish(&self, keys: &[&Pair]) {
        let keys: Vec<&Value> = keys.iter().map(|pair| &pair.public).collect();
        // Kinds of keys that nobody here knows must not spoil the others.
        let odd = json!({ "kty": "oct", "kid": "odd", "k": "c2VjcmV0" });
        let all: Vec<&Value> = [&odd].into_iter().chain(keys).collect();
        *self.keys.lock().unwrap() = Some(json!({ "keys": all }));
    }

    fn answer(&self, name: &str) -> (StatusCode, String) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match (name, &*self.keys.lock().unwrap()) {
            ("keys", Some(keys)) => (StatusCode::OK, keys.to_string()),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "x".repeat(1_000_000)),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn server(&self, t: Testbed, more: &[(&str, &str)]) -> Server {
        let own = [("OIDC_ISSUER", self.url.as_str()), ("OIDC_AUDIENCE", AUDIENCE)];
        Server::with(t, &own.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// What a good token says of Sam.
    fn claims(&self, server: &Server) -> Value {
        let now = server.bed.now().timestamp();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "sam-1", "email": "Sam@example.org", "email_verified": true,
            "iat": now, "nbf": now, "exp": now + 300,
        })
    }
}

fn sign(pair: &Pair, algorithm: Algorithm, claims: &Value) -> String {
    let header = Header { kid: pair.public["kid"].as_str().map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &pair.sign).unwrap()
}

async fn me(server: &Server, token: &str) -> Answer {
    server.anybody.with("authorization", &format!("Bearer {token}")).get("/me").await
}

async fn a_token_of_the_issuer_is_taken_for_a_verified_address(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let token = sign(&FIRST, Algorithm::RS256, &issuer.claims(&server));
    for _ in 0..2 {
        let sam = me(&server, &token).await.expect(200);
        assert_eq!(sam.data()["id"], server.bed.staff.id.to_string());
    }
    assert_eq!(issuer.asked(), 1, "keys are kept");
    let history = accounts::history(&server.bed.db, server.bed.staff.id).await.unwrap();
    assert_eq!((history.len(), &*history[0].field), (1, "identity"));
    // Our own tokens still work.
    server.staff.get("/me").await.expect(200);
}

async fn a_token_signed_by_elliptic_curve_is_taken(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST, &CURVE]).await;
    let jwks = format!("{}/keys", issuer.url);
    let server = issuer.server(t, &[("OIDC_JWKS_URL", &jwks)]);
    let token = sign(&CURVE, Algorithm::ES256, &issuer.claims(&server));
    me(&server, &token).await.expect(200);
}

async fn a_subject_stays_who_it_was_whatever_its_address(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let mut claims = issuer.claims(&server);
    me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.expect(200);
    claims["email"] = "cleo@example.org".into();
    let still_sam = me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.expect(200);
    assert_eq!(still_sam.data()["email"], "sam@example.org");
    // Another subject with the address of a known one is not let in: addresses are given away again.
    (claims["sub"], claims["email"]) = ("sam-2".into(), "sam@example.org".into());
    me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.fails(401, "unauthorized");
}

async fn an_address_that_was_not_verified_is_nobody(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[("OIDC_AUTO_CREATE", "true")]);
    for verified in [json!(false), json!(null), json!("yes"), json!(1)] {
        let mut claims = issuer.claims(&server);
        claims["email_verified"] = verified;
        let refused = me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.fails(401, "unauthorized");
        assert!(refused.message().contains("no account"), "{}", refused.message());
    }
}

async fn somebody_without_an_account_gets_one_where_that_is_allowed(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let mut claims = issuer.claims(&server);
    (claims["sub"], claims["email"]) = ("new".into(), "New@example.org".into());
    (claims["name"], claims["groups"]) =
        ("New\u{7} Person".into(), json!(["staff", "team_lead", "end_user"]));
    let token = sign(&FIRST, Algorithm::RS256, &claims);
    me(&server, &token).await.fails(401, "unauthorized");
    let Server { bed, .. } = server;
    let server = issuer.server(bed, &[("OIDC_AUTO_CREATE", "true"), ("OIDC_ROLE_CLAIM", "groups")]);
    let both = tokio::join!(me(&server, &token), me(&server, &token));
    let (first, second) = (both.0.expect(200), both.1.expect(200));
    assert_eq!(first.data(), second.data());
    assert_eq!(
        (&first.data()["email"], &first.data()["name"]),
        (&"new@example.org".into(), &"New Person".into())
    );
    assert_eq!(first.data()["role"], Role::TeamLead.as_str());
    // There is no password to sign in with.
    for password in ["", "nobody's"] {
        let body = json!({ "email": "new@example.org", "password": password });
        assert_ne!(server.anybody.post("/auth/login", body).await.status, 200);
    }
    (claims["sub"], claims["email"], claims["groups"]) =
        ("plain".into(), "plain@example.org".into(), "king".into());
    let plain = me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.expect(200);
    assert_eq!(plain.data()["role"], "end_user");
}

async fn a_token_that_is_not_right_is_refused(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let good = issuer.claims(&server);
    let changes = [
        ("iss", json!("https://elsewhere.example.org")),
        ("iss", json!([issuer.url])),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(["another", "one"])),
        ("aud", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("x".repeat(256))),
        ("sub", Value::Null),
        ("exp", json!("soon")),
        ("exp", Value::Null),
    ];
    for (claim, value) in changes {
        let mut claims = good.clone();
        claims[claim] = value;
        if claims[claim].is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        }
        let answer = me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await;
        assert_eq!(answer.status, 401, "{claims}");
    }
    let mut several = good;
    several["aud"] = json!(["another", AUDIENCE]);
    me(&server, &sign(&FIRST, Algorithm::RS256, &several)).await.expect(200);
}

async fn a_signature_that_is_not_the_issuers_is_refused(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST, &CURVE]).await;
    let server = issuer.server(t, &[]);
    let claims = issuer.claims(&server);
    let good = sign(&FIRST, Algorithm::RS256, &claims);
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let unsigned = |header: Value| format!("{}.{}.", part(&header), part(&claims));
    let with_secret = |secret: &[u8], kid: &str| {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let public = text(&FIRST.public["n"]);
    let stranger = Pair { public: json!({ "kid": "first" }), sign: rsa("first").sign };
    let claimed = Pair { public: json!({ "kid": "curve" }), sign: FIRST.sign.clone() };
    let nameless = Pair { public: json!({}), sign: FIRST.sign.clone() };
    let signature = good.rsplit_once('.').unwrap().1;
    let mut other = claims.clone();
    other["email"] = "mona@example.org".into();
    let swapped = format!("{}.{}.{signature}", good.split('.').next().unwrap(), part(&other));
    let bad = [
        unsigned(json!({ "alg": "none", "kid": "first" })),
        unsigned(json!({ "alg": "None" })),
        unsigned(json!({ "alg": "RS256", "kid": "first" })),
        with_secret(public.as_bytes(), "first"),
        with_secret(&URL_SAFE_NO_PAD.decode(public).unwrap(), "first"),
        with_secret(FIRST.public.to_string().as_bytes(), "first"),
        with_secret(b"secret", "odd"),
        sign(&FIRST, Algorithm::RS384, &claims),
        sign(&FIRST, Algorithm::PS256, &claims),
        sign(&stranger, Algorithm::RS256, &claims),
        sign(&claimed, Algorithm::RS256, &claims),
        sign(&nameless, Algorithm::RS256, &claims),
        swapped,
    ];
    for token in bad {
        let answer = me(&server, &token).await;
        assert_eq!(answer.status, 401, "{token}");
    }
    me(&server, &good).await.expect(200);
}

async fn times_are_judged_by_our_clock_with_some_leeway(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let now = server.bed.now().timestamp();
    let base = issuer.claims(&server);
    for (exp, nbf, expected) in [
        (now + 300, Some(now + 29), 200),
        (now + 300, Some(now + 31), 401),
        (now + 300, None, 200),
        (now - 29, Some(now - 300), 200),
        (now - 30, Some(now - 300), 401),
        (0, None, 401),
        (-1, None, 401),
    ] {
        let mut claims = base.clone();
        (claims["exp"], claims["nbf"]) = (json!(exp), json!(nbf));
        let answer = me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await;
        assert_eq!(answer.status, expected, "{claims}");
    }
}

async fn keys_are_fetched_when_they_are_new_and_at_most_once_a_minute(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let token =
        async |pair: &Pair| me(&server, &sign(pair, Algorithm::RS256, &issuer.claims(&server))).await.status;
    assert_eq!((token(&FIRST).await, issuer.asked()), (200, 1));
    issuer.publish(&[&SECOND]);
    for _ in 0..5 {
        assert_eq!(token(&SECOND).await, 401, "it was asked less than a minute ago");
    }
    assert_eq!(issuer.asked(), 1);
    server.bed.advance(TimeDelta::minutes(1));
    assert_eq!((token(&SECOND).await, issuer.asked()), (200, 2));
    assert_eq!(token(&FIRST).await, 401, "a key that was withdrawn is no longer good");
    // A withdrawn key is noticed within the hour also when nobody names a new one.
    issuer.publish(&[&FIRST]);
    server.bed.advance(TimeDelta::minutes(59));
    assert_eq!(token(&SECOND).await, 200);
    server.bed.advance(TimeDelta::minutes(1));
    assert_eq!(token(&SECOND).await, 401);
}

async fn an_issuer_that_is_away_or_lies_is_survived(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = issuer.server(t, &[]);
    let token = || sign(&FIRST, Algorithm::RS256, &issuer.claims(&server));
    *issuer.keys.lock().unwrap() = None;
    me(&server, &token()).await.fails(401, "unauthorized");
    issuer.publish(&[&FIRST]);
    server.bed.advance(TimeDelta::minutes(1));
    me(&server, &token()).await.expect(200);
    *issuer.keys.lock().unwrap() = Some(json!({ "keys": "x".repeat(300_000) }));
    server.bed.advance(TimeDelta::hours(2));
    // What it said before still holds.
    me(&server, &token()).await.expect(200);
    // One whose configuration names somebody else is not believed.
    let alias = issuer.url.replace("127.0.0.1", "localhost");
    let Server { bed, .. } = server;
    let server = Server::with(bed, &[("OIDC_ISSUER", &alias), ("OIDC_AUDIENCE", AUDIENCE)]);
    issuer.publish(&[&FIRST]);
    let mut claims = issuer.claims(&server);
    claims["iss"] = alias.into();
    me(&server, &sign(&FIRST, Algorithm::RS256, &claims)).await.fails(401, "unauthorized");
}

async fn without_a_setting_no_other_issuer_is_believed(t: Testbed) {
    let issuer = Issuer::start(&[&FIRST]).await;
    let server = Server::over(t);
    let token = sign(&FIRST, Algorithm::RS256, &issuer.claims(&server));
    me(&server, &token).await.fails(401, "unauthorized");
    assert_eq!(issuer.asked(), 0);
}
