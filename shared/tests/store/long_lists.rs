//! A hundred thousand tickets, page by page, while others are opened.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shared::domain::ticket::{Priority, Status};
use shared::ids::TicketId;
use shared::on_both;
use shared::store::tickets::{self, Filter, Position, SortBy, Ticket};
use shared::testkit::Testbed;

use crate::{seconds, write};

on_both! {
    no_ticket_of_a_long_list_is_missed_or_repeated_and_the_last_page_costs_what_the_first_does,
}

const TICKETS: i64 = 100_000;

/// Inserts tickets of all kinds, ten to an instant.
async fn fill(t: &Testbed) -> HashSet<TicketId> {
    let pattern = t.open(Priority::Low).await;
    let mut all = HashSet::from([pattern.id]);
    for batch in 0..TICKETS / 10_000 {
        let make = |n: i64| {
            let kind = usize::try_from(n * 7 % 31).unwrap();
            let created_at = t.now() - seconds(n / 10);
            Ticket {
                id: TicketId::new(),
                status: Status::ALL[kind % Status::ALL.len()],
                priority: Priority::ALL[kind % Priority::ALL.len()],
                created_at,
                updated_at: created_at + seconds(n * 13 % 1_000),
                ..pattern.clone()
            }
        };
        let mut some: Vec<Ticket> = (batch * 10_000 + 1..(batch + 1) * 10_000 + 1).map(make).collect();
        write(t, async |tx| tickets::insert(tx, &mut some).await).await;
        all.extend(some.into_iter().map(|ticket| ticket.id));
    }
    write(t, async |tx| tickets::analyze(tx).await).await;
    all
}

/// Opens tickets until told to stop.
async fn open_more(t: Arc<Testbed>, stop: Arc<AtomicBool>) -> usize {
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) && opened < 500 {
        t.advance(seconds(1));
        t.open(Priority::Critical).await;
        opened += 1;
        tokio::time::sleep(Duration::from_millis(5)).await; // tidy: sets the pace, waits for nothing
    }
    opened
}

async fn no_ticket_of_a_long_list_is_missed_or_repeated_and_the_last_page_costs_what_the_first_does(
    t: Testbed,
) {
    let all = fill(&t).await;
    let t = Arc::new(t);
    for (sort, descending) in [(SortBy::CreatedAt, true), (SortBy::UpdatedAt, false)] {
        let stop = Arc::new(AtomicBool::new(false));
        let opening = tokio::spawn(open_more(Arc::clone(&t), Arc::clone(&stop)));
        let seen = walk(&t, sort, descending).await;
        stop.store(true, Ordering::Relaxed);
        assert!(opening.await.unwrap() > 20, "{sort:?}: too few were opened meanwhile");
        let unique: HashSet<TicketId> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "{sort:?}: none twice");
        assert_eq!(all.difference(&unique).count(), 0, "{sort:?}: none missed");
    }
    for sort in [SortBy::CreatedAt, SortBy::UpdatedAt, SortBy::Priority, SortBy::Status] {
        for descending in [false, true] {
            ends_cost_the_same(&t, sort, descending).await;
        }
    }
}

async fn walk(t: &Testbed, sort: SortBy, descending: bool) -> Vec<TicketId> {
    let mut filter = Filter { sort, descending, limit: 100, ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let page = tickets::list(&t.db, &filter).await.unwrap();
        seen.extend(page.iter().map(|(ticket, _)| ticket.id));
        match page.into_iter().next_back() {
            Some((_, last)) => filter.after = Some(last),
            None => return seen,
        }
    }
}

/// Holds a page at the end against one at the start: both are read off an index, in about the same time.
async fn ends_cost_the_same(t: &Testbed, sort: SortBy, descending: bool) {
    let first = Filter { sort, descending, limit: 100, ..Filter::default() };
    let from_behind = Filter { descending: !descending, limit: 101, ..first.clone() };
    let last: Position = tickets::list(&t.db, &from_behind).await.unwrap().pop().unwrap().1;
    let last = Filter { after: Some(last), ..first.clone() };
    for filter in [&first, &last] {
        let plan = tickets::plan(&t.db, filter).await.unwrap();
        assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{sort:?}: it is sorted:\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{sort:?}: all of it is read:\n{plan}");
    }
    let (at_first, at_last) = (median(t, &first).await, median(t, &last).await);
    // Reading all of it would take a hundred times as long.
    assert!(at_last < at_first * 10 + Duration::from_millis(10), "{sort:?}: {at_first:?}, {at_last:?}");
}

async fn median(t: &Testbed, filter: &Filter) -> Duration {
    let mut times = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        assert_eq!(tickets::list(&t.db, filter).await.unwrap().len(), 100);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[4]
}
