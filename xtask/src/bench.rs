//! Measures the product on durable services, beside PostgreSQL's own pace on the same rows.

use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::child::{Guarded, Stop};
use crate::services::{Durability, Services};
use crate::{cargo, root, target};

const YARDSTICK: &str = "yardstick_pgbench_creates_per_second";

/// What to measure, and where the numbers go.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    seconds: u32,
    json: PathBuf,
}

impl Options {
    /// Reads the arguments; a wrong one is described in a sentence.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { seconds: 10, json: target().join("bench.json") };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), arguments.next().cloned()),
            };
            match (name, value) {
                ("--seconds", Some(value)) => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=600).contains(seconds));
                    options.seconds = seconds.ok_or("`--seconds` wants a number from 1 to 600")?;
                }
                ("--json", Some(value)) if !value.is_empty() => {
                    options.json = path::absolute(value).map_err(|_| "`--json` wants a path")?;
                }
                ("--seconds" | "--json", _) => return Err(format!("`{name}` wants a value")),
                _ => return Err(format!("`bench` has no option `{argument}`")),
            }
        }
        Ok(options)
    }
}

/// Runs the yardstick and the benchmark one after the other on the same services, then that of the clocks alone.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let services = Services::start(Durability::Durable)?;
    let yardstick = yardstick(&services, options.seconds)?;

    create_database(&services, "bench")?;
    // The numbers of an earlier run must not pass for this one's.
    if options.json.exists() {
        fs::remove_file(&options.json)
            .with_context(|| format!("{} could not be replaced", options.json.display()))?;
    }
    let mut bench = cargo();
    bench.args(["bench", "-p", "dogwatch", "--bench", "throughput"]);
    bench.env("BENCH_DATABASE_URL", services.postgres_url("bench"));
    bench.env("BENCH_REDIS_URL", services.redis_url());
    bench.env("BENCH_SECONDS", options.seconds.to_string()).env("BENCH_JSON", &options.json);
    complete(&mut bench, "the benchmark")?;
    let mut telemetry = cargo();
    telemetry.args(["bench", "-p", "dogwatch", "--bench", "telemetry"]);
    telemetry.env("BENCH_DATABASE_URL", services.postgres_url("bench"));
    telemetry.env("BENCH_REDIS_URL", services.redis_url());
    telemetry.env("BENCH_SECONDS", options.seconds.to_string()).env("BENCH_JSON", &options.json);
    complete(&mut telemetry, "the benchmark of telemetry")?;
    let mut clocks = cargo();
    clocks.args(["bench", "-p", "dogwatch", "--bench", "sla"]).env("BENCH_JSON", &options.json);
    complete(&mut clocks, "the benchmark of the clocks")?;

    println!("yardstick: pgbench, the same rows in one statement, 32 connections: {yardstick:.0} creates/s");
    merge(&options.json, yardstick)?;
    println!("numbers: {}", options.json.display());
    Ok(ExitCode::SUCCESS)
}

/// Measures how many times a second `pgbench` inserts the rows of one ticket.
fn yardstick(services: &Services, seconds: u32) -> Result<f64> {
    create_database(services, "yardstick")?;
    let mut migrate = cargo();
    migrate.args(["run", "--release", "-p", "dogwatch", "--", "migrate"]);
    migrate.env("DATABASE_URL", services.postgres_url("yardstick")).env("REDIS_URL", services.redis_url());
    complete(&mut migrate, "`dogwatch migrate`")?;
    let mut setup = services.postgres_client("psql");
    setup.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(root().join("xtask/src/create_setup.sql"));
    complete(setup.arg("yardstick"), "the yardstick's preparation")?;

    eprintln!("xtask: pgbench for {seconds} s");
    let mut pgbench = services.postgres_client("pgbench");
    pgbench.args(["-n", "-M", "prepared", "-c", "32", "-j", "2", "-T", &seconds.to_string(), "-f"]);
    pgbench.arg(root().join("xtask/src/create.sql")).arg("yardstick").stdout(Stdio::piped());
    let mut guard = Guarded::spawn(&mut pgbench, Stop::Terminate, None)
        .context("the yardstick needs `pgbench`: install the package that has it (postgresql-contrib)")?;
    let output = guard.child().stdout.take().context("pgbench has no output")?;
    let report = std::io::read_to_string(output).context("the output of pgbench could not be read")?;
    ensure!(guard.wait()?.success(), "pgbench failed: {report}");
    tps(&report).with_context(|| format!("pgbench printed no rate: {report}"))
}

fn create_database(services: &Services, name: &str) -> Result<()> {
    complete(services.postgres_client("createdb").arg(name), "`createdb`")
}

fn complete(command: &mut Command, what: &str) -> Result<()> {
    let status = Guarded::spawn(command, Stop::Terminate, None)?.wait()?;
    ensure!(status.success(), "{what} failed: see its messages above");
    Ok(())
}

/// Reads the rate in `tps = 16123.4 (without initial connection time)`.
fn tps(report: &str) -> Option<f64> {
    let rate = report.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rate.split_whitespace().next()?.parse().ok()
}

fn merge(json: &Path, yardstick: f64) -> Result<()> {
    let place = json.display();
    let text = fs::read_to_string(json).with_context(|| format!("the benchmark wrote no {place}"))?;
    let mut numbers: Value = serde_json::from_str(&text).with_context(|| format!("{place} is no JSON"))?;
    let object = numbers.as_object_mut().with_context(|| format!("{place} holds no JSON object"))?;
    object.insert(YARDSTICK.to_owned(), yardstick.round().into());
    fs::write(json, format!("{numbers:#}\n")).with_context(|| format!("{place} could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let options = parse(&["--seconds", "3", "--json=/tmp/b.json"]);
        assert_eq!(options, Ok(Options { seconds: 3, json: PathBuf::from("/tmp/b.json") }));
        assert_eq!(parse(&[]).map(|options| options.seconds), Ok(10));
        assert!(parse(&["--seconds", "0"]).is_err());
        assert!(parse(&["--json"]).is_err());
        assert!(parse(&["--threads", "2"]).is_err());
    }

    #[test]
    fn the_rate_is_found_in_the_report() {
        let report = "latency average = 2.1 ms\ninitial connection time = 29 ms\ntps = 15123.75 (without initial connection time)\n";
        assert_eq!(tps(report), Some(15123.75));
        assert_eq!(tps("nothing"), None);
    }
}
