//! API keys.

use shared::domain::scope::Scope;
use shared::ids::{ApiKeyId, UserId};
use shared::on_both;
use shared::store::accounts::{self, By};
use shared::store::api_keys::{self, ApiKey, Filter};
use shared::store::edit::Error;
use shared::testkit::Testbed;

use crate::{minutes, refused, seconds, write};

on_both! {
    a_key_is_kept_as_it_was_made,
    a_key_is_changed_and_revoked_on_record,
    that_a_key_was_used_is_noted_once_a_minute,
    keys_are_listed_by_their_owner,
}

fn by(t: &Testbed) -> By {
    By { actor: Some(t.staff.id), ip: None, now: t.now() }
}

async fn add(t: &Testbed, user: UserId, name: &str) -> ApiKey {
    let key = ApiKey {
        id: ApiKeyId::new(),
        user_id: user,
        name: name.into(),
        scopes: vec![Scope::ReadTickets, Scope::WriteSettings].into(),
        secret_hash: "hash".into(),
        version: 1,
        created_at: t.now(),
        expires_at: Some(t.now() + minutes(5)),
        last_used_at: None,
        revoked_at: None,
    };
    write(t, async |tx| api_keys::add(tx, &key, &by(t)).await).await;
    key
}

async fn a_key_is_kept_as_it_was_made(t: Testbed) {
    let key = add(&t, t.staff.id, "backup").await;
    assert_eq!(api_keys::get(&t.db, key.id).await.unwrap(), Some(key));
    assert_eq!(api_keys::get(&t.db, ApiKeyId::new()).await.unwrap(), None);
}

async fn a_key_is_changed_and_revoked_on_record(t: Testbed) {
    let (id, by) = (add(&t, t.staff.id, "backup").await.id, by(&t));
    let renamed = Some("restore".to_owned());
    let stale =
        refused(&t, async |tx| api_keys::change(tx, id, Some(2), &by, renamed.clone(), None).await).await;
    assert!(matches!(stale, Error::Stale { current: 1, .. }), "{stale:?}");
    let scopes = Some(vec![Scope::ReadReports]);
    let changed =
        write(&t, async |tx| api_keys::change(tx, id, Some(1), &by, renamed.clone(), scopes).await).await;
    assert_eq!(
        (changed.version, &*changed.name, &*changed.scopes.0),
        (2, "restore", &[Scope::ReadReports][..])
    );
    assert_eq!(api_keys::get(&t.db, id).await.unwrap(), Some(changed.clone()));
    let same = write(&t, async |tx| api_keys::change(tx, id, None, &by, renamed, None).await).await;
    assert_eq!(same, changed);
    write(&t, async |tx| api_keys::revoke(tx, id, Some(2), &by).await).await;
    assert_eq!(api_keys::get(&t.db, id).await.unwrap(), None);
    let gone = refused(&t, async |tx| api_keys::revoke(tx, id, None, &by).await).await;
    assert!(matches!(gone, Error::NotFound(_)), "{gone:?}");
    let history = accounts::history(&t.db, t.staff.id).await.unwrap();
    let told: Vec<_> = history.iter().map(|e| (e.old_value.as_deref(), e.new_value.as_deref())).collect();
    let (before, after) = (Some("backup (tickets:read, settings:write)"), Some("restore (reports:read)"));
    assert_eq!(told, [(None, before), (before, after), (after, None)]);
}

async fn that_a_key_was_used_is_noted_once_a_minute(t: Testbed) {
    let id = add(&t, t.staff.id, "backup").await.id;
    let touch =
        async || write(&t, async |tx| api_keys::touch(tx, id, t.now(), t.now() - minutes(1)).await).await;
    assert!(touch().await);
    t.advance(seconds(60));
    assert!(!touch().await);
    t.advance(seconds(1));
    assert!(touch().await);
    assert_eq!(api_keys::get(&t.db, id).await.unwrap().unwrap().last_used_at, Some(t.now()));
}

async fn keys_are_listed_by_their_owner(t: Testbed) {
    let [a, b, c] = [t.staff.id, t.customer.id, t.staff.id].map(|user| (user, "key"));
    let mut ids = Vec::new();
    for (user, name) in [a, b, c] {
        ids.push(add(&t, user, name).await.id);
    }
    let gone = add(&t, t.staff.id, "gone").await.id;
    write(&t, async |tx| api_keys::revoke(tx, gone, None, &by(&t)).await).await;
    let all = Filter { limit: 10, ..Filter::default() };
    let list = async |filter: Filter| {
        api_keys::list(&t.db, &filter).await.unwrap().into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(list(all.clone()).await, [ids[2], ids[1], ids[0]]);
    let own = Filter { user: Some(t.staff.id), ..all.clone() };
    assert_eq!(list(own.clone()).await, [ids[2], ids[0]]);
    assert_eq!(list(Filter { before: Some(ids[2]), ..own.clone() }).await, [ids[0]]);
    assert_eq!(list(Filter { offset: 1, limit: 1, ..all.clone() }).await, [ids[1]]);
    assert_eq!(api_keys::count(&t.db, &own).await.unwrap(), 2);
    assert_eq!(api_keys::count(&t.db, &all).await.unwrap(), 3);
}
