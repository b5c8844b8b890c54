//! Files that belong to a ticket.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::domain::access::Action;
use shared::domain::attachment::State;
use shared::ids::{AttachmentId, TicketId, UserId};
use shared::store::attachments::{self, Attachment};
use shared::store::desk::NewFile;
use shared::store::tickets;
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use super::comments::read_filter;
use crate::call::{Call, Listing, Name};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::idempotency;
use crate::openapi::bodies::NewAttachment;
use crate::openapi::queries;
use crate::upload::{Received, receive};
use crate::{cursor, download};

/// A file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attachment)]
pub(super) struct AttachmentView {
    id: AttachmentId,
    ticket_id: TicketId,
    uploader_id: Option<UserId>,
    name: String,
    media_type: String,
    /// In bytes.
    size: i64,
    sha256: String,
    is_internal: bool,
    state: State,
    /// What the scanner calls what it found.
    finding: Option<String>,
    created_at: DateTime,
    scanned_at: Option<DateTime>,
}

impl From<Attachment> for AttachmentView {
    fn from(attachment: Attachment) -> Self {
        let Attachment { id, ticket_id, uploader_id, name, media_type, size, sha256, state, .. } = attachment;
        let Attachment { internal: is_internal, finding, created_at, scanned_at, .. } = attachment;
        Self {
            id,
            ticket_id,
            uploader_id,
            name,
            media_type,
            size,
            sha256,
            is_internal,
            state,
            finding,
            created_at,
            scanned_at,
        }
    }
}

/// Lists the files of a ticket, oldest first unless told otherwise.
#[utoipa::path(
    get, path = "/tickets/{id}/attachments", tag = "attachments",
    params(queries::ByTime, queries::Page, queries::Count),
    responses((status = 200, description = "A page of files.", body = Vec<AttachmentView>)),
)]
pub(super) async fn list_attachments(
    Name(name): Name,
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<AttachmentView>>, ApiError> {
    let (filter, limit, count) = read_filter(&call, &name, query).await?;
    let db = &call.app.process.db;
    let mut found = attachments::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count {
        meta["total"] = attachments::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(AttachmentView::from).collect()).meta(meta))
}

/// Attaches a file to a ticket; where one with the same content is attached already, answers that one.
#[utoipa::path(
    post, path = "/tickets/{id}/attachments", tag = "attachments",
    request_body(content((NewAttachment = "multipart/form-data"))),
    responses(
        (status = 201, description = "The file.", body = AttachmentView),
        (status = 200, description = "The file with the same content that was there.", body = AttachmentView),
    ),
)]
pub(super) async fn attach_file(
    mut call: Call,
    Name(name): Name,
    request: Request,
) -> Result<Response, ApiError> {
    let ticket = call.ticket(&name).await?;
    call.may(Action::Comment, &ticket)?;
    let (headers, blobs) = (request.headers().clone(), call.app.process.blobs.clone());
    let received = receive(&blobs, request).await?;
    let Received { upload, name, internal, .. } = &received;
    let place = ticket.id.0.into_bytes();
    let said =
        idempotency::hash(&[&place, upload.sha256.as_bytes(), &[u8::from(*internal)], name.as_bytes()]);
    match idempotency::claim(&mut call, &headers, &said).await {
        Ok(None) => {}
        known => {
            blobs.discard(received.upload).await?;
            return known.map(Option::unwrap_or_default);
        }
    }
    let attached = attach(&call, ticket.id, received).await;
    idempotency::settle(&call, attached).await
}

/// Gives a file that was taken in its place, and attaches it.
async fn attach(call: &Call, ticket: TicketId, received: Received) -> Result<Response, ApiError> {
    let process = &call.app.process;
    let Received { upload, name, file_type, internal } = received;
    let file = NewFile {
        name,
        media_type: file_type.media_type,
        size: i64::try_from(upload.size).unwrap_or(i64::MAX),
        sha256: upload.sha256.clone(),
        internal,
        scan: process.config.clamav_addr.is_some(),
    };
    let mut tx = call.begin().await?;
    attachments::touch(&mut tx, &file.sha256, file.size, process.desk.clock.now()).await?;
    let _ = tx.commit().await?;
    process.blobs.keep(upload).await?;
    let mut tx = call.begin().await?;
    match process.desk.attach(&mut tx, ticket, &call.actor(), file).await? {
        Ok(attached) => call.commit(tx, Envelope::created(AttachmentView::from(attached))).await,
        Err(there) => call.commit(tx, Envelope::ok(AttachmentView::from(there))).await,
    }
}

/// Gives out the content of a file.
#[utoipa::path(
    get, path = "/attachments/{id}", tag = "attachments",
    params(queries::Part),
    responses(
        (status = 200, description = "The file, of the type that it is.", body = Value, content_type = "*/*", example = json!("Since 09:00 …")),
        (status = 206, description = "The part of the file.", body = Value, content_type = "*/*", example = json!("Since")),
        (status = 304, description = "The content is the one that is known."),
        (status = 409), (status = 416),
    ),
)]
pub(super) async fn download_attachment(
    call: Call,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let attachment = attachment(&call, &name).await?;
    match attachment.state {
        State::Unscanned | State::Clean => {}
        State::Pending => {
            let why = "The file has not been scanned yet; try again in a moment.";
            return Err(ApiError::Conflict("not_scanned", why.into()));
        }
        State::Quarantined => {
            return Err(ApiError::Forbidden("Malware was found in the file, and nobody may download it."));
        }
    }
    download::give(&call.app.process.blobs, &attachment, &headers).await
}

/// Deletes a file: nobody sees it any more.
#[utoipa::path(
    delete, path = "/attachments/{id}", tag = "attachments",
    responses((status = 204, description = "It is gone.")),
)]
pub(super) async fn delete_attachment(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    let id = attachment(&call, &name).await?.id;
    let mut tx = call.begin().await?;
    call.app.process.desk.detach(&mut tx, id, &call.actor()).await?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Finds the file that a path names, if the caller may see it.
async fn attachment(call: &Call, name: &str) -> Result<Attachment, ApiError> {
    const NONE: ApiError = ApiError::NotFound("attachment");
    let id: AttachmentId = name.parse().map_err(|_| NONE)?;
    let db = &call.app.process.db;
    let found = attachments::get(db, id).await?.ok_or(NONE)?;
    let action = if found.internal { Action::CommentInternally } else { Action::View };
    let ticket = tickets::get(db, found.ticket_id).await?;
    let is_seen = ticket
        .is_some_and(|ticket| ticket.deleted_at.is_none() && call.caller.may(action, &ticket.standing()));
    if is_seen { Ok(found) } else { Err(NONE) }
}
