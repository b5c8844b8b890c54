//! What every mail looks like, and what hostile tickets cannot do to it.

use chrono::TimeDelta;
use shared::domain::cause::Cause;
use shared::domain::sla::{Calendar, Clock, Fraction, Metric, Plan};
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::{ClockId, DigestId, NotificationId, TicketId, UserId};
use shared::store::clocks::Stored;
use shared::store::notifications::{Channel, Notification, State};
use shared::store::tickets::Ticket;
use shared::testkit::start;

use super::{Letter, Story, Subject};

fn ticket(title: &str) -> Ticket {
    Ticket {
        id: TicketId::new(),
        number: 1042,
        title: title.into(),
        description: "Every order.\nSince noon.".into(),
        status: Status::Open,
        priority: Priority::Critical,
        category: Category::Incident,
        environment: Some("production".into()),
        affected_service: Some("checkout".into()),
        contact_name: None,
        contact_email: None,
        reporter_id: UserId::new(),
        assignee_id: None,
        team_id: None,
        sla_policy_version_id: None,
        version: 3,
        created_at: start(),
        updated_at: start(),
        responded_at: None,
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: Some(start() + TimeDelta::minutes(5)),
        closed_at: None,
        acknowledged_as: None,
        deleted_at: None,
        traceparent: None,
    }
}

fn story(ticket: &Ticket, subject: &Subject) -> Story {
    let notification = Notification {
        id: NotificationId::new(),
        ticket_id: ticket.id,
        cause: Cause::Created { ticket: ticket.id }.into(),
        recipient: "sam@example.org".into(),
        channel: Channel::Email,
        origin: None,
        state: State::Pending,
        reason: None,
        created_at: start(),
        release_at: None,
        settled_at: None,
    };
    Story { notification, ticket: ticket.clone(), subject: subject.clone(), acknowledge: None }
}

fn letter(ticket: &Ticket, subject: &Subject) -> Letter {
    Letter::write(&story(ticket, subject), None, URL)
}

const URL: &str = "https://desk.example.org";

fn stored(ticket: &Ticket, metric: Metric, breached: bool) -> Stored {
    let plan = Plan {
        target: TimeDelta::minutes(90),
        warn_at: vec![Fraction::percent(75)],
        calendar: Calendar::AlwaysOpen,
    };
    let (mut clock, _) = Clock::start(plan, start());
    clock.breached_at = breached.then(|| start() + TimeDelta::minutes(90));
    Stored { id: ClockId::new(), ticket_id: ticket.id, metric, clock }
}

