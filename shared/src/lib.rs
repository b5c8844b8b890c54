//! The library that every Dogwatch process stands on: the rules, the store, dispatch, settings and telemetry.

pub mod addresses;
pub mod blobs;
pub mod config;
pub mod domain;
pub mod hmac;
pub mod ids;
pub mod links;
pub mod metrics;
pub mod ops;
pub mod process;
pub mod queue;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
