//! What keeps the two databases alike.

use std::collections::BTreeSet;

use super::Finding;
use super::source::is_word;
use super::tree::Tree;

const FOLDERS: [&str; 2] = ["migrations/postgres", "migrations/sqlite"];

/// Holds that both folders have the same files, numbered 0001, 0002 and so on.
pub(super) fn every_migration_has_its_namesake(tree: &Tree) -> Vec<Finding> {
    let names = FOLDERS.map(|folder| {
        let inside = tree.files.iter().filter_map(|file| file.path.strip_prefix(folder)?.strip_prefix('/'));
        inside.collect::<BTreeSet<&str>>()
    });
    let mut findings = Vec::new();
    for (folder, own, other_folder, other) in
        [(FOLDERS[0], &names[0], FOLDERS[1], &names[1]), (FOLDERS[1], &names[1], FOLDERS[0], &names[0])]
    {
        for name in own.difference(other) {
            let text = format!(
                "has no namesake in `{other_folder}`: write it, if only as a comment why it is empty"
            );
            findings.push(Finding::new(&format!("{folder}/{name}"), 1, text));
        }
        for (number, name) in (1..).zip(own) {
            if !name.starts_with(&format!("{number:04}_")) || !name.ends_with(".sql") {
                let text =
                    format!("must be called `{number:04}_<name>.sql`: migrations are numbered without gaps");
                findings.push(Finding::new(&format!("{folder}/{name}"), 1, text));
            }
        }
    }
    findings
}

/// Holds that the conformance suite, which runs on both databases, calls every function of the store.
pub(super) fn every_store_function_is_exercised(tree: &Tree) -> Vec<Finding> {
    let suite: Vec<&str> = tree
        .rust()
        .filter(|file| file.is_in("shared/tests/store"))
        .flat_map(|file| file.source.code.iter().map(String::as_str))
        .collect();
    let is_called = |call: &str| {
        suite.iter().any(|line| {
            line.match_indices(call).any(|(at, _)| {
                let after = &line[at + call.len()..];
                (after.starts_with('(') || after.starts_with("::<"))
                    && !(call.starts_with(is_word) && line[..at].ends_with(is_word))
            })
        })
    };
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(inner) = file.path.strip_prefix("shared/src/store/") else { continue };
        let modules: Vec<&str> =
            inner.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").collect();
        if matches!(inner, "db.rs" | "query.rs") {
            continue;
        }
        let modules = if modules.is_empty() { vec!["store"] } else { modules };
        for (number, line) in (1..file.source.tests_begin()).zip(&file.source.code) {
            let Some(rest) = line.trim_start().strip_prefix("pub async fn ") else { continue };
            let function = rest.split(['(', '<']).next().unwrap_or_default();
            let calls: Vec<String> = if line.starts_with(' ') {
                vec![format!("::{function}"), format!(".{function}")]
            } else {
                // A folder's parent module may re-export what its files define.
                modules.iter().map(|module| format!("{module}::{function}")).collect()
            };
            if !calls.iter().any(|call| is_called(call)) {
                let call = calls.last().map_or(function, String::as_str);
                let text = format!("`{call}(` is missing in `shared/tests/store`: test it on both databases");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    #[test]
    fn a_missing_namesake_and_a_gap_are_caught() {
        let files = [
            ("migrations/postgres/0001_a.sql", ""),
            ("migrations/postgres/0003_c.sql", ""),
            ("migrations/sqlite/0001_a.sql", ""),
        ];
        assert_eq!(
            findings(every_migration_has_its_namesake, &files),
            [
                "migrations/postgres/0003_c.sql:1: has no namesake in `migrations/sqlite`: write it, if only as a comment why it is empty",
                "migrations/postgres/0003_c.sql:1: must be called `0002_<name>.sql`: migrations are numbered without gaps",
            ]
        );
    }

    #[test]
    fn equal_migrations_pass() {
        let files = [("migrations/postgres/0001_a.sql", ""), ("migrations/sqlite/0001_a.sql", "")];
        assert!(findings(every_migration_has_its_namesake, &files).is_empty());
    }

    #[test]
    fn an_untested_store_function_is_caught() {
        let store = "pub async fn claim(tx: &mut Tx) {}\npub async fn finish<T>(tx: T) {}\nasync fn own() {}\nimpl A {\n    pub async fn load() {}\n}";
        let suite = "jobs::finish(&mut tx).await; // jobs::claim(tx)\nother_jobs::claim(tx); page.load();";
        let files = [
            ("shared/src/store/jobs.rs", store),
            ("shared/src/store/db.rs", store),
            ("shared/tests/store/jobs.rs", suite),
        ];
        assert_eq!(
            findings(every_store_function_is_exercised, &files),
            [
                "shared/src/store/jobs.rs:1: `jobs::claim(` is missing in `shared/tests/store`: test it on both databases"
            ]
        );
    }

    #[test]
    fn a_function_in_a_nested_file_may_be_called_through_its_parent() {
        let files = [
            ("shared/src/store/jobs/claim.rs", "pub async fn claim() {}\npub async fn lease() {}"),
            ("shared/tests/store.rs", "jobs::claim(tx)"),
        ];
        assert_eq!(findings(every_store_function_is_exercised, &files).len(), 1);
    }
}
