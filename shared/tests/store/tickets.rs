//! Tickets: numbers, versions, labels, history and lists.

use std::collections::HashSet;

use shared::domain::sla::State;
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::{ClockId, HistoryId, TicketId, UserId};
use shared::on_both;
use shared::store::Error;
use shared::store::desk::Draft;
use shared::store::tickets::{self, Change, Filter, Position, SlaFilter, SortBy, Ticket};
use shared::testkit::Testbed;

use crate::{at, hours, micros, minutes, refused, seconds, write};

on_both! {
    numbers_ascend_from_1001,
    every_field_is_stored_and_cleared,
    a_stale_version_is_not_stored,
    a_ticket_needs_a_reporter_who_exists,
    a_clock_leads_to_its_ticket,
    labels_are_a_set_in_order,
    changes_are_remembered_in_order,
    every_filter_lets_through_what_it_says,
    filters_add_up,
    pages_miss_no_ticket_and_repeat_none,
    an_offset_skips,
}

async fn open(t: &Testbed, drafts: Vec<Draft>) -> Vec<Ticket> {
    write(t, async |tx| t.desk.open(tx, drafts).await).await
}

async fn move_to(t: &Testbed, ticket: &Ticket, to: Status) {
    write(t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), to).await).await;
}

async fn get(t: &Testbed, id: TicketId) -> Ticket {
    tickets::get(&t.db, id).await.unwrap().expect("the ticket exists")
}

async fn numbers_ascend_from_1001(t: Testbed) {
    let opened = open(&t, (0..150).map(|_| t.draft(Priority::Low)).collect()).await;
    assert_eq!(
        opened.iter().map(|ticket| ticket.number).collect::<Vec<_>>(),
        (1_001..1_151).collect::<Vec<_>>()
    );
    assert_eq!(opened[41].key(), "INC-1042");
    assert_eq!(tickets::by_number(&t.db, 1_042).await.unwrap(), Some(opened[41].id));
    assert_eq!(tickets::by_number(&t.db, 1_000).await.unwrap(), None);
    assert_eq!(get(&t, opened[149].id).await, opened[149]);
    assert_eq!(t.open(Priority::Low).await.number, 1_151);
    assert_eq!(tickets::get(&t.db, TicketId::new()).await.unwrap(), None);
}

async fn every_field_is_stored_and_cleared(t: Testbed) {
    let plain = t.open(Priority::Low).await;
    let text = |text: &str| Some(text.to_owned());
    let full = Ticket {
        title: "ü".repeat(255),
        description: "'; DROP TABLE tickets; -- $1 {rows}".into(),
        status: Status::Closed,
        priority: Priority::Critical,
        category: Category::ChangeRequest,
        environment: text("production"),
        affected_service: text("db"),
        contact_name: text("Ann"),
        contact_email: text("ann@example.org"),
        assignee_id: Some(t.customer.id),
        updated_at: at(micros(1)),
        responded_at: Some(at(micros(2))),
        acknowledged_at: Some(at(micros(30))),
        acknowledged_by: Some(t.staff.id),
        resolved_at: Some(at(micros(400_000))),
        closed_at: Some(at(micros(500_000))),
        ..plain.clone()
    };
    for mut version in [full, plain] {
        version.version = get(&t, version.id).await.version;
        let before = version.version;
        assert!(write(&t, async |tx| tickets::update(tx, &mut version).await).await);
        assert_eq!(version.version, before + 1);
        assert_eq!(get(&t, version.id).await, version);
    }
}

async fn a_stale_version_is_not_stored(t: Testbed) {
    let mut first = t.open(Priority::Low).await;
    let mut second = first.clone();
    (first.title, second.title) = ("first".into(), "second".into());
    assert!(write(&t, async |tx| tickets::update(tx, &mut first).await).await);
    assert!(!write(&t, async |tx| tickets::update(tx, &mut second).await).await);
    assert_eq!(second.version, 1);
    let locked = write(&t, async |tx| tickets::lock(tx, first.id).await).await;
    assert_eq!(locked, Some(first));
    assert_eq!(write(&t, async |tx| tickets::lock(tx, TicketId::new()).await).await, None);
}

