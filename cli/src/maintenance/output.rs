//! What commands say: text for people, JSON for scripts, progress on a terminal.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How a command answers.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Answer in JSON, for scripts: no questions, no progress
    #[arg(long)]
    pub(super) json: bool,
}

impl Output {
    /// Prints one JSON value, or what `text` prints.
    pub(super) fn print(self, value: &impl Serialize, text: impl FnOnce()) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value)?);
        } else {
            text();
        }
        Ok(())
    }

    /// Shows on a terminal that something goes on whose end is not known.
    pub(super) fn phase(self, what: &'static str) -> ProgressBar {
        let bar = self.bar(None, "{spinner} {msg}", what);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// Shows on a terminal how many of so many bytes are done.
    pub(super) fn bytes(self, what: &'static str, total: u64) -> ProgressBar {
        self.bar(Some(total), "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes}", what)
    }

    /// Shows on a terminal how many of so many things are done.
    pub(super) fn count(self, what: &'static str, total: u64) -> ProgressBar {
        self.bar(Some(total), "{spinner} {msg} [{bar:30}] {pos}/{len}", what)
    }

    fn bar(self, total: Option<u64>, template: &str, what: &'static str) -> ProgressBar {
        let hidden = self.json || !stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(total, target).with_style(style).with_message(what)
    }

    /// Asks to type `word` before something is lost.
    pub(super) fn confirm(self, loss: &str, word: &str, flag: &str) -> anyhow::Result<()> {
        ensure!(
            !self.json && stdin().is_terminal(),
            "{loss} Nobody can be asked here: give {flag} if that is what you want"
        );
        let mut terminal = stderr();
        write!(terminal, "{loss}\nType {word} to go on: ")?;
        terminal.flush()?;
        let mut line = String::new();
        stdin().read_line(&mut line)?;
        ensure!(line.trim() == word, "nothing was changed, since the answer was not {word}");
        Ok(())
    }
}

/// Writes bytes for people.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
