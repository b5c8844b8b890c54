//! One run of one metric on one ticket, as a pure fold of its events.
//!
//! `elapsed(t)` is the open time since the start that was not paused. The clock is *due* at the first instant at
//! which `elapsed ≥ target` and *breached* from the instant after which `elapsed > target`. The two differ only
//! where the target runs out exactly at a closing time or at the start of a pause. Verdicts use the instants of
//! events, never the instant at which somebody looked.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Calendar, Fraction};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// What a clock measures.
    Metric {
        /// From creation to the first public answer by staff.
        FirstResponse = "first_response",
        /// From the oldest unanswered customer message to the next answer.
        NextResponse = "next_response",
        /// From creation to resolution.
        Resolution = "resolution",
    }
}

crate::domain::text_enum! {
    /// How a clock stands.
    State {
        /// Counting.
        Active = "active",
        /// Held by somebody or by the ticket's status; the remainder is frozen.
        Paused = "paused",
        /// Took longer than promised. Sticky: it stays so when paused and when stopped.
        Breached = "breached",
        /// Stopped within the target.
        Met = "met",
        /// Stopped because what it measured no longer applies.
        Cancelled = "cancelled",
    }
}

crate::domain::text_enum! {
    /// Who holds a clock. A clock runs while nobody does, so two pauses that overlap are a union.
    Hold {
        /// Somebody asked for it.
        Manual = "manual",
        /// The ticket waits for information.
        Status = "status",
    }
}

crate::domain::text_enum! {
    /// What happens to consumed time when the target changes.
    Mode {
        /// The whole history counts against the new target.
        Retroactive = "retroactive",
        /// The same share of the new target counts as consumed.
        CarryFraction = "carry_fraction",
        /// Counting starts again.
        Restart = "restart",
    }
}

/// Something that happened to a clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The clock began to count towards a target.
    Started {
        /// The target in microseconds of open time.
        target_us: i64,
        /// Shares of the target at which to warn, ascending.
        warn_at: Vec<Fraction>,
    },
    /// Somebody began to hold the clock.
    Paused {
        /// Who holds it.
        hold: Hold,
        /// Why, in the words of whoever asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody stopped holding the clock.
    Resumed {
        /// Who held it.
        hold: Hold,
    },
    /// The target changed.
    Retargeted {
        /// The new target in microseconds of open time.
        target_us: i64,
        /// What happens to consumed time.
        mode: Mode,
    },
    /// What the clock measures was done.
    Stopped,
    /// What the clock measures no longer applies.
    Cancelled,
    /// What was done turned out not to be: the remainder goes on.
    Reopened,
    /// A share of the target was consumed.
    Warned {
        /// The share.
        fraction: Fraction,
    },
    /// The target was exceeded.
    Breached {
        /// When somebody looked; the event itself carries the instant.
        detected_at: Timestamp,
    },
    /// A looser target forgave a breach, which stays on record.
    Waived,
}

impl Event {
    /// The kind as stored, for filters and for people.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Retargeted { .. } => "retargeted",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Reopened => "reopened",
            Self::Warned { .. } => "warned",
            Self::Breached { .. } => "breached",
            Self::Waived => "waived",
        }
    }
}

/// An event with its place in the history of one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// 1 for the start, without gaps.
    pub seq: i64,
    /// The instant it happened; never before that of the event before it.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// A closed interval `[from, to)` in which the clock ran (open or not).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First instant.
    pub from: Timestamp,
    /// First instant after it.
    pub to: Timestamp,
}

