//! How a file is given out: as a download that no browser runs, whole or in part.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use shared::blobs::{Blobs, key_of};
use shared::store::attachments::Attachment;

use crate::error::ApiError;

/// What keeps a browser from doing anything with a file but save it.
const HARMLESS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::CACHE_CONTROL, "private, no-cache"),
    (header::ACCEPT_RANGES, "bytes"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Which part of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Of(Range<u64>),
    /// It has no such part.
    Nothing,
}

/// Gives out a file, or the part of it that is asked for.
pub(crate) async fn give(blobs: &Blobs, file: &Attachment, asked: &HeaderMap) -> Result<Response, ApiError> {
    let size = u64::try_from(file.size).unwrap_or(0);
    let etag = format!("\"{}\"", file.sha256);
    let text = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
    let mut response = Response::new(Body::empty());
    if text(header::IF_NONE_MATCH).is_some_and(|known| names(known, &etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        put(response.headers_mut(), header::ETAG, &etag);
        return Ok(response);
    }
    // Content never changes under an identifier, but whoever resumes may not know that.
    let resumes = text(header::IF_RANGE).is_none_or(|known| known == etag);
    let part = text(header::RANGE).filter(|_| resumes).map_or(Part::Whole, |range| part(range, size));
    let range = match part {
        Part::Whole => None,
        Part::Of(range) => Some(range),
        Part::Nothing => return Err(ApiError::NoSuchRange(size)),
    };
    let content = blobs.get(&key_of(&file.sha256), range.clone()).await?;
    let content = content.ok_or_else(|| ApiError::FilesAway(format!("the file of {} is gone", file.id)))?;
    *response.body_mut() = Body::from_stream(content);
    let headers = response.headers_mut();
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    put(headers, header::CONTENT_LENGTH, &length.to_string());
    put(headers, header::CONTENT_TYPE, &file.media_type);
    put(headers, header::CONTENT_DISPOSITION, &disposition(&file.name));
    put(headers, header::ETAG, &etag);
    for (name, value) in HARMLESS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(Range { start, end }) = range {
        put(headers, header::CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Tells whether `If-None-Match` names this content.
fn names(known: &str, etag: &str) -> bool {
    known.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == etag || one == "*")
}

/// Reads a `Range`. One that cannot be read, and several at once, are left aside, as RFC 9110 allows.
fn part(range: &str, size: u64) -> Part {
    let Some((unit, spec)) = range.split_once('=') else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Part::Whole;
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let within = |start: u64, end: u64| if start < end { Part::Of(start..end) } else { Part::Nothing };
    match (first, last, number(first).flatten(), number(last).flatten()) {
        ("", _, _, Some(suffix)) => within(size.saturating_sub(suffix), size),
        (_, "", Some(start), _) => within(start, size),
        (_, _, Some(start), Some(last)) if start <= last => within(start, size.min(last.saturating_add(1))),
        _ => Part::Whole,
    }
}

/// Names a file as RFC 6266 and RFC 8187 have it, for programs that read either.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    let mut exact = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_standard_says() {
        let cases = [
            ("bytes=0-0", Part::Of(0..1)),
            ("bytes=5-", Part::Of(5..10)),
            ("bytes=5-99", Part::Of(5..10)),
            ("bytes=-3", Part::Of(7..10)),
            ("bytes=-99", Part::Of(0..10)),
            ("bytes=-0", Part::Nothing),
            ("bytes=10-", Part::Nothing),
            ("bytes=10-12", Part::Nothing),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=99999999999999999999999-", Part::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(part(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(
            disposition("Grüße \"x\"; a=b%.txt"),
            "attachment; filename=\"Gr__e _x_; a=b_.txt\"; \
             filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22x%22%3B%20a%3Db%25.txt"
        );
    }
}
