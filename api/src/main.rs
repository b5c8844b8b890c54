//! `dogwatch-api`: takes requests over HTTP.

use shared::config::{Config, Process as Kind};
use shared::process::{Process, StartError};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    shared::process::exit(start().await)
}

async fn start() -> Result<(), StartError> {
    shared::process::only_flags("dogwatch-api", "Serves Dogwatch's HTTP API.");
    let (process, telemetry) = Process::start(Config::from_env(Kind::Api)?).await?;
    tokio::spawn(process.clone().stop_on_signal());
    let outcome = dogwatch_api::run(process).await;
    telemetry.shutdown();
    outcome
}