async fn a_ticket_needs_a_reporter_who_exists(t: Testbed) {
    let mut draft = t.draft(Priority::Low);
    draft.reporter_id = UserId::new();
    let mut ticket = t.open(Priority::Low).await;
    (ticket.id, ticket.reporter_id) = (TicketId::new(), UserId::new());
    let error = refused(&t, async |tx| tickets::insert(tx, &mut [ticket]).await).await;
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
}

async fn a_clock_leads_to_its_ticket(t: Testbed) {
    let (_, ticket) = (t.open(Priority::Low).await, t.open(Priority::Low).await);
    let clock = t.clocks(&ticket).await[1].id;
    assert_eq!(tickets::of_clock(&t.db, clock).await.unwrap(), Some(ticket.id));
    assert_eq!(tickets::of_clock(&t.db, ClockId::new()).await.unwrap(), None);
}

async fn labels_are_a_set_in_order(t: Testbed) {
    let (a, b, c) =
        (t.open(Priority::Low).await.id, t.open(Priority::Low).await.id, t.open(Priority::Low).await.id);
    let label = async |labels: &[(TicketId, &str)]| {
        let labels: Vec<_> = labels.iter().map(|(id, label)| (*id, (*label).to_owned())).collect();
        write(&t, async |tx| tickets::label(tx, labels).await).await;
    };
    label(&[(a, "red"), (b, "red"), (a, "blue"), (a, "red")]).await;
    label(&[(a, "red"), (a, "green")]).await;
    label(&[]).await;
    assert_eq!(tickets::labels(&t.db, a).await.unwrap(), ["blue", "green", "red"]);
    assert!(tickets::labels(&t.db, c).await.unwrap().is_empty());
    let mut of = tickets::labels_of(&t.db, &[a, b, c]).await.unwrap();
    assert!(of.is_sorted_by_key(|(_, label)| label.clone()));
    of.sort();
    let pair = |id, label: &str| (id, label.to_owned());
    assert_eq!(of, [pair(a, "blue"), pair(a, "green"), pair(a, "red"), pair(b, "red")]);
    assert!(tickets::labels_of(&t.db, &[]).await.unwrap().is_empty());
    assert_eq!(tickets::labels_of(&t.db, &[b]).await.unwrap(), [pair(b, "red")]);
}

async fn changes_are_remembered_in_order(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let opened = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(opened.len(), 1);
    let change = |version, old: Option<&str>, new: Option<&str>| Change {
        id: HistoryId::new(),
        ticket_id: ticket.id,
        version,
        field: "environment".into(),
        old_value: old.map(str::to_owned),
        new_value: new.map(str::to_owned),
        actor_id: new.map(|_| t.staff.id),
        ip: old.map(|_| "2001:db8::1".into()),
        internal: new.is_none(),
        at: at(micros(version)),
    };
    let changes = [
        change(2, None, Some("test")),
        change(3, Some("test"), Some("production")),
        change(4, Some("x"), None),
    ];
    write(&t, async |tx| tickets::remember(tx, &changes).await).await;
    write(&t, async |tx| tickets::remember(tx, &[]).await).await;
    assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap()[1..], changes);
}

/// Twenty-four tickets, two a minute, of all priorities, several statuses and categories.
async fn shelf(t: &Testbed) -> Vec<Ticket> {
    let moves: [&[Status]; 6] = [
        &[],
        &[Status::Open],
        &[Status::PendingInfo],
        &[Status::Resolved],
        &[Status::InProgress],
        &[Status::Resolved, Status::Closed],
    ];
    let mut ids = Vec::new();
    for i in 0..12 {
        let mut drafts = Vec::new();
        for j in 0..2 {
            let mut draft = t.draft(Priority::ALL[(i + j) % 4]);
            draft.category = Category::ALL[i % 5];
            draft.assignee_id = (i % 3 != 0).then_some(t.staff.id);
            draft.reporter_id = if i % 4 == 0 { t.staff.id } else { t.customer.id };
            draft.labels = [("even", i % 2 == 0), ("second", j == 1)]
                .iter()
                .filter(|(_, set)| *set)
                .map(|(l, _)| (*l).into())
                .collect();
            drafts.push(draft);
        }
        let opened = open(t, drafts).await;
        for ticket in &opened {
            for to in moves[i % 6] {
                move_to(t, ticket, *to).await;
            }
        }
        ids.extend(opened.iter().map(|ticket| ticket.id));
        t.advance(minutes(1));
    }
    t.advance(hours(3));
    t.sweep().await;
    let mut shelf = Vec::new();
    for id in ids {
        shelf.push(get(t, id).await);
    }
    shelf
}

