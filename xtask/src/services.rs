//! Private PostgreSQL and Redis instances on free ports, gone with this process.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write, stdin};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::child::{Guarded, Stop};
use crate::install::{Binaries, Watchers, id, is_root};
use crate::target;

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What PostgreSQL promises about a commit.
#[derive(Clone, Copy)]
pub(crate) enum Durability {
    /// Commits may be lost in a crash: the data dies with the run anyway, and the tests are much faster.
    Throwaway,
    /// Commits survive a crash, as in production: a benchmark of anything else would be a lie.
    Durable,
}

impl Durability {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Throwaway => &["fsync=off", "synchronous_commit=off", "full_page_writes=off"],
            Self::Durable => &[
                "fsync=on",
                "synchronous_commit=on",
                "shared_buffers=256MB",
                "max_wal_size=4GB",
                "checkpoint_timeout=15min",
            ],
        }
    }
}

/// Holds one PostgreSQL and one Redis, and stops both when dropped.
pub(crate) struct Services {
    /// Where their programs are.
    pub(crate) binaries: Binaries,
    postgres_port: u16,
    redis_port: u16,
    scratch: Scratch,
    _postgres: Guarded,
    _redis: Guarded,
}

impl Services {
    /// Starts both, installing them first where they are missing, and waits until they answer.
    pub(crate) fn start(durability: Durability) -> Result<Self> {
        let binaries = Binaries::ensure()?;
        let scratch = Scratch::new()?;
        let (postgres_port, postgres) = start_postgres(&binaries.postgres, &scratch, durability)?;
        let (redis_port, redis) = start_redis(&binaries.redis, &scratch)?;
        Ok(Self { binaries, postgres_port, redis_port, scratch, _postgres: postgres, _redis: redis })
    }

    /// Returns the address of a database in the private PostgreSQL.
    pub(crate) fn postgres_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.postgres_port)
    }

    /// Returns the address of the private Redis.
    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_port)
    }

    /// Returns a client program of PostgreSQL, already told which server to talk to.
    pub(crate) fn postgres_client(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.postgres.join(program));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.postgres_port.to_string()]);
        command
    }

    /// Makes the folder in which tests may start servers of their own.
    pub(crate) fn test_scratch(&self) -> Result<PathBuf> {
        self.scratch.folder("tests")
    }

    /// Returns the variables by which the tests find everything.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("TEST_DATABASE_URL", self.postgres_url("postgres")),
            ("TEST_REDIS_URL", self.redis_url()),
            ("TEST_POSTGRES_BIN", self.binaries.postgres.display().to_string()),
            ("TEST_REDIS_SERVER", self.binaries.redis.display().to_string()),
        ];
        if let Some(watchers) = Watchers::find() {
            variables.extend(watchers.environment());
        }
        if let Some((uid, gid)) = self.scratch.owner {
            variables.push(("TEST_POSTGRES_UID", uid.to_string()));
            variables.push(("TEST_POSTGRES_GID", gid.to_string()));
        }
        variables
    }
}

/// Prints the addresses of both services, and keeps them until standard input ends.
pub(crate) fn run() -> Result<ExitCode> {
    let services = Services::start(Durability::Throwaway)?;
    for (name, value) in services.environment() {
        println!("{name}={value}");
    }
    eprintln!("xtask: PostgreSQL and Redis run until Ctrl-C, or until standard input ends.");
    std::io::copy(&mut stdin(), &mut std::io::sink()).context("standard input could not be read")?;
    Ok(ExitCode::SUCCESS)
}

fn start_postgres(binaries: &Path, scratch: &Scratch, durability: Durability) -> Result<(u16, Guarded)> {
    on_a_free_port("PostgreSQL", |port| {
        let folder = scratch.folder(&format!("postgres-{port}"))?;
        let data = folder.join("data");
        let mut initdb = scratch.command(&binaries.join("initdb"), &folder);
        initdb.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        let output = initdb.arg(&data).output().context("`initdb` could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`initdb` failed: {}", said.trim());

        let mut postgres = scratch.command(&binaries.join("postgres"), &folder);
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        // A socket's path may hold 107 bytes, which a deep checkout exceeds; TCP serves everybody.
        postgres.args(["-c", "unix_socket_directories=", "-c", "max_connections=300"]);
        for setting in durability.settings() {
            postgres.args(["-c", setting]);
        }
        // Line 8 of this file is the server's state, as `pg_ctl` reads it.
        let state = data.join("postmaster.pid");
        let is_ready = move || {
            let text = fs::read_to_string(&state).unwrap_or_default();
            text.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        Server::spawn(&mut postgres, Stop::Quit, &folder, Box::new(is_ready))
    })
}

fn start_redis(binary: &Path, scratch: &Scratch) -> Result<(u16, Guarded)> {
    on_a_free_port("Redis", |port| {
        let folder = scratch.folder(&format!("redis-{port}"))?;
        let mut redis = scratch.command(binary, &folder);
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        Server::spawn(&mut redis, Stop::Terminate, &folder, Box::new(move || ping(port).is_ok()))
    })
}

fn ping(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"+PONG", "not a Redis");
    Ok(())
}

