//! What is said about a ticket.

use std::str::FromStr;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::domain::access::Action;
use shared::ids::{CommentId, TicketId, UserId};
use shared::store::belonging::Filter;
use shared::store::comments::{self, Comment, Former, Signed};
use shared::store::desk::Remark;
use shared::store::tickets;
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::bodies::{CommentEdit, NewComment};
use crate::openapi::queries;

/// At most as many characters to a comment.
const LONGEST: usize = 65_536;

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comment)]
pub(super) struct CommentView {
    id: CommentId,
    ticket_id: TicketId,
    author_id: Option<UserId>,
    author_name: Option<String>,
    content: String,
    is_internal: bool,
    is_system: bool,
    created_at: DateTime,
    edited_at: Option<DateTime>,
    /// How often it was edited.
    edits: i64,
    version: i64,
}

impl CommentView {
    fn new(comment: Comment, author_name: Option<String>) -> Self {
        let Comment { id, ticket_id, author_id, content, version, created_at, edited_at, .. } = comment;
        let (is_internal, is_system, edits) = (comment.internal, comment.system, version - 1);
        Self {
            id,
            ticket_id,
            author_id,
            author_name,
            content,
            is_internal,
            is_system,
            created_at,
            edited_at,
            edits,
            version,
        }
    }
}

impl From<Signed> for CommentView {
    fn from(Signed { comment, author_name }: Signed) -> Self {
        Self::new(comment, author_name)
    }
}

/// What a comment said before.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FormerComment)]
pub(super) struct FormerView {
    version: i64,
    content: String,
    replaced_at: DateTime,
}

impl From<Former> for FormerView {
    fn from(Former { version, content, replaced_at }: Former) -> Self {
        Self { version, content, replaced_at }
    }
}

/// Lists what was said about a ticket, oldest first unless told otherwise.
#[utoipa::path(
    get, path = "/tickets/{id}/comments", tag = "comments",
    params(queries::ByTime, queries::Page, queries::Count),
    responses((status = 200, description = "A page of comments.", body = Vec<CommentView>)),
)]
pub(super) async fn list_comments(
    Name(name): Name,
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<CommentView>>, ApiError> {
    let (filter, limit, count) = read_filter(&call, &name, query).await?;
    let db = &call.app.process.db;
    let mut found = comments::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.comment.id.to_string());
    if count {
        meta["total"] = comments::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(CommentView::from).collect()).meta(meta))
}

/// Says something about a ticket.
#[utoipa::path(
    post, path = "/tickets/{id}/comments", tag = "comments",
    request_body = NewComment,
    responses((status = 201, description = "The comment.", body = CommentView)),
)]
pub(super) async fn post_comment(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let content = read_content(&mut form);
    let internal = form.flag("is_internal").flatten().unwrap_or(false);
    form.finish()?;
    let remark = Remark { content: content.unwrap_or_default(), internal };
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let comment = call.app.process.desk.comment(&mut tx, id, &call.actor(), remark).await?;
    let view = CommentView::new(comment, Some(call.user.name.clone()));
    call.commit(tx, Envelope::created(view).etag(1)).await
}

/// Shows a comment.
#[utoipa::path(
    get, path = "/comments/{id}", tag = "comments",
    responses((status = 200, description = "The comment.", body = CommentView)),
)]
pub(super) async fn show_comment(call: Call, Name(name): Name) -> Result<Envelope<CommentView>, ApiError> {
    let found = comment(&call, &name).await?;
    let version = found.comment.version;
    Ok(Envelope::ok(CommentView::from(found)).etag(version))
}

