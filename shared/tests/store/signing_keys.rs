//! Keys that all processes share.

use shared::on_both;
use shared::store::signing_keys;
use shared::testkit::Testbed;

on_both! {
    a_key_is_made_once,
    all_who_ask_at_once_get_the_same_key,
}

async fn a_key_is_made_once(t: Testbed) {
    let ensure = async |name: &str, fresh: &str| {
        let key = signing_keys::ensure(&t.db, name, || fresh.to_owned(), t.now()).await.unwrap();
        key.expose().to_owned()
    };
    assert_eq!(ensure("links", "one").await, "one");
    assert_eq!(ensure("links", "two").await, "one");
    assert_eq!(ensure("other", "three").await, "three");
}

async fn all_who_ask_at_once_get_the_same_key(t: Testbed) {
    let asking = (0..8).map(|i| {
        let (db, now) = (t.db.clone(), t.now());
        tokio::spawn(
            async move { signing_keys::ensure(&db, "links", || format!("key {i}"), now).await.unwrap() },
        )
    });
    let mut keys = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        keys.push(asking.await.unwrap());
    }
    assert!(keys.iter().all(|key| *key == keys[0]));
}
