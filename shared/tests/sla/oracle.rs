//! What the rules say, second by second.
//!
//! Time that counts is counted, one second at a time; nothing is computed from intervals, and nothing of the engine
//! is used but the names of holds and modes. Microseconds appear only where a threshold lies within a second.

use shared::domain::sla::{Hold, Mode};

use crate::history::{Command, History, Terms, retargeted};

const SECOND: i64 = 1_000_000;

/// What the rules say about a history. Instants and spans are microseconds, instants since the start.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) log: Vec<(i64, String)>,
    pub(crate) elapsed: i64,
    pub(crate) due_at: Option<i64>,
    pub(crate) breach_at: Option<i64>,
    pub(crate) state: &'static str,
}

struct Oracle<'a> {
    all_terms: &'a [Terms],
    terms: &'a Terms,
    target: i64,
    elapsed: i64,
    /// The seconds in which it ran since counting last began, open or not, with what counted before.
    ran: Vec<i64>,
    credit: i64,
    counting_from: i64,
    holds: Vec<Hold>,
    stopped: bool,
    cancelled: bool,
    changed_at: i64,
    breached: bool,
    waived: bool,
    warned: usize,
    log: Vec<(i64, String)>,
}

/// Walks through a history.
pub(crate) fn judge(history: &History) -> Verdict {
    let mut oracle = Oracle {
        all_terms: &history.terms,
        terms: &history.terms[0],
        target: history.target * SECOND,
        elapsed: 0,
        ran: Vec::new(),
        credit: 0,
        counting_from: 0,
        holds: Vec::new(),
        stopped: false,
        cancelled: false,
        changed_at: 0,
        breached: false,
        waived: false,
        warned: 0,
        log: vec![(0, "started".into())],
    };
    let mut commands = history.commands.iter().peekable();
    for second in 0..=history.end {
        while let Some((_, command)) = commands.next_if(|(at, _)| *at == second) {
            oracle.command(*command, second * SECOND);
        }
        if second < history.end && oracle.runs() {
            oracle.pass(second);
        }
    }
    let state = match &oracle {
        Oracle { breached: true, .. } => "breached",
        Oracle { cancelled: true, .. } => "cancelled",
        Oracle { stopped: true, .. } => "met",
        Oracle { holds, .. } if !holds.is_empty() => "paused",
        _ => "active",
    };
    let due_at = oracle.first(history.end, |elapsed, target| elapsed >= target);
    // Behind the instant found, elapsed is greater; at it, they are equal.
    let breach_at =
        oracle.first(history.end, |elapsed, target| elapsed > target).map(|at| at.max(oracle.changed_at));
    Verdict { elapsed: oracle.elapsed, due_at, breach_at, state, log: oracle.log }
}

impl<'a> Oracle<'a> {
    fn runs(&self) -> bool {
        self.holds.is_empty() && !self.stopped
    }

    fn threshold(&self, ppm: u32) -> i64 {
        let exact = i128::from(self.target) * i128::from(ppm);
        i64::try_from((exact + 999_999) / 1_000_000).unwrap_or(i64::MAX)
    }

    fn say(&mut self, at: i64, what: impl Into<String>) {
        self.log.push((at, what.into()));
    }

    /// Lets one second pass, and if it is open count, and notes what is reached within it.
    fn pass(&mut self, second: i64) {
        self.ran.push(second);
        if !self.terms.hours.is_open(second) {
            return;
        }
        let (before, after) = (self.elapsed, self.elapsed + SECOND);
        let within = |threshold: i64| second * SECOND + threshold - before;
        while let Some(ppm) = self.terms.warn.get(self.warned)
            && !self.breached
            && self.threshold(*ppm) <= after.min(self.target)
        {
            self.say(within(self.threshold(*ppm)), format!("warned {ppm}"));
            self.warned += 1;
        }
        if after > self.target && !self.breached {
            self.breached = true;
            self.say(within(self.target), "breached");
        }
        self.elapsed = after;
    }

    fn command(&mut self, command: Command, at: i64) {
        match command {
            Command::Pause(hold) if !self.stopped && !self.holds.contains(&hold) => {
                self.holds.push(hold);
                self.say(at, format!("paused {hold}"));
            }
            Command::Resume(hold) if self.holds.contains(&hold) => {
                self.holds.retain(|held| *held != hold);
                self.say(at, format!("resumed {hold}"));
            }
            Command::Stop | Command::Cancel if !self.stopped => {
                self.stopped = true;
                self.cancelled = command == Command::Cancel;
                self.say(at, if self.cancelled { "cancelled" } else { "stopped" });
            }
            Command::Reopen if self.stopped && !self.cancelled => {
                self.stopped = false;
                self.say(at, "reopened");
            }
            Command::Retarget(target, mode, terms) if !self.stopped => {
                self.retarget(target * SECOND, mode, &self.all_terms[terms], at);
            }
            _ => {}
        }
    }

    fn retarget(&mut self, target: i64, mode: Mode, terms: &'a Terms, at: i64) {
        let version = |terms: &Terms| terms.hours.calendar.version();
        let same =
            target == self.target && terms.warn == self.terms.warn && version(terms) == version(self.terms);
        if same && mode != Mode::Restart {
            return;
        }
        let carried = i128::from(self.elapsed) * i128::from(target) / i128::from(self.target);
        let kept = match mode {
            Mode::Retroactive => None,
            Mode::CarryFraction => i64::try_from(carried).ok(),
            Mode::Restart => Some(0),
        };
        if let Some(credit) = kept {
            (self.credit, self.counting_from) = (credit, at);
            self.ran.clear();
        }
        (self.target, self.terms) = (target, terms);
        self.elapsed = self
            .ran
            .iter()
            .filter(|second| terms.hours.is_open(**second))
            .fold(self.credit, |sum, _| sum + SECOND);
        self.changed_at = at;
        self.warned = 0;
        self.say(at, retargeted(target / SECOND, mode, version(terms)));
        while let Some(ppm) = self.terms.warn.get(self.warned)
            && !self.breached
            && self.threshold(*ppm) <= self.elapsed.min(target)
        {
            self.say(at, format!("warned {ppm}"));
            self.warned += 1;
        }
        if self.elapsed > target && !self.breached {
            self.breached = true;
            self.say(at, "breached");
        } else if self.breached && !self.waived && self.elapsed <= target {
            self.waived = true;
            self.say(at, "waived");
        }
    }

    /// Finds where the time counted so far, and then the future if the clock runs, first is enough.
    fn first(&self, end: i64, enough: impl Fn(i64, i64) -> bool) -> Option<i64> {
        if enough(self.credit, self.target) {
            return Some(self.counting_from);
        }
        let hours = &self.terms.hours;
        let future = (end..).take_while(|second| self.runs() && !hours.is_over(*second));
        let mut elapsed = self.credit;
        let counts = self.ran.iter().copied().chain(future).filter(|second| hours.is_open(*second));
        for second in counts {
            if enough(elapsed + SECOND, self.target) {
                return Some(second * SECOND + self.target - elapsed);
            }
            elapsed += SECOND;
        }
        None
    }
}
