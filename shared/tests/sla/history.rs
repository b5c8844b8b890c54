//! What happens to a clock, in whole seconds since its start, and how the engine takes it.

use chrono::{DateTime, TimeDelta};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, sample};
use shared::domain::sla::{self, Calendar, Clock, Event, Fraction, Hold, Mode, Plan, Recorded};
use shared::ids::VersionId;
use shared::time::Timestamp;

use crate::hours::{Hours, hours};

/// A command to a clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Command {
    Pause(Hold),
    Resume(Hold),
    /// Towards another target, by the terms of this place.
    Retarget(i64, Mode, usize),
    Stop,
    Cancel,
    Reopen,
    /// Somebody looks.
    Sweep,
}

/// What else is promised besides a target.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Parts per million of the target, ascending.
    pub(crate) warn: Vec<u32>,
    pub(crate) hours: Hours,
}

/// Everything that happens to a clock until `end`.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) target: i64,
    /// The terms at first, and those that a change may choose as well.
    pub(crate) terms: [Terms; 2],
    /// When and what, in order.
    pub(crate) commands: Vec<(i64, Command)>,
    pub(crate) end: i64,
}

/// Who looks at the clock besides its commands, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sweeps {
    /// Only at the end.
    AtTheEnd,
    /// After every so many seconds.
    Every(i64),
    /// A second after the clock asked for it, as the store does.
    AsAsked,
}

/// The instant `us` microseconds after the start.
pub(crate) fn at_us(us: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default() + TimeDelta::microseconds(us)
}

/// The instant `s` seconds after the start.
pub(crate) fn at(s: i64) -> Timestamp {
    at_us(s * 1_000_000)
}

/// Microseconds since the start.
pub(crate) fn us(at: Timestamp) -> i64 {
    (at - self::at(0)).num_microseconds().unwrap_or(i64::MAX)
}

impl History {
    /// Runs the engine over it and returns the clock with all that was recorded.
    pub(crate) fn run(&self, sweeps: Sweeps) -> (Clock, Vec<Recorded>) {
        let (mut clock, started) = Clock::start(self.plan(self.target, 0), at(0));
        let mut recorded = vec![started];
        let mut from = 0;
        for (s, command) in &self.commands {
            sweep(&mut clock, &mut recorded, sweeps, from, *s);
            recorded.extend(match self.command(*command) {
                Some(command) => clock.take(command, at(*s)),
                None => clock.fire(at(*s)),
            });
            from = *s;
        }
        sweep(&mut clock, &mut recorded, sweeps, from, self.end);
        recorded.extend(clock.fire(at(self.end)));
        (clock, recorded)
    }

    /// Finds a calendar by the version that events name.
    pub(crate) fn calendar(&self, version: VersionId) -> Option<Calendar> {
        let mut calendars = self.terms.iter().map(|terms| &terms.hours.calendar);
        calendars.find(|calendar| calendar.version() == Some(version)).cloned()
    }

    fn plan(&self, target: i64, terms: usize) -> Plan {
        let Terms { warn, hours } = &self.terms[terms];
        let warn_at = warn.iter().map(|ppm| Fraction(*ppm)).collect();
        Plan { target: TimeDelta::seconds(target), warn_at, calendar: hours.calendar.clone() }
    }

    fn command(&self, command: Command) -> Option<sla::Command> {
        let event = match command {
            Command::Pause(hold) => Event::Paused { hold, reason: None },
            Command::Resume(hold) => Event::Resumed { hold },
            Command::Stop => Event::Stopped,
            Command::Cancel => Event::Cancelled,
            Command::Reopen => Event::Reopened,
            Command::Retarget(target, mode, terms) => {
                return Some(sla::Command::Retarget(self.plan(target, terms), mode));
            }
            Command::Sweep => return None,
        };
        Some(event.into())
    }
}

fn sweep(clock: &mut Clock, recorded: &mut Vec<Recorded>, sweeps: Sweeps, from: i64, to: i64) {
    for s in from..to {
        let looks = match sweeps {
            Sweeps::AtTheEnd => return,
            Sweeps::Every(seconds) => s % seconds == 0,
            Sweeps::AsAsked => clock.next_fire_at().is_some_and(|next| next < at(s)),
        };
        if looks {
            let fired = clock.fire(at(s));
            assert!(
                !fired.is_empty() || matches!(sweeps, Sweeps::Every(_)),
                "asked for a sweep in vain: {clock:?}"
            );
            let late = |r: &Recorded| matches!(sweeps, Sweeps::AsAsked) && r.at < at(s - 1);
            assert!(!fired.iter().any(late), "asked for a sweep too late: {fired:?}");
            recorded.extend(fired);
        }
        let next = clock.next_fire_at();
        assert!(
            !looks || next.is_none_or(|next| next >= at(s)),
            "{next:?} should have been recorded: {clock:?}"
        );
    }
}

/// What happened, without when it was seen: the same for all sweeps.
pub(crate) fn log(recorded: &[Recorded]) -> Vec<(i64, String)> {
    let entry = |r: &Recorded| {
        let what = match &r.event {
            Event::Paused { hold, .. } => format!("paused {hold}"),
            Event::Resumed { hold } => format!("resumed {hold}"),
            Event::Retargeted { target_us, mode, calendar, .. } => {
                retargeted(target_us / 1_000_000, *mode, *calendar)
            }
            Event::Warned { fraction } => format!("warned {}", fraction.0),
            other => other.kind().to_owned(),
        };
        (us(r.at), what)
    };
    recorded.iter().map(entry).collect()
}

/// What a log says of a change.
pub(crate) fn retargeted(target: i64, mode: Mode, calendar: Option<VersionId>) -> String {
    let by = calendar.map(|version| format!(" by {version}")).unwrap_or_default();
    format!("retargeted {target} {mode}{by}")
}

/// Histories of up to `most` commands. Short targets and gaps make them meet at the same second often.
pub(crate) fn histories(most: usize) -> impl Strategy<Value = History> {
    (sample::select(vec![5_i64, 12, 40, 120]), 0..=2_i64).prop_flat_map(move |(gap, stretch)| {
        let longest = gap * (1 + 2 * stretch);
        let commands = collection::vec((0..=gap, commands(longest)), 0..=most);
        let terms = (terms(1, longest), terms(2, longest));
        (1..=longest, terms, commands, 0..=gap).prop_map(|(target, (first, other), gaps, last)| {
            let mut now = 0;
            let commands = gaps.into_iter().map(|(gap, command)| {
                now += gap;
                (now, command)
            });
            let commands = commands.collect();
            History { target, terms: [first, other], commands, end: now + last }
        })
    })
}

fn terms(version: u128, longest: i64) -> impl Strategy<Value = Terms> {
    let shares = vec![1, 250_000, 333_333, 500_000, 750_000, 999_999, 1_000_000, 1_100_000];
    (sample::subsequence(shares, 0..=5), hours(version, longest))
        .prop_map(|(warn, hours)| Terms { warn, hours })
}

fn commands(longest: i64) -> impl Strategy<Value = Command> {
    let hold = || sample::select(Hold::ALL.to_vec());
    prop_oneof![
        4 => hold().prop_map(Command::Pause),
        5 => hold().prop_map(Command::Resume),
        3 => (1..=longest, sample::select(Mode::ALL.to_vec()), any::<bool>())
            .prop_map(|(target, mode, other)| Command::Retarget(target, mode, other.into())),
        2 => Just(Command::Stop),
        1 => Just(Command::Cancel),
        2 => Just(Command::Reopen),
        1 => Just(Command::Sweep),
    ]
}
