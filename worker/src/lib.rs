//! The worker: claims jobs from the ledger, runs them, and puts on record how they ended.

pub mod context;
mod executor;
mod jobs;
mod mail;
pub mod registry;
mod scan;
#[cfg(test)]
mod testing;
mod webhook;

use std::sync::Arc;

use shared::process::{Process, StartError};

use context::Worker;
use registry::Registry;

/// Runs jobs until the process is told to stop, then drains what is running and hands back the rest.
///
/// # Errors
/// When a mail setting cannot be used.
pub async fn run(process: Process) -> Result<(), StartError> {
    run_with(process, jobs::registry()).await
}

/// Like [`run`], with jobs of one's own.
///
/// # Errors
/// When a mail setting cannot be used.
pub async fn run_with(process: Process, registry: Registry) -> Result<(), StartError> {
    executor::run(Arc::new(Worker::new(process)?), registry).await;
    Ok(())
}
