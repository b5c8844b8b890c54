//! Which part may know what.

use super::Finding;
use super::tree::{File, Tree};

const BINARIES: &[&str] = &["api", "worker", "scheduler"];
const OPS: &str = "shared/src/ops.rs";

/// What the pure rules must not name: they compute, and others read, write and wait.
const IMPURE: &[&str] = &[
    "sqlx::query",
    "sqlx::raw_sql",
    "sqlx::Query",
    "sqlx::Pool",
    "axum",
    "tokio",
    "redis",
    "lettre",
    "std::fs",
    "std::net",
];

/// Holds that the three processes know `shared` but not one another, and that only `cli` puts them together.
pub(super) fn binaries_never_depend_on_each_other(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in ["api", "worker", "scheduler", "shared", "xtask"] {
        let path = format!("{folder}/Cargo.toml");
        let Some(manifest) = tree.get(&path) else { continue };
        let dependencies = dependencies(manifest);
        let forbidden = |dependency: &Dependency| {
            let other = BINARIES.iter().any(|other| dependency.is_crate(&format!("dogwatch-{other}"), other));
            other || dependency.is_crate("dogwatch", "cli") || dependency.is_crate("xtask", "xtask")
        };
        for dependency in dependencies.iter().filter(|dependency| forbidden(dependency)) {
            let text = format!(
                "`{folder}` must not depend on `{}`: move what both need to `shared`",
                dependency.name
            );
            findings.push(Finding::new(&path, dependency.line, text));
        }
        let knows_shared =
            dependencies.iter().any(|d| d.name == "shared" || d.is_crate("dogwatch-shared", "shared"));
        if BINARIES.contains(&folder) && !knows_shared {
            findings.push(Finding::new(
                &path,
                1,
                "the crate stands on `shared`: add `shared.workspace = true`",
            ));
        }
    }
    findings
}

/// Holds that `domain` is computation only; a `sqlx::Type` may be derived there.
pub(super) fn domain_is_pure(tree: &Tree) -> Vec<Finding> {
    let domain = tree.rust().filter(|file| file.is_in("shared/src/domain"));
    domain
        .flat_map(|file| {
            IMPURE.iter().flat_map(move |name| {
                file.source.lines_naming(name).into_iter().map(move |line| {
                    let text = format!("`domain` is pure and must not name `{name}`: pass in what it needs");
                    Finding::new(&file.path, line, text)
                })
            })
        })
        .collect()
}

/// Holds that statements stand only in `shared/src/store`, where they run on both databases under test.
pub(super) fn sql_stands_in_the_store(tree: &Tree) -> Vec<Finding> {
    const DO: &str = "move the statement to a function in `shared/src/store`";
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.is_test() || file.is_in("shared/src/store") || file.path.starts_with("xtask/") {
            continue;
        }
        if file.path.ends_with(".sql") && !file.path.starts_with("migrations/") {
            findings.push(Finding::new(&file.path, 1, format!("SQL stands only in the store: {DO}")));
        }
        for literal in file.source.literals.iter().filter(|literal| is_sql(&literal.text)) {
            findings.push(Finding::new(&file.path, literal.line, format!("SQL outside the store: {DO}")));
        }
        for name in ["sqlx::query", "sqlx::raw_sql", "sqlx::QueryBuilder"] {
            for line in file.source.lines_naming(name) {
                findings.push(Finding::new(&file.path, line, format!("`{name}` outside the store: {DO}")));
            }
        }
    }
    findings
}

fn is_sql(text: &str) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    let updates = text.split_once("UPDATE ").is_some_and(|(_, rest)| rest.contains(" SET "));
    updates || ["SELECT ", "INSERT INTO ", "DELETE FROM "].iter().any(|statement| text.contains(statement))
}

/// Holds that axum stands only in `api` and the ops address, and lettre only in `worker`.
pub(super) fn web_and_mail_have_one_home(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (library, home, exception) in [("axum", "api/", OPS), ("lettre", "worker/", "")] {
        let allowed = |file: &File| file.path.starts_with(home) || file.path == exception || file.is_test();
        for file in tree.rust().filter(|file| !allowed(file)) {
            for line in file.source.lines_naming(library) {
                let text = format!("`{library}` belongs to `{home}` alone: move this there");
                findings.push(Finding::new(&file.path, line, text));
            }
        }
        for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
            let excepted = exception.starts_with(file.path.trim_end_matches("Cargo.toml"));
            if file.path.starts_with(home) || excepted {
                continue;
            }
            for dependency in
                dependencies(file).iter().filter(|d| d.name.starts_with(library) && !d.for_tests)
            {
                let text = format!("`{}` belongs to `{home}` alone: remove it here", dependency.name);
                findings.push(Finding::new(&file.path, dependency.line, text));
            }
        }
    }
    findings
}

struct Dependency<'a> {
    line: usize,
    name: &'a str,
    text: &'a str,
    for_tests: bool,
}

impl Dependency<'_> {
    /// Says whether it is the crate of this package name in this folder, under whatever name it is used.
    fn is_crate(&self, package: &str, folder: &str) -> bool {
        self.name == package
            || self.text.contains(&format!("\"{package}\""))
            || self.text.contains(&format!("\"../{folder}\""))
    }
}

