//! Jobs as operators see them.

use shared::domain::job::{Ending, Job, Noop, Priority, Prune};
use shared::ids::{JobId, WorkerId};
use shared::on_both;
use shared::store::jobs::NewJob;
use shared::store::ledger::{self, Filter, State};
use shared::testkit::Testbed;

use crate::jobs::{claim, enqueue, finish, noop};

on_both! {
    a_job_is_one_entry_from_its_enqueuing_to_its_history,
    entries_are_listed_newest_first_and_page_by_page,
    entries_are_filtered,
}

fn all(limit: i64) -> Filter {
    Filter { limit, ..Filter::default() }
}

async fn a_job_is_one_entry_from_its_enqueuing_to_its_history(t: Testbed) {
    let worker = WorkerId::new();
    let id = enqueue(&t, vec![noop()]).await[0];
    let entry = ledger::get(&t.db, id).await.unwrap().unwrap();
    assert_eq!((entry.state, &*entry.kind, entry.attempt), (State::Ready, Noop::KIND, 0));
    assert_eq!((entry.run_at, entry.created_at, entry.finished_at), (Some(t.now()), t.now(), None));
    let job = claim(&t, worker, &[id]).await.pop().unwrap();
    let entry = ledger::get(&t.db, id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.worker_id, entry.attempt), (State::Running, Some(worker), 1));
    finish(&t, worker, &[&job], Ending::Dead, Some("it broke")).await;
    let entry = ledger::get(&t.db, id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.last_error.as_deref()), (State::Dead, Some("it broke")));
    assert_eq!((entry.run_at, entry.finished_at), (None, Some(t.now())));
    assert_eq!(ledger::list(&t.db, &all(10)).await.unwrap(), [entry]);
    assert_eq!(ledger::get(&t.db, JobId::new()).await.unwrap(), None);
}

async fn entries_are_listed_newest_first_and_page_by_page(t: Testbed) {
    let worker = WorkerId::new();
    let mut ids = enqueue(&t, (0..5).map(|_| noop()).collect()).await;
    ids.sort_unstable();
    let jobs = claim(&t, worker, &[ids[1], ids[3]]).await;
    finish(&t, worker, &[&jobs[0]], Ending::Done, None).await;
    ids.reverse();
    let (mut seen, mut filter) = (Vec::new(), all(2));
    loop {
        let page = ledger::list(&t.db, &filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        seen.extend(page.iter().map(|entry| entry.id));
    }
    assert_eq!(seen, ids);
    assert_eq!(ledger::count(&t.db, &filter).await.unwrap(), 5);
}

async fn entries_are_filtered(t: Testbed) {
    let worker = WorkerId::new();
    let prune = NewJob::of(&Prune {}).priority(Priority::High);
    let ids = enqueue(&t, vec![noop(), noop(), prune]).await;
    let jobs = claim(&t, worker, &ids[..1]).await;
    finish(&t, worker, &[&jobs[0]], Ending::Discarded, Some("nothing to do")).await;
    let found = async |filter: Filter| {
        let listed = ledger::list(&t.db, &filter).await.unwrap();
        assert_eq!(ledger::count(&t.db, &filter).await.unwrap(), i64::try_from(listed.len()).unwrap());
        listed.len()
    };
    assert_eq!(found(Filter { state: Some(State::Discarded), ..all(9) }).await, 1);
    assert_eq!(found(Filter { state: Some(State::Ready), ..all(9) }).await, 2);
    assert_eq!(found(Filter { state: Some(State::Dead), ..all(9) }).await, 0);
    assert_eq!(found(Filter { kind: Some(Prune::KIND.into()), ..all(9) }).await, 1);
    assert_eq!(found(Filter { priority: Some(Priority::High), ..all(9) }).await, 1);
}
