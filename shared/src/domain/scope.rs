//! What an API key may be used for, out of all that its owner may.

super::text_enum! {
    /// A part of the API.
    Scope {
        /// Reading tickets and what belongs to them.
        ReadTickets = "tickets:read",
        /// Opening and changing tickets.
        WriteTickets = "tickets:write",
        /// Reading reports.
        ReadReports = "reports:read",
        /// Reading rules, users, webhooks, jobs and keys.
        ReadSettings = "settings:read",
        /// Changing them.
        WriteSettings = "settings:write",
    }
}

/// Tells which of the scopes asked for are not among those somebody has.
pub fn beyond<'a>(has: &'a [Scope], asked: &'a [Scope]) -> impl Iterator<Item = Scope> + 'a {
    asked.iter().copied().filter(|scope| !has.contains(scope))
}
