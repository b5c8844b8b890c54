//! Finds the servers that the tests need, and installs what is missing with the system's package manager.

use std::env;
use std::fs;
use std::io::{IsTerminal, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::which;

const OLDEST_POSTGRES: u32 = 15;

/// Says where the servers' programs are.
pub(crate) struct Binaries {
    /// The folder with `initdb`, `postgres` and, for the benchmark, `pgbench`.
    pub(crate) postgres: PathBuf,
    /// The `redis-server` program, or `valkey-server` where a system has replaced it.
    pub(crate) redis: PathBuf,
}

/// Says where the programs are that watch Dogwatch.
pub(crate) struct Watchers {
    prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
    alertmanager: PathBuf,
    pub(crate) amtool: PathBuf,
}

impl Watchers {
    /// Finds them all, after installing what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        if let Some(watchers) = Self::find() {
            return Ok(watchers);
        }
        if let Some(manager) = manager() {
            manager.install(manager.watching)?;
        }
        Self::find().context("install Prometheus and Alertmanager, with promtool and amtool, then try again")
    }

    /// Finds them all where they are installed.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            prometheus: which("prometheus")?,
            promtool: which("promtool")?,
            // Debian's name first: there may be another `alertmanager`.
            alertmanager: which("prometheus-alertmanager").or_else(|| which("alertmanager"))?,
            amtool: which("amtool")?,
        })
    }

    /// Returns the variables by which the tests find them.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("TEST_PROMETHEUS", self.prometheus.display().to_string()),
            ("TEST_PROMTOOL", self.promtool.display().to_string()),
            ("TEST_ALERTMANAGER", self.alertmanager.display().to_string()),
        ]
    }
}

impl Binaries {
    /// Finds them all, after installing what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        let (postgres, redis) = (find_postgres(), find_redis());
        if let (Some(postgres), Some(redis)) = (postgres.clone(), redis.clone()) {
            return Ok(Self { postgres, redis });
        }
        let manager = manager().with_context(|| {
            format!("install PostgreSQL {OLDEST_POSTGRES} or newer and Redis 7 or newer, then try again")
        })?;
        let mut packages = Vec::new();
        packages.extend_from_slice(if postgres.is_none() { manager.postgres } else { &[] });
        packages.extend_from_slice(if redis.is_none() { manager.redis } else { &[] });
        manager.install(&packages)?;
        let postgres = find_postgres().with_context(|| {
            format!("`{}` brought no PostgreSQL {OLDEST_POSTGRES} or newer: install one", manager.program)
        })?;
        let redis = find_redis()
            .with_context(|| format!("`{}` brought no `redis-server`: install one", manager.program))?;
        Ok(Self { postgres, redis })
    }
}

fn find_redis() -> Option<PathBuf> {
    which("redis-server").or_else(|| which("valkey-server"))
}

fn find_postgres() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut versions = Vec::new();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(Ok(version)) = name.strip_prefix(prefix).map(str::parse::<u32>) {
                versions.push((version, entry.path().join("bin")));
            }
        }
    }
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders.into_iter().find_map(|folder| {
        // Behind a link on the `PATH` is the folder that has all the programs.
        let initdb = fs::canonicalize(folder.join("initdb")).ok()?;
        let folder = initdb.parent()?.to_path_buf();
        (postgres_version(&folder)? >= OLDEST_POSTGRES).then_some(folder)
    })
}

fn postgres_version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(line: &str) -> Option<u32> {
    let version = line.strip_prefix("postgres (PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

struct Manager {
    program: &'static str,
    refresh: &'static [&'static str],
    install: &'static [&'static str],
    as_root: bool,
    postgres: &'static [&'static str],
    redis: &'static [&'static str],
    /// Node.js with npm, and Python with venv.
    scripting: &'static [&'static str],
    /// Prometheus and Alertmanager, with their tools.
    watching: &'static [&'static str],
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        refresh: &["-q", "update"],
        install: &["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install"],
        as_root: true,
        postgres: &["postgresql"],
        redis: &["redis-server"],
        scripting: &["nodejs", "npm", "python3", "python3-venv"],
        watching: &["prometheus", "prometheus-alertmanager"],
    },
    Manager {
        program: "dnf",
        refresh: &[],
        install: &["-y", "install"],
        as_root: true,
        postgres: &["postgresql-server", "postgresql-contrib"],
        redis: &["redis"],
        scripting: &["nodejs", "npm", "python3"],
        watching: &["golang-github-prometheus", "golang-github-prometheus-alertmanager"],
    },
    Manager {
        program: "pacman",
        refresh: &[],
        install: &["-S", "-y", "--needed", "--noconfirm"],
        as_root: true,
        postgres: &["postgresql"],
        redis: &["valkey"],
        scripting: &["nodejs", "npm", "python"],
        watching: &["prometheus", "alertmanager"],
    },
    Manager {
        program: "brew",
        refresh: &[],
        install: &["install"],
        as_root: false,
        postgres: &["postgresql@17"],
        redis: &["redis"],
        scripting: &["node", "python"],
        watching: &["prometheus", "alertmanager"],
    },
];

/// Installs Node.js and Python with the system's package manager, where it has one that is known here.
pub(crate) fn install_scripting() -> Result<()> {
    manager().map_or(Ok(()), |manager| manager.install(manager.scripting))
}

/// The package manager of this system, where it is known here.
fn manager() -> Option<&'static Manager> {
    MANAGERS.iter().find(|manager| which(manager.program).is_some())
}

impl Manager {
    fn install(&self, packages: &[&str]) -> Result<()> {
        let names = packages.join(" ");
        let by_sudo = self.as_root && !is_root()?;
        if by_sudo && which("sudo").is_none() {
            bail!(
                "the tests need {names}, and installing needs root or sudo: \
                 install them with `{}` as root, then try again",
                self.program
            );
        }
        eprintln!(
            "xtask: the tests need {names}: installing with {}{}. Should your system start them as services, \
             the tests do not use those.",
            if by_sudo { "sudo " } else { "" },
            self.program
        );
        // A stale or broken third-party package list must not stop an install that may well succeed.
        if !self.refresh.is_empty() && !self.call(by_sudo, self.refresh)? {
            eprintln!("xtask: `{} {}` failed, going on all the same", self.program, self.refresh.join(" "));
        }
        let arguments: Vec<&str> = self.install.iter().chain(packages).copied().collect();
        ensure!(
            self.call(by_sudo, &arguments)?,
            "{names} could not be installed, see above: install them with `{}` as root, then try again",
            self.program
        );
        Ok(())
    }

    fn call(&self, by_sudo: bool, arguments: &[&str]) -> Result<bool> {
        let mut command = Command::new(if by_sudo { "sudo" } else { self.program });
        if by_sudo {
            // Without a terminal nobody could answer the question for a password.
            command.args((!stdin().is_terminal()).then_some("-n"));
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", self.program]);
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::from(stderr()));
        let status = command.status().with_context(|| format!("`{}` could not be started", self.program))?;
        Ok(status.success())
    }
}

/// Says whether this process may do everything.
pub(crate) fn is_root() -> Result<bool> {
    let own = id(&["-u"]).context("`id -u` did not answer with a number")?;
    Ok(own == 0)
}

/// Asks `id` for a number, such as the user id of a name.
pub(crate) fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_postgres_is_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("something else"), None);
    }
}
