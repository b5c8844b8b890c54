//! One run of one metric on one ticket, as a pure fold of its events.
//!
//! `elapsed(t)` is the open time since the start that was not paused. The clock is *due* at the first instant at
//! which `elapsed ≥ target` and *breached* from the instant after which `elapsed > target`. The two differ only
//! where the target runs out exactly at a closing time or at the start of a pause. Verdicts use the instants of
//! events, never the instant at which somebody looked.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Calendar, Fraction, Plan};
use crate::ids::VersionId;
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
    #[schema(as = ClockState)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClockEventKind)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The clock began to count towards a target.
    Started {
        /// The target in microseconds of open time.
        target_us: i64,
        /// Shares of the target at which to warn, ascending.
        warn_at: Vec<Fraction>,
        /// The version of the calendar it counts by; none for around the clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        calendar: Option<VersionId>,
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
    /// What was promised changed.
    Retargeted {
        /// The new target in microseconds of open time.
        target_us: i64,
        /// What happens to consumed time.
        mode: Mode,
        /// The new shares of the target at which to warn; none where they stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warn_at: Option<Vec<Fraction>>,
        /// The version of the calendar it counts by from now on; none for around the clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        calendar: Option<VersionId>,
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
        #[schema(value_type = String, format = DateTime)]
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

/// Something to be done to a clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let something happen.
    Tell(Event),
    /// Promise something else.
    Retarget(Plan, Mode),
}

impl From<Event> for Command {
    fn from(event: Event) -> Self {
        Self::Tell(event)
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
    /// What it counts by.
    pub calendar: Calendar,
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
    pub fn start(plan: Plan, at: Timestamp) -> (Self, Recorded) {
        let event = Event::Started {
            target_us: micros(plan.target),
            warn_at: plan.warn_at.clone(),
            calendar: plan.calendar.version(),
        };
        let clock = Self {
            target: plan.target,
            warn_at: plan.warn_at,
            calendar: plan.calendar,
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
        (clock, Recorded { seq: 1, at, event })
    }

    /// Rebuilds a clock from its events; `None` when they do not begin with a start, or name a calendar that
    /// `calendar` does not know.
    #[must_use]
    pub fn replay(events: &[Recorded], calendar: impl Fn(VersionId) -> Option<Calendar>) -> Option<Self> {
        let known = |version: Option<VersionId>| version.map_or(Some(Calendar::AlwaysOpen), &calendar);
        let (first, rest) = events.split_first()?;
        let Event::Started { target_us, warn_at, calendar: version } = &first.event else { return None };
        let target = TimeDelta::microseconds(*target_us);
        let plan = Plan { target, warn_at: warn_at.clone(), calendar: known(*version)? };
        let (mut clock, _) = Self::start(plan, first.at);
        for recorded in rest {
            if let Event::Retargeted { target_us, mode, warn_at, calendar: version } = &recorded.event {
                let target = TimeDelta::microseconds(*target_us);
                let warn_at = warn_at.clone().unwrap_or_else(|| clock.warn_at.clone());
                clock.retarget(Plan { target, warn_at, calendar: known(*version)? }, *mode, recorded.at);
            }
            clock.apply(recorded);
        }
        Some(clock)
    }

    /// Folds one event in, but for what a retarget promises. Events come in the order of `seq`, which is also the
    /// order of their instants.
    fn apply(&mut self, recorded: &Recorded) {
        let at = recorded.at;
        match &recorded.event {
            Event::Started { .. } | Event::Retargeted { .. } => {}
            Event::Paused { hold, .. } => {
                *self.held(*hold) = true;
                self.halt(at);
            }
            Event::Resumed { hold } => {
                *self.held(*hold) = false;
                self.run_if_free(at);
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

    fn retarget(&mut self, plan: Plan, mode: Mode, at: Timestamp) {
        match mode {
            Mode::Retroactive => {}
            Mode::CarryFraction => {
                self.begin_again(scaled(self.elapsed(at), plan.target, self.target), at);
            }
            Mode::Restart => self.begin_again(TimeDelta::zero(), at),
        }
        (self.target, self.warn_at, self.calendar) = (plan.target, plan.warn_at, plan.calendar);
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
    pub fn elapsed(&self, at: Timestamp) -> TimeDelta {
        let runs = self.runs.iter().map(|run| self.calendar.open_between(run.from, run.to.min(at)));
        let present =
            self.running_since.map_or(TimeDelta::zero(), |from| self.calendar.open_between(from, at));
        runs.fold(self.credit + present, |sum, open| sum + open)
    }

    /// Returns when the target is consumed; `None` while held, and when stopped before.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.reach(self.target)
    }

    /// Returns the instant after which the target is exceeded, past or future; `None` if it will not be.
    #[must_use]
    pub fn breach_at(&self) -> Option<Timestamp> {
        self.exceed(self.target).map(|at| self.not_before_the_change(at))
    }

    /// Returns when each warning falls on the elapsed axis.
    pub fn warnings(&self) -> impl Iterator<Item = (Fraction, Option<Timestamp>)> + '_ {
        self.warn_at.iter().map(|f| (*f, self.reach(f.of(self.target))))
    }

    /// Returns the earliest warning or breach not yet recorded; `None` when none can come without another event.
    #[must_use]
    pub fn next_fire_at(&self) -> Option<Timestamp> {
        if self.breached_at.is_some() {
            return None;
        }
        let warning = self.warnings().skip(self.warned).find_map(|(_, at)| at);
        warning.into_iter().chain(self.breach_at()).min()
    }

    /// Records every warning and the breach that fell due up to `now`, in the order of their instants.
    pub fn fire(&mut self, now: Timestamp) -> Vec<Recorded> {
        let mut fired = Vec::new();
        if self.breached_at.is_some() {
            return fired;
        }
        let elapsed = self.elapsed(now);
        // A warning beyond the target would come after the breach: there is nothing left to warn of.
        while let Some(fraction) = self.warn_at.get(self.warned).copied()
            && elapsed.min(self.target) >= fraction.of(self.target)
            && let Some(at) = self.reach(fraction.of(self.target))
        {
            let at = self.not_before_the_change(at);
            fired.push(self.record(at, Event::Warned { fraction }));
        }
        if elapsed > self.target
            && let Some(at) = self.breach_at()
        {
            fired.push(self.record(at, Event::Breached { detected_at: now }));
        }
        fired
    }

    /// Takes a command: records what fell due before it, then its event, then what it caused.
    ///
    /// One that changes nothing (pausing a paused clock, stopping a stopped one) records nothing of its own.
    pub fn take(&mut self, command: impl Into<Command>, now: Timestamp) -> Vec<Recorded> {
        let at = now.max(self.last_at);
        let mut recorded = self.fire(at);
        match command.into() {
            Command::Tell(event) if self.would_change(&event) => recorded.push(self.record(at, event)),
            Command::Retarget(plan, mode) if self.would_differ(&plan, mode) => {
                let event = Event::Retargeted {
                    target_us: micros(plan.target),
                    mode,
                    warn_at: (plan.warn_at != self.warn_at).then(|| plan.warn_at.clone()),
                    calendar: plan.calendar.version(),
                };
                self.retarget(plan, mode, at);
                recorded.push(self.record(at, event));
                recorded.extend(self.fire(at));
                if self.breached_at.is_some() && self.waived_at.is_none() && self.elapsed(at) <= self.target {
                    recorded.push(self.record(at, Event::Waived));
                }
            }
            Command::Tell(_) | Command::Retarget(..) => {}
        }
        recorded
    }

    fn would_differ(&self, plan: &Plan, mode: Mode) -> bool {
        let same = plan.target == self.target
            && plan.warn_at == self.warn_at
            && plan.calendar.version() == self.calendar.version();
        self.is_open() && (!same || mode == Mode::Restart)
    }

    fn would_change(&self, event: &Event) -> bool {
        match event {
            Event::Paused { hold: Hold::Manual, .. } => self.is_open() && !self.held_manually,
            Event::Paused { hold: Hold::Status, .. } => self.is_open() && !self.held_by_status,
            Event::Resumed { hold: Hold::Manual } => self.held_manually,
            Event::Resumed { hold: Hold::Status } => self.held_by_status,
            Event::Stopped | Event::Cancelled => self.is_open(),
            Event::Reopened => self.stopped_at.is_some() && !self.cancelled,
            Event::Started { .. }
            | Event::Retargeted { .. }
            | Event::Warned { .. }
            | Event::Breached { .. }
            | Event::Waived => false,
        }
    }

    fn record(&mut self, at: Timestamp, event: Event) -> Recorded {
        let recorded = Recorded { seq: self.seq + 1, at, event };
        self.apply(&recorded);
        recorded
    }

    fn not_before_the_change(&self, at: Timestamp) -> Timestamp {
        self.retargeted_at.map_or(at, |change| at.max(change))
    }

    /// Finds the first instant at which `elapsed ≥ span`; `None` if it will not be.
    #[must_use]
    pub fn reach(&self, span: TimeDelta) -> Option<Timestamp> {
        let mut left = span - self.credit;
        if left <= TimeDelta::zero() {
            return Some(self.counting_from());
        }
        for run in &self.runs {
            let open = self.calendar.open_between(run.from, run.to);
            if open >= left {
                return self.calendar.reach(run.from, left);
            }
            left -= open;
        }
        self.calendar.reach(self.running_since?, left)
    }

    /// Infimum of the instants at which `elapsed > span`.
    fn exceed(&self, span: TimeDelta) -> Option<Timestamp> {
        let mut left = span - self.credit;
        if left < TimeDelta::zero() {
            return Some(self.counting_from());
        }
        for run in &self.runs {
            let open = self.calendar.open_between(run.from, run.to);
            if open > left {
                return self.calendar.exceed(run.from, left);
            }
            left -= open;
        }
        self.calendar.exceed(self.running_since?, left)
    }
}

pub(super) fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap_or(i64::MAX)
}

/// `consumed × new ÷ old`, in whole microseconds, rounded down: a change never takes more than it should.
fn scaled(consumed: TimeDelta, new: TimeDelta, old: TimeDelta) -> TimeDelta {
    let us = |d: TimeDelta| i128::from(micros(d));
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
