//! What an export says of tickets.

use serde_json::json;
use shared::domain::definition::Kind;
use shared::domain::role::Role;
use shared::domain::sla::Metric;
use shared::domain::ticket::{Priority, Status};
use shared::on_both;
use shared::store::desk::{Actor, Draft};
use shared::store::exports;
use shared::store::tickets::Filter;
use shared::testkit::Testbed;

use crate::{hours, write};

on_both! {
    a_page_says_who_and_when,
}

async fn a_page_says_who_and_when(t: Testbed) {
    let team = t.define(Kind::Team, "Web", json!({ "members": [] })).await.id;
    let labels = vec!["a".to_owned(), "b".to_owned()];
    let draft = Draft {
        team_id: Some(team),
        labels: labels.clone(),
        actor: Actor::from(shared::domain::access::Caller::alone(t.staff.id, Role::Admin)),
        ..t.draft(Priority::Critical)
    };
    let opened = write(&t, async |tx| t.desk.open(tx, vec![draft]).await).await;
    t.open(Priority::Low).await;
    t.advance(hours(2));
    t.sweep().await;
    write(&t, async |tx| t.desk.move_to(tx, opened[0].id, None, &t.staff(), Status::PendingInfo).await).await;
    let filter = Filter { limit: 10, ..Filter::default() };
    let page = exports::page(&t.db, &filter).await.unwrap();
    assert_eq!(page.len(), 2);
    let (first, position) = &page[0];
    assert_eq!((first.ticket.id, position.id), (opened[0].id, opened[0].id));
    assert_eq!(first.labels, labels);
    assert_eq!(first.reporter.as_deref(), Some("cleo@example.org"));
    assert_eq!(first.assignee.as_deref(), Some("sam@example.org"));
    assert_eq!(first.team.as_deref(), Some("Web"));
    let promised = opened[0].created_at + hours(1);
    assert_eq!(first.clocks[&Metric::FirstResponse].1, Some(promised));
    assert_eq!(first.clocks[&Metric::Resolution], (None, None), "it is paused");
    let (second, _) = &page[1];
    assert_eq!((second.team.as_ref(), second.labels.len()), (None, 0));
    assert!(second.clocks[&Metric::Resolution].0.is_some());
    let seen_by_staff = Filter { visible_to: Some(t.staff.id), limit: 10, ..Filter::default() };
    assert!(exports::page(&t.db, &seen_by_staff).await.unwrap().is_empty(), "the customer reported both");
}
