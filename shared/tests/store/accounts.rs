//! What happens to accounts.

use shared::domain::role::Role;
use shared::ids::{FamilyId, UserId};
use shared::on_both;
use shared::store::accounts::{self, By, Filter};
use shared::store::edit::Error;
use shared::store::query::query;
use shared::store::refresh_tokens::{self, Used};
use shared::store::users::User;
use shared::testkit::{Testbed, user};

use crate::{refused, write};

on_both! {
    every_change_of_an_account_is_on_record,
    what_is_on_record_cannot_be_changed,
    an_account_is_changed_at_the_version_the_caller_has_seen,
    two_accounts_never_share_an_address,
    the_last_enabled_admin_stays_one,
    two_admins_cannot_disable_each_other_at_the_same_time,
    who_is_disabled_or_gets_a_password_is_signed_out,
    accounts_are_found_by_what_they_are,
}

fn by(t: &Testbed) -> By {
    By { actor: Some(t.staff.id), ip: Some("10.0.0.1".into()), now: t.now() }
}

async fn add(t: &Testbed, email: &str, role: Role) -> User {
    let made = user(email, role);
    write(t, async |tx| accounts::create(tx, &made, &by(t)).await).await;
    made
}

async fn every_change_of_an_account_is_on_record(t: Testbed) {
    let ann = add(&t, "ann@example.org", Role::EndUser).await;
    let changed = write(&t, async |tx| {
        accounts::change(tx, ann.id, Some(1), &by(&t), |user| {
            (user.name, user.role, user.password_hash) = ("Ann B".into(), Role::Manager, "hash".into());
        })
        .await
    })
    .await;
    assert_eq!((changed.version, changed.role), (2, Role::Manager));
    let same = write(&t, async |tx| accounts::change(tx, ann.id, None, &by(&t), |_| {}).await).await;
    assert_eq!(same, changed);
    let history = accounts::history(&t.db, ann.id).await.unwrap();
    let told: Vec<_> =
        history.iter().map(|e| (&*e.field, e.old_value.as_deref(), e.new_value.as_deref())).collect();
    let expected = [
        ("account", None, Some("end_user")),
        ("name", Some("ann"), Some("Ann B")),
        ("role", Some("end_user"), Some("manager")),
        ("password", None, None),
    ];
    assert_eq!(told, expected);
    assert!(history.iter().all(|e| e.actor_id == Some(t.staff.id) && e.ip.as_deref() == Some("10.0.0.1")));
    assert!(history.iter().all(|e| e.at == t.now() && e.user_id == ann.id));
}

async fn what_is_on_record_cannot_be_changed(t: Testbed) {
    add(&t, "ann@example.org", Role::EndUser).await;
    refused(&t, async |tx| query("UPDATE account_events SET new_value = 'x'").execute(tx).await).await;
    refused(&t, async |tx| query("DELETE FROM account_events").execute(tx).await).await;
}

async fn an_account_is_changed_at_the_version_the_caller_has_seen(t: Testbed) {
    let (ann, by) = (add(&t, "ann@example.org", Role::EndUser).await, by(&t));
    let rename = |user: &mut User| user.name = "Anna".into();
    let error = refused(&t, async |tx| accounts::change(tx, ann.id, Some(2), &by, rename).await).await;
    assert!(matches!(error, Error::Stale { current: 1, .. }), "{error:?}");
    let error = refused(&t, async |tx| accounts::change(tx, UserId::new(), None, &by, rename).await).await;
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
}

async fn two_accounts_never_share_an_address(t: Testbed) {
    let (ann, by) = (add(&t, "ann@example.org", Role::EndUser).await, by(&t));
    let again = user("ann@example.org", Role::EndUser);
    let error = refused(&t, async |tx| accounts::create(tx, &again, &by).await).await;
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
    let take = |user: &mut User| user.email = "sam@example.org".into();
    let error = refused(&t, async |tx| accounts::change(tx, ann.id, None, &by, take).await).await;
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
}

