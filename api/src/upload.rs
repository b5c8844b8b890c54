//! Takes in a file that is sent as `multipart/form-data`, without holding it in memory.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use futures::{Stream, StreamExt, stream};
use shared::blobs::{Blobs, PutError, Upload};
use shared::domain::attachment::{FileType, LARGEST, TYPES, plain_name};

use crate::error::{ApiError, FieldError};

/// How much of a file is looked at to know what it is.
const BEGINNING: usize = 8 * 1024;

/// At most as many bytes to a field that is no file.
const FIELD: usize = 1_024;

/// At most as many fields.
const FIELDS: usize = 20;

/// At most as many bytes to a body that brings a file: the file, and what surrounds it.
#[expect(clippy::cast_possible_truncation, reason = "50 MiB")]
pub(crate) const MAX_UPLOAD: usize = LARGEST as usize + 64 * 1024;

/// How long a sender may send nothing.
const STALLED: Duration = Duration::from_secs(30);

/// Tells whether a POST to a path may bring a file, which is streamed.
pub(crate) fn brings_file(path: &str) -> bool {
    path == "/api/v1/tickets/import" || path.starts_with("/api/v1/tickets/") && path.ends_with("/attachments")
}

/// A file that was taken in, and what was said about it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) upload: Upload,
    pub(crate) name: String,
    pub(crate) file_type: FileType,
    pub(crate) internal: bool,
}

/// What is known of a form so far.
#[derive(Default)]
struct Reading {
    file: Option<(Upload, String, FileType)>,
    internal: Option<bool>,
    errors: Vec<FieldError>,
}

impl Reading {
    fn complain(&mut self, code: &'static str, field: &str, message: &str) {
        self.errors.push(FieldError { code, field: Some(field.into()), message: message.into() });
    }
}

/// Takes in the one file of a form. Nothing stays of a file when the form is refused.
pub(crate) async fn receive(blobs: &Blobs, request: Request) -> Result<Received, ApiError> {
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| {
        let how = "Send the file as multipart/form-data, in a field named file.";
        ApiError::NotTaken("not_multipart", how.into())
    })?;
    let mut reading = Reading::default();
    let mut outcome = read(blobs, &mut form, &mut reading).await;
    if outcome.is_err() {
        // Who still sends would not read the answer.
        while let Ok(Some(_)) = next(&mut form).await {}
    } else if reading.file.is_none() && reading.errors.is_empty() {
        reading.complain("required", "file", "Is required: a file with a name.");
    }
    if outcome.is_ok() && !reading.errors.is_empty() {
        outcome = Err(ApiError::Invalid(std::mem::take(&mut reading.errors)));
    }
    match (outcome, reading.file) {
        (Ok(()), Some((upload, name, file_type))) => {
            Ok(Received { upload, name, file_type, internal: reading.internal.unwrap_or(false) })
        }
        (outcome, file) => {
            if let Some((upload, ..)) = file {
                blobs.discard(upload).await?;
            }
            Err(outcome.err().unwrap_or(ApiError::NotFound("file")))
        }
    }
}

async fn read(blobs: &Blobs, form: &mut Multipart, reading: &mut Reading) -> Result<(), ApiError> {
    for count in 0.. {
        let Some(field) = next(form).await? else { return Ok(()) };
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            _ if count >= FIELDS => return Err(ApiError::Malformed("The form has too many fields.".into())),
            "file" if reading.file.is_some() => reading.complain("repeated", "file", "Give it once."),
            "file" => reading.file = take_file(blobs, field, reading).await?,
            "is_internal" if reading.internal.is_some() => {
                reading.complain("repeated", "is_internal", "Give it once.");
            }
            "is_internal" => match short(field).await?.as_deref() {
                Some("true") => reading.internal = Some(true),
                Some("false") => reading.internal = Some(false),
                _ => reading.complain("invalid", "is_internal", "Must be true or false."),
            },
            other => {
                let shown: String = other.chars().filter(|c| !c.is_control()).take(100).collect();
                reading.complain("unknown", &shown, "There is no such field.");
            }
        }
    }
    Ok(())
}

/// Takes in a file that may be taken; `None` when its name is of no use.
async fn take_file(
    blobs: &Blobs,
    field: Field<'_>,
    reading: &mut Reading,
) -> Result<Option<(Upload, String, FileType)>, ApiError> {
    let Some(name) = plain_name(field.file_name().unwrap_or_default()) else {
        reading.complain("required", "file", "Must have a file name.");
        return Ok(None);
    };
    let known = || {
        let known: Vec<&str> = TYPES.iter().map(|known| known.extension).collect();
        ApiError::NotTaken(
            "file_type",
            format!("Files of this type are not taken; these are: {}.", known.join(", ")).into(),
        )
    };
    let file_type = FileType::of(&name).ok_or_else(known)?;
    let mut pieces = Box::pin(steadily(field).fuse());
    let (mut first, mut beginning, mut whole) = (Vec::new(), Vec::new(), false);
    while beginning.len() < BEGINNING && !whole {
        match pieces.next().await {
            None => whole = true,
            Some(Err(error)) => return Err(error),
            Some(Ok(piece)) => {
                let room = BEGINNING - beginning.len();
                beginning.extend_from_slice(&piece[..piece.len().min(room)]);
                first.push(piece);
            }
        }
    }
    if beginning.is_empty() {
        reading.complain("empty", "file", "Must not be empty.");
        return Ok(None);
    }
    let magic = infer::get(&beginning).map(|found| found.mime_type());
    if !file_type.fits(&beginning, magic, whole) {
        let why = format!("The content of the file is not what its name says: .{}.", file_type.extension);
        return Err(ApiError::NotTaken("file_content", why.into()));
    }
    let content = stream::iter(first.into_iter().map(Ok)).chain(pieces);
    let upload = blobs.upload(content, LARGEST).await.map_err(|error| match error {
        PutError::TooLarge(_) => too_large(),
        PutError::Source(error) => error,
        PutError::Store(error) => error.into(),
    })?;
    Ok(Some((upload, name, file_type)))
}

/// The pieces of a field, until the sender stalls.
fn steadily(field: Field<'_>) -> impl Stream<Item = Result<Bytes, ApiError>> + Send {
    stream::unfold(Some(field), async |field| {
        let mut field = field?;
        match tokio::time::timeout(STALLED, field.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(field))),
            Ok(Some(Err(error))) => Some((Err(broken(&error)), None)),
            Err(_) => Some((Err(stalled()), None)),
        }
    })
}

/// Reads a field that is no file; `None` when it is too long or not text.
async fn short(field: Field<'_>) -> Result<Option<String>, ApiError> {
    let mut pieces = Box::pin(steadily(field));
    let mut text = Vec::new();
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece?);
        if text.len() > FIELD {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(text).ok())
}

async fn next(form: &mut Multipart) -> Result<Option<Field<'_>>, ApiError> {
    let field = tokio::time::timeout(STALLED, form.next_field()).await.map_err(|_| stalled())?;
    field.map_err(|error| broken(&error))
}

fn too_large() -> ApiError {
    ApiError::TooLarge(usize::try_from(LARGEST).unwrap_or(usize::MAX))
}

fn stalled() -> ApiError {
    ApiError::Malformed("The upload stalled; send it again.".into())
}

fn broken(error: &MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::Malformed("The form broke off, or is not as multipart/form-data has it.".into()),
    }
}
