//! Refresh tokens.

use shared::ids::FamilyId;
use shared::on_both;
use shared::store::refresh_tokens::{self, Used};
use shared::testkit::Testbed;

use crate::{at, minutes, write};

on_both! {
    a_token_is_good_once,
    a_token_used_twice_ends_its_family_and_no_other,
    of_uses_at_the_same_time_one_wins_and_the_family_ends,
    a_token_ends_with_its_time_its_sign_in_and_its_user,
    expired_tokens_are_forgotten,
}

async fn issue(t: &Testbed, family: FamilyId, hash: &str) {
    let (user, now) = (t.staff.id, t.now());
    write(t, async |tx| refresh_tokens::issue(tx, family, user, hash, now, now + minutes(10)).await).await;
}

async fn use_up(t: &Testbed, hash: &str) -> Used {
    write(t, async |tx| refresh_tokens::use_up(tx, hash, t.now()).await).await
}

async fn a_token_is_good_once(t: Testbed) {
    let (user, family) = (t.staff.id, FamilyId::new());
    issue(&t, family, "a").await;
    assert_eq!(use_up(&t, "a").await, Used::Good { user, family });
    assert_eq!(use_up(&t, "a").await, Used::Reused { user });
    assert_eq!(use_up(&t, "a").await, Used::Unknown);
    assert_eq!(use_up(&t, "b").await, Used::Unknown);
}

async fn a_token_used_twice_ends_its_family_and_no_other(t: Testbed) {
    let (family, other, user) = (FamilyId::new(), FamilyId::new(), t.staff.id);
    for (family, hash) in [(family, "a"), (family, "b"), (other, "c")] {
        issue(&t, family, hash).await;
    }
    use_up(&t, "a").await;
    assert_eq!(use_up(&t, "a").await, Used::Reused { user });
    assert_eq!(use_up(&t, "b").await, Used::Unknown);
    assert_eq!(use_up(&t, "c").await, Used::Good { user, family: other });
}

async fn of_uses_at_the_same_time_one_wins_and_the_family_ends(t: Testbed) {
    let (family, user) = (FamilyId::new(), t.staff.id);
    issue(&t, family, "a").await;
    let rotate = async |next: &str| {
        let mut tx = t.db.begin().await.unwrap();
        let used = refresh_tokens::use_up(&mut tx, "a", t.now()).await.unwrap();
        if used == (Used::Good { user, family }) {
            let until = t.now() + minutes(10);
            refresh_tokens::issue(&mut tx, family, user, next, t.now(), until).await.unwrap();
        }
        let _ = tx.commit().await.unwrap();
        used
    };
    let (first, second) = tokio::join!(rotate("b"), rotate("c"));
    let good = [first, second].into_iter().filter(|used| matches!(used, Used::Good { .. })).count();
    assert_eq!(good, 1, "{first:?} {second:?}");
    for next in ["b", "c"] {
        assert_eq!(use_up(&t, next).await, Used::Unknown);
    }
}

async fn a_token_ends_with_its_time_its_sign_in_and_its_user(t: Testbed) {
    for hash in ["a", "b", "c"] {
        issue(&t, FamilyId::new(), hash).await;
    }
    write(&t, async |tx| refresh_tokens::end(tx, "a", t.now()).await).await;
    write(&t, async |tx| refresh_tokens::end(tx, "unknown", t.now()).await).await;
    assert_eq!(use_up(&t, "a").await, Used::Unknown);
    assert!(matches!(use_up(&t, "b").await, Used::Good { .. }));
    let revoked = write(&t, async |tx| refresh_tokens::revoke_all(tx, t.staff.id, t.now()).await).await;
    assert_eq!(revoked, 2);
    assert_eq!(use_up(&t, "c").await, Used::Unknown);
    issue(&t, FamilyId::new(), "d").await;
    t.advance(minutes(10));
    assert_eq!(use_up(&t, "d").await, Used::Unknown);
}

async fn expired_tokens_are_forgotten(t: Testbed) {
    issue(&t, FamilyId::new(), "a").await;
    let prune = async |before| write(&t, async |tx| refresh_tokens::prune(tx, before).await).await;
    assert_eq!(prune(at(minutes(10))).await, 0);
    assert_eq!(prune(at(minutes(11))).await, 1);
}
