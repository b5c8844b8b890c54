//! Notifications that wait and leave together.

use shared::domain::cause::Cause;
use shared::domain::ticket::Priority;
use shared::ids::{ClockId, DigestId, NotificationId};
use shared::on_both;
use shared::store::held::{self, Hold, Released};
use shared::store::notifications::{self, Recipient, State};
use shared::testkit::Testbed;

use crate::{at, seconds, write};

on_both! {
    only_what_is_pending_is_held,
    a_digest_is_chosen_once,
    a_digest_takes_what_is_due_for_its_address,
    a_digest_is_settled_once,
    a_digest_that_was_given_up_is_about_the_same_again,
}

const ANN: &str = "ann@example.org";

async fn decide(t: &Testbed, count: usize, address: &str) -> Vec<NotificationId> {
    let ticket = t.open(Priority::High).await.id;
    let mut all = Vec::new();
    for _ in 0..count {
        let cause = Cause::Breached { ticket, clock: ClockId::new() };
        let to = [Recipient::mail(address)];
        let decided = write(t, async |tx| notifications::decide(tx, &cause, &to, t.now()).await).await;
        all.push(decided[0].id);
    }
    all
}

/// Holds notifications until so many seconds after the start.
async fn hold(t: &Testbed, ids: &[NotificationId], until: i64) -> u64 {
    let hold = |id: &_| Hold { id: *id, release_at: at(seconds(until)), reason: "storm".into() };
    let holds: Vec<_> = ids.iter().map(hold).collect();
    write(t, async |tx| held::hold(tx, &holds).await).await
}

async fn take(t: &Testbed, digest: DigestId, address: &str, after: i64) -> Vec<NotificationId> {
    write(t, async |tx| held::take(tx, digest, address, at(seconds(after))).await).await;
    held::of(&t.db, digest).await.unwrap().into_iter().map(|n| n.id).collect()
}

async fn settle(t: &Testbed, digest: DigestId, ids: &[NotificationId], state: State) -> u64 {
    let released = |id: &_| Released { id: *id, state, reason: Some("in digest".into()) };
    let released: Vec<_> = ids.iter().map(released).collect();
    write(t, async |tx| held::settle(tx, digest, &released, t.now()).await).await
}

async fn only_what_is_pending_is_held(t: Testbed) {
    let ids = decide(&t, 2, ANN).await;
    write(&t, async |tx| notifications::settle(tx, ids[0], State::Sent, None, t.now()).await).await;
    assert_eq!(hold(&t, &ids, 60).await, 1);
    assert_eq!(hold(&t, &ids, 90).await, 0);
    assert_eq!(hold(&t, &[], 90).await, 0);
    let held = notifications::get(&t.db, ids[1]).await.unwrap().unwrap();
    assert_eq!((held.state, held.release_at), (State::Held, Some(at(seconds(60)))));
    assert_eq!(held.reason.as_deref(), Some("storm"));
}

async fn a_digest_is_chosen_once(t: Testbed) {
    let ids = decide(&t, 3, ANN).await;
    hold(&t, &ids[..2], 60).await;
    let (digest, other) = (DigestId::new(), DigestId::new());
    assert_eq!(take(&t, digest, ANN, 60).await, ids[..2]);
    hold(&t, &ids[2..], 60).await;
    assert_eq!(take(&t, digest, ANN, 61).await, ids[..2], "another try mails the same");
    assert!(held::is_due(&t.db, ANN, at(seconds(61))).await.unwrap());
    assert_eq!(take(&t, other, ANN, 61).await, ids[2..]);
    assert!(!held::is_due(&t.db, ANN, at(seconds(61))).await.unwrap());
}

async fn a_digest_takes_what_is_due_for_its_address(t: Testbed) {
    let (ann, ben) = (decide(&t, 3, ANN).await, decide(&t, 1, "ben@example.org").await);
    hold(&t, &ann[..1], 60).await;
    hold(&t, &ann[1..2], 120).await;
    hold(&t, &ben, 60).await;
    assert!(!held::is_due(&t.db, ANN, at(seconds(59))).await.unwrap());
    assert_eq!(take(&t, DigestId::new(), ANN, 59).await, []);
    assert!(held::is_due(&t.db, ANN, at(seconds(60))).await.unwrap());
    assert_eq!(take(&t, DigestId::new(), ANN, 60).await, ann[..1]);
    assert_eq!(take(&t, DigestId::new(), ANN, 120).await, ann[1..2], "the third is pending");
}

async fn a_digest_is_settled_once(t: Testbed) {
    let ids = decide(&t, 2, ANN).await;
    hold(&t, &ids, 60).await;
    let digest = DigestId::new();
    take(&t, digest, ANN, 60).await;
    assert_eq!(settle(&t, DigestId::new(), &ids, State::Sent).await, 0, "it is another's");
    assert_eq!(settle(&t, digest, &ids, State::Sent).await, 2);
    assert_eq!(settle(&t, digest, &ids, State::Failed).await, 0);
    let settled = notifications::get(&t.db, ids[0]).await.unwrap().unwrap();
    assert_eq!((settled.state, settled.settled_at), (State::Sent, Some(t.now())));
    assert_eq!(settled.reason.as_deref(), Some("in digest"));
    assert_eq!(take(&t, digest, ANN, 61).await, []);
}

async fn a_digest_that_was_given_up_is_about_the_same_again(t: Testbed) {
    let ids = decide(&t, 3, ANN).await;
    hold(&t, &ids, 60).await;
    let digest = DigestId::new();
    take(&t, digest, ANN, 60).await;
    settle(&t, digest, &ids[..1], State::Suppressed).await;
    settle(&t, digest, &ids[1..], State::Failed).await;
    assert_eq!(take(&t, digest, ANN, 61).await, ids[1..]);
    assert_eq!(settle(&t, digest, &ids, State::Sent).await, 2);
}
