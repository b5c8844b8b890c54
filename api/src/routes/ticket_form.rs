//! What bodies say of a ticket.

use shared::domain::definition::Kind;
use shared::domain::ticket::{Category, Priority};
use shared::ids::{DefinitionId, UserId};
use shared::store::definitions;
use shared::store::desk::Draft;
use shared::store::tickets::Ticket;
use shared::telemetry;

use crate::call::{Body, Call};
use crate::error::ApiError;
use crate::form::Form;

const DESCRIPTION: usize = 65_536;
const NAME: usize = 100;

/// Reads a ticket to open.
pub(super) async fn read_draft(call: &Call, mut form: Form) -> Result<Draft, ApiError> {
    let title = form.required("title", |f, name| f.line(name, 255));
    let description = form.lines("description", DESCRIPTION).flatten();
    let priority = form.word("priority").flatten();
    let category = form.word("category").flatten();
    let environment = form.line("environment", NAME).flatten();
    let affected_service = form.line("affected_service", NAME).flatten();
    let assignee_id = read_assignee(call, &mut form).await?.flatten();
    let team_id = read_team(call, &mut form).await?.flatten();
    let labels = form.labels("labels");
    let (contact_name, contact_email) = read_contact(&mut form).flatten().unwrap_or_default();
    form.finish()?;
    Ok(Draft {
        title: title.unwrap_or_default(),
        description: description.unwrap_or_default(),
        priority: priority.unwrap_or(Priority::Medium),
        category: category.unwrap_or(Category::Incident),
        environment,
        affected_service,
        contact_name,
        contact_email,
        assignee_id,
        team_id,
        labels,
        reporter_id: call.user.id,
        actor: call.actor(),
        traceparent: telemetry::traceparent(),
    })
}

type Contact = (Option<String>, Option<String>);

fn read_contact(form: &mut Form) -> Option<Option<Contact>> {
    let Some(mut contact) = form.object("contact")? else { return Some(None) };
    let name = contact.line("name", NAME).flatten();
    let email = contact.address("email").flatten();
    form.absorb("contact", contact);
    Some(Some((name, email)))
}

/// Reads who is to work on a ticket: somebody who does not exist or may not sign in cannot be given work.
pub(super) async fn read_assignee(call: &Call, form: &mut Form) -> Result<Option<Option<UserId>>, ApiError> {
    let assignee: Option<Option<UserId>> = form.parse("assignee_id", "the id of a user");
    if let Some(Some(id)) = assignee
        && call.app.accounts.enabled(&call.app.process.db, id).await?.is_none()
    {
        form.complain("unknown_user", "assignee_id", "There is no such user, or they are disabled.");
    }
    Ok(assignee)
}

/// Reads which team a ticket is given to.
pub(super) async fn read_team(
    call: &Call,
    form: &mut Form,
) -> Result<Option<Option<DefinitionId>>, ApiError> {
    let team: Option<Option<DefinitionId>> = form.parse("team_id", "the id of a team");
    if let Some(Some(id)) = team
        && definitions::get(&call.app.process.db, Kind::Team, id).await?.is_none()
    {
        form.complain("unknown_team", "team_id", "There is no such team.");
    }
    Ok(team)
}

/// What a body changes.
pub(super) struct Edit<F> {
    pub(super) change: F,
    /// The labels to have from then on, if any are given.
    pub(super) labels: Option<Vec<String>>,
    /// The version that is changed.
    pub(super) version: Option<i64>,
}

/// Reads the fields that are given; null clears those that may be empty.
pub(super) async fn read_edit(
    call: &Call,
    mut form: Form,
) -> Result<Edit<impl FnOnce(&mut Ticket)>, ApiError> {
    let title = form.line("title", 255);
    let description = form.lines("description", DESCRIPTION);
    let priority: Option<Option<Priority>> = form.word("priority");
    let category: Option<Option<Category>> = form.word("category");
    let environment = form.line("environment", NAME);
    let affected_service = form.line("affected_service", NAME);
    let assignee_id = read_assignee(call, &mut form).await?;
    let team_id = read_team(call, &mut form).await?;
    let contact = read_contact(&mut form);
    let labels = form.has("labels").then(|| form.labels("labels"));
    let version = form.number("version", 1..=i64::MAX);
    for (field, null) in [
        ("title", title == Some(None)),
        ("priority", priority == Some(None)),
        ("category", category == Some(None)),
    ] {
        if null {
            form.complain("required", field, "Must not be null.");
        }
    }
    form.finish()?;
    let change = move |ticket: &mut Ticket| {
        set(&mut ticket.title, title.flatten());
        set(&mut ticket.description, description.map(Option::unwrap_or_default));
        set(&mut ticket.priority, priority.flatten());
        set(&mut ticket.category, category.flatten());
        set(&mut ticket.environment, environment);
        set(&mut ticket.affected_service, affected_service);
        set(&mut ticket.assignee_id, assignee_id);
        set(&mut ticket.team_id, team_id);
        if let Some(contact) = contact {
            (ticket.contact_name, ticket.contact_email) = contact.unwrap_or_default();
        }
    };
    Ok(Edit { change, labels, version })
}

/// Reads the fields of a ticket as a whole: what is not given is as if it had never been said. Whom it is with and its
/// labels have routes of their own, and stay unless given.
pub(super) async fn read_replacement(
    call: &Call,
    mut form: Form,
) -> Result<Edit<impl FnOnce(&mut Ticket)>, ApiError> {
    let title = form.required("title", |f, name| f.line(name, 255)).unwrap_or_default();
    let description = form.lines("description", DESCRIPTION).flatten().unwrap_or_default();
    let priority = form.word("priority").flatten().unwrap_or(Priority::Medium);
    let category = form.word("category").flatten().unwrap_or(Category::Incident);
    let environment = form.line("environment", NAME).flatten();
    let affected_service = form.line("affected_service", NAME).flatten();
    let assignee_id = read_assignee(call, &mut form).await?;
    let team_id = read_team(call, &mut form).await?;
    let contact = read_contact(&mut form).flatten().unwrap_or_default();
    let labels = form.has("labels").then(|| form.labels("labels"));
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let change = move |ticket: &mut Ticket| {
        (ticket.title, ticket.description) = (title, description);
        (ticket.priority, ticket.category) = (priority, category);
        (ticket.environment, ticket.affected_service) = (environment, affected_service);
        (ticket.contact_name, ticket.contact_email) = contact;
        set(&mut ticket.assignee_id, assignee_id);
        set(&mut ticket.team_id, team_id);
    };
    Ok(Edit { change, labels, version })
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Reads a body that says at most which version is meant.
pub(super) fn read_version(Body(mut form): Body) -> Result<Option<i64>, ApiError> {
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    Ok(version)
}
