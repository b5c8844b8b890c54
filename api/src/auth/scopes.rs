//! Which scope of an API key a request needs: decided here and nowhere else, by its method and the first segment of its
//! path. What does not stand here is closed to keys.

use axum::extract::MatchedPath;
use axum::http::Method;
use axum::http::request::Parts;
use shared::domain::scope::Scope;

use crate::error::ApiError;

/// What a request needs of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing in particular.
    Any,
    /// This scope.
    Scope(Scope),
    /// That there is no key: somebody must have signed in.
    Person,
}

/// Tells what a request needs; `route` is without the prefix, such as `/tickets/{id}`.
fn needed(method: &Method, route: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let either = |read, write| Need::Scope(if reads { read } else { write });
    match route.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "tickets" | "slas" | "labels" | "contacts" | "comments" | "attachments" | "imports" | "events" => {
            either(Scope::ReadTickets, Scope::WriteTickets)
        }
        "reports" => Need::Scope(Scope::ReadReports),
        "calendars"
        | "sla-policies"
        | "escalation-policies"
        | "schedules"
        | "teams"
        | "replans"
        | "webhooks"
        | "api-keys"
        | "jobs"
        | "notifications" => either(Scope::ReadSettings, Scope::WriteSettings),
        // Who makes an account or chooses its password, address or role could sign in as somebody without a scope.
        "users" if reads || *method == Method::DELETE => either(Scope::ReadSettings, Scope::WriteSettings),
        "me" if route == "/me" && reads => Need::Any,
        "me" if route == "/me" => Need::Scope(Scope::WriteSettings),
        _ => Need::Person,
    }
}

/// Refuses a request that a key with these scopes may not make.
pub(super) fn check(scopes: &[Scope], parts: &Parts) -> Result<(), ApiError> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match needed(&parts.method, route.strip_prefix("/api/v1").unwrap_or_default()) {
        Need::Any => Ok(()),
        Need::Scope(scope) if scopes.contains(&scope) => Ok(()),
        Need::Scope(scope) => Err(ApiError::Forbidden(missing(scope))),
        Need::Person => Err(ApiError::Forbidden("An API key may not be used for this; sign in instead.")),
    }
}

const fn missing(scope: Scope) -> &'static str {
    match scope {
        Scope::ReadTickets => "The API key lacks the scope tickets:read.",
        Scope::WriteTickets => "The API key lacks the scope tickets:write.",
        Scope::ReadReports => "The API key lacks the scope reports:read.",
        Scope::ReadSettings => "The API key lacks the scope settings:read.",
        Scope::WriteSettings => "The API key lacks the scope settings:write.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_need_different_scopes() {
        use Scope::{ReadReports, ReadSettings, ReadTickets, WriteSettings, WriteTickets};
        let table = [
            (Method::GET, "/tickets", Need::Scope(ReadTickets)),
            (Method::HEAD, "/tickets/{id}", Need::Scope(ReadTickets)),
            (Method::POST, "/tickets", Need::Scope(WriteTickets)),
            (Method::PUT, "/tickets/{id}/assign", Need::Scope(WriteTickets)),
            (Method::DELETE, "/comments/{id}", Need::Scope(WriteTickets)),
            (Method::PATCH, "/slas/{id}/pause", Need::Scope(WriteTickets)),
            (Method::GET, "/reports/breaches", Need::Scope(ReadReports)),
            (Method::GET, "/users", Need::Scope(ReadSettings)),
            (Method::DELETE, "/users/{id}", Need::Scope(WriteSettings)),
            (Method::POST, "/users", Need::Person),
            (Method::PATCH, "/users/{id}", Need::Person),
            (Method::GET, "/teams/{id}", Need::Scope(ReadSettings)),
            (Method::POST, "/api-keys", Need::Scope(WriteSettings)),
            (Method::GET, "/me", Need::Any),
            (Method::PATCH, "/me", Need::Scope(WriteSettings)),
            (Method::PUT, "/me/password", Need::Person),
            (Method::GET, "/me/password", Need::Person),
            (Method::GET, "/what-is-new", Need::Person),
            (Method::GET, "", Need::Person),
        ];
        for (method, route, need) in table {
            assert_eq!(needed(&method, route), need, "{method} {route}");
        }
    }
}
