//! Cells that survive a spreadsheet.

use std::borrow::Cow;

/// Tells whether a spreadsheet would compute what begins like this, after any number of apostrophes.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Writes a cell so that no spreadsheet takes it for a formula: with an apostrophe in front.
#[must_use]
pub fn neutral(cell: &str) -> Cow<'_, str> {
    if is_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// Takes off the apostrophe that [`neutral`] puts in front, and no other.
#[must_use]
pub fn plain(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|_| is_formula(cell)).unwrap_or(cell)
}

/// Writes labels into one cell. A separator within a label gets a backslash in front.
#[must_use]
pub fn join_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> String {
    let mut cell = String::new();
    for label in labels {
        if !cell.is_empty() {
            cell.push('|');
        }
        for c in label.chars() {
            if matches!(c, '|' | ';' | '\\') {
                cell.push('\\');
            }
            cell.push(c);
        }
    }
    cell
}

/// Reads labels out of one cell: parted by `|` or `;`, blanks around them dropped, sorted, each once.
pub(super) fn split_labels(cell: &str) -> Vec<String> {
    let mut labels = vec![String::new()];
    let mut chars = cell.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = (c == '\\').then(|| chars.next_if(|next| matches!(next, '|' | ';' | '\\'))).flatten();
        match (escaped, c) {
            (Some(c), _) => labels.last_mut().map_or((), |label| label.push(c)),
            (None, '|' | ';') => labels.push(String::new()),
            (None, c) => labels.last_mut().map_or((), |label| label.push(c)),
        }
    }
    let mut labels: Vec<String> = labels.iter().map(|label| label.trim().to_owned()).collect();
    labels.retain(|label| !label.is_empty());
    labels.sort_unstable();
    labels.dedup();
    labels
}