struct Server {
    guard: Guarded,
    log: PathBuf,
    is_ready: Box<dyn Fn() -> bool>,
}

impl Server {
    fn spawn(
        command: &mut Command,
        stop: Stop,
        folder: &Path,
        is_ready: Box<dyn Fn() -> bool>,
    ) -> Result<Self> {
        let log = folder.join("log");
        let file = File::create(&log).context("the server's log could not be created")?;
        let guard = Guarded::spawn(command.stdout(file.try_clone()?).stderr(file), stop, Some(folder))?;
        Ok(Self { guard, log, is_ready })
    }
}

/// Starts a server and waits until it is ready, on another port if somebody else took the first one meanwhile.
fn on_a_free_port(name: &str, start: impl Fn(u16) -> Result<Server>) -> Result<(u16, Guarded)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = start(port)?;
        let deadline = Instant::now() + READY_WITHIN;
        let problem = loop {
            match server.guard.child().try_wait()? {
                Some(status) => break format!("ended at once ({status})"),
                None if (server.is_ready)() => return Ok((port, server.guard)),
                None if Instant::now() > deadline => break "did not get ready in time".to_owned(),
                None => thread::sleep(POLL),
            }
        };
        let log = fs::read_to_string(&server.log).unwrap_or_default();
        if tries == 5 || !log.contains("in use") {
            bail!("{name} {problem}; the end of its log:\n{}", tail(&log, 15));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A folder for the servers' files, removed when dropped, and the user they run as when that is not our own.
struct Scratch {
    path: PathBuf,
    /// User and group id, as root only: PostgreSQL refuses to run as root.
    owner: Option<(u32, u32)>,
}

impl Scratch {
    fn new() -> Result<Self> {
        let owner = if is_root()? { Some(ordinary_user()?) } else { None };
        let pid = std::process::id().to_string();
        let below_target = target().join("services");
        fs::create_dir_all(&below_target)
            .with_context(|| format!("{} could not be created", below_target.display()))?;
        let scratch = Self { path: below_target.join(&pid), owner };
        scratch.create()?;
        if scratch.usable()? {
            return Ok(scratch);
        }
        let elsewhere = Self { path: env::temp_dir().join(format!("dogwatch-services-{pid}")), owner };
        eprintln!(
            "xtask: the user PostgreSQL runs as cannot enter {}, so the services' files are in {}",
            below_target.display(),
            elsewhere.path.display()
        );
        elsewhere.create()?;
        ensure!(
            elsewhere.usable()?,
            "the user PostgreSQL runs as cannot enter {} either: set TMPDIR to a folder that every user can enter",
            elsewhere.path.display()
        );
        Ok(elsewhere)
    }

    fn create(&self) -> Result<()> {
        create_private(&self.path, self.owner)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        // The keeper of a server that failed to start has removed the folder if it was the last one.
        if !self.path.exists() {
            self.create()?;
        }
        let path = self.path.join(name);
        create_private(&path, self.owner)?;
        Ok(path)
    }

    fn usable(&self) -> Result<bool> {
        let mut test = self.command(Path::new("/bin/sh"), Path::new("/"));
        let status = test.args(["-c", "test -w \"$0\" && test -x \"$0\""]).arg(&self.path).status()?;
        Ok(status.success())
    }

    /// Returns a command that runs as the folder's owner.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create_private(path: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let created = DirBuilder::new().mode(0o700).create(path);
    created.with_context(|| format!("{} could not be created", path.display()))?;
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("{} could not be handed over", path.display()))?;
    }
    Ok(())
}

fn ordinary_user() -> Result<(u32, u32)> {
    let ids = |name| Some((id(&["-u", name])?, id(&["-g", name])?));
    ids("postgres").or_else(|| ids("nobody")).context("PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`: run this as an ordinary user")
}
