//! Everything in one process: API, worker and scheduler over one database.

use std::io::Write;

use anyhow::Context;
use shared::config::{Config, Process as Kind, Secret};
use shared::process::Process;
use shared::store::users;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(mut config: Config) -> anyhow::Result<()> {
    keep_secret(&mut config)?;
    let (process, telemetry) = Process::start(config).await.map_err(|error| anyhow::anyhow!(error))?;
    tokio::spawn(process.clone().stop_on_signal());
    if users::list(&process.db).await.is_ok_and(|users| users.is_empty()) {
        tracing::warn!(
            "nobody can sign in yet: run `dogwatch user add --email ADDRESS --name NAME --role admin`"
        );
    }
    let outcome = all(process.clone()).await;
    process.db.close().await;
    telemetry.shutdown();
    outcome
}

/// Runs the three parts side by side. When one ends, so do the others; the database stays open for the caller.
pub(crate) async fn all(process: Process) -> anyhow::Result<()> {
    // However a part ends, its guard tells the others to stop.
    let (api, worker) = (process.clone(), process.clone());
    let (api_guard, worker_guard) = (process.stop.clone().drop_guard(), process.stop.clone().drop_guard());
    let api = async move { (dogwatch_api::run(api).await, drop(api_guard)).0 };
    let worker = async move { (dogwatch_worker::run(worker).await, drop(worker_guard)).0 };
    let (api, worker, ()) = tokio::join!(api, worker, dogwatch_scheduler::run(process.clone()));
    api.and(worker).map_err(|error| anyhow::anyhow!(error))
}

/// Uses the secret that tokens are signed with from the data folder, and makes one there the first time.
pub(crate) fn keep_secret(config: &mut Config) -> anyhow::Result<()> {
    let Kind::AllInOne(data) = &config.process else { return Ok(()) };
    if config.jwt_secret.is_some() {
        return Ok(());
    }
    let file = data.join("jwt_secret");
    if !file.exists() {
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot create the folder {}", data.display()))?;
        let secret: String = (0..32).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&file).and_then(|mut file| file.write_all(secret.as_bytes()));
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let secret = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let secret = secret.trim();
    anyhow::ensure!(
        secret.len() >= 32,
        "{} is damaged: delete it, and everybody signs in again",
        file.display()
    );
    config.jwt_secret = Some(Secret::new(secret.into()));
    Ok(())
}
