//! Runs every check that needs no service.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cargo, root, tidy, which};

/// Runs all checks, the later ones also after a failure, and names those that failed.
pub(crate) fn run() -> Result<ExitCode> {
    let mut failed: Vec<&str> = Vec::new();
    let mut step = |name: &'static str, command: &mut Command| -> Result<()> {
        eprintln!("xtask: {name}");
        let status = command.status().with_context(|| format!("{name} could not be started"))?;
        if !status.success() {
            failed.push(name);
        }
        Ok(())
    };

    step("cargo fmt", cargo().args(["fmt", "--all", "--check"]))?;
    step("cargo clippy", cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("cargo doc", cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if which("cargo-deny").is_some() {
        step("cargo deny", cargo().args(["deny", "check"]))?;
    } else {
        eprintln!("xtask: cargo deny is skipped: it is not installed");
    }
    let (rules, tests) = alert_rules()?;
    if which("promtool").is_none() {
        eprintln!("xtask: promtool is skipped: it is not installed");
    } else {
        if !rules.is_empty() {
            step("promtool check rules", Command::new("promtool").args(["check", "rules"]).args(rules))?;
        }
        if !tests.is_empty() {
            step("promtool test rules", Command::new("promtool").args(["test", "rules"]).args(tests))?;
        }
    }
    eprintln!("xtask: tidy");
    if tidy::run()? != ExitCode::SUCCESS {
        failed.push("tidy");
    }

    if failed.is_empty() {
        println!("lint: all is well");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Finds the rule files and their tests, which are told apart by what they hold.
pub(crate) fn alert_rules() -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut rules, mut tests) = (Vec::new(), Vec::new());
    let mut folders = vec![root().join("observability/prometheus")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
                let text = fs::read_to_string(&path)?;
                let has = |key: &str| text.lines().any(|line| line.starts_with(key));
                if has("groups:") {
                    rules.push(path);
                } else if has("tests:") {
                    tests.push(path);
                }
            }
        }
    }
    Ok((rules, tests))
}
