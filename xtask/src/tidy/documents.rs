//! What keeps the pages true.

use super::Finding;
use super::source::is_word;
use super::tree::Tree;

const PAGES: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
const VARIABLE_PAGES: &[&str] = &[".env.example", "docs/operations.md"];
const ARCHITECTURE_LINES: usize = 250;

/// Holds that the architecture page stays one that people read.
pub(super) fn the_architecture_page_is_short(tree: &Tree) -> Vec<Finding> {
    let lines = tree.get("ARCHITECTURE.md").map_or(0, |page| page.text.lines().count());
    if lines <= ARCHITECTURE_LINES {
        return Vec::new();
    }
    let text = format!("has {lines} lines, more than {ARCHITECTURE_LINES}: move details to `docs/`");
    vec![Finding::new("ARCHITECTURE.md", lines, text)]
}

/// Holds that every path a page names in backticks is there, in full or as the end of a longer one.
pub(super) fn named_paths_exist(tree: &Tree) -> Vec<Finding> {
    let paths = tree.paths();
    let exists = |named: &str| {
        paths
            .iter()
            .any(|path| path.strip_suffix(named).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
    };
    let mut findings = Vec::new();
    for page in PAGES.iter().filter_map(|page| tree.get(page)) {
        let mut is_fenced = false;
        for (number, line) in (1..).zip(page.text.lines()) {
            if line.trim_start().starts_with("```") {
                is_fenced = !is_fenced;
            }
            let spans = line.split('`').skip(1).step_by(2).filter(|_| !is_fenced);
            for span in spans.filter(|span| is_path(span)) {
                let named = span.trim_start_matches("./").trim_end_matches('/');
                if !exists(named) {
                    let text = format!("`{span}` does not exist: correct the path or the sentence");
                    findings.push(Finding::new(&page.path, number, text));
                }
            }
        }
    }
    findings
}

/// Says whether this reads as a path in the repository: no command, address, pattern, media type or made file.
fn is_path(span: &str) -> bool {
    let elsewhere =
        ["/", "data/", "./data", "target/", "http", "application/", "text/", "image/", "multipart/"];
    span.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
        && (span.contains('/') || [".rs", ".md", ".toml", ".yml"].iter().any(|ending| span.ends_with(ending)))
        && !elsewhere.iter().any(|start| span.starts_with(start))
}

/// Holds that operators find every variable that the configuration reads.
pub(super) fn every_variable_is_documented(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.is_in("shared/src/config")) {
        let tests_begin = file.source.tests_begin();
        let literals = file.source.literals.iter().filter(|literal| literal.line < tests_begin);
        for literal in literals.filter(|literal| is_variable(&literal.text)) {
            for page in VARIABLE_PAGES {
                let known = tree.get(page).is_some_and(|page| has_word(&page.text, &literal.text));
                if !known {
                    let text = format!("`{}` is missing in `{page}`: say there what it does", literal.text);
                    findings.push(Finding::new(&file.path, literal.line, text));
                }
            }
        }
    }
    findings
}

fn is_variable(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && text != "UTC"
}

pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    #[test]
    fn a_long_architecture_page_is_caught() {
        assert_eq!(
            findings(the_architecture_page_is_short, &[("ARCHITECTURE.md", &"\n".repeat(251))]).len(),
            1
        );
        assert!(
            findings(the_architecture_page_is_short, &[("ARCHITECTURE.md", &"\n".repeat(250))]).is_empty()
        );
    }

    #[test]
    fn a_path_that_is_gone_is_caught() {
        let page = "`shared/src/old.rs` and `gone.toml`\n`db.rs` `store/db.rs` `shared/src/` `./Cargo.toml`\n\
                    `GET /tickets/{id}` `/metrics` `text/html` `data/mail` `cargo run` `a/*.rs`\n```\n`x/y.rs`\n```\n";
        let files = [("README.md", page), ("shared/src/store/db.rs", ""), ("Cargo.toml", "")];
        assert_eq!(
            findings(named_paths_exist, &files),
            [
                "README.md:1: `shared/src/old.rs` does not exist: correct the path or the sentence",
                "README.md:1: `gone.toml` does not exist: correct the path or the sentence",
            ]
        );
    }

    #[test]
    fn an_undocumented_variable_is_caught() {
        let code = "read(\"API_ADDR\", \"127.0.0.1:8080\");\nread(\"OPS_ADDR\");\n#[cfg(test)]\nmod tests { read(\"OTHER\") }";
        let files = [
            ("shared/src/config.rs", code),
            (".env.example", "API_ADDR=127.0.0.1:8080\nMY_OPS_ADDR=\n"),
            ("docs/operations.md", "`API_ADDR` and `OPS_ADDR`"),
        ];
        assert_eq!(
            findings(every_variable_is_documented, &files),
            ["shared/src/config.rs:2: `OPS_ADDR` is missing in `.env.example`: say there what it does"]
        );
    }
}