/// A clock: what its events add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Open time promised.
    pub target: TimeDelta,
    /// Shares of the target at which to warn, ascending.
    pub warn_at: Vec<Fraction>,
    /// How many of `warn_at` have been recorded since the target last changed.
    pub warned: usize,
    /// When it started.
    pub started_at: Timestamp,
    /// Time counted as consumed before the first run (after `carry_fraction`).
    pub credit: TimeDelta,
    /// The intervals in which it ran, before the present one. Where counting began again, an empty one comes first.
    pub runs: Vec<Run>,
    /// Since when it has been running; `None` while held or stopped.
    pub running_since: Option<Timestamp>,
    /// Held by somebody.
    pub held_manually: bool,
    /// Held by the ticket's status.
    pub held_by_status: bool,
    /// When what it measures was done or cancelled.
    pub stopped_at: Option<Timestamp>,
    /// Stopped because it no longer applies.
    pub cancelled: bool,
    /// When the target last changed; a breach is never earlier.
    pub retargeted_at: Option<Timestamp>,
    /// How often the target changed.
    pub revision: i64,
    /// The instant the target was exceeded.
    pub breached_at: Option<Timestamp>,
    /// When somebody saw it.
    pub detected_at: Option<Timestamp>,
    /// When a looser target forgave the breach.
    pub waived_at: Option<Timestamp>,
    /// The place of the last event.
    pub seq: i64,
    /// The instant of the last event.
    pub last_at: Timestamp,
}

impl Clock {
    /// Starts a clock and returns it with the event that says so.
    #[must_use]
    pub fn start(target: TimeDelta, warn_at: Vec<Fraction>, at: Timestamp) -> (Self, Recorded) {
        let clock = Self {
            target,
            warn_at: warn_at.clone(),
            warned: 0,
            started_at: at,
            credit: TimeDelta::zero(),
            runs: Vec::new(),
            running_since: Some(at),
            held_manually: false,
            held_by_status: false,
            stopped_at: None,
            cancelled: false,
            retargeted_at: None,
            revision: 0,
            breached_at: None,
            detected_at: None,
            waived_at: None,
            seq: 1,
            last_at: at,
        };
        let target_us = target.num_microseconds().unwrap_or(i64::MAX);
        (clock, Recorded { seq: 1, at, event: Event::Started { target_us, warn_at } })
    }

    /// Rebuilds a clock from its events; `None` when they do not begin with a start.
    #[must_use]
    pub fn replay(events: &[Recorded], calendar: &Calendar) -> Option<Self> {
        let (first, rest) = events.split_first()?;
        let Event::Started { target_us, warn_at } = &first.event else { return None };
        let (mut clock, _) = Self::start(TimeDelta::microseconds(*target_us), warn_at.clone(), first.at);
        for recorded in rest {
            clock.apply(recorded, calendar);
        }
        Some(clock)
    }

    /// Folds one event in. Events come in the order of `seq`, which is also the order of their instants.
    pub fn apply(&mut self, recorded: &Recorded, calendar: &Calendar) {
        let at = recorded.at;
        match &recorded.event {
            Event::Started { .. } => {}
            Event::Paused { hold, .. } => {
                *self.held(*hold) = true;
                self.halt(at);
            }
            Event::Resumed { hold } => {
                *self.held(*hold) = false;
                self.run_if_free(at);
            }
            Event::Retargeted { target_us, mode } => {
                self.retarget(TimeDelta::microseconds(*target_us), *mode, at, calendar);
            }
            Event::Stopped | Event::Cancelled => {
                self.halt(at);
                self.stopped_at = Some(at);
                self.cancelled = recorded.event == Event::Cancelled;
            }
            Event::Reopened => {
                self.stopped_at = None;
                self.cancelled = false;
                self.run_if_free(at);
            }
            Event::Warned { fraction } => {
                self.warned = self.warn_at.iter().take_while(|f| *f <= fraction).count();
            }
            Event::Breached { detected_at } => {
                self.breached_at = Some(at);
                self.detected_at = Some(*detected_at);
            }
            Event::Waived => self.waived_at = Some(at),
        }
        self.seq = recorded.seq;
        self.last_at = self.last_at.max(at);
    }

    fn held(&mut self, hold: Hold) -> &mut bool {
        match hold {
            Hold::Manual => &mut self.held_manually,
            Hold::Status => &mut self.held_by_status,
        }
    }

    fn halt(&mut self, at: Timestamp) {
        if let Some(from) = self.running_since.take()
            && from < at
        {
            self.runs.push(Run { from, to: at });
        }
    }

    fn run_if_free(&mut self, at: Timestamp) {
        if !self.is_held() && self.stopped_at.is_none() && self.running_since.is_none() {
            self.running_since = Some(at);
        }
    }

