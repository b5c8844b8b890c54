//! What every process measures: the catalogue, and how it is recorded.
//!
//! A family of time series exists only in `catalogue.rs`: with its help, its labels, and the values that these
//! can have, so that the number of series is bounded. `docs/operations.md` lists the same, written by `cargo xtask docs`.

mod catalogue;
mod vitals;

use std::fmt::Write;

use metrics::{Key, KeyName, Level, Metadata, SharedString};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::config::Process;

pub use catalogue::*;
pub use vitals::Vitals;

/// One family of time series.
#[derive(Debug)]
pub struct Family {
    /// `dogwatch_…`, in base units.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// One sentence for who sees it for the first time.
    pub help: &'static str,
    /// What its series differ by.
    pub labels: &'static [Label],
    /// Which processes have it.
    pub by: &'static [Part],
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are counted by these upper bounds.
    Histogram(&'static [f64]),
}

/// What the series of a family differ by.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub values: Values,
}

/// What a label can be: never what a client made up, nor an identifier.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these.
    Listed(fn() -> Vec<&'static str>),
    /// One of a set that is known only elsewhere, and no larger than this.
    Bounded {
        /// Which set.
        what: &'static str,
        /// How large it can be.
        most: usize,
    },
}

/// A part of the program that measures; `dogwatch serve` is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API.
    Api,
    /// The worker.
    Worker,
    /// The scheduler.
    Scheduler,
}

/// A counter with `N` labels.
#[derive(Debug)]
pub struct Counter<const N: usize>(&'static Family);

/// A gauge with `N` labels.
#[derive(Debug)]
pub struct Gauge<const N: usize>(&'static Family);

/// A histogram with `N` labels.
#[derive(Debug)]
pub struct Histogram<const N: usize>(&'static Family);

impl<const N: usize> Counter<N> {
    /// The series with these values of its labels, in the catalogue's order.
    pub fn of<V: Into<SharedString>>(&self, values: [V; N]) -> metrics::Counter {
        let key = key(self.0, values);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }
}

impl Counter<0> {
    /// Adds to the only series.
    pub fn increment(&self, by: u64) {
        self.of::<&'static str>([]).increment(by);
    }
}

impl<const N: usize> Gauge<N> {
    /// The series with these values of its labels, in the catalogue's order.
    pub fn of<V: Into<SharedString>>(&self, values: [V; N]) -> metrics::Gauge {
        let key = key(self.0, values);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
    }
}

impl Gauge<0> {
    /// Sets the only series.
    pub fn set(&self, value: impl metrics::IntoF64) {
        self.of::<&'static str>([]).set(value);
    }

    /// Counts something while the returned value lives.
    #[must_use]
    pub fn hold(&self) -> Held {
        let gauge = self.of::<&'static str>([]);
        gauge.increment(1);
        Held(gauge)
    }
}

/// Something that is counted as long as this lives.
#[derive(Debug)]
pub struct Held(metrics::Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl<const N: usize> Histogram<N> {
    /// The series with these values of its labels, in the catalogue's order.
    pub fn of<V: Into<SharedString>>(&self, values: [V; N]) -> metrics::Histogram {
        let key = key(self.0, values);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }
}

impl Histogram<0> {
    /// Records a number in the only series.
    pub fn record(&self, value: impl metrics::IntoF64) {
        self.of::<&'static str>([]).record(value);
    }
}

static METADATA: Metadata<'static> = Metadata::new("dogwatch", Level::INFO, None);

fn key<V: Into<SharedString>, const N: usize>(family: &Family, values: [V; N]) -> Key {
    let labels = family.labels.iter().zip(values);
    let labels: Vec<metrics::Label> =
        labels.map(|(label, value)| metrics::Label::new(label.name, value)).collect();
    Key::from_parts(family.name, labels)
}

/// Installs the recorder of this process, with everything it can measure described and begun.
///
/// # Errors
/// When there is one already.
pub(crate) fn install(process: &Process) -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for family in ALL {
        if let Kind::Histogram(bounds) = family.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(family.name.into()), bounds)?;
        }
    }
    let handle = builder.install_recorder()?;
    for family in ALL.iter().filter(|family| family.by.iter().any(|part| part.is_in(process))) {
        family.describe();
        family.begin();
    }
    Ok(handle)
}

impl Part {
    const fn is_in(self, process: &Process) -> bool {
        matches!(
            (self, process),
            (_, Process::AllInOne(_))
                | (Self::Api, Process::Api)
                | (Self::Worker, Process::Worker)
                | (Self::Scheduler, Process::Scheduler)
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Api => "API",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
        }
    }
}

impl Label {
    /// How many values it can have at most.
    #[must_use]
    pub fn most(&self) -> usize {
        match self.values {
            Values::Listed(values) => values().len(),
            Values::Bounded { most, .. } => most,
        }
    }
}

impl Family {
    /// How many series one process can have of it: of a histogram, one for each bound and three more.
    #[must_use]
    pub fn most(&self) -> usize {
        let of_each = match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(bounds) => bounds.len() + 3,
        };
        self.labels.iter().map(Label::most).product::<usize>() * of_each
    }

    fn describe(&self) {
        let (name, help) = (KeyName::from(self.name), SharedString::from(self.help));
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
        });
    }

    /// Begins the series whose labels are known beforehand, since `increase` cannot see a first value that is not 0.
    /// A gauge with labels says nothing until it was measured.
    fn begin(&self) {
        let keys = self.keys();
        metrics::with_recorder(|recorder| {
            for key in &keys {
                match self.kind {
                    Kind::Counter => recorder.register_counter(key, &METADATA).increment(0),
                    Kind::Gauge if self.labels.is_empty() => {
                        recorder.register_gauge(key, &METADATA).increment(0.0);
                    }
                    Kind::Gauge => {}
                    Kind::Histogram(_) => drop(recorder.register_histogram(key, &METADATA)),
                }
            }
        });
    }

    fn keys(&self) -> Vec<Key> {
        let mut series: Vec<Vec<metrics::Label>> = vec![Vec::new()];
        for label in self.labels {
            let Values::Listed(values) = label.values else { return Vec::new() };
            let with = |labels: &Vec<metrics::Label>, value: &'static str| {
                let mut labels = labels.clone();
                labels.push(metrics::Label::new(label.name, value));
                labels
            };
            let values = values();
            series = series
                .iter()
                .flat_map(|labels| values.iter().map(move |value| with(labels, value)))
                .collect();
        }
        series.into_iter().map(|labels| Key::from_parts(self.name, labels)).collect()
    }
}