/// Replaces what a comment says.
#[utoipa::path(
    patch, path = "/comments/{id}", tag = "comments",
    request_body = CommentEdit,
    responses((status = 200, description = "The comment as it is now.", body = CommentView)),
)]
pub(super) async fn edit_comment(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let content = read_content(&mut form);
    let internal = form.flag("is_internal").flatten();
    let version = form.number("version", 1..=i64::MAX);
    let found = comment(&call, &name).await?;
    if internal.is_some_and(|internal| internal != found.comment.internal) {
        form.complain("invalid", "is_internal", "Cannot be changed: delete the comment and write another.");
    }
    form.finish()?;
    let expected = call.expects(version)?;
    let (id, content) = (found.comment.id, content.unwrap_or_default());
    let mut tx = call.begin().await?;
    let edited = call.app.process.desk.edit_comment(&mut tx, id, expected, &call.actor(), content).await;
    let comment = edited.map_err(|error| call.refused(error))?;
    let version = comment.version;
    call.commit(tx, Envelope::ok(CommentView::new(comment, found.author_name)).etag(version)).await
}

/// Replaces what a comment says as a whole, which is its content.
#[utoipa::path(
    put, path = "/comments/{id}", tag = "comments",
    request_body = CommentEdit,
    responses((status = 200, description = "The comment as it is now.", body = CommentView)),
)]
pub(super) async fn replace_comment(call: Call, name: Name, body: Body) -> Result<Response, ApiError> {
    edit_comment(call, name, body).await
}

/// Deletes a comment: nobody sees any more what it said.
#[utoipa::path(
    delete, path = "/comments/{id}", tag = "comments",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_comment(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    let expected = call.expects(None)?;
    let id = comment(&call, &name).await?.comment.id;
    let mut tx = call.begin().await?;
    let deleted = call.app.process.desk.delete_comment(&mut tx, id, expected, &call.actor()).await;
    deleted.map_err(|error| call.refused(error))?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lists what a comment said before its edits, oldest first.
#[utoipa::path(
    get, path = "/comments/{id}/edits", tag = "comments",
    responses((status = 200, description = "What it said.", body = Vec<FormerView>)),
)]
pub(super) async fn list_edits(call: Call, Name(name): Name) -> Result<Envelope<Vec<FormerView>>, ApiError> {
    let found = comment(&call, &name).await?;
    if !call.caller.role.is_staff() {
        return Err(ApiError::Forbidden("Only staff may see what comments said before."));
    }
    let edits = comments::edits(&call.app.process.db, found.comment.id).await?;
    Ok(Envelope::ok(edits.into_iter().map(FormerView::from).collect()))
}

/// Finds the comment that a path names, if the caller may see it.
async fn comment(call: &Call, name: &str) -> Result<Signed, ApiError> {
    const NONE: ApiError = ApiError::NotFound("comment");
    let id: CommentId = name.parse().map_err(|_| NONE)?;
    let db = &call.app.process.db;
    let found = comments::get(db, id).await?.ok_or(NONE)?;
    let action = if found.comment.internal { Action::CommentInternally } else { Action::View };
    let ticket = tickets::get(db, found.comment.ticket_id).await?;
    let is_seen = ticket
        .is_some_and(|ticket| ticket.deleted_at.is_none() && call.caller.may(action, &ticket.standing()));
    if is_seen { Ok(found) } else { Err(NONE) }
}

fn read_content(form: &mut Form) -> Option<String> {
    let content = form.required("content", |form, field| form.lines(field, LONGEST))?;
    if content.trim().is_empty() {
        form.complain("empty", "content", "Must not be empty.");
    }
    Some(content)
}

/// Reads which comments or files of a ticket are meant; how many to a page; and whether to count them.
pub(super) async fn read_filter<I: FromStr>(
    call: &Call,
    name: &str,
    mut query: Form,
) -> Result<(Filter<I>, i64, bool), ApiError> {
    let ticket = call.ticket(name).await?;
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let filter = Filter {
        ticket: ticket.id,
        internal: call.caller.may(Action::CommentInternally, &ticket.standing()),
        descending: is_descending(&mut query),
        after: query.parse("cursor", "a next_cursor from such a list").flatten(),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    query.finish()?;
    Ok((filter, limit, count.unwrap_or(false)))
}

/// Reads the order of a list that is sorted by time only.
fn is_descending(query: &mut Form) -> bool {
    match query.line("sort", 20).flatten().as_deref() {
        None | Some("created_at") => false,
        Some("-created_at") => true,
        Some(_) => {
            query.complain("unknown_value", "sort", "Must be created_at or -created_at.");
            false
        }
    }
}
