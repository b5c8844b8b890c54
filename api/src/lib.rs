//! The API: authenticates, parses, calls one operation of the store, and answers.

mod app;
pub mod auth;
mod call;
mod client;
mod creator;
mod cursor;
mod defined;
mod download;
mod envelope;
mod error;
mod form;
mod holidays;
mod idempotency;
mod limits;
mod observe;
mod openapi;
mod page;
mod routes;
mod stream;
mod surroundings;
mod upload;
mod views;

use std::net::SocketAddr;

use axum::Router;
use shared::process::{Process, StartError};

use app::App;

pub use routes::exports::tickets_as_csv;

/// Serves the API on `API_ADDR` until the process is told to stop, then lets running requests end.
///
/// # Errors
/// When the address is taken, or the tokens' secret is missing.
pub async fn run(process: Process) -> Result<(), StartError> {
    let (addr, grace) = (process.config.api_addr, process.config.shutdown_grace);
    let listener = tokio::net::TcpListener::bind(addr).await;
    let listener = listener.map_err(|error| format!("cannot listen on API_ADDR {addr}: {error}"))?;
    let stop = process.stop.clone();
    let routes = router(process)?.into_make_service_with_connect_info::<SocketAddr>();
    tracing::info!(%addr, "serving");
    let stopping = stop.clone();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        served = serving => Ok(served?),
        () = async { stopping.cancelled().await; tokio::time::sleep(grace).await } => Ok(()),
    }
}

/// The routes over what a process stands on; for tests, which call them without a socket.
///
/// # Errors
/// When the tokens' secret is missing.
pub fn router(process: Process) -> Result<Router, StartError> {
    routes::router(App::new(process)?)
}
