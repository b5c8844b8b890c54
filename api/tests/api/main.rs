//! What the API promises over HTTP, on both engines and without a socket.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod acknowledging;
mod answer;
mod api_keys;
mod assigning;
mod attaching;
mod bulk_moving;
mod clocks;
mod commenting;
mod contacts;
mod crowding;
mod definitions;
mod definitions_calendars;
mod definitions_escalations;
mod definitions_policies;
mod definitions_schedules;
mod deleting;
mod describing;
mod editing;
mod exporting;
mod failing;
mod filtering;
mod importing;
mod jobs;
mod labels;
mod leaks;
mod limits;
mod notifications;
mod opening;
mod other_issuer;
mod paging;
mod preferences;
mod reading;
mod refusing;
mod repeating;
mod replanning;
mod reporting;
mod roles;
mod searching;
mod server;
mod sessions;
mod signing_in;
mod streaming;
mod surroundings;
mod users;
mod webhooks;
mod workflow;