fn all() -> Filter {
    Filter { limit: 1_000, ..Filter::default() }
}

async fn listed(t: &Testbed, filter: &Filter) -> Vec<TicketId> {
    tickets::list(&t.db, filter).await.unwrap().into_iter().map(|(ticket, _)| ticket.id).collect()
}

/// Checks one filter against the same question asked of every ticket.
async fn check(
    t: &Testbed,
    shelf: &[Ticket],
    what: &str,
    filter: Filter,
    passes: impl AsyncFn(&Ticket) -> bool,
) {
    let mut expected = HashSet::new();
    for ticket in shelf {
        if passes(ticket).await {
            expected.insert(ticket.id);
        }
    }
    assert!(!expected.is_empty() && expected.len() < shelf.len(), "{what} must tell tickets apart");
    let found = listed(t, &filter).await;
    assert_eq!(found.len(), expected.len(), "{what}");
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected, "{what}");
    assert_eq!(
        usize::try_from(tickets::count(&t.db, &filter).await.unwrap()).unwrap(),
        expected.len(),
        "{what}"
    );
}

async fn every_filter_lets_through_what_it_says(t: Testbed) {
    let shelf = shelf(&t).await;
    let s = &*shelf;
    assert_eq!(listed(&t, &all()).await.len(), 24);
    assert_eq!(tickets::count(&t.db, &Filter { limit: 1, ..all() }).await.unwrap(), 24);
    let two = vec![Status::New, Status::Closed];
    let filter = Filter { status: two.clone(), ..all() };
    check(&t, s, "status", filter, async |x| two.contains(&x.status)).await;
    let filter = Filter { priority: vec![Priority::Critical, Priority::Low], ..all() };
    check(&t, s, "priority", filter, async |x| matches!(x.priority, Priority::Critical | Priority::Low))
        .await;
    let filter = Filter { category: vec![Category::Question], ..all() };
    check(&t, s, "category", filter, async |x| x.category == Category::Question).await;
    let filter = Filter { assignee: Some(t.staff.id), ..all() };
    check(&t, s, "assignee", filter, async |x| x.assignee_id == Some(t.staff.id)).await;
    let filter = Filter { reporter: Some(t.customer.id), ..all() };
    check(&t, s, "reporter", filter, async |x| x.reporter_id == t.customer.id).await;
    let labels = async |x: &Ticket| tickets::labels(&t.db, x.id).await.unwrap();
    let filter = Filter { label: Some("even".into()), ..all() };
    check(&t, s, "label", filter, async |x| labels(x).await.contains(&"even".into())).await;
    let (from, to) = (at(minutes(2)), at(minutes(5)));
    let filter = Filter { created_from: Some(from), ..all() };
    check(&t, s, "created_from", filter, async |x| x.created_at >= from).await;
    let filter = Filter { created_to: Some(to), ..all() };
    check(&t, s, "created_to", filter, async |x| x.created_at < to).await;
    let filter = Filter { updated_from: Some(from), ..all() };
    check(&t, s, "updated_from", filter, async |x| x.updated_at >= from).await;
    let filter = Filter { updated_to: Some(to), ..all() };
    check(&t, s, "updated_to", filter, async |x| x.updated_at < to).await;
    let clocks =
        async |x: &Ticket| t.clocks(x).await.into_iter().map(|stored| stored.clock).collect::<Vec<_>>();
    let filter = Filter { sla: Some(SlaFilter::Breached), ..all() };
    check(&t, s, "breached", filter, async |x| clocks(x).await.iter().any(|c| c.breached_at.is_some())).await;
    let filter = Filter { sla: Some(SlaFilter::Paused), ..all() };
    check(&t, s, "paused", filter, async |x| clocks(x).await.iter().any(|c| c.state() == State::Paused))
        .await;
    let at_risk = async |x: &Ticket| {
        clocks(x).await.iter().any(|c| c.is_open() && c.warned > 0 && c.breached_at.is_none())
    };
    check(&t, s, "at_risk", Filter { sla: Some(SlaFilter::AtRisk), ..all() }, at_risk).await;
}