/// Reads the dependencies of all sections of a manifest, one a line.
fn dependencies(manifest: &File) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (line, text) in (1..).zip(manifest.text.lines()) {
        let text = text.trim();
        if let Some(header) = text.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default();
        }
        let for_tests = section.contains("dev-dependencies");
        let parts: Vec<&str> = section.split('.').collect();
        let at = parts.iter().position(|part| part.ends_with("dependencies"));
        let name = match at.map(|at| parts.get(at + 1)) {
            // [dependencies.name]
            Some(Some(name)) => name,
            // name = …, name.workspace = true
            Some(None) if !text.starts_with(['[', '#']) && !text.is_empty() => {
                text.split(['.', '=', ' ']).next().unwrap_or_default()
            }
            _ => continue,
        };
        found.push(Dependency { line, name: name.trim_matches('"'), text, for_tests });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    #[test]
    fn a_worker_that_depends_on_the_api_is_caught() {
        for line in [
            "dogwatch-api.workspace = true",
            "web = { path = \"../api\" }",
            "[dev-dependencies.dogwatch-api]",
        ] {
            let manifest = format!("[dependencies]\nshared.workspace = true\n{line}\n");
            let found = findings(binaries_never_depend_on_each_other, &[("worker/Cargo.toml", &manifest)]);
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].starts_with("worker/Cargo.toml:3: `worker` must not depend on"), "{found:?}");
        }
    }

    #[test]
    fn the_command_line_may_compose_all_and_nobody_may_go_without_shared() {
        let cli = "[dependencies]\ndogwatch-api.workspace = true\ndogwatch-worker.workspace = true\n";
        assert!(findings(binaries_never_depend_on_each_other, &[("cli/Cargo.toml", cli)]).is_empty());
        let api = "[package]\nname = \"dogwatch-api\"\n[dependencies]\naxum.workspace = true\n";
        assert_eq!(
            findings(binaries_never_depend_on_each_other, &[("api/Cargo.toml", api)]),
            ["api/Cargo.toml:1: the crate stands on `shared`: add `shared.workspace = true`"]
        );
    }

    #[test]
    fn a_domain_that_reads_files_or_queries_is_caught() {
        let code = "use std::{fmt, net::IpAddr};\n// tokio is no word for here\n#[derive(sqlx::Type)]\nenum A {}\nfn a() { sqlx::query_as(x) }";
        let found =
            findings(domain_is_pure, &[("shared/src/domain/sla/clock.rs", code), ("api/src/lib.rs", code)]);
        assert_eq!(
            found,
            [
                "shared/src/domain/sla/clock.rs:5: `domain` is pure and must not name `sqlx::query`: pass in what it needs",
                "shared/src/domain/sla/clock.rs:1: `domain` is pure and must not name `std::net`: pass in what it needs",
            ]
        );
    }

    #[test]
    fn sql_outside_the_store_is_caught() {
        let code = "const A: &str = \"\n    SELECT\n id FROM t\";\nlet b = \"UPDATE t\n SET a = 1\";\nuse sqlx::{Row, query};";
        let elsewhere =
            [("shared/src/store/jobs.rs", code), ("api/tests/a.rs", code), ("shared/src/testkit.rs", code)];
        assert!(findings(sql_stands_in_the_store, &elsewhere).is_empty());
        let found = findings(sql_stands_in_the_store, &[("worker/src/lib.rs", code), ("worker/a.sql", "")]);
        let places: Vec<&str> = found.iter().filter_map(|text| text.split(": ").next()).collect();
        assert_eq!(
            places,
            ["worker/src/lib.rs:1", "worker/src/lib.rs:4", "worker/src/lib.rs:6", "worker/a.sql:1"]
        );
        let prose = "let a = \"choose one: UPDATE or DELETE\"; // SELECT 1 FROM t";
        assert!(findings(sql_stands_in_the_store, &[("worker/src/lib.rs", prose)]).is_empty());
    }

    #[test]
    fn axum_and_lettre_away_from_home_are_caught() {
        let both = "use axum::Router;\nuse lettre::Message;";
        let manifest = "[dependencies]\naxum.workspace = true\nlettre.workspace = true\n[dev-dependencies]\naxum = \"1\"";
        let files = [
            ("api/src/lib.rs", both),
            ("shared/src/ops.rs", both),
            ("shared/src/mail.rs", both),
            ("shared/Cargo.toml", manifest),
            ("worker/Cargo.toml", manifest),
        ];
        assert_eq!(
            findings(web_and_mail_have_one_home, &files),
            [
                "shared/src/mail.rs:1: `axum` belongs to `api/` alone: move this there",
                "worker/Cargo.toml:2: `axum` belongs to `api/` alone: remove it here",
                "api/src/lib.rs:2: `lettre` belongs to `worker/` alone: move this there",
                "shared/src/ops.rs:2: `lettre` belongs to `worker/` alone: move this there",
                "shared/src/mail.rs:2: `lettre` belongs to `worker/` alone: move this there",
                "shared/Cargo.toml:3: `lettre` belongs to `worker/` alone: remove it here",
            ]
        );
    }
}
