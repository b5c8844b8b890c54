//! `dogwatch-worker`: runs jobs.

use shared::config::{Config, Process as Kind};
use shared::process::{Process, StartError};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    shared::process::exit(start().await)
}

async fn start() -> Result<(), StartError> {
    shared::process::only_flags(
        "dogwatch-worker",
        "Runs the jobs of Dogwatch: notifications, mails, housekeeping.",
    );
    let (process, telemetry) = Process::start(Config::from_env(Kind::Worker)?).await?;
    tokio::spawn(process.clone().stop_on_signal());
    let outcome = dogwatch_worker::run(process).await;
    telemetry.shutdown();
    outcome
}
