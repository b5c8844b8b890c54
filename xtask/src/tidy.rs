//! Holds the repository to its invariants; every rule looks only at the loaded tree.

mod alerts;
mod dashboards;
mod documents;
mod layers;
mod migrations;
mod observed;
mod source;
mod style;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::root;
use tree::Tree;

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    layers::binaries_never_depend_on_each_other,
    layers::domain_is_pure,
    layers::sql_stands_in_the_store,
    layers::web_and_mail_have_one_home,
    migrations::every_migration_has_its_namesake,
    migrations::every_store_function_is_exercised,
    observed::metrics_stand_in_the_catalogue,
    observed::every_metric_is_measured,
    observed::every_log_event_is_documented,
    style::no_shortcuts,
    style::tests_do_not_sleep,
    style::files_are_short,
    documents::the_architecture_page_is_short,
    documents::named_paths_exist,
    documents::every_variable_is_documented,
    dashboards::dashboards_pass_the_linter,
    dashboards::panels_have_their_places,
    alerts::alerts_lead_somewhere,
    alerts::every_rule_is_tested,
    alerts::links_of_dashboards_resolve,
    alerts::the_runbook_names_what_exists,
    alerts::metrics_are_documented,
];

/// Says what is wrong where, and what to do about it.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    text: String,
    /// A note is printed but fails nothing.
    is_note: bool,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into(), is_note: false }
    }

    fn note(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { is_note: true, ..Self::new(path, line, text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.is_note { "note: " } else { "" };
        write!(f, "{}:{}: {note}{}", self.path, self.line, self.text)
    }
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings
}

/// Prints every finding; notes alone are no failure.
pub(crate) fn run() -> Result<ExitCode> {
    let findings = check(&Tree::load(&root())?);
    for finding in &findings {
        println!("{finding}");
    }
    let broken = findings.iter().filter(|finding| !finding.is_note).count();
    if broken == 0 {
        println!("tidy: all is well");
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {broken} to repair");
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one rule over made-up files and returns its findings as lines, notes included.
    pub(super) fn findings(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        rule(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_repository_is_tidy() {
        let findings = check(&Tree::load(&root()).expect("the repository can be read"));
        let broken: Vec<String> = findings.iter().filter(|f| !f.is_note).map(ToString::to_string).collect();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        assert_eq!(Finding::new("a/b.rs", 7, "is wrong").to_string(), "a/b.rs:7: is wrong");
        assert_eq!(Finding::note("a.rs", 1, "is long").to_string(), "a.rs:1: note: is long");
    }
}
