//! What a mail says. All of it is made from the ticket's data, so all of it is treated as hostile: the HTML
//! template escapes, and nothing that could end a header line gets into one.

use std::sync::LazyLock;

use chrono::TimeDelta;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};
use shared::domain::sla::{Fraction, Metric};
use shared::ids::NotificationId;
use shared::store::clocks::Stored;
use shared::store::notifications::Notification;
use shared::store::tickets::Ticket;
use shared::time::Timestamp;

/// What a mail is about, as it stands now.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Created(Vec<Stored>),
    Resolved,
    Warning(Stored, Fraction),
    Breached(Stored),
    Escalation(Stored, i64),
}

/// A mail, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) id: NotificationId,
    pub(crate) to: String,
    /// The same for all mails about a ticket, so that mail programs show them as one conversation.
    pub(crate) subject: String,
    /// The local part of the `References` header all mails about a ticket carry.
    pub(crate) thread: String,
    pub(crate) event: &'static str,
    pub(crate) ticket_key: String,
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
        .and_then(|()| templates.add_template("letter.html", include_str!("../../templates/letter.html")));
    debug_assert!(added.is_ok(), "{added:?}");
    templates
});

impl Letter {
    pub(crate) fn write(
        notification: &Notification,
        ticket: &Ticket,
        subject: &Subject,
        public_url: &str,
    ) -> Self {
        let key = ticket.key();
        let (headline, mut facts) = story(ticket, subject);
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
            description => ticket.description.clone(),
            link => format!("{public_url}/api/v1/tickets/{key}"),
        };
        let render = |name| {
            let rendered = TEMPLATES.get_template(name).and_then(|template| template.render(&values));
            // Templates are part of the program and rendered by its tests; a plain line beats no mail at 3 a.m.
            rendered.unwrap_or_else(|_| format!("{key}: {headline}"))
        };
        Self {
            id: notification.id,
            to: notification.recipient.clone(),
            subject: one_line(&format!("[{key}] {}", ticket.title)),
            thread: format!("ticket-{}", ticket.id),
            event: notification.cause.event(),
            text: render("letter.txt"),
            html: render("letter.html"),
            ticket_key: key,
        }
    }
}

fn story(ticket: &Ticket, subject: &Subject) -> (String, Vec<Value>) {
    match subject {
        Subject::Created(clocks) => {
            let due = |s: &Stored| {
                let due = s.clock.due_at().map_or_else(|| "paused".into(), utc);
                fact(if s.metric == Metric::Resolution { "Resolution due" } else { "Response due" }, due)
            };
            ("A ticket was opened.".into(), clocks.iter().map(due).collect())
        }
        Subject::Resolved => (
            "The ticket was resolved.".into(),
            vec![fact("Resolved", ticket.resolved_at.map(utc).unwrap_or_default())],
        ),
        Subject::Warning(stored, fraction) => (
            format!("{} % of the time for {} is used up.", fraction.whole_percent(), name(stored.metric)),
            due(stored),
        ),
        Subject::Breached(stored) => {
            (format!("The target for {} was missed.", name(stored.metric)), breach(stored))
        }
        Subject::Escalation(stored, step) => (
            format!(
                "The target for {} was missed and nobody has acknowledged it (call {step}).",
                name(stored.metric)
            ),
            breach(stored),
        ),
    }
}

fn due(stored: &Stored) -> Vec<Value> {
    let due_at = stored.clock.due_at().map(|at| fact("Due", utc(at)));
    due_at.into_iter().chain([fact("Target", span(stored.clock.target))]).collect()
}

fn breach(stored: &Stored) -> Vec<Value> {
    let missed = stored.clock.breached_at.map(|at| fact("Missed", utc(at)));
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

fn utc(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
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
