//! What is scraped against the catalogue of metrics, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use shared::metrics::{ALL, Family, Kind, Label, Part, Values};

/// The labels of a time series, its name among them.
pub(crate) type Labels = BTreeMap<String, String>;

/// What does not agree; nothing when all is well. `routes` are those that the API describes.
pub(crate) fn differences(scraped: &[Labels], routes: &BTreeSet<String>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for series in scraped {
        let name = &*series["__name__"];
        // Prometheus's own, one for each target.
        if name == "up" || name.starts_with("scrape_") {
            continue;
        }
        let Some(family) = ALL.iter().find(|family| names(family).iter().any(|known| known == name)) else {
            differences.push(format!("{name} is not in the catalogue"));
            continue;
        };
        *seen.entry((family.name, series["instance"].clone())).or_default() += 1;
        differences.extend(unexpected(family, series, routes).map(|what| format!("{what} in {series:?}")));
    }
    for ((name, instance), count) in &seen {
        let most = ALL.iter().find(|family| family.name == *name).map_or(0, |family| family.most());
        if *count > most {
            differences.push(format!("{instance} has {count} series of {name}, and may have {most}"));
        }
    }
    for (family, part) in ALL.iter().flat_map(|family| family.by.iter().map(move |part| (family, part))) {
        let of =
            |series: &&Labels| series["job"] == job(*part) && names(family).contains(&series["__name__"]);
        if !scraped.iter().any(|series| of(&series)) {
            differences.push(format!("{} has no {}", job(*part), family.name));
        }
    }
    differences
}

/// The names of a family's series.
fn names(family: &Family) -> Vec<String> {
    let endings: &[&str] = match family.kind {
        Kind::Counter | Kind::Gauge => &[""],
        Kind::Histogram(_) => &["_bucket", "_sum", "_count"],
    };
    endings.iter().map(|ending| format!("{}{ending}", family.name)).collect()
}

fn job(part: Part) -> &'static str {
    match part {
        Part::Api => "dogwatch-api",
        Part::Worker => "dogwatch-worker",
        Part::Scheduler => "dogwatch-scheduler",
    }
}

/// Says what a series has that its family does not.
fn unexpected(family: &Family, series: &Labels, routes: &BTreeSet<String>) -> Option<String> {
    if !family.by.iter().any(|part| series["job"] == job(*part)) {
        return Some("a metric of another process".into());
    }
    let given: BTreeSet<&str> = series.keys().map(String::as_str).collect();
    let mut expected = BTreeSet::from(["__name__", "job", "instance"]);
    expected.extend(family.labels.iter().map(|label| label.name));
    if let Kind::Histogram(bounds) = family.kind
        && series["__name__"].ends_with("_bucket")
    {
        expected.insert("le");
        let bound: f64 = series.get("le")?.parse().ok()?;
        if bound.is_finite() && !bounds.contains(&bound) {
            return Some("an unknown bound".into());
        }
    }
    if given != expected {
        return Some(format!("labels that are not {expected:?}"));
    }
    let wrong = family.labels.iter().find(|label| !can_be(label, &series[label.name], routes))?;
    Some(format!("an unknown {}", wrong.name))
}

fn can_be(label: &Label, value: &str, routes: &BTreeSet<String>) -> bool {
    match (label.values, label.name) {
        (Values::Listed(values), _) => values().contains(&value),
        (Values::Bounded { .. }, "route") => value == "none" || routes.contains(value),
        (Values::Bounded { .. }, "status") => value.len() == 3 && value.parse::<u16>().is_ok(),
        (Values::Bounded { .. }, "version") => value == env!("CARGO_PKG_VERSION"),
        (Values::Bounded { what, .. }, name) => panic!("say here what {name} can be: {what}"),
    }
}

#[test]
fn a_series_that_the_catalogue_does_not_know_is_found() {
    let series = |name: &str, job: &str, label: (&str, &str)| {
        [("__name__", name), ("instance", "a:1"), ("job", job), label]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let relayed = ("dogwatch_jobs_relayed_total", "dogwatch-scheduler");
    let found = |series: Labels| {
        let found = differences(&[series], &BTreeSet::new());
        found.into_iter().find(|found| !found.contains(" has no ")).unwrap_or_default()
    };
    assert_eq!(found(series(relayed.0, relayed.1, ("priority", "high"))), "");
    assert!(found(series(relayed.0, relayed.1, ("priority", "urgent"))).starts_with("an unknown priority"));
    assert!(found(series(relayed.0, relayed.1, ("ticket", "INC-1"))).starts_with("labels that are not"));
    assert!(
        found(series(relayed.0, "dogwatch-api", ("priority", "high"))).starts_with("a metric of another")
    );
    let made_up = found(series("dogwatch_made_up", relayed.1, ("priority", "high")));
    assert_eq!(made_up, "dogwatch_made_up is not in the catalogue");
    let none = differences(&[], &BTreeSet::new());
    assert!(none.contains(&"dogwatch-scheduler has no dogwatch_sweeps_total".to_owned()));
}
