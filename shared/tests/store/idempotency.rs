//! Requests that may be sent twice.

use shared::ids::{ClaimToken, UserId};
use shared::on_both;
use shared::store::idempotency::{self, Answer, Claim};
use shared::testkit::Testbed;

use crate::{at, seconds, write};

on_both! {
    a_request_that_was_answered_gets_the_same_answer,
    a_request_that_is_being_answered_waits_its_turn,
    another_request_under_the_same_key_is_a_mismatch,
    keys_of_different_callers_do_not_meet,
    a_claim_that_expired_is_taken_over_and_its_first_holder_stores_nothing,
    a_claim_that_was_released_is_free,
    old_keys_are_pruned,
}

async fn claim(t: &Testbed, caller: UserId, hash: &str, token: ClaimToken, now: i64) -> Claim {
    let (now, until) = (at(seconds(now)), at(seconds(now + 60)));
    write(t, async |tx| idempotency::claim(tx, caller, "key", hash, token, now, until).await).await
}

async fn store(t: &Testbed, token: ClaimToken, answer: &Answer) -> bool {
    write(t, async |tx| idempotency::store(tx, token, answer).await).await
}

fn answer(etag: Option<&str>) -> Answer {
    Answer {
        status: 201, etag: etag.map(str::to_owned), body: r#"{"success":true,"data":"ü\u0000"}"#.into()
    }
}

async fn a_request_that_was_answered_gets_the_same_answer(t: Testbed) {
    let token = ClaimToken::new();
    assert_eq!(claim(&t, t.staff.id, "a", token, 0).await, Claim::Taken);
    let answer = answer(Some("\"1\""));
    assert!(store(&t, token, &answer).await);
    assert!(!store(&t, token, &answer).await, "an answer is stored once");
    for later in [1, 1_000] {
        let found = claim(&t, t.staff.id, "a", ClaimToken::new(), later).await;
        assert_eq!(found, Claim::Answered(answer.clone()));
    }
}

async fn a_request_that_is_being_answered_waits_its_turn(t: Testbed) {
    let token = ClaimToken::new();
    assert_eq!(claim(&t, t.staff.id, "a", token, 0).await, Claim::Taken);
    assert_eq!(claim(&t, t.staff.id, "a", ClaimToken::new(), 59).await, Claim::Running);
    assert!(store(&t, token, &answer(None)).await);
}

async fn another_request_under_the_same_key_is_a_mismatch(t: Testbed) {
    let token = ClaimToken::new();
    assert_eq!(claim(&t, t.staff.id, "a", token, 0).await, Claim::Taken);
    for now in [1, 100] {
        assert_eq!(claim(&t, t.staff.id, "b", ClaimToken::new(), now).await, Claim::Mismatch);
    }
    assert!(store(&t, token, &answer(None)).await);
    assert_eq!(claim(&t, t.staff.id, "b", ClaimToken::new(), 2).await, Claim::Mismatch);
}

async fn keys_of_different_callers_do_not_meet(t: Testbed) {
    assert_eq!(claim(&t, t.staff.id, "a", ClaimToken::new(), 0).await, Claim::Taken);
    assert_eq!(claim(&t, t.customer.id, "b", ClaimToken::new(), 0).await, Claim::Taken);
}

async fn a_claim_that_expired_is_taken_over_and_its_first_holder_stores_nothing(t: Testbed) {
    let (slow, quick) = (ClaimToken::new(), ClaimToken::new());
    assert_eq!(claim(&t, t.staff.id, "a", slow, 0).await, Claim::Taken);
    assert_eq!(claim(&t, t.staff.id, "a", quick, 60).await, Claim::Taken);
    assert!(!store(&t, slow, &answer(None)).await);
    write(&t, async |tx| idempotency::release(tx, slow).await).await;
    assert!(store(&t, quick, &answer(Some("\"2\""))).await);
    let found = claim(&t, t.staff.id, "a", ClaimToken::new(), 61).await;
    assert_eq!(found, Claim::Answered(answer(Some("\"2\""))));
}

async fn a_claim_that_was_released_is_free(t: Testbed) {
    let token = ClaimToken::new();
    assert_eq!(claim(&t, t.staff.id, "a", token, 0).await, Claim::Taken);
    write(&t, async |tx| idempotency::release(tx, token).await).await;
    let second = ClaimToken::new();
    assert_eq!(claim(&t, t.staff.id, "b", second, 1).await, Claim::Taken);
    assert!(store(&t, second, &answer(None)).await);
    write(&t, async |tx| idempotency::release(tx, second).await).await;
    let found = claim(&t, t.staff.id, "b", ClaimToken::new(), 2).await;
    assert_eq!(found, Claim::Answered(answer(None)), "an answer cannot be released");
}

async fn old_keys_are_pruned(t: Testbed) {
    assert_eq!(claim(&t, t.staff.id, "a", ClaimToken::new(), 0).await, Claim::Taken);
    assert_eq!(claim(&t, t.customer.id, "a", ClaimToken::new(), 10).await, Claim::Taken);
    assert_eq!(write(&t, async |tx| idempotency::prune(tx, at(seconds(10))).await).await, 1);
    assert_eq!(claim(&t, t.staff.id, "other", ClaimToken::new(), 11).await, Claim::Taken);
    assert_eq!(claim(&t, t.customer.id, "a", ClaimToken::new(), 11).await, Claim::Running);
}
