//! What a mail says. All of it is made from the ticket's data, so all of it is treated as hostile: the HTML
//! template escapes, and nothing that could end a header line gets into one.

use std::sync::LazyLock;

use chrono::TimeDelta;
use chrono_tz::Tz;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};
use shared::domain::sla::{Fraction, Metric};
use shared::store::clocks::Stored;
use shared::store::comments::Signed;
use shared::store::notifications::Notification;
use shared::store::tickets::Ticket;
use shared::time::Timestamp;
use uuid::Uuid;

/// What a mail is about, as it stands now.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Created(Vec<Stored>),
    Resolved,
    Commented(Signed),
    Warning(Stored, Fraction),
    Breached(Stored),
    EarlyCall(Stored, Fraction),
    Escalation(Stored, i64),
}

/// What a mail tells about one notification.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) notification: Notification,
    pub(crate) ticket: Ticket,
    pub(crate) subject: Subject,
    /// Where the reader may acknowledge the ticket: whoever knows the address may.
    pub(crate) acknowledge: Option<String>,
}

/// A mail, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// The local part of the `Message-ID`.
    pub(crate) id: Uuid,
    pub(crate) to: String,
    /// The same for all mails about a ticket, so that mail programs show them as one conversation.
    pub(crate) subject: String,
    /// The local part of the `References` header all mails about a ticket carry.
    pub(crate) thread: String,
    pub(crate) event: &'static str,
    /// The ticket it is about, where it is about one.
    pub(crate) ticket_key: Option<String>,
    pub(crate) text: String,
    pub(crate) html: String,
}

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        templates.set_syntax(syntax);
    }
    let added = templates
        .add_template("letter.txt", include_str!("../../templates/letter.txt"))
        .and_then(|()| templates.add_template("letter.html", include_str!("../../templates/letter.html")))
        .and_then(|()| templates.add_template("digest.txt", include_str!("../../templates/digest.txt")))
        .and_then(|()| templates.add_template("digest.html", include_str!("../../templates/digest.html")));
    debug_assert!(added.is_ok(), "{added:?}");
    templates
});

impl Letter {
    /// Writes the mail about one notification; times are also shown in the reader's zone, where it is known.
    pub(crate) fn write(story: &Story, zone: Option<Tz>, public_url: &str) -> Self {
        let Story { notification, ticket, subject, acknowledge } = story;
        let key = ticket.key();
        let (headline, mut facts) = told(ticket, subject, zone);
        facts.push(fact("Priority", ticket.priority.to_string()));
        facts.push(fact("Status", ticket.status.to_string()));
        let service = [ticket.affected_service.as_deref(), ticket.environment.as_deref()];
        let service = service.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !service.is_empty() {
            facts.push(fact("Service", service));
        }
        let values = context! {
            facts,
            key => key.clone(),
            headline => headline.clone(),
            title => ticket.title.clone(),
            description => match subject {
                Subject::Commented(said) => said.comment.content.clone(),
                _ => ticket.description.clone(),
            },
            link => link(public_url, &key),
            acknowledge => acknowledge.clone(),
        };
        let plainly = format!("{key}: {headline}");
        Self {
            id: notification.id.0,
            to: notification.recipient.clone(),
            subject: subject_line(ticket),
            thread: thread(ticket),
            event: notification.cause.event(),
            text: render("letter.txt", &values, &plainly),
            html: render("letter.html", &values, &plainly),
            ticket_key: Some(key),
        }
    }
}

/// Templates are part of the program and rendered by its tests; a plain line beats no mail at 3 a.m.
pub(super) fn render(template: &str, values: &Value, plainly: &str) -> String {
    let rendered = TEMPLATES.get_template(template).and_then(|template| template.render(values));
    rendered.unwrap_or_else(|_| plainly.to_owned())
}

pub(super) fn link(public_url: &str, key: &str) -> String {
    format!("{public_url}/api/v1/tickets/{key}")
}

pub(super) fn subject_line(ticket: &Ticket) -> String {
    one_line(&format!("[{}] {}", ticket.key(), ticket.title))
}

pub(super) fn thread(ticket: &Ticket) -> String {
    format!("ticket-{}", ticket.id)
}

/// What happened, in one sentence, and the facts of it.
pub(super) fn told(ticket: &Ticket, subject: &Subject, zone: Option<Tz>) -> (String, Vec<Value>) {
    match subject {
        Subject::Created(clocks) => {
            let due = |s: &Stored| {
                let due = s.clock.due_at().map_or_else(|| "paused".into(), |at| time(at, zone));
                fact(if s.metric == Metric::Resolution { "Resolution due" } else { "Response due" }, due)
            };
            ("A ticket was opened.".into(), clocks.iter().map(due).collect())
        }
        Subject::Resolved => (
            "The ticket was resolved.".into(),
            vec![fact("Resolved", ticket.resolved_at.map(|at| time(at, zone)).unwrap_or_default())],
        ),
        Subject::Commented(said) => {
            let author = said.author_name.as_deref().map_or_else(|| "Somebody".into(), one_line);
            let wrote = if said.comment.internal { "wrote an internal comment" } else { "commented" };
            (format!("{author} {wrote}."), vec![fact("Written", time(said.comment.created_at, zone))])
        }
        Subject::Warning(stored, fraction) => (
            format!("{} % of the time for {} is used up.", fraction.whole_percent(), name(stored.metric)),
            due(stored, zone),
        ),
        Subject::EarlyCall(stored, fraction) => (
            format!(
                "{} % of the time for {} is used up: you are called before it is missed.",
                fraction.whole_percent(),
                name(stored.metric)
            ),
            due(stored, zone),
        ),
        Subject::Breached(stored) => {
            (format!("The target for {} was missed.", name(stored.metric)), breach(stored, zone))
        }
        Subject::Escalation(stored, step) => (
            format!(
                "The target for {} was missed and nobody has acknowledged it (call {step}).",
                name(stored.metric)
            ),
            breach(stored, zone),
        ),
    }
}

fn due(stored: &Stored, zone: Option<Tz>) -> Vec<Value> {
    let due_at = stored.clock.due_at().map(|at| fact("Due", time(at, zone)));
    due_at.into_iter().chain([fact("Target", span(stored.clock.target))]).collect()
}

fn breach(stored: &Stored, zone: Option<Tz>) -> Vec<Value> {
    let missed = stored.clock.breached_at.map(|at| fact("Missed", time(at, zone)));
    missed.into_iter().chain([fact("Target", span(stored.clock.target))]).collect()
}

fn fact(label: &str, value: String) -> Value {
    context! { label, value }
}

const fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::FirstResponse => "the first response",
        Metric::NextResponse => "the next response",
        Metric::Resolution => "the resolution",
    }
}

/// A time in UTC, and before it in the reader's zone where that is known.
pub(super) fn time(at: Timestamp, zone: Option<Tz>) -> String {
    let utc = at.format("%Y-%m-%d %H:%M:%S UTC");
    match zone {
        Some(zone) => format!("{} ({utc})", at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z")),
        None => utc.to_string(),
    }
}

/// `1h 30m`, `45m`, `20s`; what is below a second is left out.
fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if shown.is_empty() { format!("{} ms", span.num_milliseconds()) } else { shown.join(" ") }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
