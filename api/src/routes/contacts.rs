//! The book of contacts. Tickets keep their own copy of whom to ask.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::domain::access::Area;
use shared::ids::ContactId;
use shared::store::contacts::{self, Contact, Filter};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::accounts::{BookEdit, Contacts, NewBookEntry};
use crate::openapi::queries;

/// Somebody in the book of contacts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BookEntry)]
pub(super) struct BookView {
    id: ContactId,
    name: String,
    email: String,
    phone: Option<String>,
    organization: Option<String>,
    notes: Option<String>,
    version: i64,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<Contact> for BookView {
    fn from(contact: Contact) -> Self {
        let Contact { id, name, email, phone, organization, notes, version, created_at, updated_at } =
            contact;
        Self { id, name, email, phone, organization, notes, version, created_at, updated_at }
    }
}

/// Lists contacts, the newest first.
#[utoipa::path(
    get, path = "/contacts", tag = "contacts",
    params(Contacts, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of contacts.", body = Vec<BookView>)),
)]
pub(super) async fn list_contacts(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<BookView>>, ApiError> {
    call.sees(Area::Contacts)?;
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let filter = Filter {
        containing: query.line("q", 254).flatten(),
        before: query.parse("cursor", "a next_cursor from such a list").flatten(),
        offset: query.number("offset", 0..=1_000_000).unwrap_or(0),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    query.finish()?;
    let db = &call.app.process.db;
    let mut found = contacts::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count == Some(true) {
        meta["total"] = contacts::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(BookView::from).collect()).meta(meta))
}

/// Adds a contact.
#[utoipa::path(
    post, path = "/contacts", tag = "contacts",
    request_body = NewBookEntry,
    responses((status = 201, description = "The contact.", body = BookView)),
)]
pub(super) async fn create_contact(call: Call, Body(mut form): Body) -> Result<Response, ApiError> {
    call.changes(Area::Contacts)?;
    let name = form.required("name", |f, at| f.line(at, 100)).unwrap_or_default();
    let email = form.required("email", Form::address).unwrap_or_default().to_lowercase();
    let details = Details::read(&mut form);
    form.finish()?;
    let now = call.by().now;
    let mut contact = Contact {
        id: ContactId::new(),
        name,
        email,
        phone: None,
        organization: None,
        notes: None,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    details.apply(&mut contact);
    let mut tx = call.begin().await?;
    contacts::add(&mut tx, &contact).await?;
    call.commit(tx, Envelope::created(BookView::from(contact)).etag(1)).await
}

/// Shows a contact.
#[utoipa::path(
    get, path = "/contacts/{id}", tag = "contacts",
    responses((status = 200, description = "The contact.", body = BookView)),
)]
pub(super) async fn show_contact(call: Call, Name(name): Name) -> Result<Envelope<BookView>, ApiError> {
    call.sees(Area::Contacts)?;
    let contact = contacts::get(&call.app.process.db, contact_id(&name)?).await?;
    let contact = contact.ok_or(ApiError::NotFound("contact"))?;
    let version = contact.version;
    Ok(Envelope::ok(contact.into()).etag(version))
}

/// Changes the fields that are given; null clears those that may be empty.
#[utoipa::path(
    patch, path = "/contacts/{id}", tag = "contacts",
    request_body = BookEdit,
    responses((status = 200, description = "The contact as it is now.", body = BookView)),
)]
pub(super) async fn edit_contact(
    call: Call,
    Name(path): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Contacts)?;
    let id = contact_id(&path)?;
    let name = form.given("name", |f, at| f.line(at, 100));
    let email = form.given("email", Form::address).map(|email| email.to_lowercase());
    let details = Details::read(&mut form);
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let (expected, now) = (call.expects(version)?, call.by().now);
    let mut tx = call.begin().await?;
    let changed = contacts::change(&mut tx, id, expected, now, |contact| {
        contact.name = name.unwrap_or_else(|| contact.name.clone());
        contact.email = email.unwrap_or_else(|| contact.email.clone());
        details.apply(contact);
    });
    let contact = changed.await.map_err(|error| call.unedited(error))?;
    let version = contact.version;
    call.commit(tx, Envelope::ok(BookView::from(contact)).etag(version)).await
}

/// Deletes a contact; tickets that name it stay as they are.
#[utoipa::path(
    delete, path = "/contacts/{id}", tag = "contacts",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_contact(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    call.changes(Area::Contacts)?;
    let (id, expected) = (contact_id(&name)?, call.expects(None)?);
    let mut tx = call.begin().await?;
    contacts::delete(&mut tx, id, expected).await.map_err(|error| call.unedited(error))?;
    let _ = tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What may be empty: absent, null, or a text.
#[derive(Debug)]
struct Details {
    phone: Option<Option<String>>,
    organization: Option<Option<String>>,
    notes: Option<Option<String>>,
}

impl Details {
    fn read(form: &mut Form) -> Self {
        Self {
            phone: form.line("phone", 50),
            organization: form.line("organization", 100),
            notes: form.lines("notes", 4_000),
        }
    }

    fn apply(self, contact: &mut Contact) {
        contact.phone = self.phone.unwrap_or_else(|| contact.phone.take());
        contact.organization = self.organization.unwrap_or_else(|| contact.organization.take());
        contact.notes = self.notes.unwrap_or_else(|| contact.notes.take());
    }
}

fn contact_id(name: &str) -> Result<ContactId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("contact"))
}
