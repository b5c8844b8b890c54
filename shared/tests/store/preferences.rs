//! How people want to be told.

use serde_json::{Value, json};
use shared::ids::UserId;
use shared::on_both;
use shared::store::preferences::{self, Preferences};
use shared::store::users;
use shared::testkit::Testbed;

use crate::write;

on_both! {
    what_somebody_wants_is_found_by_user_and_by_address,
    a_disabled_user_wants_nothing,
}

async fn what_somebody_wants_is_found_by_user_and_by_address(t: Testbed) {
    let quiet = json!({ "tz": "UTC", "weekly": { "mon": ["22:00-24:00"] } });
    let nothing = preferences::get(&t.db, t.staff.id).await.unwrap().unwrap();
    let set = async |id, tz: Option<&str>, quiet: Option<Value>| {
        let (tz, quiet_hours) = (tz.map(str::to_owned), quiet.map(Into::into));
        let wanted = Preferences { id, tz, quiet_hours, ..nothing.clone() };
        write(&t, async |tx| preferences::set(tx, &wanted).await).await
    };
    assert_eq!((&nothing.tz, &nothing.quiet_hours), (&None, &None));
    assert!(set(t.staff.id, Some("Europe/Berlin"), Some(quiet.clone())).await);
    assert!(!set(UserId::new(), Some("Europe/Berlin"), None).await);
    let stored = preferences::get(&t.db, t.staff.id).await.unwrap().unwrap();
    assert_eq!((&*stored.email, &*stored.name, stored.role), ("sam@example.org", "sam", t.staff.role));
    assert_eq!((stored.tz.as_deref(), stored.quiet_hours.clone().unwrap().0), (Some("Europe/Berlin"), quiet));
    let addresses = ["sam@example.org", "cleo@example.org", "nobody@example.org"].map(str::to_owned);
    let mut found = preferences::of_addresses(&t.db, &addresses).await.unwrap();
    found.sort_by(|a, b| a.email.cmp(&b.email));
    assert_eq!(found.iter().map(|p| p.id).collect::<Vec<_>>(), [t.customer.id, t.staff.id]);
    assert_eq!(found[1], stored);
    assert_eq!(preferences::of_addresses(&t.db, &[]).await.unwrap(), []);
    assert!(set(t.staff.id, None, None).await);
    assert_eq!(preferences::get(&t.db, t.staff.id).await.unwrap().unwrap().quiet_hours, None);
    assert_eq!(users::get(&t.db, t.staff.id).await.unwrap(), Some(t.staff.clone()));
}

async fn a_disabled_user_wants_nothing(t: Testbed) {
    t.disable("sam@example.org").await;
    assert_eq!(preferences::of_addresses(&t.db, &["sam@example.org".into()]).await.unwrap(), []);
}