async fn filters_add_up(t: Testbed) {
    let shelf = shelf(&t).await;
    let filter = Filter {
        status: vec![Status::New, Status::Open, Status::InProgress],
        priority: vec![Priority::Critical, Priority::High],
        assignee: Some(t.staff.id),
        label: Some("second".into()),
        sla: Some(SlaFilter::Breached),
        created_from: Some(at(seconds(0))),
        sort: SortBy::DueAt,
        ..all()
    };
    let passes = async |x: &Ticket| {
        filter.status.contains(&x.status)
            && filter.priority.contains(&x.priority)
            && x.assignee_id == filter.assignee
            && tickets::labels(&t.db, x.id).await.unwrap().contains(&"second".into())
            && t.clocks(x).await.iter().any(|c| c.clock.breached_at.is_some())
    };
    check(&t, &shelf, "all together", filter.clone(), passes).await;
    let nothing = Filter { label: Some("no' OR '1'='1".into()), ..all() };
    assert_eq!(listed(&t, &nothing).await, []);
}

/// The sort keys, as a ticket and its clocks tell them.
async fn key(t: &Testbed, sort: SortBy, ticket: &Ticket) -> (i64, TicketId) {
    let key = match sort {
        SortBy::CreatedAt => ticket.created_at.timestamp_micros(),
        SortBy::UpdatedAt => ticket.updated_at.timestamp_micros(),
        SortBy::Priority => ticket.priority as i64,
        SortBy::Status => ticket.status as i64,
        SortBy::DueAt => {
            let resolution = &t.clocks(ticket).await[1];
            resolution.clock.due_at().map_or(i64::MAX, |at| at.timestamp_micros())
        }
    };
    (key, ticket.id)
}

async fn pages_miss_no_ticket_and_repeat_none(t: Testbed) {
    let shelf = shelf(&t).await;
    for sort in [SortBy::CreatedAt, SortBy::UpdatedAt, SortBy::Priority, SortBy::Status, SortBy::DueAt] {
        let mut expected = Vec::new();
        for ticket in &shelf {
            expected.push(key(&t, sort, ticket).await);
        }
        expected.sort_unstable();
        assert!(expected.windows(2).any(|pair| pair[0].0 == pair[1].0), "{sort:?}: there must be ties");
        for descending in [false, true] {
            let mut filter = Filter { sort, descending, limit: 5, ..Filter::default() };
            let mut found = Vec::new();
            loop {
                let page = tickets::list(&t.db, &filter).await.unwrap();
                assert!(page.len() <= 5);
                let Some((_, position)) = page.last() else { break };
                let cursor = serde_json::to_string(position).unwrap();
                filter.after = Some(serde_json::from_str::<Position>(&cursor).unwrap());
                found.extend(page.into_iter().map(|(ticket, _)| ticket.id));
                assert!(found.len() <= shelf.len(), "{sort:?} {descending}: it goes on for ever");
            }
            let order = expected.iter().map(|(_, id)| *id);
            let order: Vec<_> = if descending { order.rev().collect() } else { order.collect() };
            assert_eq!(found, order, "{sort:?} {descending}");
        }
    }
}

async fn an_offset_skips(t: Testbed) {
    let shelf = shelf(&t).await;
    let filter = Filter { offset: 22, limit: 5, descending: true, ..Filter::default() };
    assert_eq!(listed(&t, &filter).await, [shelf[1].id, shelf[0].id]);
    assert_eq!(listed(&t, &Filter { offset: 24, ..filter }).await, []);
}
