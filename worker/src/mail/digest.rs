//! What a mail about several notifications says.

use chrono_tz::Tz;
use minijinja::{Value, context};
use shared::ids::DigestId;
use shared::time::Timestamp;

use super::letter::{link, render, subject_line, thread, time, told};
use super::{Letter, Story, Subject};

impl Letter {
    /// Writes the mail about several notifications of one recipient, ticket by ticket, each in the order in which
    /// things happened.
    pub(crate) fn digest(id: DigestId, stories: &[Story], zone: Option<Tz>, public_url: &str) -> Self {
        let mut stories: Vec<&Story> = stories.iter().collect();
        stories.sort_by_key(|story| (instant(story), story.notification.id));
        let mut tickets: Vec<Vec<&Story>> = Vec::new();
        for story in &stories {
            match tickets.iter_mut().find(|of_ticket| of_ticket[0].ticket.id == story.ticket.id) {
                Some(of_ticket) => of_ticket.push(story),
                None => tickets.push(vec![story]),
            }
        }
        let only = if tickets.len() == 1 { tickets[0].first().map(|story| &story.ticket) } else { None };
        let headline = match only {
            Some(ticket) => {
                format!("{} notifications about {} were held until now.", stories.len(), ticket.key())
            }
            None => format!(
                "{} notifications about {} tickets were held until now.",
                stories.len(),
                tickets.len()
            ),
        };
        let tickets: Vec<Value> =
            tickets.iter().map(|of_ticket| section(of_ticket, zone, public_url)).collect();
        let values = context! { tickets, headline => headline.clone() };
        let about = |stories: &[&Story]| stories.first().map(|story| story.notification.recipient.clone());
        Self {
            id: id.0,
            to: about(&stories).unwrap_or_default(),
            subject: only
                .map_or_else(|| format!("[Dogwatch] {}", headline.trim_end_matches('.')), subject_line),
            thread: only.map_or_else(|| format!("digest-{id}"), thread),
            event: "digest",
            ticket_key: only.map(shared::store::tickets::Ticket::key),
            text: render("digest.txt", &values, &headline),
            html: render("digest.html", &values, &headline),
        }
    }
}

/// What is told about one ticket. One link acknowledges all of it.
fn section(stories: &[&Story], zone: Option<Tz>, public_url: &str) -> Value {
    let item = |story: &&Story| {
        let (headline, _) = told(&story.ticket, &story.subject, zone);
        context! { at => time(instant(story), zone), headline }
    };
    let items: Vec<Value> = stories.iter().map(item).collect();
    let ticket = &stories[0].ticket;
    context! {
        items,
        key => ticket.key(),
        title => ticket.title.clone(),
        priority => ticket.priority.to_string(),
        status => ticket.status.to_string(),
        link => link(public_url, &ticket.key()),
        acknowledge => stories.iter().find_map(|story| story.acknowledge.clone()),
    }
}

/// When it happened: the instant of a breach, else when it was decided to tell it.
fn instant(story: &Story) -> Timestamp {
    let breached_at = match &story.subject {
        Subject::Breached(stored) => stored.clock.breached_at,
        _ => None,
    };
    breached_at.unwrap_or(story.notification.created_at)
}
