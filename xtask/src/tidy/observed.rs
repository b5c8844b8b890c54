//! What operators are told: every metric stands in the catalogue and is measured, every log event is documented.

use std::collections::BTreeSet;

use super::Finding;
use super::documents::has_word;
use super::source::{Source, is_word};
use super::tree::{File, Tree};

const METRICS: &str = "shared/src/metrics";
const CATALOGUE: &str = "shared/src/metrics/catalogue.rs";
const PAGE: &str = "docs/operations.md";
const HEADING: &str = "## Log events";

/// Holds that nothing is measured under a name that the catalogue does not have.
pub(super) fn metrics_stand_in_the_catalogue(tree: &Tree) -> Vec<Finding> {
    let elsewhere =
        tree.rust().filter(|file| !file.path.starts_with(METRICS) && !file.path.starts_with("xtask/"));
    let mut findings = Vec::new();
    for file in elsewhere {
        for (number, line) in (1..).zip(&file.source.code) {
            let macros = ["counter!(", "gauge!(", "histogram!("];
            if macros.iter().any(|name| line.contains(name)) {
                let text = format!("measured past the catalogue: add the metric to `{CATALOGUE}`");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

/// Holds that every metric of the catalogue is measured somewhere, but those that a library measures.
pub(super) fn every_metric_is_measured(tree: &Tree) -> Vec<Finding> {
    let Some(catalogue) = tree.get(CATALOGUE) else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(&catalogue.source.code) {
        let Some((name, kind)) = line.trim().split_once(": ") else { continue };
        let family = ["Counter ", "Gauge ", "Histogram("].iter().any(|start| kind.starts_with(start));
        if !family || !name.chars().all(is_word) || name.starts_with("PROCESS_") {
            continue;
        }
        let measures = |file: &File| {
            !file.is_test()
                && file.path != CATALOGUE
                && file.source.code.iter().any(|line| has_word(line, name))
        };
        if !tree.rust().any(measures) {
            let text = format!("nothing measures `{name}`: measure it, or delete it");
            findings.push(Finding::new(CATALOGUE, number, text));
        }
    }
    findings
}

/// Holds that the page lists exactly the events that are logged at `info` and above, each with its level.
pub(super) fn every_log_event_is_documented(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.get(PAGE).filter(|page| page.text.contains(HEADING)) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut logged = BTreeSet::new();
    let documented = documented(&page.text);
    for file in tree.rust().filter(|file| !file.is_test() && !file.path.starts_with("xtask/")) {
        for event in events(&file.source) {
            if !documented
                .iter()
                .any(|(_, level, message)| (*level, *message) == (event.level, &*event.message))
            {
                let (level, message) = (event.level, &event.message);
                let text = format!(
                    "the log event `{message}` ({level}) is missing in `{PAGE}`: say there what it means"
                );
                findings.push(Finding::new(&file.path, event.line, text));
            }
            logged.insert((event.level, event.message));
        }
    }
    for (number, level, message) in documented {
        if !logged.iter().any(|(l, m)| *l == level && m == message) {
            findings.push(Finding::new(
                PAGE,
                number,
                format!("nothing logs `{message}` at {level}: delete the row"),
            ));
        }
    }
    findings
}

const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// The rows of the page: line, level, message.
fn documented(page: &str) -> Vec<(usize, &str, &str)> {
    let lines = (1..).zip(page.lines()).skip_while(|(_, line)| *line != HEADING).skip(1);
    let rows = lines.take_while(|(_, line)| !line.starts_with("## "));
    rows.filter_map(|(number, line)| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let level = cells.next().filter(|level| LEVELS.contains(level))?;
        Some((number, level, cells.nth(1)?))
    })
    .collect()
}

struct Event {
    line: usize,
    level: &'static str,
    message: String,
}

/// What a file logs: of each macro, its last literal.
fn events(source: &Source) -> Vec<Event> {
    let tests_begin = source.tests_begin();
    let (mut events, mut literals_before) = (Vec::new(), 0);
    for (index, line) in source.code.iter().enumerate().take(tests_begin.saturating_sub(1)) {
        for level in LEVELS {
            let Some(at) = line.find(&format!("tracing::{level}!(")) else { continue };
            let before = literals_before + line[..at].matches("\"\"").count();
            let inside = literals_inside(&source.code[index..], at);
            let last = (before + inside).checked_sub(1).and_then(|last| source.literals.get(last));
            if let Some(literal) = last.filter(|_| inside > 0) {
                events.push(Event { line: index + 1, level, message: literal.text.clone() });
            }
        }
        literals_before += line.matches("\"\"").count();
    }
    events
}

/// Counts the literals within the parentheses that open first after `at` in the first line.
fn literals_inside(code: &[String], at: usize) -> usize {
    let (mut depth, mut literals) = (0_i32, 0);
    for (index, line) in code.iter().enumerate() {
        let line = if index == 0 { &line[at..] } else { line };
        for (place, c) in line.char_indices() {
            match c {
                '(' => depth += 1,
                ')' if depth == 1 => return literals,
                ')' => depth -= 1,
                '"' if line[place..].starts_with("\"\"") => literals += 1,
                _ => {}
            }
        }
    }
    literals
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    #[test]
    fn a_metric_past_the_catalogue_is_caught() {
        let files = [
            ("api/src/x.rs", "metrics::counter!(\"x\").increment(1);"),
            ("shared/src/metrics.rs", "gauge!(x)"),
        ];
        assert_eq!(
            findings(metrics_stand_in_the_catalogue, &files),
            [
                "api/src/x.rs:1: measured past the catalogue: add the metric to `shared/src/metrics/catalogue.rs`"
            ]
        );
    }

    #[test]
    fn a_metric_that_nothing_measures_is_caught() {
        let catalogue = "catalogue! {\n    USED: Counter \"a\" [] by EVERY,\n    UNUSED: Histogram(WAITS) \"b\" [] by EVERY,\n}";
        let files = [(CATALOGUE, catalogue), ("api/src/x.rs", "USED.increment(1);")];
        assert_eq!(
            findings(every_metric_is_measured, &files),
            ["shared/src/metrics/catalogue.rs:3: nothing measures `UNUSED`: measure it, or delete it"]
        );
    }

    #[test]
    fn log_events_and_their_page_are_held_against_each_other() {
        let page = "## Log events\n\n| level | of | message | means |\n|---|---|---|---|\n| info | api | serving | it listens |\n\
                    | warn | api | gone | nothing |\n\n## Runbook\n| info | x | not here | |\n";
        let code = "fn f() {\n    tracing::info!(%addr, list = x.join(\",\"), \"serving\");\n    tracing::warn!(\n        job.id = 1,\n        \
                    \"job (so) failed\"\n    );\n    tracing::debug!(\"unseen\");\n}\n#[cfg(test)]\nmod tests { fn g() { tracing::error!(\"x\") } }";
        assert_eq!(
            findings(every_log_event_is_documented, &[(PAGE, page), ("api/src/x.rs", code)]),
            [
                "api/src/x.rs:3: the log event `job (so) failed` (warn) is missing in `docs/operations.md`: say there what it means",
                "docs/operations.md:6: nothing logs `gone` at warn: delete the row",
            ]
        );
    }
}
