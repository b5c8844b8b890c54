//! Leadership.

use shared::ids::WorkerId;
use shared::on_both;
use shared::store::leases;
use shared::testkit::Testbed;

use crate::{at, seconds, write};

on_both! {
    a_lease_has_one_holder_who_may_renew_it,
    an_expired_lease_goes_to_whoever_asks,
    a_lease_given_back_is_free,
}

async fn take(t: &Testbed, name: &str, holder: WorkerId, now: i64) -> bool {
    write(t, async |tx| leases::take(tx, name, holder, at(seconds(now)), at(seconds(now + 10))).await).await
}

async fn a_lease_has_one_holder_who_may_renew_it(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    assert!(take(&t, "cron", a, 0).await);
    assert!(!take(&t, "cron", b, 1).await);
    assert!(take(&t, "relay", b, 1).await, "another lease is another matter");
    assert!(take(&t, "cron", a, 9).await);
    assert!(!take(&t, "cron", b, 18).await, "it was renewed until 19");
}

async fn an_expired_lease_goes_to_whoever_asks(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    assert!(take(&t, "cron", a, 0).await);
    assert!(take(&t, "cron", b, 10).await);
    assert!(!take(&t, "cron", a, 11).await);
}

async fn a_lease_given_back_is_free(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    assert!(take(&t, "cron", a, 0).await);
    write(&t, async |tx| leases::give_back(tx, "cron", b).await).await;
    assert!(!take(&t, "cron", b, 1).await, "only its holder gives a lease back");
    write(&t, async |tx| leases::give_back(tx, "cron", a).await).await;
    assert!(take(&t, "cron", b, 1).await);
}
