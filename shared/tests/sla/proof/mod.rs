//! The engine against brute force: random cases in every time zone, around the changes of its offset.

mod generate;
mod hours;
mod judge;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde_json::Value;
use shared::domain::sla::calendar::Definition;
use shared::domain::sla::{Calendar, simulate};

use generate::{Instants, Random};
use hours::{Horizon, Hours};
use judge::{Verdict, When, judge};

const DAY: i64 = 86_400;

/// Cases that share a calendar, and those among them that differ only in the instant to ask for.
const CASES: u64 = 24;
const INSTANTS: u64 = 3;

/// What to try.
#[derive(Clone, Debug)]
struct Trial {
    zones: Vec<Tz>,
    years: std::ops::RangeInclusive<i32>,
    /// How long cases last at most.
    days: std::ops::RangeInclusive<i64>,
    cases: u64,
    seed: u64,
}

impl Trial {
    fn new(cases: u64, seed: u64) -> Self {
        Self { zones: TZ_VARIANTS.to_vec(), years: 1970..=2037, days: 3..=8, cases, seed }
    }

    /// Runs all cases and counts them by their states; the first that does not agree ends it with its line.
    fn run(&self) -> BTreeMap<String, u64> {
        let calendars = self.cases.div_ceil(CASES);
        let (next, agreed) = (AtomicU64::new(0), AtomicU64::new(0));
        let states = Mutex::new(BTreeMap::new());
        let work = || {
            let mut mine: BTreeMap<String, u64> = BTreeMap::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calendars {
                    break;
                }
                let left = (self.cases - number * CASES).min(CASES);
                self.calendar(number, left, &mut mine).unwrap_or_else(|disagreement| {
                    next.store(calendars, Ordering::Relaxed);
                    panic!("after {} cases that agreed: {disagreement}", agreed.load(Ordering::Relaxed));
                });
                agreed.fetch_add(left, Ordering::Relaxed);
            }
            let mut states = states.lock().expect("nobody panics here");
            for (state, count) in mine {
                *states.entry(state).or_default() += count;
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        states.into_inner().expect("nobody panics here")
    }

    /// Tries one calendar with so many cases.
    fn calendar(&self, number: u64, cases: u64, states: &mut BTreeMap<String, u64>) -> Result<(), String> {
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let zones = u64::try_from(self.zones.len()).unwrap_or(1);
        let zone = self.zones[usize::try_from(number % zones).unwrap_or(0)];
        let year = random.between((*self.years.start()).into(), (*self.years.end()).into());
        let from = generate::beginning(&mut random, zone, i32::try_from(year).unwrap_or(1970));
        let days = random.between(*self.days.start(), *self.days.end());
        let calendar = match random.chance(4) {
            true => Value::Null,
            false => generate::calendar(&mut random, zone, from, days),
        };
        let horizon = Hours::read(&calendar).horizon(from, days * DAY);
        compare_hours(&calendar, &horizon)?;
        let instants = Instants::new(&horizon);
        for story in 0..cases.div_ceil(INSTANTS) {
            let mut case = instants.case(&mut random, &calendar);
            for i in 0..INSTANTS.min(cases - story * INSTANTS) {
                case["id"] = format!("{number}-{story}-{i}").into();
                case["at"] = instants.at(&mut random).into();
                let state = compare(&case, &horizon)?;
                *states.entry(state).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Compares what the engine answers with what the rules say, and returns the state.
fn compare(case: &Value, horizon: &Horizon) -> Result<String, String> {
    let (line, mut answer) = (case.to_string(), Vec::new());
    simulate::answer_line(line.as_bytes(), &mut answer);
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    let verdict = judge(horizon, case);
    match disagreement(&answer, &verdict, horizon) {
        None => Ok(verdict.state.to_owned()),
        Some(field) => Err(format!(
            "the engine is wrong about `{field}`. Reproduce it by `dogwatch sla simulate` with this line:\n\
             {line}\nanswer: {answer}\nrules:  {verdict:?}"
        )),
    }
}

fn disagreement(answer: &Value, verdict: &Verdict, horizon: &Horizon) -> Option<&'static str> {
    let ms = |us: i64| Value::from(us.max(0) / 1_000);
    let comes = |found: &Value, expected: When| match (instant(found), expected) {
        (Some(found), When::At(at)) => found == at,
        (None, When::Never) => true,
        (Some(found), When::After(end)) => horizon.opens_later && found >= end,
        (None, When::After(_)) => !horizon.opens_weekly,
        _ => false,
    };
    let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
    let warned = warnings.len() == verdict.warnings.len()
        && warnings.iter().zip(&verdict.warnings).all(|(found, expected)| comes(&found["at"], *expected));
    let unreachable = answer["due_at"].is_null() && verdict.runs_on;
    let agreed = [
        ("state", answer["state"] == verdict.state),
        ("elapsed_ms", answer["elapsed_ms"] == ms(verdict.elapsed)),
        ("remaining_ms", answer["remaining_ms"] == ms(verdict.target - verdict.elapsed)),
        ("overrun_ms", answer["overrun_ms"] == ms(verdict.elapsed - verdict.target)),
        ("breached_at", instant(&answer["breached_at"]) == verdict.breached_at),
        ("due_at", comes(&answer["due_at"], verdict.due_at)),
        ("breach_at", comes(&answer["breach_at"], verdict.breach_at)),
        ("warnings", warned),
        ("unreachable", answer["unreachable"].as_bool().unwrap_or(false) == unreachable),
    ];
    agreed.into_iter().find(|(_, agreed)| !agreed).map(|(field, _)| field)
}

/// Compares the open intervals of a calendar with its open cells.
fn compare_hours(definition: &Value, horizon: &Horizon) -> Result<(), String> {
    let calendar = match definition {
        Value::Null => Calendar::AlwaysOpen,
        _ => {
            let definition: Definition = serde_json::from_value(definition.clone()).expect("a definition");
            definition.read(None).expect("nothing is wrong with it")
        }
    };
    let instant = |second| DateTime::<Utc>::from_timestamp(second, 0).expect("an instant");
    let mut expected: Vec<(i64, i64)> = Vec::new();
    let mut second = horizon.from;
    for open in &horizon.open {
        match expected.last_mut() {
            Some((_, to)) if *open && *to == second => *to += horizon.cell,
            _ if *open => expected.push((second, second + horizon.cell)),
            _ => {}
        }
        second += horizon.cell;
    }
    let found = calendar.open_intervals(instant(horizon.from), instant(second));
    let found: Vec<_> = found.map(|open| (open.from.timestamp(), open.to.timestamp())).collect();
    let agreed = found == expected;
    agreed.then_some(()).ok_or_else(|| {
        format!("the engine is wrong about when this is open:\n{definition}\nanswer: {found:?}\nrules:  {expected:?}")
    })
}

fn instant(value: &Value) -> Option<i64> {
    value.as_str().map(|text| text.parse::<DateTime<Utc>>().expect("an instant").timestamp_micros())
}

/// Holds that a trial saw clocks in all states, so that agreeing says something.
fn is_varied(states: &BTreeMap<String, u64>) {
    let all: u64 = states.values().sum();
    for state in ["active", "paused", "met", "breached"] {
        let count = states.get(state).copied().unwrap_or_default();
        assert!(count * 50 > all, "only {count} of {all} clocks are {state}");
    }
}

#[test]
fn the_engine_agrees_with_brute_force_in_every_zone() {
    is_varied(&Trial::new(100_000, 1).run());
}

#[test]
fn it_agrees_where_offsets_have_seconds() {
    let trial = Trial { years: 1880..=1971, days: 1..=1, ..Trial::new(2_000, 2) };
    is_varied(&trial.run());
}

#[test]
fn it_agrees_over_years() {
    let trial = Trial { years: 1970..=2036, days: 300..=800, ..Trial::new(480, 3) };
    is_varied(&trial.run());
}

/// The long run of `cargo xtask prove`, which says how many cases and from which seed.
#[test]
#[ignore = "as long as it is told to be"]
fn prove() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let trial = Trial::new(number("PROVE_CASES").unwrap_or(1_000_000), number("PROVE_SEED").unwrap_or(0));
    let states = trial.run();
    println!("{} cases agreed, from seed {}: {states:?}", trial.cases, trial.seed);
}
