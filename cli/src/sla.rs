//! Questions about service levels, answered without a database.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use anyhow::Context;
use clap::Subcommand;
use shared::domain::sla::simulate;

const BUFFER: usize = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer cases from standard input, one JSON object a line, with how their clocks stand
    ///
    /// A line that is no case is answered with what is wrong with it. docs/sla.md describes both.
    Simulate,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Simulate => match simulate(io::stdin().lock(), io::stdout().lock()) {
            // Whoever read the answers has enough of them.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done.context("cannot read the cases or write the answers"),
        },
    }
}

/// Answers line by line, and writes whenever no further line has arrived yet.
fn simulate(cases: impl Read, answers: impl Write) -> io::Result<()> {
    let (mut cases, mut answers) =
        (BufReader::with_capacity(BUFFER, cases), BufWriter::with_capacity(BUFFER, answers));
    let (mut line, mut answer) = (Vec::new(), Vec::new());
    while cases.read_until(b'\n', &mut line)? > 0 {
        if !line.trim_ascii().is_empty() {
            simulate::answer_line(&line, &mut answer);
            answers.write_all(&answer)?;
        }
        line.clear();
        answer.clear();
        if cases.buffer().is_empty() {
            answers.flush()?;
        }
    }
    answers.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_skipped_and_the_last_needs_no_end() {
        let case = r#"{"id":"a","start":"2026-03-04T08:00:00Z","target":"1h","at":"2026-03-04T08:00:00Z"}"#;
        let mut answers = Vec::new();
        simulate(format!("\n{case}\r\n \n\n{case}").as_bytes(), &mut answers).unwrap();
        assert_eq!(String::from_utf8(answers).unwrap().lines().count(), 2);
    }
}
