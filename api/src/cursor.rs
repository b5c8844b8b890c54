//! Where a page of a list ended, in a text that is opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::form::Form;

#[derive(Debug, Serialize, Deserialize)]
struct Cursor<P> {
    /// The order of the list, as the query names it.
    sort: String,
    #[serde(flatten)]
    position: P,
}

/// Writes down where a page ended.
pub(crate) fn write<P: Serialize>(sort: &str, position: P) -> String {
    let cursor = Cursor { sort: sort.into(), position };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

/// Reads where to go on; it must come from a list in the same order, with what that order needs.
pub(crate) fn read<P: DeserializeOwned>(
    form: &mut Form,
    sort: &str,
    has_key: impl FnOnce(&P) -> bool,
) -> Option<P> {
    let text = form.line("cursor", 500).flatten()?;
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor: Option<Cursor<P>> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let usable = cursor.filter(|cursor| cursor.sort == sort && has_key(&cursor.position));
    if usable.is_none() {
        form.complain("invalid", "cursor", "Must be a next_cursor from a list in the same order.");
    }
    usable.map(|cursor| cursor.position)
}

/// Cuts what was found down to a page, and returns what the list says about itself. One more than the page holds
/// must have been looked for: it tells whether there is a next page.
pub(crate) fn cut<T>(found: &mut Vec<T>, limit: i64, cursor: impl FnOnce(&T) -> String) -> Value {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| has_more).map(cursor);
    json!({ "has_more": has_more, "next_cursor": next, "limit": limit })
}
