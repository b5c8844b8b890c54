//! What somebody looks for, as they wrote it: words that must all occur, `"words in a row"`, `-without`, and `begin*`.

/// One part of what is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// In this order, one after the other; letters and digits only, in lower case.
    words: Vec<String>,
    /// Whether the last word is only how a word begins.
    prefix: bool,
    /// Whether it must not occur.
    without: bool,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Those that must occur, then those that must not.
    terms: Vec<Term>,
}

/// What a text must have, to end a sentence that begins with "Must".
pub const EXPECTED: &str = "have at least one word to look for, other than those to leave out";

impl Search {
    /// Reads what somebody wrote; `None` when there is nothing to look for.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let without = rest.starts_with('-');
            rest = rest.strip_prefix('-').unwrap_or(rest);
            let (part, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => rest.split_at(rest.find([' ', '\t', '\n', '\r', '"']).unwrap_or(rest.len())),
            };
            let words: Vec<String> = part
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_lowercase)
                .collect();
            if !words.is_empty() {
                terms.push(Term { words, prefix: part.ends_with('*'), without });
            }
            rest = after.trim_start();
        }
        terms.sort_by_key(|term| term.without);
        terms.first().is_some_and(|term| !term.without).then_some(Self { terms })
    }

    /// What must occur in one text.
    #[must_use]
    pub fn wanted(&self) -> Phrases<'_> {
        Phrases { terms: self.terms.iter().filter(|term| !term.without).collect(), and: true }
    }

    /// What must not occur in any text, were it only one of it; `None` when everything may.
    #[must_use]
    pub fn unwanted(&self) -> Option<Phrases<'_>> {
        let terms: Vec<&Term> = self.terms.iter().filter(|term| term.without).collect();
        (!terms.is_empty()).then_some(Phrases { terms, and: false })
    }
}

/// Words in a row, all of which, or any of which, are looked for.
#[derive(Clone, Debug)]
pub struct Phrases<'a> {
    terms: Vec<&'a Term>,
    and: bool,
}

impl Phrases<'_> {
    /// Writes it for `to_tsquery` of PostgreSQL. Words are letters and digits, so nothing needs to be quoted.
    #[must_use]
    pub fn to_tsquery(&self) -> String {
        let term = |term: &&Term| {
            let prefix = if term.prefix { ":*" } else { "" };
            format!("({}{prefix})", term.words.join(" <-> "))
        };
        let terms: Vec<String> = self.terms.iter().map(term).collect();
        terms.join(if self.and { " & " } else { " | " })
    }

    /// Writes it for FTS5 of SQLite.
    #[must_use]
    pub fn to_fts5(&self) -> String {
        let term = |term: &&Term| {
            let prefix = if term.prefix { " *" } else { "" };
            format!("\"{}\"{prefix}", term.words.join(" "))
        };
        let terms: Vec<String> = self.terms.iter().map(term).collect();
        terms.join(if self.and { " AND " } else { " OR " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_what_the_engines_read() {
        let search = Search::parse(r#"Disk -"read only" web-1.example.com err* -old"#).unwrap();
        let wanted = search.wanted();
        assert_eq!(wanted.to_tsquery(), "(disk) & (web <-> 1 <-> example <-> com) & (err:*)");
        assert_eq!(wanted.to_fts5(), r#""disk" AND "web 1 example com" AND "err" *"#);
        let unwanted = search.unwanted().unwrap();
        assert_eq!(
            (unwanted.to_tsquery(), unwanted.to_fts5()),
            ("(read <-> only) | (old)".into(), r#""read only" OR "old""#.into())
        );
    }

    #[test]
    fn what_names_nothing_is_not_a_search() {
        for text in ["", "  ", "-disk", "\"\"", "!&|():*<->", "- -", "-\"a b\" -c"] {
            assert_eq!(Search::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn operators_of_the_engines_are_only_words() {
        let search = Search::parse("a & !b' OR NEAR(c) \"unclosed").unwrap();
        assert_eq!(search.wanted().to_fts5(), r#""a" AND "b" AND "or" AND "near c" AND "unclosed""#);
    }
}
