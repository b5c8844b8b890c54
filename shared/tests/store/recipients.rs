//! How much each address was told lately.

use chrono::TimeDelta;
use shared::ids::RecipientId;
use shared::on_both;
use shared::store::recipients::{self, Load};
use shared::testkit::Testbed;
use shared::time::Timestamp;

use crate::{at, begin, commit, seconds, write};

const WINDOW: TimeDelta = TimeDelta::seconds(60);

on_both! {
    a_window_begins_with_the_first_notification_after_the_last,
    counting_nothing_finds_the_address,
    no_notification_goes_uncounted_when_many_count_at_once,
}

async fn count(t: &Testbed, told: &[(&str, i64)], now: Timestamp) -> Vec<Load> {
    let told = told.iter().map(|(name, n)| (format!("{name}@example.org"), *n)).collect();
    let mut loads = write(t, async |tx| recipients::count(tx, told, WINDOW, now).await).await;
    loads.sort_by(|a, b| a.address.cmp(&b.address));
    loads
}

async fn a_window_begins_with_the_first_notification_after_the_last(t: Testbed) {
    let counts = async |told: &[(&str, i64)], s| {
        let loads = count(&t, told, at(seconds(s))).await;
        loads.into_iter().map(|load| (load.counted, load.window_ends_at)).collect::<Vec<_>>()
    };
    let (first, second) = (at(seconds(60)), at(seconds(120)));
    assert_eq!(counts(&[("ben", 1), ("ann", 2)], 0).await, [(2, first), (1, first)]);
    assert_eq!(counts(&[("ann", 1)], 59).await, [(3, first)]);
    assert_eq!(counts(&[("ann", 1)], 60).await, [(1, second)], "the end is not part of the window");
    assert_eq!(counts(&[("ben", 1)], 61).await, [(1, at(seconds(121)))]);
    assert_eq!(counts(&[], 61).await, []);
}

async fn counting_nothing_finds_the_address(t: Testbed) {
    let first = count(&t, &[("ann", 1)], t.now()).await.remove(0);
    let again = count(&t, &[("ann", 0)], t.now()).await.remove(0);
    assert_eq!(first, again);
    assert_eq!(recipients::get(&t.db, first.id).await.unwrap(), Some(first.clone()));
    let locked = write(&t, async |tx| recipients::lock(tx, first.id).await).await;
    assert_eq!(locked, Some(first));
    assert_eq!(recipients::get(&t.db, RecipientId::new()).await.unwrap(), None);
}

async fn no_notification_goes_uncounted_when_many_count_at_once(t: Testbed) {
    let t = std::sync::Arc::new(t);
    let counting = (0..16).map(|i| {
        let t = std::sync::Arc::clone(&t);
        tokio::spawn(async move {
            // In opposite orders, which must not deadlock.
            let mut told = vec![("ann".to_owned(), 1), ("ben".to_owned(), 1)];
            if i % 2 == 0 {
                told.reverse();
            }
            let mut tx = begin(&t).await;
            let loads = recipients::count(&mut tx, told, WINDOW, t.now()).await.unwrap();
            let _ = commit(tx).await;
            loads.iter().map(|load| load.counted).collect::<Vec<_>>()
        })
    });
    let mut counted = Vec::new();
    for counting in counting.collect::<Vec<_>>() {
        counted.extend(counting.await.unwrap());
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=16).flat_map(|n| [n, n]).collect::<Vec<_>>());
}
