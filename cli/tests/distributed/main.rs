//! Dogwatch as operators run it: the real programs on a real PostgreSQL, Redis and mail server, while parts of it
//! die. Whatever happens, every breach is recorded at its true instant and everybody concerned is mailed once.
#![expect(clippy::print_stderr, reason = "a test that is skipped or fails says so")]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod backups;
mod breaches;
mod commands;
mod crashes;
mod database;
mod demo;
mod escalation;
mod events;
mod files;
mod imports;
mod load;
mod logs;
mod machine;
mod mail;
mod maintenance;
mod parts;
mod services;
mod smtp;
mod system;
mod traces;
mod watched;
mod workers;
