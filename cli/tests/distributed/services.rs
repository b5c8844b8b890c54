//! Servers of a test's own, which it may stop and start as it likes.
//!
//! All children stay in the process group of the test, so that whoever ends the group, from a terminal or after a
//! time limit, ends them too.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use shared::testkit::eventually;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(30);

/// Returns a setting that `cargo xtask test` makes, or skips the test by `None`.
///
/// # Panics
/// When it is not set and must be.
pub(crate) fn setting(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    let required = std::env::var_os("REQUIRE_SERVICES").is_some() || std::env::var_os("CI").is_some();
    assert!(value.is_some() || !required, "{name} is not set: run the tests by `cargo xtask test`");
    if value.is_none() {
        eprintln!("SKIPPED: {name} is not set; `cargo xtask test` runs it");
    }
    value
}

/// Makes a folder that is removed at the end of the test.
pub(crate) fn folder() -> TempDir {
    let within = std::env::var_os("TEST_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("dogwatch-").tempdir_in(within).expect("a folder")
}

/// A port on which nobody listens, out of those that the system gives to no outgoing connection: nobody takes it
/// while its server is down.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const PORTS: u32 = 18_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let taken = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        let offset = (std::process::id() * 101 + taken) % PORTS;
        let port = FIRST + u16::try_from(offset).expect("less than the number of ports");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Returns a file for what a child says, which goes on where it stands.
pub(crate) fn log(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log")
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let mut kill = std::process::Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &id]);
    assert!(kill.status().expect("a shell").success(), "{name} could not be sent");
}

/// A Redis that keeps nothing on disk: it starts empty each time.
#[derive(Debug)]
pub(crate) struct Redis {
    program: String,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// Starts one, or skips the test by `None`.
    pub(crate) async fn start() -> Option<Self> {
        let program = setting("TEST_REDIS_SERVER")?;
        let mut redis = Self { program, port: free_port(), folder: folder(), child: None };
        redis.start_again().await;
        Some(redis)
    }

    pub(crate) async fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let log = log(&self.folder.path().join("log"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log).kill_on_drop(true);
        self.child = Some(command.spawn().expect("Redis can be started"));
        eventually("Redis answers", SOON, async || self.connect().await).await;
    }

    /// Ends it without a warning.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it can be killed");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connect(&self) -> Option<MultiplexedConnection> {
        redis::Client::open(self.url()).expect("an address").get_multiplexed_async_connection().await.ok()
    }

    /// Deletes everything.
    pub(crate) async fn flush(&self) {
        let mut connection = self.connect().await.expect("Redis answers");
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.expect("it flushes");
    }

    /// Counts the workers that listen to a queue.
    pub(crate) async fn listeners(&self, priority: &str) -> usize {
        let mut connection = self.connect().await.expect("Redis answers");
        let mut count = redis::cmd("ZCARD");
        count.arg(format!("{{dogwatch}}:{priority}:workers"));
        count.query_async(&mut connection).await.expect("it counts")
    }
}

/// Counts the messages that were sent to a queue and not fetched yet.
pub(crate) async fn backlog(redis: &mut MultiplexedConnection, priority: &str) -> usize {
    let mut both = redis::pipe();
    both.zcard(format!("{{dogwatch}}:{priority}:scheduled")).llen(format!("{{dogwatch}}:{priority}:active"));
    let (scheduled, active): (usize, usize) = both.query_async(redis).await.expect("it counts");
    scheduled + active
}

/// A PostgreSQL with one empty database.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Postgres {
    /// Starts one, or skips the test by `None`.
    pub(crate) async fn start() -> Option<Self> {
        let programs = setting("TEST_POSTGRES_BIN")?.into();
        let mut postgres = Self { programs, port: free_port(), folder: folder(), child: None };
        if let Some((user, group)) = owner() {
            std::os::unix::fs::chown(postgres.folder.path(), Some(user), Some(group))
                .expect("root may do that");
        }
        let mut initdb = postgres.command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.arg("-D").arg(postgres.data()).output().await.expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres.start_again().await;
        Some(postgres)
    }

    pub(crate) async fn start_again(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        command.args(["-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "fsync=off"]);
        let log = log(&self.folder.path().join("log"));
        self.child = Some(command.stderr(log).spawn().expect("PostgreSQL can be started"));
        // Line 8 of this file is the server's state, as `pg_ctl` reads it.
        let state = self.data().join("postmaster.pid");
        let ready = async || {
            let text = std::fs::read_to_string(&state).ok()?;
            (text.lines().nth(7)?.trim() == "ready").then_some(())
        };
        eventually("PostgreSQL is ready", SOON, ready).await;
    }

    /// Ends every session at once and stops in good order: a fast shutdown.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal(&child, "INT");
        let ended = tokio::time::timeout(SOON, child.wait()).await.expect("it stops in time");
        assert!(ended.expect("it can be waited for").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = owner() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SIGQUIT ends its children too, SIGKILL would not.
        signal(&child, "QUIT");
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10)); // tidy: nothing can be awaited in a drop
        }
    }
}

/// Whom PostgreSQL runs as when we are root, which it refuses to be.
fn owner() -> Option<(u32, u32)> {
    let id = |name| std::env::var(name).ok()?.parse().ok();
    Some((id("TEST_POSTGRES_UID")?, id("TEST_POSTGRES_GID")?))
}
