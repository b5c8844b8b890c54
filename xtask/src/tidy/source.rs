//! A Rust file taken apart into code, string literals and comments, so that no rule stumbles over a word in a comment.

/// A string literal and where it begins.
pub(super) struct Literal {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The parts of a Rust file.
#[derive(Default)]
pub(super) struct Source {
    /// The code, line by line, with comments and the insides of literals left out.
    pub(super) code: Vec<String>,
    /// The comments, on the lines where they stand.
    pub(super) comments: Vec<String>,
    pub(super) literals: Vec<Literal>,
}

impl Source {
    /// Takes a file apart; what does not parse as Rust comes out as code.
    pub(super) fn parse(text: &str) -> Self {
        let mut source =
            Self { code: vec![String::new()], comments: vec![String::new()], literals: Vec::new() };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let taken = if rest.starts_with("//") {
                source.comment(&rest[..rest.find('\n').unwrap_or(rest.len())])
            } else if rest.starts_with("/*") {
                source.comment(&rest[..block_comment(rest)])
            } else if let Some((length, inside)) = string_literal(rest).filter(|_| !source.in_identifier()) {
                source.literals.push(Literal { line: source.code.len(), text: inside.to_owned() });
                source.push("\"\"");
                inside.matches('\n').for_each(|_| source.newline());
                length
            } else if let Some(length) = char_literal(rest) {
                source.push("' '");
                length
            } else if first == '\n' {
                source.newline();
                1
            } else {
                source.push(&rest[..first.len_utf8()]);
                first.len_utf8()
            };
            rest = &rest[taken..];
        }
        source
    }

    fn push(&mut self, code: &str) {
        if let Some(line) = self.code.last_mut() {
            line.push_str(code);
        }
    }

    fn newline(&mut self) {
        self.code.push(String::new());
        self.comments.push(String::new());
    }

    fn comment(&mut self, comment: &str) -> usize {
        for (number, line) in comment.split('\n').enumerate() {
            if number > 0 {
                self.newline();
            }
            if let Some(last) = self.comments.last_mut() {
                last.push_str(line);
            }
        }
        comment.len()
    }

    /// Says whether the code so far ends inside a name, where `r"` and `b"` begin no literal with a prefix.
    fn in_identifier(&self) -> bool {
        self.code.last().is_some_and(|line| line.ends_with(is_word))
    }

    /// Returns the lines, counted from 1, on which the code names this path or macro, as such or through a `use`.
    pub(super) fn lines_naming(&self, path: &str) -> Vec<usize> {
        let direct = (1..).zip(&self.code).filter(|(_, line)| names(line, path)).map(|(number, _)| number);
        let imported =
            self.imports().into_iter().filter(|(_, used)| names(used, path)).map(|(number, _)| number);
        let mut lines: Vec<usize> = direct.chain(imported).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    /// Returns the first line of the tests at the end of the file, or the number after its last one.
    pub(super) fn tests_begin(&self) -> usize {
        let is_test = |line: &String| line.trim_start().starts_with("#[cfg(test)]");
        self.code.iter().position(is_test).map_or(self.code.len() + 1, |index| index + 1)
    }

    /// Spells out every `use` declaration with braces, as `a::b` and `a::c` for `use a::{b, c}`.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut imports = Vec::new();
        let mut lines = (1..).zip(&self.code);
        while let Some((number, line)) = lines.next() {
            let Some((_, start)) = line
                .split_once("use ")
                .filter(|(before, _)| before.trim().is_empty() || before.trim_start().starts_with("pub"))
            else {
                continue;
            };
            let mut statement = start.to_owned();
            while !statement.contains(';') {
                let Some((_, more)) = lines.next() else { break };
                statement.push_str(more.trim());
            }
            let tree = statement.split(';').next().unwrap_or_default();
            spell_out("", tree.trim(), &mut |path| imports.push((number, path)));
        }
        imports
    }
}

fn spell_out(prefix: &str, tree: &str, found: &mut impl FnMut(String)) {
    let Some((before, inside)) = tree.split_once('{') else {
        return found(format!("{prefix}{tree}"));
    };
    let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
    let mut depth = 0;
    let parts = inside.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        spell_out(&format!("{prefix}{}", before.trim()), part, found);
    }
}

/// Says whether the code names a path that begins like this one, as `sqlx::query_as` does for `sqlx::query` and
/// `axum_extra::routing` for `axum`; neither `my::axum` nor a variable called `axum` does.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = &code[..at];
        let is_inner = before.strip_suffix("::").is_some_and(|outer| outer.ends_with(is_word));
        let after = code[at + path.len()..].trim_start_matches(is_word);
        let is_path = path.contains("::") || after.starts_with("::") || code == path;
        is_path && !is_inner && !before.ends_with(|c| is_word(c) || c == '.')
    })
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the comment that begins here; block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns the length and the inside of the string literal that begins here, of whatever prefix.
fn string_literal(text: &str) -> Option<(usize, &str)> {
    let prefix = text.bytes().take_while(|byte| b"bcr".contains(byte)).count();
    let raw = text[..prefix].ends_with('r');
    let hashes = text[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let begin = prefix + hashes + 1;
    if prefix > 2 || (hashes > 0 && !raw) || !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    if raw {
        let closing = format!("\"{}", "#".repeat(hashes));
        let length = text[begin..].find(&closing)?;
        return Some((begin + length + closing.len(), &text[begin..begin + length]));
    }
    let mut escaped = false;
    let end = text[begin..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((begin + end + 1, &text[begin..begin + end]))
}

/// Returns the length of the character literal that begins here; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let mut chars = inside.char_indices();
    match chars.next()?.1 {
        '\\' => {
            let skipped = 1 + inside[1..].chars().next()?.len_utf8();
            Some(1 + skipped + inside[skipped..].find('\'')? + 1)
        }
        _ => {
            let (at, closing) = chars.next()?;
            (closing == '\'').then_some(1 + at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = Source::parse(
            "let a = \"SELECT \\\" // 1\"; // axum\nlet b = r#\"DELETE \"x\" \n y\"#; /* tokio /* nested */\n */ c('\"', 'a, '\\'');",
        );
        assert_eq!(source.code, ["let a = \"\"; ", "let b = \"\"", "; ", " c(' ', 'a, ' ');"]);
        assert_eq!(source.comments[0], "// axum");
        let literals: Vec<(usize, &str)> =
            source.literals.iter().map(|l| (l.line, l.text.as_str())).collect();
        assert_eq!(literals, [(1, "SELECT \\\" // 1"), (2, "DELETE \"x\" \n y")]);
    }

    #[test]
    fn a_path_is_found_as_such_and_in_the_braces_of_a_use() {
        let source = Source::parse(
            "use std::{\n    collections::{BTreeMap, HashMap},\n    fs,\n};\nmy::std::fs();\nstd::fs::read();",
        );
        assert_eq!(source.lines_naming("std::fs"), [1, 6]);
        assert_eq!(source.lines_naming("std::collections::HashMap"), [1]);
        assert!(source.lines_naming("std::net").is_empty());
        let source =
            Source::parse("let redis = redis_url;\nuse redis;\nredis::cmd();\nqueue::redis::push();");
        assert_eq!(source.lines_naming("redis"), [2, 3]);
    }

    #[test]
    fn tests_begin_at_their_attribute() {
        assert_eq!(Source::parse("fn a() {}\n\n#[cfg(test)]\nmod tests {}").tests_begin(), 3);
        assert_eq!(Source::parse("fn a() {}").tests_begin(), 2);
    }
}
