//! `dogwatch`: everything in one process, and the operator's commands.
#![expect(clippy::print_stdout, reason = "a command's output goes to standard output")]

mod api_keys;
mod demo;
mod doctor;
mod jobs;
mod maintenance;
mod serve;
mod sla;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use shared::config::{Config, Process as Kind};
use shared::process::Process;
use shared::store::Db;

/// Watches service levels: tickets come in, clocks run, the right people are mailed.
#[derive(Debug, Parser)]
#[command(name = "dogwatch", version, max_term_width = 100)]
struct Cli {
    /// Folder of the embedded database, mails and secrets
    #[arg(long, global = true, default_value = "data", value_name = "DIR")]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an incident's whole life within seconds, on a throw-away database, and keep serving
    Demo {
        /// Stop by itself, like 30s or 2m; the exit code is 0 if a breach mail was delivered
        #[arg(long, value_parser = parse_duration, value_name = "TIME")]
        exit_after: Option<Duration>,
    },
    /// Serve the API, run jobs and sweep, all in one process
    Serve,
    /// Bring the database schema up to date
    Migrate,
    /// Manage accounts
    #[command(subcommand)]
    User(users::Command),
    /// Print a token for an account, for scripts
    Token {
        /// Whose
        #[arg(long)]
        email: String,
        /// How long it is good for, like 1h
        #[arg(long, value_parser = parse_duration, default_value = "1h", value_name = "TIME")]
        ttl: Duration,
    },
    /// Manage API keys, for programs
    #[command(subcommand)]
    ApiKey(api_keys::Command),
    /// Look at jobs, and retry dead ones
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Compute when clocks are due
    #[command(subcommand)]
    Sla(sla::Command),
    /// Take a backup, while everything runs
    Backup(maintenance::backup::Backup),
    /// List backups
    Backups(maintenance::backups::Backups),
    /// Put a backup in the place of what is there, and keep what was there as another backup
    Restore(maintenance::restore::Restore),
    /// Show tickets, clocks, breaches, jobs and notifications in numbers
    Stats(maintenance::stats::Show),
    /// Look for rows that contradict each other, without changing any; exits 1 when there are some
    Health(maintenance::health::Health),
    /// Delete old tickets and remove what nobody needs; without --apply it only counts
    Cleanup(maintenance::cleanup::Cleanup),
    /// Delete everything and begin with an empty database
    Reset(maintenance::reset::Reset),
    /// Open tickets out of a CSV file
    Import(maintenance::import::Import),
    /// Write tickets to a CSV file
    Export(maintenance::export::Export),
    /// Check settings, database, dispatch and mail; with --url, whether a running process is ready
    Doctor {
        #[arg(
            long,
            value_name = "URL",
            help = "Ops address of a running process, like http://127.0.0.1:9464"
        )]
        url: Option<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => shared::process::exit(Err(format!("{error:#}").into())),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let data = cli.data;
    match cli.command {
        Command::Demo { exit_after } => return demo::run(data, exit_after).await,
        Command::Serve => serve::run(config(data)?).await?,
        Command::Migrate => migrate(&config(data)?).await?,
        Command::User(command) => users::run(command, &connect(data).await?).await?,
        Command::Token { email, ttl } => users::print_token(&connect(data).await?, &email, ttl).await?,
        Command::ApiKey(command) => api_keys::run(command, &connect(data).await?).await?,
        Command::Jobs(command) => jobs::run(command, &connect(data).await?).await?,
        Command::Sla(command) => sla::run(&command)?,
        Command::Backup(args) => maintenance::backup::run(args, &place(data)?).await?,
        Command::Backups(args) => return maintenance::backups::run(&args, &place(data)?),
        Command::Restore(args) => maintenance::restore::run(args, &place(data)?).await?,
        Command::Stats(args) => maintenance::stats::run(&args, &place(data)?).await?,
        Command::Health(args) => return maintenance::health::run(&args, &place(data)?).await,
        Command::Cleanup(args) => maintenance::cleanup::run(&args, &place(data)?).await?,
        Command::Reset(args) => maintenance::reset::run(args, &place(data)?).await?,
        Command::Import(args) => return maintenance::import::run(args, &place(data)?).await,
        Command::Export(args) => maintenance::export::run(args, &place(data)?).await?,
        Command::Doctor { url: Some(url) } => doctor::ask(&url).await?,
        Command::Doctor { url: None } => return doctor::check(config(data)?).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn config(data: PathBuf) -> anyhow::Result<Config> {
    Ok(Config::from_env(Kind::AllInOne(data))?)
}

fn place(data: PathBuf) -> anyhow::Result<maintenance::Place> {
    maintenance::Place::new(config(data.clone())?, data)
}

/// Connects for a command: without telemetry, and quietly.
async fn connect(data: PathBuf) -> anyhow::Result<Process> {
    let mut config = config(data)?;
    if let Kind::AllInOne(data) = &config.process {
        let embedded = config.database_url.expose().starts_with("sqlite:");
        let exists = data.exists() || !embedded;
        anyhow::ensure!(
            exists,
            "there is no folder {}: name it by --data, or run `dogwatch serve` first",
            data.display()
        );
    }
    serve::keep_secret(&mut config)?;
    Process::connect(config).await.map_err(|error| anyhow::anyhow!(error))
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let embedded = config.database_url.expose().starts_with("sqlite:");
    if let (Kind::AllInOne(data), true) = (&config.process, embedded) {
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot create the folder {}", data.display()))?;
    }
    let db = Db::connect(config.database_url.expose(), 1)
        .await
        .map_err(|error| anyhow::anyhow!(describe(&error)))?;
    db.migrate().await.map_err(|error| anyhow::anyhow!(describe(&error)))?;
    println!("The schema is up to date.");
    Ok(())
}

/// An error with its cause: an operator sees what the database said.
fn describe(error: &shared::store::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "must be a number with s, m or h, like 30s".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds).min(366 * 86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "30", "s", "1d", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
