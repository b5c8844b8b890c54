//! Holds the clocks against brute force for as long as one likes.

use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;
use crate::child::{Guarded, Stop};

/// How many cases to try, and which ones.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    cases: u64,
    seed: u64,
}

impl Options {
    /// Reads the arguments; a wrong one is described in a sentence.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { cases: 1_000_000, seed: 0 };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), arguments.next().map(String::as_str)),
            };
            let option = match name {
                "--cases" => &mut options.cases,
                "--seed" => &mut options.seed,
                _ => return Err(format!("`prove` has no option `{argument}`")),
            };
            let number = value.and_then(|value| value.parse().ok());
            *option = number.ok_or_else(|| format!("`{name}` wants a number"))?;
        }
        Ok(options)
    }
}

/// Runs the proof, optimised; the first case that does not agree ends it and is printed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut prove = cargo();
    prove.args(["test", "--release", "--quiet", "-p", "dogwatch-shared", "--test", "sla"]);
    prove.args(["--", "--ignored", "--exact", "proof::prove", "--nocapture"]);
    prove.env("PROVE_CASES", options.cases.to_string()).env("PROVE_SEED", options.seed.to_string());
    let agreed = Guarded::spawn(&mut prove, Stop::Terminate, None)?.wait()?.success();
    Ok(if agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        assert_eq!(parse(&[]), Ok(Options { cases: 1_000_000, seed: 0 }));
        assert_eq!(parse(&["--cases", "5", "--seed=7"]), Ok(Options { cases: 5, seed: 7 }));
        for wrong in [["--cases", "many"], ["--cases", "-1"], ["--seed", ""], ["--threads", "2"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(&["--seed"]).is_err());
    }
}
