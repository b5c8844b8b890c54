//! What the API promises over HTTP, on both engines and without a socket.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod acknowledging;
mod answer;
mod attaching;
mod clocks;
mod commenting;
mod crowding;
mod definitions;
mod definitions_calendars;
mod definitions_escalations;
mod definitions_policies;
mod definitions_schedules;
mod editing;
mod failing;
mod filtering;
mod notifications;
mod opening;
mod paging;
mod preferences;
mod reading;
mod refusing;
mod repeating;
mod replanning;
mod server;
mod signing_in;
mod workflow;
