//! Failed sign-ins.

use shared::on_both;
use shared::store::sign_ins;
use shared::testkit::Testbed;

use crate::{at, minutes, write};

on_both! {
    failures_are_counted_within_a_window,
    failures_at_the_same_time_are_all_counted,
    a_sign_in_and_time_forget_failures,
}

async fn count(t: &Testbed, address: &str) -> i64 {
    write(t, async |tx| sign_ins::count(tx, address, t.now(), t.now() + minutes(15)).await).await
}

async fn failures_are_counted_within_a_window(t: Testbed) {
    let until = async |limit| sign_ins::refused_until(&t.db, "a", limit, t.now()).await.unwrap();
    assert_eq!(until(1).await, None);
    assert_eq!(count(&t, "a").await, 1);
    t.advance(minutes(5));
    assert_eq!(count(&t, "a").await, 2);
    assert_eq!(count(&t, "b").await, 1);
    assert_eq!(until(3).await, None);
    assert_eq!(until(2).await, Some(at(minutes(15))));
    t.advance(minutes(10));
    assert_eq!(until(2).await, None);
    assert_eq!(count(&t, "a").await, 1);
    assert_eq!(until(1).await, Some(at(minutes(30))));
}

async fn failures_at_the_same_time_are_all_counted(t: Testbed) {
    let (a, b, c) = tokio::join!(count(&t, "a"), count(&t, "a"), count(&t, "a"));
    let mut counted = [a, b, c];
    counted.sort_unstable();
    assert_eq!(counted, [1, 2, 3]);
}

async fn a_sign_in_and_time_forget_failures(t: Testbed) {
    for address in ["a", "b"] {
        count(&t, address).await;
    }
    write(&t, async |tx| sign_ins::forget(tx, "a").await).await;
    assert_eq!(sign_ins::refused_until(&t.db, "a", 1, t.now()).await.unwrap(), None);
    let prune = async |before| write(&t, async |tx| sign_ins::prune(tx, before).await).await;
    assert_eq!(prune(at(minutes(15))).await, 0);
    assert_eq!(prune(at(minutes(16))).await, 1);
}
