//! What the routes of accounts, keys, contacts and labels take.

#![expect(dead_code, reason = "they are described, never made")]

use shared::domain::role::Role;
use shared::domain::scope::Scope;
use shared::time::Timestamp as DateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::parts::address;

/// A refresh token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refreshing {
    #[schema(format = "line", max_length = 500, example = "pq3bXk9zJ0b1d7uN5m2yR8vT4wL6cF1hA0sE9gK7iQo")]
    refresh_token: String,
}

/// Another password.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    #[schema(format = "lines", max_length = 1000, example = "correct horse battery staple")]
    old_password: String,
    /// Not the address of the account.
    #[schema(
        format = "lines",
        min_length = 12,
        max_length = 1000,
        example = "incorrect zebra charger paperclip"
    )]
    new_password: String,
}

/// An account to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    #[schema(schema_with = address)]
    email: String,
    #[schema(format = "line", max_length = 100, example = "Grace Hopper")]
    name: String,
    role: Role,
    /// Made, and shown in the answer, unless given.
    #[schema(
        format = "lines",
        min_length = 12,
        max_length = 1000,
        nullable = false,
        example = "correct horse battery staple"
    )]
    password: Option<String>,
}

/// Changes of an account.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserEdit {
    #[schema(format = "line", max_length = 100, nullable = false, example = "Grace Hopper")]
    name: Option<String>,
    #[schema(schema_with = address)]
    email: Option<String>,
    #[schema(nullable = false)]
    role: Option<Role>,
    #[schema(nullable = false)]
    disabled: Option<bool>,
    /// Not of one's own account.
    #[schema(
        format = "lines",
        min_length = 12,
        max_length = 1000,
        nullable = false,
        example = "correct horse battery staple"
    )]
    password: Option<String>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Which accounts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Users {
    role: Option<Role>,
    /// A part of the name or the address.
    #[param(format = "line", max_length = 254)]
    q: Option<String>,
    /// Whether they are disabled.
    disabled: Option<bool>,
}

/// A key to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    #[schema(format = "line", max_length = 100, example = "Monitoring")]
    name: String,
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// In the future; for good unless given.
    #[schema(example = json!(null))]
    expires_at: Option<DateTime>,
}

/// Changes of a key.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyEdit {
    #[schema(format = "line", max_length = 100, nullable = false, example = "Monitoring")]
    name: Option<String>,
    #[schema(min_items = 1, nullable = false)]
    scopes: Option<Vec<Scope>>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Whose keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Keys {
    /// The id of a user; for admins.
    user: Option<Uuid>,
}

/// Somebody for the book of contacts.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBookEntry {
    #[schema(format = "line", max_length = 100, example = "Ada Lovelace")]
    name: String,
    #[schema(schema_with = address)]
    email: String,
    #[schema(format = "line", max_length = 50, example = "+49 30 123456")]
    phone: Option<String>,
    #[schema(format = "line", max_length = 100, example = "Analytical Engines")]
    organization: Option<String>,
    #[schema(format = "lines", max_length = 4000, example = "Prefers mail.")]
    notes: Option<String>,
}

/// Changes of a contact: null clears what may be empty.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BookEdit {
    #[schema(format = "line", max_length = 100, nullable = false, example = "Ada Lovelace")]
    name: Option<String>,
    #[schema(schema_with = address)]
    email: Option<String>,
    #[schema(format = "line", max_length = 50, example = "+49 30 123456")]
    phone: Option<String>,
    #[schema(format = "line", max_length = 100, example = "Analytical Engines")]
    organization: Option<String>,
    #[schema(format = "lines", max_length = 4000, example = "Prefers mail.")]
    notes: Option<String>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Which contacts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Contacts {
    /// A part of the name, the address or the organization.
    #[param(format = "line", max_length = 254)]
    q: Option<String>,
}

/// Which labels.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Labels {
    /// How they begin, in whatever case.
    #[param(format = "line", max_length = 50)]
    q: Option<String>,
}
