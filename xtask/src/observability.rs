//! Holds what watches Dogwatch against the real thing: the tools of Prometheus and Alertmanager judge their files,
//! Grafana's schema the dashboards, and a test has a real system watched by all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::install::{self, Watchers};
use crate::services::{Durability, Services};
use crate::{lint, root, target, test, tools, which};

/// Of the Grafana that `docker-compose.yml` names.
const PACKAGES: [&str; 2] = ["@grafana/schema@12.1.1", "typescript@5.9.3"];

/// The test that has a system watched. Nothing else may run beside it: alerts tell of a busy machine, too.
const WATCHED: [&str; 5] = ["--test", "distributed", "--", "--ignored", "watched"];

/// Checks everything on services that it starts itself, after building the programs.
pub(crate) fn run() -> Result<ExitCode> {
    let services = Services::start(Durability::Throwaway)?;
    ensure!(test::build()?, "the build failed, so nothing was checked");
    check(&services)
}

/// Checks everything on the programs that were built; skips loudly what it has no tools for.
pub(crate) fn check(services: &Services) -> Result<ExitCode> {
    let mut failed = Vec::new();
    if !has_node()
        && let Err(problem) = install::install_scripting()
    {
        eprintln!("xtask: {problem:#}");
    }
    if has_node() {
        failed.extend((!dashboards()?).then_some("the dashboards' schema"));
    } else {
        skip("Grafana's schema", &anyhow::anyhow!("install Node.js and npm, then try again"))?;
    }
    match Watchers::ensure() {
        Ok(watchers) => {
            failed.extend(files(&watchers)?);
            eprintln!("xtask: having a system watched by Prometheus and Alertmanager (two to three minutes)");
            let (status, _) = test::suites(services, &WATCHED.map(str::to_owned))?;
            failed.extend((!status.success()).then_some("a watched system"));
        }
        Err(problem) => skip("Prometheus and Alertmanager", &problem)?,
    }
    if failed.is_empty() {
        println!("observability: all is well");
        return Ok(ExitCode::SUCCESS);
    }
    println!("observability: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn skip(what: &str, problem: &anyhow::Error) -> Result<()> {
    ensure!(!tools::are_required(), "{problem:#}");
    eprintln!("xtask: SKIPPED the checks by {what}: {problem:#}.");
    Ok(())
}

/// Judges the files of Prometheus and Alertmanager, and names the checks that failed.
fn files(watchers: &Watchers) -> Result<Vec<&'static str>> {
    let (rules, tests) = lint::alert_rules()?;
    let folder = root().join("observability");
    let prometheus = [folder.join("prometheus/prometheus.yml")];
    let alertmanager = [folder.join("alertmanager/alertmanager.yml")];
    let mut failed = Vec::new();
    let checks: [(&str, &Path, &[&str], &[PathBuf]); 4] = [
        ("promtool check config", &watchers.promtool, &["check", "config", "--lint-fatal"], &prometheus),
        ("promtool check rules", &watchers.promtool, &["check", "rules", "--lint-fatal"], &rules),
        ("promtool test rules", &watchers.promtool, &["test", "rules"], &tests),
        ("amtool check-config", &watchers.amtool, &["check-config"], &alertmanager),
    ];
    for (name, program, arguments, files) in checks {
        eprintln!("xtask: {name}");
        ensure!(!files.is_empty(), "there is nothing for `{name}`");
        let done = tools::succeed(Command::new(program).args(arguments).args(files));
        failed.extend(done.is_err().then_some(name));
    }
    Ok(failed)
}

fn has_node() -> bool {
    which("node").is_some() && which("npm").is_some()
}

/// Assigns every dashboard to the type of what Grafana reads; `false` when one cannot be.
fn dashboards() -> Result<bool> {
    let folder = target().join("dashboards");
    tools::npm(&folder, &PACKAGES)?;
    let own = root().join("observability/grafana");
    fs::copy(own.join("tests/schema.ts"), folder.join("schema.ts"))
        .context("schema.ts could not be copied")?;
    let mut assigned = Vec::new();
    for entry in fs::read_dir(own.join("dashboards")).context("there are no dashboards")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let json = fs::read_to_string(&path).with_context(|| format!("{name} could not be read"))?;
        let file = format!("{name}.ts");
        fs::write(folder.join(&file), assignment(&json))
            .with_context(|| format!("{file} could not be written"))?;
        assigned.push(file);
    }
    eprintln!("xtask: holding {} dashboards against Grafana's schema", assigned.len());
    let mut compiler = Command::new("node");
    compiler.arg("node_modules/typescript/bin/tsc").current_dir(&folder).args(["--noEmit", "--strict"]);
    compiler.args(["--skipLibCheck", "--target", "es2022", "--module", "esnext"]);
    compiler.args(["--moduleResolution", "bundler", "--pretty", "false"]);
    Ok(tools::succeed(compiler.args(assigned)).is_ok())
}

/// A program that is right when the dashboard is, with the same lines, so that an error names the dashboard's own.
fn assignment(json: &str) -> String {
    format!(
        "export const dashboard: Provisioned = {};\nimport type {{ Provisioned }} from './schema';\n",
        json.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_keeps_its_lines() {
        let program = assignment("{\n  \"id\": 1\n}\n");
        assert_eq!(program.lines().nth(1), Some("  \"id\": 1"));
        assert!(program.contains("\n};\nimport type"));
    }
}
