//! The programs under test, as processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use shared::testkit::eventually;
use tokio::process::{Child, Command};

use crate::services::{free_port, log, signal};

/// Environment variables.
pub(crate) type Settings = BTreeMap<&'static str, String>;

/// Returns the path of a program of this workspace.
///
/// # Panics
/// When it was not built: `cargo test` builds those of its own crate only.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_dogwatch")).with_file_name(name);
    let hint = "run by `cargo xtask test`, or `cargo build --workspace --bins` first";
    assert!(path.exists(), "there is no {}: {hint}", path.display());
    path
}

/// Prepares a program with these settings and no others.
fn command(name: &str, settings: &Settings, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().envs(settings).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    for kept in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        command.envs(std::env::var_os(kept).map(|value| (kept, value)));
    }
    command
}

/// Starts a program, which is killed when it is dropped.
pub(crate) fn start(name: &str, arguments: &[&str], settings: &Settings, folder: &Path) -> Child {
    let mut command = command(name, settings, folder);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be started")
}

/// Runs a program to its end.
pub(crate) async fn run(name: &str, arguments: &[&str], settings: &Settings, folder: &Path) -> Output {
    let output = command(name, settings, folder).args(arguments).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await;
    output.unwrap_or_else(|_| panic!("{name} {arguments:?} does not end")).expect("it can be started")
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Part {
    /// Like `worker-2`.
    pub(crate) name: String,
    pub(crate) log: PathBuf,
    pub(crate) ops: String,
    child: Child,
}

impl Part {
    /// Starts `dogwatch-<kind>`; it answers on its ops address once it is up.
    pub(crate) fn start(kind: &str, number: usize, settings: &Settings, folder: &Path) -> Self {
        let name = format!("{kind}-{number}");
        Self::spawn(name, command(&format!("dogwatch-{kind}"), settings, folder), folder)
    }

    /// Starts `dogwatch serve`, all in one process.
    pub(crate) fn serve(settings: &Settings, folder: &Path) -> Self {
        let mut command = command("dogwatch", settings, folder);
        command.arg("serve");
        Self::spawn("serve-1".into(), command, folder)
    }

    fn spawn(name: String, mut command: Command, folder: &Path) -> Self {
        let ops = format!("127.0.0.1:{}", free_port());
        let path = folder.join(format!("{name}.log"));
        // The name stands in the worker's row, by which a test finds out who holds a job.
        command.env("OPS_ADDR", &ops).env("HOSTNAME", &name).stdout(log(&path)).stderr(log(&path));
        let child = command.spawn().expect("it can be started");
        Self { name, log: path, ops, child }
    }

    /// Tells whether it says that it can work now.
    pub(crate) async fn is_ready(&self) -> bool {
        is_ready(&self.ops).await
    }

    pub(crate) async fn ready(&mut self) {
        let what = format!("{} is ready", self.name);
        tokio::select! {
            ended = self.child.wait() => panic!("{} ended: {ended:?}", self.name),
            () = eventually(&what, Duration::from_secs(60), async || is_ready(&self.ops).await.then_some(())) => {}
        }
    }

    /// Waits until it says that it cannot work, which it outlives.
    pub(crate) async fn not_ready(&mut self) {
        let what = format!("{} is not ready", self.name);
        eventually(&what, Duration::from_secs(60), async || (!is_ready(&self.ops).await).then_some(())).await;
        assert!(self.is_running(), "{} ended", self.name);
    }

    /// What it says keeps it from working now.
    pub(crate) async fn failing(&self) -> BTreeMap<String, String> {
        let answer = reqwest::get(format!("http://{}/health/ready", self.ops)).await.expect("it answers");
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        serde_json::from_value(answer["failing"].clone()).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory that it has taken so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux tells");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Ends it without a warning.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        signal(&self.child, "TERM");
    }

    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("it can be waited for")
    }
}

async fn is_ready(ops: &str) -> bool {
    let answer = reqwest::get(format!("http://{ops}/health/ready")).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
