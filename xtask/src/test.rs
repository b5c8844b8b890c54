//! Runs every suite on private services.

use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Guarded, Stop};
use crate::services::{Durability, Services};
use crate::{cargo, observability, openapi};

/// Runs `cargo test` with the given arguments, on the whole workspace unless they choose packages.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let services = Services::start(Durability::Throwaway)?;
    if !build()? {
        eprintln!("xtask: the build failed, so no test ran.");
        return Ok(ExitCode::FAILURE);
    }
    let (status, totals) = suites(&services, arguments)?;
    // A choice of tests is a choice against these two.
    let whole = arguments.is_empty();
    let watched = if whole { observability::check(&services) } else { Ok(ExitCode::SUCCESS) };
    drop(services);
    let described = if whole { openapi::check() } else { Ok(ExitCode::SUCCESS) };
    println!("tests: {} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.ignored);
    if !status.success() {
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Ok(ExitCode::from(code));
    }
    if watched? == ExitCode::SUCCESS { described } else { Ok(ExitCode::FAILURE) }
}

/// Builds all programs: some tests run them, also those of other crates, which `cargo test` does not build.
pub(crate) fn build() -> Result<bool> {
    let mut build = cargo();
    build.args(["build", "--workspace", "--bins"]);
    Ok(Guarded::spawn(&mut build, Stop::Terminate, None)?.wait()?.success())
}

/// Runs `cargo test` on these services.
pub(crate) fn suites(services: &Services, arguments: &[String]) -> Result<(ExitStatus, Totals)> {
    let mut test = cargo();
    test.args(["test", "--no-fail-fast"]);
    test.args((!chooses_packages(arguments)).then_some("--workspace"));
    test.args(arguments).envs(services.environment()).env("REQUIRE_SERVICES", "1").stdout(Stdio::piped());
    let scratch = services.test_scratch()?;
    test.env("TEST_SCRATCH", &scratch);
    let mut guard = Guarded::spawn(&mut test, Stop::Terminate, Some(&scratch))?;
    let output = guard.child().stdout.take().context("cargo test has no output")?;
    let (sender, totals) = mpsc::channel();
    thread::spawn(move || sender.send(pass_on(output)));
    let status = guard.wait()?;
    let totals = totals
        .recv_timeout(Duration::from_secs(10))
        .context("a process that a test left behind still holds the output: have the test stop it")??;
    Ok((status, totals))
}

/// Copies the output as it comes, and sums up the results in it.
fn pass_on(output: impl Read) -> Result<Totals> {
    let mut totals = Totals::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("the output of cargo test could not be read")?;
        stdout().write_all(&[line.as_slice(), b"\n"].concat())?;
        totals.add(&String::from_utf8_lossy(&line));
    }
    Ok(totals)
}

fn chooses_packages(arguments: &[String]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
        let long = argument.split('=').next().unwrap_or_default();
        ["--package", "--workspace", "--all", "--manifest-path"].contains(&long)
            || (argument.starts_with("-p") && !argument.starts_with("--"))
    })
}

/// Sums over the suites, since `cargo test` gives a result for each and none for all.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Totals {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Totals {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let (Some(count), Some(kind)) = (part.split_whitespace().next(), part.split_whitespace().nth(1))
            else {
                continue;
            };
            let Ok(count) = count.parse::<u32>() else { continue };
            match kind {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_suites_are_summed() {
        let mut totals = Totals::default();
        totals.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        totals.add("test a_test ... ok");
        totals.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.23s");
        assert_eq!(totals, Totals { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn the_workspace_is_meant_unless_packages_are_chosen() {
        let chosen = |arguments: &[&str]| {
            chooses_packages(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert!(chosen(&["-p", "dogwatch-shared"]));
        assert!(chosen(&["-pdogwatch-shared"]));
        assert!(chosen(&["--package=dogwatch-shared"]));
        assert!(!chosen(&["a_filter", "--", "-p"]));
        assert!(!chosen(&["--profile", "release"]));
    }
}
