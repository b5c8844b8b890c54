//! `dogwatch-scheduler`: sweeps, relays, rescues and ticks.

use shared::config::{Config, Process as Kind};
use shared::process::{Process, StartError};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    shared::process::exit(start().await)
}

async fn start() -> Result<(), StartError> {
    shared::process::only_flags(
        "dogwatch-scheduler",
        "Finds breached clocks, escalates, relays and rescues jobs, runs periodic ones. Run as many as you like.",
    );
    let (process, telemetry) = Process::start(Config::from_env(Kind::Scheduler)?).await?;
    tokio::spawn(process.clone().stop_on_signal());
    dogwatch_scheduler::run(process).await;
    telemetry.shutdown();
    Ok(())
}