async fn the_last_enabled_admin_stays_one(t: Testbed) {
    let (one, two) =
        (add(&t, "one@example.org", Role::Admin).await, add(&t, "two@example.org", Role::Admin).await);
    let by = by(&t);
    let disable = |user: &mut User| user.disabled_at = Some(by.now);
    write(&t, async |tx| accounts::change(tx, two.id, None, &by, disable).await).await;
    for change in [&disable as &(dyn Fn(&mut User) + Sync), &|user: &mut User| user.role = Role::Manager] {
        let error = refused(&t, async |tx| accounts::change(tx, one.id, None, &by, change).await).await;
        assert!(matches!(error, Error::LastAdmin), "{error:?}");
    }
    write(&t, async |tx| accounts::change(tx, two.id, None, &by, |user| user.disabled_at = None).await).await;
    write(&t, async |tx| accounts::change(tx, one.id, None, &by, disable).await).await;
}

async fn two_admins_cannot_disable_each_other_at_the_same_time(t: Testbed) {
    let (one, two) =
        (add(&t, "one@example.org", Role::Admin).await, add(&t, "two@example.org", Role::Admin).await);
    let disable = async |id: UserId| {
        let mut tx = t.db.begin().await.unwrap();
        let by = by(&t);
        let done = accounts::change(&mut tx, id, None, &by, |user| user.disabled_at = Some(by.now)).await;
        match done {
            Ok(_) => tx.commit().await.map(|_| true).unwrap(),
            Err(Error::LastAdmin) => false,
            Err(error) => panic!("{error:?}"),
        }
    };
    let (first, second) = tokio::join!(disable(one.id), disable(two.id));
    assert!(first ^ second, "{first} {second}");
}

async fn who_is_disabled_or_gets_a_password_is_signed_out(t: Testbed) {
    let (ann, by) = (add(&t, "ann@example.org", Role::EndUser).await, by(&t));
    let changes: [fn(&mut User); 3] = [
        |user| user.name = "Anna".into(),
        |user| user.password_hash = "new".into(),
        |user| user.disabled_at = Some(shared::testkit::start()),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let (family, hash) = (FamilyId::new(), format!("token {i}"));
        let until = t.now() + chrono::TimeDelta::days(1);
        write(&t, async |tx| refresh_tokens::issue(tx, family, ann.id, &hash, t.now(), until).await).await;
        write(&t, async |tx| accounts::change(tx, ann.id, None, &by, change).await).await;
        let used = write(&t, async |tx| refresh_tokens::use_up(tx, &hash, t.now()).await).await;
        let expected = if i == 0 { Used::Good { user: ann.id, family } } else { Used::Unknown };
        assert_eq!(used, expected, "change {i}");
    }
}

async fn accounts_are_found_by_what_they_are(t: Testbed) {
    let ann = add(&t, "ann@example.org", Role::Admin).await;
    let odd = add(&t, "o_d%d@example.org", Role::EndUser).await;
    let by = by(&t);
    write(&t, async |tx| accounts::change(tx, odd.id, None, &by, |u| u.disabled_at = Some(by.now)).await)
        .await;
    let all = Filter { limit: 10, ..Filter::default() };
    let find = async |filter: Filter| {
        let found = accounts::list(&t.db, &filter).await.unwrap();
        let counted = accounts::count(&t.db, &Filter { before: None, ..filter.clone() }).await.unwrap();
        let ids: Vec<_> = found.into_iter().map(|user| user.id).collect();
        assert!(filter.before.is_some() || filter.offset > 0 || i64::try_from(ids.len()) == Ok(counted));
        ids
    };
    let (sam, cleo, mona) = (t.staff.id, t.customer.id, t.manager.id);
    assert_eq!(find(all.clone()).await, [odd.id, ann.id, mona, cleo, sam]);
    assert_eq!(find(Filter { before: Some(ann.id), ..all.clone() }).await, [mona, cleo, sam]);
    assert_eq!(find(Filter { offset: 4, ..all.clone() }).await, [sam]);
    assert_eq!(find(Filter { role: Some(Role::EndUser), ..all.clone() }).await, [odd.id, cleo]);
    assert_eq!(find(Filter { disabled: Some(true), ..all.clone() }).await, [odd.id]);
    assert_eq!(find(Filter { disabled: Some(false), ..all.clone() }).await, [ann.id, mona, cleo, sam]);
    for (text, expected) in [
        ("AN", &[ann.id][..]),
        ("%", &[odd.id]),
        ("_d%", &[odd.id]),
        ("\\", &[]),
        ("org", &[odd.id, ann.id, mona, cleo, sam]),
    ] {
        let found = find(Filter { containing: Some(text.into()), ..all.clone() }).await;
        assert_eq!(found, expected, "{text}");
    }
}
