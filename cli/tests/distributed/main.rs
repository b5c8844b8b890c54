//! Dogwatch as operators run it: the real programs on a real PostgreSQL, Redis and mail server, while parts of it
//! die. Whatever happens, every breach is recorded at its true instant and everybody concerned is mailed once.
#![expect(clippy::print_stderr, reason = "a test that is skipped or fails says so")]

mod breaches;
mod commands;
mod crashes;
mod database;
mod demo;
mod escalation;
mod events;
mod load;
mod mail;
mod parts;
mod services;
mod smtp;
mod system;
mod traces;
mod workers;