    fn retarget(&mut self, target: TimeDelta, mode: Mode, at: Timestamp, calendar: &Calendar) {
        match mode {
            Mode::Retroactive => {}
            Mode::CarryFraction => {
                self.begin_again(scaled(self.elapsed(at, calendar), target, self.target), at);
            }
            Mode::Restart => self.begin_again(TimeDelta::zero(), at),
        }
        self.target = target;
        self.warned = 0;
        self.retargeted_at = Some(at);
        self.revision += 1;
    }

    fn begin_again(&mut self, credit: TimeDelta, at: Timestamp) {
        self.credit = credit;
        self.runs = vec![Run { from: at, to: at }];
        self.running_since = self.running_since.map(|_| at);
    }

    /// Since when time counts: the start, or the change that let counting begin again.
    fn counting_from(&self) -> Timestamp {
        self.runs.first().filter(|run| run.from == run.to).map_or(self.started_at, |run| run.from)
    }

    /// Tells whether somebody holds it.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held_manually || self.held_by_status
    }

    /// Tells whether it may still be paused, resumed, retargeted or stopped.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.stopped_at.is_none()
    }

    /// Returns how it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        match self {
            Self { breached_at: Some(_), .. } => State::Breached,
            Self { cancelled: true, .. } => State::Cancelled,
            Self { stopped_at: Some(_), .. } => State::Met,
            _ if self.is_held() => State::Paused,
            _ => State::Active,
        }
    }

    /// Measures the open, unpaused time since the start, as of `at`.
    #[must_use]
    pub fn elapsed(&self, at: Timestamp, calendar: &Calendar) -> TimeDelta {
        let runs = self.runs.iter().map(|run| calendar.open_between(run.from, run.to.min(at)));
        let present = self.running_since.map_or(TimeDelta::zero(), |from| calendar.open_between(from, at));
        runs.fold(self.credit + present, |sum, open| sum + open)
    }

    /// Returns when the target is consumed; `None` while held, and when stopped before.
    #[must_use]
    pub fn due_at(&self, calendar: &Calendar) -> Option<Timestamp> {
        self.reach(self.target, calendar)
    }

    /// Returns the instant after which the target is exceeded, past or future; `None` if it will not be.
    #[must_use]
    pub fn breach_at(&self, calendar: &Calendar) -> Option<Timestamp> {
        self.exceed(self.target, calendar).map(|at| self.not_before_the_change(at))
    }

    /// Returns when each warning falls on the elapsed axis.
    pub fn warnings<'a>(
        &'a self,
        calendar: &'a Calendar,
    ) -> impl Iterator<Item = (Fraction, Option<Timestamp>)> + 'a {
        self.warn_at.iter().map(move |f| (*f, self.reach(f.of(self.target), calendar)))
    }

    /// Returns the earliest warning or breach not yet recorded; `None` when none can come without another event.
    #[must_use]
    pub fn next_fire_at(&self, calendar: &Calendar) -> Option<Timestamp> {
        if self.breached_at.is_some() {
            return None;
        }
        let warning = self.warnings(calendar).skip(self.warned).find_map(|(_, at)| at);
        warning.into_iter().chain(self.breach_at(calendar)).min()
    }

    /// Records every warning and the breach that fell due up to `now`, in the order of their instants.
    pub fn fire(&mut self, now: Timestamp, calendar: &Calendar) -> Vec<Recorded> {
        let mut fired = Vec::new();
        if self.breached_at.is_some() {
            return fired;
        }
        let elapsed = self.elapsed(now, calendar);
        // A warning beyond the target would come after the breach: there is nothing left to warn of.
        while let Some(fraction) = self.warn_at.get(self.warned).copied()
            && elapsed.min(self.target) >= fraction.of(self.target)
            && let Some(at) = self.reach(fraction.of(self.target), calendar)
        {
            let at = self.not_before_the_change(at);
            fired.push(self.record(at, Event::Warned { fraction }, calendar));
        }
        if elapsed > self.target
            && let Some(at) = self.breach_at(calendar)
        {
            fired.push(self.record(at, Event::Breached { detected_at: now }, calendar));
        }
        fired
    }

    /// Takes a command: records what fell due before it, then the event itself, then what it caused.
    ///
    /// An event that changes nothing (pausing a paused clock, stopping a stopped one) records nothing of its own.
    pub fn take(&mut self, event: Event, now: Timestamp, calendar: &Calendar) -> Vec<Recorded> {
        let at = now.max(self.last_at);
        let mut recorded = self.fire(at, calendar);
        if !self.would_change(&event) {
            return recorded;
        }
        let retargeted = matches!(event, Event::Retargeted { .. });
        recorded.push(self.record(at, event, calendar));
        if retargeted {
            recorded.extend(self.fire(at, calendar));
            if self.breached_at.is_some()
                && self.waived_at.is_none()
                && self.elapsed(at, calendar) <= self.target
            {
                recorded.push(self.record(at, Event::Waived, calendar));
            }
        }
        recorded
    }

    fn would_change(&self, event: &Event) -> bool {
        match event {
            Event::Paused { hold: Hold::Manual, .. } => self.is_open() && !self.held_manually,
            Event::Paused { hold: Hold::Status, .. } => self.is_open() && !self.held_by_status,
            Event::Resumed { hold: Hold::Manual } => self.held_manually,
            Event::Resumed { hold: Hold::Status } => self.held_by_status,
            Event::Retargeted { target_us, mode } => {
                let other = Some(*target_us) != self.target.num_microseconds();
                self.is_open() && (other || *mode == Mode::Restart)
            }
            Event::Stopped | Event::Cancelled => self.is_open(),
            Event::Reopened => self.stopped_at.is_some() && !self.cancelled,
            Event::Started { .. } | Event::Warned { .. } | Event::Breached { .. } | Event::Waived => false,
        }
    }

    fn record(&mut self, at: Timestamp, event: Event, calendar: &Calendar) -> Recorded {
        let recorded = Recorded { seq: self.seq + 1, at, event };
        self.apply(&recorded, calendar);
        recorded
    }

    fn not_before_the_change(&self, at: Timestamp) -> Timestamp {
        self.retargeted_at.map_or(at, |change| at.max(change))
    }

    /// First instant at which `elapsed ≥ span`.
    fn reach(&self, span: TimeDelta, calendar: &Calendar) -> Option<Timestamp> {
        let mut left = span - self.credit;
        if left <= TimeDelta::zero() {
            return Some(self.counting_from());
        }
        for run in &self.runs {
            let open = calendar.open_between(run.from, run.to);
            if open >= left {
                return calendar.reach(run.from, left);
            }
            left -= open;
        }
        calendar.reach(self.running_since?, left)
    }

    /// Infimum of the instants at which `elapsed > span`.
    fn exceed(&self, span: TimeDelta, calendar: &Calendar) -> Option<Timestamp> {
        let mut left = span - self.credit;
        if left < TimeDelta::zero() {
            return Some(self.counting_from());
        }
        for run in &self.runs {
            let open = calendar.open_between(run.from, run.to);
            if open > left {
                return calendar.exceed(run.from, left);
            }
            left -= open;
        }
        calendar.exceed(self.running_since?, left)
    }
}

/// `consumed × new ÷ old`, in whole microseconds, rounded down: a change never takes more than it should.
fn scaled(consumed: TimeDelta, new: TimeDelta, old: TimeDelta) -> TimeDelta {
    let us = |d: TimeDelta| i128::from(d.num_microseconds().unwrap_or(i64::MAX));
    if us(old) == 0 {
        return consumed;
    }
    TimeDelta::microseconds(i64::try_from(us(consumed) * us(new) / us(old)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_share_is_rounded_down() {
        let us = TimeDelta::microseconds;
        assert_eq!(scaled(us(1), us(2), us(3)), us(0));
        assert_eq!(scaled(us(2), us(2), us(3)), us(1));
        assert_eq!(scaled(us(3), us(2), us(3)), us(2));
        assert_eq!(scaled(us(5), us(7), us(0)), us(5), "a target of nothing leaves what was consumed");
        let century = TimeDelta::days(36_500);
        assert_eq!(scaled(century, century, century), century, "nothing overflows");
    }
}
