//! What every process does around its work: start, agree on the time, serve its ops address, stop on a signal.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::config::Config;
use crate::metrics::{CLOCK_OFFSET, DEPENDENCY_UP, Vitals};
use crate::ops::Health;
use crate::queue::Queue;
use crate::store::desk::Desk;
use crate::store::{self, Db};
use crate::telemetry::{self, Telemetry};
use crate::time::Clock;

/// How long a starting process waits for its database.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parts that the work of every process stands on.
#[derive(Clone, Debug)]
pub struct Process {
    /// Settings.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// Dispatch.
    pub queue: Queue,
    /// Where files are kept.
    pub blobs: Blobs,
    /// The rules, and the clock they are applied by.
    pub desk: Desk,
    /// What the process must keep doing to be ready.
    pub health: Health,
    /// Cancelled when the process should stop.
    pub stop: CancellationToken,
}

/// A start that failed, in one sentence.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

impl Process {
    /// Connects everything and begins to serve the ops address.
    ///
    /// # Errors
    /// When the database stays away for a minute, its schema does not fit, or an address is taken.
    pub async fn start(config: Config) -> Result<(Self, Telemetry), StartError> {
        let telemetry = telemetry::init(&config)?;
        let process = Self::connect(config).await?;
        let ops = tokio::net::TcpListener::bind(process.config.ops_addr).await;
        let ops =
            ops.map_err(|error| format!("cannot listen on OPS_ADDR {}: {error}", process.config.ops_addr))?;
        tokio::spawn(keep_looking(process.clone()));
        tokio::spawn(crate::ops::serve(
            ops,
            telemetry.prometheus.clone(),
            Vitals::of(process.db.clone(), process.health.clone()),
            process.health.clone(),
            process.stop.clone(),
        ));
        tracing::info!(process = process.config.process.name(), ops = %process.config.ops_addr, "started");
        Ok((process, telemetry))
    }

    /// Connects everything, without telemetry and ops address: for commands and tests.
    ///
    /// # Errors
    /// When the database stays away for a minute, or its schema does not fit.
    pub async fn connect(config: Config) -> Result<Self, StartError> {
        // Whoever installed one before us (another start in this process) chose the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let db = connect(&config).await?;
        if config.auto_migrate {
            db.migrate().await?;
        }
        db.check_schema().await?;
        let queue = match &config.redis_url {
            Some(url) => {
                Queue::redis(url.expose()).map_err(|error| format!("REDIS_URL cannot be used: {error}"))?
            }
            None => Queue::in_process(),
        };
        let blobs = Blobs::open(config.attachment_url.expose())
            .map_err(|error| format!("ATTACHMENT_URL cannot be used: {error}"))?;
        let clock = Clock::system();
        db.agree_on_time(&clock).await?;
        let desk = Desk::new(clock, config.rules.clone());
        let process = Self {
            config,
            db,
            queue,
            blobs,
            desk,
            health: Health::default(),
            stop: CancellationToken::new(),
        };
        tokio::spawn(keep_agreeing(process.clone()));
        Ok(process)
    }

    /// Waits for Ctrl-C or SIGTERM and tells everything to stop.
    pub async fn stop_on_signal(self) {
        let interrupted = tokio::signal::ctrl_c();
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _ = interrupted.await;
        tracing::info!("stopping");
        self.stop.cancel();
    }
}

async fn connect(config: &Config) -> Result<Db, StartError> {
    let embedded = config.database_url.expose().starts_with("sqlite:");
    if let (crate::config::Process::AllInOne(data), true) = (&config.process, embedded) {
        std::fs::create_dir_all(data)
            .map_err(|error| format!("cannot create the folder {}: {error}", data.display()))?;
    }
    // Enough for the jobs that run at once, which mostly wait for something else than the database.
    let connections = u32::try_from(config.worker_concurrency / 4).unwrap_or(u32::MAX).clamp(8, 32);
    let started = std::time::Instant::now();
    loop {
        match Db::connect(config.database_url.expose(), connections).await {
            Ok(db) => return Ok(db),
            Err(store::Error::Unavailable(error))
                if started.elapsed() < PATIENCE && config.redis_url.is_some() =>
            {
                tracing::warn!(%error, "the database does not answer; waiting for it");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(
                store::Error::Unavailable(error)
                | store::Error::Corrupt(error)
                | store::Error::Conflict(error),
            ) => {
                return Err(format!("cannot open the database that DATABASE_URL names: {error}").into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn keep_agreeing(process: Process) {
    let minute = || tokio::time::sleep(Duration::from_secs(60));
    while process.stop.run_until_cancelled(minute()).await.is_some() {
        match process.db.agree_on_time(&process.desk.clock).await {
            Ok(offset) => CLOCK_OFFSET.set(offset),
            Err(error) => tracing::warn!(%error, "could not compare the clock with the database's"),
        }
    }
}

/// How often a process looks whether what it needs is there.
const LOOK: Duration = Duration::from_secs(2);

/// Looks whether the database and Redis answer. Without the database no process is ready; without Redis all are, and
/// slower.
async fn keep_looking(process: Process) {
    process.health.expect("database", LOOK * 5);
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut database_was, mut redis_was) = (true, true);
    while process.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let looked = tokio::time::timeout(LOOK * 2, process.db.check_schema()).await;
        let looked = looked.unwrap_or(Err(store::Error::away()));
        database_was = saw("database", database_was, looked.as_ref().err());
        process.health.report("database", looked);
        if process.config.redis_url.is_some() {
            let looked = tokio::time::timeout(LOOK, process.queue.ping()).await;
            let problem = match looked {
                Ok(answered) => answered.err().map(|error| error.to_string()),
                Err(_) => Some(format!("no answer within {} s", LOOK.as_secs())),
            };
            redis_was = saw("redis", redis_was, problem);
        }
    }
}

/// Measures whether something answers, and logs when that changes.
fn saw(dependency: &'static str, was_up: bool, problem: Option<impl std::fmt::Display>) -> bool {
    let is_up = problem.is_none();
    DEPENDENCY_UP.of([dependency]).set(f64::from(u8::from(is_up)));
    match problem {
        Some(error) if was_up => tracing::warn!(dependency, %error, "does not answer any more"),
        None if !was_up => tracing::info!(dependency, "answers again"),
        _ => {}
    }
    is_up
}

/// Ends `main`: an error goes to standard error in one sentence, and the exit code is 1.
#[must_use]
#[expect(clippy::print_stderr, reason = "the last word of a process that could not start")]
pub fn exit(outcome: Result<(), StartError>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Answers `--help` and `--version` of a program that takes no arguments, and refuses anything else.
///
/// The process ends here for those two (exit code 0) and for arguments it does not know (exit code 2).
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the flags are for")]
pub fn only_flags(program: &str, does: &str) {
    let Some(argument) = std::env::args().nth(1) else { return };
    match argument.as_str() {
        "--help" | "-h" => println!("{does}\n\nUsage: {program}\n\n{HELP}"),
        "--version" | "-V" => println!("{program} {}", env!("CARGO_PKG_VERSION")),
        _ => {
            eprintln!("error: {program} takes no arguments; see `{program} --help`");
            std::process::exit(2);
        }
    }
    std::process::exit(0);
}

const HELP: &str =
    "Settings are environment variables: DATABASE_URL (postgres://…) and REDIS_URL are required,
the API also needs JWT_SECRET. docs/operations.md lists all of them.

Options:
  -h, --help     Print this
  -V, --version  Print the version";
