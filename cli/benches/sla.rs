//! How fast clocks are computed: run by `cargo xtask bench`; needs no database.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::domain::sla::calendar::Definition;
use shared::domain::sla::{Calendar, simulate};

const TIME: Duration = Duration::from_secs(3);

fn main() -> anyhow::Result<()> {
    let cases = cases()?;
    let mut answers = Vec::new();
    let cases_per_second = per_second(|i| {
        answers.clear();
        simulate::answer_line(&cases[i % cases.len()], &mut answers);
        black_box(&answers);
    });
    let calendar = office_hours(60)?;
    let from = start()?;
    let ahead = |span: TimeDelta| {
        per_second(|i| {
            let from = from + TimeDelta::minutes(i64::try_from(i % 10_000).unwrap_or(0));
            black_box(calendar.reach(black_box(from), black_box(span)));
        })
    };
    let hour = ahead(TimeDelta::hours(1));
    let five_years = ahead(TimeDelta::hours(5 * 52 * 40));
    let measures = [
        ("sla_cases_simulated_per_second", cases_per_second),
        ("sla_deadline_1_hour_ahead_ns", 1e9 / hour),
        ("sla_deadline_5_years_ahead_60_overrides_us", 1e6 / five_years),
    ];
    for (measure, value) in measures {
        println!("{:<16} {measure:<44} {value:>12.2}", "one core");
    }
    match std::env::var("BENCH_JSON") {
        Ok(file) => add(&file, &measures).with_context(|| format!("cannot add to {file}")),
        Err(_) => Ok(()),
    }
}

/// Adds the measures to the numbers that are there already.
fn add(file: &str, measures: &[(&str, f64)]) -> anyhow::Result<()> {
    let mut results: BTreeMap<String, f64> = match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => BTreeMap::new(),
    };
    results.extend(measures.iter().map(|(measure, value)| ((*measure).to_owned(), *value)));
    Ok(std::fs::write(file, serde_json::to_string_pretty(&results)?)?)
}

/// Repeats something for a while and tells how often a second it was done.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(mut act: impl FnMut(usize)) -> f64 {
    (0..1_000).for_each(&mut act);
    let (started, mut done) = (Instant::now(), 0);
    while started.elapsed() < TIME {
        (done..done + 1_000).for_each(&mut act);
        done += 1_000;
    }
    done as f64 / started.elapsed().as_secs_f64()
}

fn start() -> anyhow::Result<DateTime<Utc>> {
    Ok("2026-03-02T08:00:00Z".parse()?)
}

/// Weekdays from nine to five, with so many holidays in five years.
fn definition(holidays: usize) -> anyhow::Result<Definition> {
    let weekly = ["mon", "tue", "wed", "thu", "fri"].map(|day| (day.into(), vec!["09:00-17:00".into()]));
    let first = start()?.date_naive();
    let overrides = (0..holidays).map(|i| {
        let date = first + chrono::Days::new(u64::try_from(i * 30 + 10).unwrap_or(0));
        (date.to_string(), if i % 4 == 0 { vec!["09:00-12:00".into()] } else { Vec::new() })
    });
    Ok(Definition { tz: "Europe/Berlin".into(), weekly: weekly.into(), overrides: overrides.collect() })
}

fn office_hours(holidays: usize) -> anyhow::Result<Calendar> {
    let problem = |problems: Vec<_>| anyhow::anyhow!("{problems:?}");
    definition(holidays)?.read(None).map_err(problem)
}

/// Cases as people have them: office hours, a few holidays, a pause, now and then a change, a stop.
fn cases() -> anyhow::Result<Vec<Vec<u8>>> {
    let (calendar, start) = (definition(6)?, start()?);
    let case = |i: i64| {
        let at = |hours: i64| start + TimeDelta::minutes(i * 7) + TimeDelta::hours(hours);
        let change = json!({"at": at(30), "target": "6h", "mode": "carry_fraction"});
        let case = json!({
            "id": i.to_string(), "calendar": calendar, "start": at(0), "target": "8h",
            "pauses": [[at(3), at(20)]], "retargets": if i % 4 == 0 { vec![change] } else { Vec::new() },
            "stop": (i % 3 == 0).then(|| at(75)), "warn": [0.5, 0.75, 0.9], "at": at(50),
        });
        case.to_string().into_bytes()
    };
    Ok((0..2_000).map(case).collect())
}
