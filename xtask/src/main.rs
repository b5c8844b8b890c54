//! Runs the project's chores: its tests, its invariants, its lints, its benchmark and its proof.
#![expect(clippy::print_stdout, reason = "a command-line tool answers on standard output")]
#![expect(clippy::print_stderr, reason = "a command-line tool tells its progress on standard error")]

mod bench;
mod child;
mod install;
mod lint;
mod openapi;
mod prove;
mod services;
mod test;
mod tidy;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

const HELP: &str = "\
Dogwatch's chores.

Usage: cargo xtask <command>

Commands:
  test [arguments of cargo test]        run every suite on private PostgreSQL and Redis instances;
                                        installs what is missing, and says so first
  openapi                               hold a server against its OpenAPI description, with Redocly and
                                        Schemathesis, which npm and pip install below target/; part of
                                        `test` unless packages or tests are chosen
  services                              start the same instances, print their addresses as environment
                                        lines, stop them on Ctrl-C or when standard input ends
  tidy                                  hold the repository to its invariants
  docs                                  write the catalogue of metrics into docs/operations.md; a test fails
                                        while they differ
  lint                                  formatting, clippy, documentation, tidy, and what else is installed
  bench [--seconds N] [--json PATH]     measure the product, and pgbench as the yardstick, durably
                                        (10 seconds a measurement, target/bench.json)
  prove [--cases N] [--seed S]          hold the clocks against brute force, optimised; the first case that
                                        does not agree ends it and is printed (1000000 cases, seed 0)
  help                                  print this

Exit code: 0 when all is well, 1 when something failed (`test`: the code of cargo test), 2 for wrong usage.
";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let for_cargo_test = rest.iter().take_while(|argument| *argument != "--");
    if for_cargo_test.into_iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match (command.as_deref(), rest.is_empty()) {
        (Some("help" | "--help" | "-h"), true) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        (Some("test"), _) => test::run(&rest),
        (Some("services"), true) => services::run(),
        (Some("openapi"), true) => openapi::run(),
        (Some("docs"), true) => docs(),
        (Some("tidy"), true) => tidy::run(),
        (Some("lint"), true) => lint::run(),
        (Some("bench"), _) => match bench::Options::parse(&rest) {
            Ok(options) => bench::run(&options),
            Err(problem) => return usage(&problem),
        },
        (Some("prove"), _) => match prove::Options::parse(&rest) {
            Ok(options) => prove::run(&options),
            Err(problem) => return usage(&problem),
        },
        (Some(command @ ("help" | "services" | "docs" | "tidy" | "lint" | "openapi")), false) => {
            return usage(&format!("`{command}` takes no arguments"));
        }
        (Some(command), _) => return usage(&format!("there is no command `{command}`")),
        (None, _) => return usage("a command is missing"),
    };
    done.unwrap_or_else(|problem| {
        eprintln!("xtask: {problem:#}");
        ExitCode::FAILURE
    })
}

/// Has the test that compares page and code write the page.
fn docs() -> Result<ExitCode> {
    let mut test = cargo();
    test.args(["test", "-q", "-p", "dogwatch-shared", "--lib", "the_page_lists_the_catalogue"]);
    let status = test.env("WRITE_DOCS", "1").stdout(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "the page could not be written: see above");
    println!("docs/operations.md lists every metric");
    Ok(ExitCode::SUCCESS)
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}; `cargo xtask help` lists the commands.");
    ExitCode::from(2)
}

/// Returns the top of the checkout.
fn root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    Path::new(&manifest).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Returns the folder that builds write to.
fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target")))
}

/// Starts a command line of the cargo that runs this program, at the top of the checkout.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Finds a program on the `PATH`.
fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
