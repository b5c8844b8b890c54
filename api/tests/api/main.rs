//! What the API promises over HTTP, on both engines and without a socket.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod acknowledging;
mod answer;
mod assigning;
mod bulk_moving;
mod clocks;
mod crowding;
mod definitions;
mod definitions_calendars;
mod definitions_escalations;
mod definitions_policies;
mod definitions_schedules;
mod deleting;
mod describing;
mod editing;
mod failing;
mod filtering;
mod jobs;
mod limits;
mod notifications;
mod opening;
mod paging;
mod preferences;
mod reading;
mod refusing;
mod repeating;
mod replanning;
mod searching;
mod server;
mod sessions;
mod signing_in;
mod surroundings;
mod users;
mod workflow;