#[test]
fn a_ticket_that_was_opened_shows_when_it_is_due() {
    let ticket = ticket("Checkout answers 500");
    let clocks =
        vec![stored(&ticket, Metric::FirstResponse, false), stored(&ticket, Metric::Resolution, false)];
    let letter = letter(&ticket, &Subject::Created(clocks));
    assert_eq!(letter.subject, "[INC-1042] Checkout answers 500");
    insta::assert_snapshot!(letter.text, @r"
    A ticket was opened.

    INC-1042: Checkout answers 500

    Response due: 2027-01-15 09:30:00 UTC
    Resolution due: 2027-01-15 09:30:00 UTC
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn a_warning_names_the_share() {
    let ticket = ticket("Checkout answers 500");
    let subject = Subject::Warning(stored(&ticket, Metric::Resolution, false), Fraction::percent(75));
    insta::assert_snapshot!(letter(&ticket, &subject).text, @r"
    75 % of the time for the resolution is used up.

    INC-1042: Checkout answers 500

    Due: 2027-01-15 09:30:00 UTC
    Target: 1h 30m
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn a_breach_names_the_instant() {
    let ticket = ticket("Checkout answers 500");
    let subject = Subject::Breached(stored(&ticket, Metric::FirstResponse, true));
    insta::assert_snapshot!(letter(&ticket, &subject).text, @r"
    The target for the first response was missed.

    INC-1042: Checkout answers 500

    Missed: 2027-01-15 09:30:00 UTC
    Target: 1h 30m
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn an_escalation_step_names_the_call() {
    let ticket = ticket("Checkout answers 500");
    let subject = Subject::Escalation(stored(&ticket, Metric::FirstResponse, true), 2);
    insta::assert_snapshot!(letter(&ticket, &subject).text, @r"
    The target for the first response was missed and nobody has acknowledged it (call 2).

    INC-1042: Checkout answers 500

    Missed: 2027-01-15 09:30:00 UTC
    Target: 1h 30m
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn a_resolution_says_when() {
    let ticket = ticket("Checkout answers 500");
    insta::assert_snapshot!(letter(&ticket, &Subject::Resolved).text, @r"
    The ticket was resolved.

    INC-1042: Checkout answers 500

    Resolved: 2027-01-15 08:05:00 UTC
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn html_in_a_ticket_is_shown_and_not_run() {
    let mut ticket = ticket("<script>alert(1)</script> & \"quotes\"");
    ticket.description = "<img src=x onerror=alert(1)>".into();
    let letter = letter(&ticket, &Subject::Resolved);
    assert!(!letter.html.contains("<script>") && !letter.html.contains("<img"), "{}", letter.html);
    assert!(letter.html.contains("&lt;script&gt;"), "{}", letter.html);
    assert!(letter.text.contains("<script>"), "plain text needs no escaping");
}

#[test]
fn a_line_break_in_a_title_cannot_begin_a_header() {
    let letter = letter(&ticket("hello\r\nBcc: everybody@example.org"), &Subject::Resolved);
    assert_eq!(letter.subject, "[INC-1042] hello  Bcc: everybody@example.org");
}

#[test]
fn a_time_is_shown_in_the_readers_zone_and_in_utc_and_a_link_acknowledges() {
    let ticket = ticket("Checkout answers 500");
    let subject = Subject::Breached(stored(&ticket, Metric::FirstResponse, true));
    let acknowledge = Some(format!("{URL}/acknowledge/abc"));
    let story = Story { acknowledge, ..story(&ticket, &subject) };
    let letter = Letter::write(&story, Some(chrono_tz::Europe::Berlin), URL);
    assert!(letter.html.contains("acknowledge&#x2f;abc\">Acknowledge</a>"), "{}", letter.html);
    insta::assert_snapshot!(letter.text, @r"
    The target for the first response was missed.

    INC-1042: Checkout answers 500

    Missed: 2027-01-15 10:30:00 CET (2027-01-15 09:30:00 UTC)
    Target: 1h 30m
    Priority: critical
    Status: open
    Service: checkout, production

    https://desk.example.org/api/v1/tickets/INC-1042
    Acknowledge: https://desk.example.org/acknowledge/abc

    Every order.
    Since noon.

    --
    Sent by Dogwatch because you work on, reported, or are on call for this ticket.
    ");
}

#[test]
fn a_digest_lists_everything_ticket_by_ticket_in_order() {
    let (one, mut two) = (ticket("Checkout answers 500"), ticket("Mail <is> slow"));
    two.number = 1043;
    let breach = Subject::Breached(stored(&one, Metric::FirstResponse, true));
    let warning = Subject::Warning(stored(&two, Metric::Resolution, false), Fraction::percent(50));
    let acknowledge = |story: Story, token: &str| Story {
        acknowledge: Some(format!("{URL}/acknowledge/{token}")),
        ..story
    };
    let stories = [
        acknowledge(story(&one, &breach), "abc"),
        acknowledge(story(&two, &warning), "def"),
        story(&one, &Subject::Resolved),
    ];
    let letter = Letter::digest(DigestId::new(), &stories, None, URL);
    assert_eq!((letter.event, &letter.ticket_key, &*letter.to), ("digest", &None, "sam@example.org"));
    assert_eq!(letter.subject, "[Dogwatch] 3 notifications about 2 tickets were held until now");
    assert!(letter.html.contains("Mail &lt;is&gt; slow") && letter.html.contains("acknowledge&#x2f;def"));
    insta::assert_snapshot!(letter.text, @r"
    3 notifications about 2 tickets were held until now.

    INC-1043: Mail <is> slow
    Priority: critical, status: open
    - 2027-01-15 08:00:00 UTC: 50 % of the time for the resolution is used up.
    https://desk.example.org/api/v1/tickets/INC-1043
    Acknowledge: https://desk.example.org/acknowledge/def

    INC-1042: Checkout answers 500
    Priority: critical, status: open
    - 2027-01-15 08:00:00 UTC: The ticket was resolved.
    - 2027-01-15 09:30:00 UTC: The target for the first response was missed.
    https://desk.example.org/api/v1/tickets/INC-1042
    Acknowledge: https://desk.example.org/acknowledge/abc

    --
    Sent by Dogwatch because you work on, reported, or are on call for these tickets.
    ");
}

#[test]
fn a_digest_about_one_ticket_belongs_to_its_conversation() {
    let ticket = ticket("Checkout answers 500");
    let stories = [story(&ticket, &Subject::Resolved), story(&ticket, &Subject::Created(Vec::new()))];
    let letter = Letter::digest(DigestId::new(), &stories, None, URL);
    assert_eq!(letter.subject, "[INC-1042] Checkout answers 500");
    assert_eq!(
        (letter.ticket_key.as_deref(), letter.thread),
        (Some("INC-1042"), format!("ticket-{}", ticket.id))
    );
}
