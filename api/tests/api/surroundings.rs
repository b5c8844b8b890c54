//! Headers that every answer has, and pages of other origins.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use shared::on_both;
use shared::testkit::Testbed;

use crate::server::{Client, Server};

on_both! {
    every_answer_is_protected,
    only_https_is_kept_to,
    pages_of_other_origins_are_let_in_by_configuration,
    a_method_that_is_not_there_is_told_which_are,
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

async fn every_answer_is_protected(t: Testbed) {
    let server = Server::over(t);
    for path in ["/api/v1/me", "/health", "/nowhere", "/openapi.json", "/docs/", "/acknowledge/x"] {
        let (_, headers, _) = server.anybody.page("GET", path).await;
        assert_eq!(said(&headers, "x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(said(&headers, "x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(said(&headers, "referrer-policy"), Some("no-referrer"), "{path}");
        assert!(said(&headers, "cache-control").unwrap().starts_with("no-"), "{path}");
        let policy = said(&headers, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert_eq!(policy.contains("script-src"), path == "/docs/", "{path}: {policy}");
        assert!(said(&headers, "x-request-id").is_some(), "{path}");
        assert_eq!(said(&headers, "access-control-allow-origin"), None, "{path}");
    }
}

async fn only_https_is_kept_to(t: Testbed) {
    let server = Server::over(t);
    assert_eq!(server.anybody.get("/me").await.header("strict-transport-security"), None);
    let server = Server::with(server.bed, &[("PUBLIC_URL", "https://desk.example.org")]);
    let answer = server.anybody.get("/me").await;
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=63072000"));
}

/// What a browser asks before a page of an origin may send something.
async fn preflight(client: &Client, origin: &str) -> (u16, HeaderMap) {
    let request = Request::options("/api/v1/tickets").header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    let request = request.header("access-control-request-headers", "authorization,content-type,if-match");
    client.exchange(request.body(Body::empty()).unwrap()).await
}

async fn pages_of_other_origins_are_let_in_by_configuration(t: Testbed) {
    let desk = "https://desk.example.org";
    let server = Server::over(t);
    let (status, headers) = preflight(&server.anybody, desk).await;
    assert_eq!((status, said(&headers, "access-control-allow-origin")), (405, None));
    let server = Server::with(server.bed, &[("CORS_ORIGINS", "https://desk.example.org")]);
    let (status, headers) = preflight(&server.anybody, desk).await;
    assert_eq!((status, said(&headers, "access-control-allow-origin")), (200, Some(desk)));
    assert!(said(&headers, "access-control-allow-headers").unwrap().contains("if-match"));
    let (_, headers) = preflight(&server.anybody, "https://evil.example.org").await;
    assert_eq!(said(&headers, "access-control-allow-origin"), None);
    let answer = server.staff.with("origin", desk).get("/me").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(desk));
    for read in ["etag", "x-request-id", "ratelimit", "retry-after"] {
        assert!(answer.header("access-control-expose-headers").unwrap().contains(read), "{read}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let refused = server.anybody.with("origin", desk).get("/me").await.fails(401, "unauthorized");
    assert_eq!(refused.header("access-control-allow-origin"), Some(desk));
    let server = Server::with(server.bed, &[("CORS_ORIGINS", "*")]);
    let (_, headers) = preflight(&server.anybody, "https://anywhere.example.org").await;
    assert_eq!(said(&headers, "access-control-allow-origin"), Some("*"));
}

async fn a_method_that_is_not_there_is_told_which_are(t: Testbed) {
    let server = Server::over(t);
    for (path, allowed) in
        [("/health", "GET,HEAD"), ("/api/v1/auth/login", "POST"), ("/openapi.json", "GET,HEAD")]
    {
        let answer = server.anybody.send("DELETE", path, "").await.fails(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
    }
}