/// The catalogue as a table of Markdown.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("| metric | kind | labels | of | |\n|---|---|---|---|---|\n");
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(Label::described).collect();
        let by = if family.by.len() == 3 { "all".to_owned() } else { parts(family.by) };
        let (kind, bounds) = match family.kind {
            Kind::Counter => ("counter", String::new()),
            Kind::Gauge => ("gauge", String::new()),
            Kind::Histogram(bounds) => ("histogram", format!(" Bounds: {}.", listed(bounds))),
        };
        let (name, labels, help) = (family.name, labels.join("; "), family.help);
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {by} | {help}.{bounds} |");
    }
    table
}

fn parts(parts: &[Part]) -> String {
    parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(", ")
}

fn listed(bounds: &[f64]) -> String {
    bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Label {
    fn described(&self) -> String {
        match self.values {
            Values::Listed(values) => format!("`{}`: {}", self.name, values().join(", ")),
            Values::Bounded { what, .. } => format!("`{}`: {what}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_the_field() {
        let mut names = BTreeSet::new();
        for family in ALL {
            let name = family.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.starts_with("dogwatch_"), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            if matches!(family.kind, Kind::Histogram(_)) {
                assert!(name.ends_with("_seconds"), "{name}: every histogram measures time");
            }
            assert!(!family.help.ends_with('.') && !family.help.contains('|'), "{name}: {}", family.help);
            assert!(!family.by.is_empty(), "{name}");
        }
    }

    #[test]
    fn bounds_ascend_and_have_those_that_alerts_ask_about() {
        for family in ALL {
            if let Kind::Histogram(bounds) = family.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", family.name);
            }
        }
        for (family, bound) in [
            ("dogwatch_job_wait_seconds", 1.0),
            ("dogwatch_sla_detection_lag_seconds", 1.0),
            ("dogwatch_notification_latency_seconds", 5.0),
        ] {
            let family = ALL.iter().find(|f| f.name == family).expect("it is there");
            assert!(matches!(family.kind, Kind::Histogram(bounds) if bounds.contains(&bound)), "{bound}");
        }
    }

    /// What a Prometheus server carries for one process without noticing.
    #[test]
    fn the_number_of_series_is_bounded() {
        const HTTP: usize = 40_000;
        const OTHERS: usize = 3_000;
        let (http, others): (Vec<_>, Vec<_>) =
            ALL.iter().partition(|family| family.name.starts_with("dogwatch_http_"));
        let sum = |families: Vec<&&Family>| families.iter().map(|family| family.most()).sum::<usize>();
        let (http, others) = (sum(http), sum(others));
        assert!(http <= HTTP, "{http}: for an API that has answered everything on every route");
        assert!(others <= OTHERS, "{others}");
        for label in ALL.iter().flat_map(|family| family.labels) {
            let name = label.name;
            assert!(!["id", "ticket", "user", "email", "url", "path", "key"].contains(&name), "{name}");
        }
    }

    /// Rewrites the page when `WRITE_DOCS` is set, which `cargo xtask docs` does.
    #[test]
    fn the_page_lists_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let page = std::fs::read_to_string(path).expect("the page");
        let (begin, end) = ("<!-- metrics: written by `cargo xtask docs` -->\n", "<!-- end of metrics -->");
        let from = page.find(begin).expect("the beginning of the table") + begin.len();
        let to = page.find(end).expect("the end of the table");
        if std::env::var_os("WRITE_DOCS").is_some() {
            let page = [&page[..from], &table(), &page[to..]].concat();
            std::fs::write(path, page).expect("it can be written");
        } else {
            assert!(
                page[from..to] == table(),
                "run `cargo xtask docs`: docs/operations.md is not the catalogue"
            );
        }
    }
}
