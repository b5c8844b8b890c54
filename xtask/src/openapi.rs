//! Holds the running API against its own description: Redocly judges the document, Schemathesis the server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::child::{Guarded, Stop};
use crate::tools::{self, npm, once, succeed};
use crate::{cargo, install, root, target, which};

const REDOCLY: &str = "@redocly/cli@2.31.4";
const OLDEST_NODE: (u32, u32) = (20, 19);
const OLDEST_PYTHON: (u32, u32) = (3, 10);

const READY_WITHIN: Duration = Duration::from_secs(60);

const ADMIN: &str = "admin@example.org";

/// Checks a server that it starts itself, after building it; skips loudly where Node.js or Python is missing.
pub(crate) fn run() -> Result<ExitCode> {
    let built = cargo().args(["build", "--package", "dogwatch"]).status().context("cargo did not start")?;
    ensure!(built.success(), "the build failed, so nothing was checked");
    check()
}

/// Checks a server of the program that was built.
pub(crate) fn check() -> Result<ExitCode> {
    if has_tools().is_err()
        && let Err(problem) = install::install_scripting()
    {
        eprintln!("xtask: {problem:#}");
    }
    if let Err(problem) = has_tools() {
        ensure!(!tools::are_required(), "{problem}");
        eprintln!("xtask: SKIPPED the checks of the API against its description: {problem}.");
        return Ok(ExitCode::SUCCESS);
    }
    let (redocly, schemathesis) = (install_redocly()?, install_schemathesis()?);
    let server = Server::start()?;
    eprintln!("xtask: linting the API's description, then trying all of it on a server (about two minutes)");
    let own = root().join("api/tests/openapi");
    let description = format!("{}/openapi.json", server.address);
    let mut lint = Command::new(redocly);
    lint.arg("lint").arg("--config").arg(own.join("redocly.yaml")).arg(&description);
    lint.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let linted = Guarded::spawn(&mut lint, Stop::Terminate, None)?.wait()?;
    let mut trial = Command::new(schemathesis);
    trial.arg("--config-file").arg(own.join("schemathesis.toml")).args(["run", &description]);
    trial.env("DOGWATCH_TOKEN", &server.token).env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", &own);
    trial.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&server.folder);
    let tried = Guarded::spawn(&mut trial, Stop::Terminate, None)?.wait()?;
    drop(server);
    println!(
        "openapi: the description is {}, and the server {} it",
        if linted.success() { "valid" } else { "NOT valid" },
        if tried.success() { "keeps to" } else { "DOES NOT keep to" },
    );
    Ok(if linted.success() && tried.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says which program is missing or too old.
fn has_tools() -> Result<()> {
    for (program, (major, minor)) in [("node", OLDEST_NODE), ("python3", OLDEST_PYTHON)] {
        let found = version(program).unwrap_or_default();
        ensure!(
            found >= (major, minor),
            "install {program} {major}.{minor} or newer, with npm and venv, then try again"
        );
    }
    ensure!(which("npm").is_some(), "install npm, then try again");
    // Debian has them in a package of their own.
    let venv = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    ensure!(venv.is_ok_and(|status| status.success()), "install venv for python3, then try again");
    Ok(())
}

fn version(program: &str) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads major and minor of `v20.20.2` or `Python 3.11.7`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches(|c: char| !c.is_ascii_digit()).split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.trim().parse().ok()?))
}

fn install_redocly() -> Result<PathBuf> {
    let folder = target().join("redocly");
    let program = folder.join("node_modules/.bin/redocly");
    npm(&folder, &[REDOCLY])?;
    Ok(program)
}

fn install_schemathesis() -> Result<PathBuf> {
    let folder = target().join("schemathesis");
    let requirements = root().join("api/tests/openapi/requirements.txt");
    let pinned = fs::read_to_string(&requirements).context("requirements.txt could not be read")?;
    once(&folder, &pinned, || {
        eprintln!("xtask: installing schemathesis with pip into {}", folder.display());
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        succeed(pip.arg(&requirements))
    })?;
    Ok(folder.join("bin/st"))
}

/// A server with an empty database and one admin.
struct Server {
    address: String,
    token: String,
    folder: PathBuf,
    _guard: Guarded,
}

impl Server {
    fn start() -> Result<Self> {
        let folder = target().join("openapi").join(std::process::id().to_string());
        let data = folder.join("data");
        fs::create_dir_all(&data).with_context(|| format!("{} could not be created", data.display()))?;
        let [api, ops] = [free_port()?, free_port()?];
        let program = target().join("debug/dogwatch");
        let dogwatch = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.args(arguments).arg("--data").arg(&data).current_dir(&folder);
            command.env("API_ADDR", format!("127.0.0.1:{api}")).env("OPS_ADDR", format!("127.0.0.1:{ops}"));
            command.env("RATE_LIMIT_PER_MINUTE", "0").env("RUST_LOG", "error");
            command.env_remove("DATABASE_URL").env_remove("REDIS_URL");
            command
        };
        succeed(&mut dogwatch(&["user", "add", "--email", ADMIN, "--name", "Admin", "--role", "admin"]))?;
        let token = dogwatch(&["token", "--email", ADMIN, "--ttl", "2h"]).output();
        let token = token.context("`dogwatch token` could not be started")?;
        ensure!(
            token.status.success(),
            "`dogwatch token` failed: {}",
            String::from_utf8_lossy(&token.stderr)
        );
        let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
        let guard = Guarded::spawn(&mut dogwatch(&["serve"]), Stop::Terminate, Some(&folder))?;
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, api)).is_err() {
            if begin.elapsed() > READY_WITHIN {
                bail!("`dogwatch serve` did not answer within {READY_WITHIN:?}, see above");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { address: format!("http://127.0.0.1:{api}"), token, folder, _guard: guard })
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(parse_version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(parse_version("Python 3.11.7\n"), Some((3, 11)));
        assert_eq!(parse_version("something else"), None);
        assert!(parse_version("v18.20.4") < Some(OLDEST_NODE));
    }
}
