//! How code is written.

use super::Finding;
use super::source::{Source, is_word};
use super::tree::{File, Tree};

const LONGEST: usize = 600;
const LONG: usize = 400;

/// The one function of the tests that may wait between two looks.
const POLL_HELPER: &str = "eventually";

/// Holds that lints are expected with a reason, and that nothing is left undone.
pub(super) fn no_shortcuts(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (number, line) in (1..).zip(&file.source.code) {
            if line.contains("#[allow(") || line.contains("#![allow(") {
                let text = "`allow` hides a lint for ever: repair it, or use `expect(…, reason = \"…\")`";
                findings.push(Finding::new(&file.path, number, text));
            }
            if line.contains("todo!(") {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    "`todo!` panics in production: finish it or leave it out",
                ));
            }
        }
    }
    findings
}

/// Holds that tests poll with a deadline instead of guessing how long something takes.
pub(super) fn tests_do_not_sleep(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let tests_begin = if file.is_test() { 1 } else { file.source.tests_begin() };
        let polling =
            if file.is_in("shared/src/testkit") { body_of(&file.source, POLL_HELPER) } else { 0..0 };
        for (number, line) in (1..).zip(&file.source.code) {
            if number >= tests_begin
                && sleeps(line)
                && !polling.contains(&number)
                && !is_excused(file, number)
            {
                let text = "a test must not sleep: use `testkit::eventually`, or say why with a trailing `// tidy: …`";
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

/// Says whether a line calls `sleep` or `sleep_until` as a function; a method of that name is somebody else's.
fn sleeps(line: &str) -> bool {
    ["sleep(", "sleep_until("].iter().any(|call| {
        line.match_indices(call).any(|(at, _)| {
            let before = &line[..at];
            !before.ends_with(|c| is_word(c) || c == '.') && !before.trim_end().ends_with("fn")
        })
    })
}

fn is_excused(file: &File, line: usize) -> bool {
    let reason = file.source.comments.get(line - 1).and_then(|comment| comment.strip_prefix("// tidy:"));
    reason.is_some_and(|reason| !reason.trim().is_empty())
}

/// Returns the lines of a function's body.
fn body_of(source: &Source, function: &str) -> std::ops::Range<usize> {
    let is_start = |line: &String| {
        let name =
            line.split_once("fn ").map(|(_, rest)| rest.split(|c| !is_word(c)).next().unwrap_or_default());
        name == Some(function)
    };
    let Some(start) = source.code.iter().position(is_start) else { return 0..0 };
    let mut depth = 0;
    for (index, line) in source.code.iter().enumerate().skip(start) {
        let before = depth;
        for c in line.chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
        }
        if depth == 0 && (before > 0 || line.contains('}')) {
            return start + 1..index + 2;
        }
    }
    start + 1..source.code.len() + 1
}

/// Holds that a file can be read in one sitting.
pub(super) fn files_are_short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let lines = file.text.lines().count();
        if lines > LONGEST {
            let text =
                format!("has {lines} lines, more than {LONGEST}: split it by what its parts are about");
            findings.push(Finding::new(&file.path, lines, text));
        } else if lines > LONG {
            let text =
                format!("has {lines} lines; about {LONG} read best, so the next thing may want its own file");
            findings.push(Finding::note(&file.path, lines, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    #[test]
    fn an_allowed_lint_and_a_todo_are_caught() {
        let code = "#![allow(dead_code)]\n#[expect(unused, reason = \"x\")]\nfn a() { todo!() } // #[allow(x)]\nlet b = \"#[allow(x)]\";";
        let found = findings(no_shortcuts, &[("api/src/lib.rs", code)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("api/src/lib.rs:1: `allow`"), "{found:?}");
        assert!(found[1].starts_with("api/src/lib.rs:3: `todo!`"), "{found:?}");
    }

    #[test]
    fn a_sleeping_test_is_caught_and_an_excused_one_is_not() {
        let code = "async fn a() {\n    tokio::time::sleep(d).await;\n    sleep(d); // tidy: the peer has no way to tell\n    sleep(d); // tidy:\n    clock.sleep(d);\n}";
        let places = |files: &[(&str, &str)]| {
            let found = findings(tests_do_not_sleep, files);
            found.iter().filter_map(|text| text.split(": ").next().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(places(&[("cli/tests/a.rs", code)]), ["cli/tests/a.rs:2", "cli/tests/a.rs:4"]);
        assert!(places(&[("worker/src/lib.rs", code)]).is_empty());
        let below = format!("fn b() {{ sleep(d) }}\n#[cfg(test)]\nmod tests {{ {code} }}");
        assert_eq!(places(&[("worker/src/lib.rs", &below)]).len(), 2);
    }

    #[test]
    fn only_the_poll_helper_may_wait() {
        let code = "pub async fn eventually<F>(f: F) {\n    loop {\n        sleep(d).await;\n    }\n}\nfn other() {\n    sleep(d);\n}";
        let found = findings(tests_do_not_sleep, &[("shared/src/testkit/poll.rs", code)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("shared/src/testkit/poll.rs:7:"), "{found:?}");
    }

    #[test]
    fn a_file_over_the_limit_is_caught_and_a_long_one_noted() {
        let found = findings(
            files_are_short,
            &[("a.rs", &"\n".repeat(601)), ("b.rs", &"\n".repeat(401)), ("c.rs", "\n")],
        );
        assert_eq!(
            found,
            [
                "a.rs:601: has 601 lines, more than 600: split it by what its parts are about",
                "b.rs:401: note: has 401 lines; about 400 read best, so the next thing may want its own file",
            ]
        );
    }
}
