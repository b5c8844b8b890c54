//! Tools of other languages' registries, kept below `target/`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Says whether a check whose tools cannot be had is a failure: by hand it is skipped.
pub(crate) fn are_required() -> bool {
    ["CI", "REQUIRE_SERVICES"].iter().any(|name| env::var_os(name).is_some())
}

/// Installs packages of npm, with their versions, into a folder that has them not yet.
pub(crate) fn npm(folder: &Path, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    once(folder, &names, || {
        eprintln!("xtask: installing {names} with npm into {}", folder.display());
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]);
        npm.args(["--fetch-retries=1", "--fetch-timeout=60000", "--prefix"]);
        // Node.js brings authorities of its own; those of the system count, too, as everywhere else.
        let system = SYSTEM_AUTHORITIES.iter().find(|file| Path::new(file).exists());
        if let Some(file) = system.filter(|_| env::var_os("NODE_EXTRA_CA_CERTS").is_none()) {
            npm.env("NODE_EXTRA_CA_CERTS", file);
        }
        succeed(npm.arg(folder).args(packages))
    })
}

/// Installs into a folder unless exactly this is there already.
pub(crate) fn once(folder: &Path, what: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|there| there == what) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("{} could not be created", folder.display()))?;
    install()?;
    fs::write(&mark, what).with_context(|| format!("{} could not be written", mark.display()))
}

/// Runs a command that must succeed; what it prints goes to standard error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).status();
    let status = status.with_context(|| format!("`{name}` could not be started"))?;
    ensure!(status.success(), "`{name}` failed, see above");
    Ok(())
}
