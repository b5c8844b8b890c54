//! Users.

use shared::domain::role::Role;
use shared::on_both;
use shared::store::{Error, users};
use shared::testkit::{Testbed, user};

use crate::{refused, write};

on_both! {
    a_user_is_found_by_identifier_and_by_address,
    an_address_belongs_to_one_user,
    users_are_listed_by_address,
    ensuring_a_user_twice_keeps_the_first,
    every_role_can_be_stored,
    some_users_are_found_at_once,
    the_roles_are_those_of_people_who_can_sign_in,
}

async fn a_user_is_found_by_identifier_and_by_address(t: Testbed) {
    assert_eq!(users::get(&t.db, t.staff.id).await.unwrap(), Some(t.staff.clone()));
    for email in ["sam@example.org", "SAM@Example.ORG"] {
        assert_eq!(users::by_email(&t.db, email).await.unwrap(), Some(t.staff.clone()));
    }
    assert_eq!(users::by_email(&t.db, "nobody@example.org").await.unwrap(), None);
    assert_eq!(users::get(&t.db, user("x@example.org", Role::Admin).id).await.unwrap(), None);
}

async fn an_address_belongs_to_one_user(t: Testbed) {
    let again = user("sam@example.org", Role::Admin);
    let error = refused(&t, async |tx| users::add(tx, &again).await).await;
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let shouted = user("ANN@example.org", Role::Admin);
    let error = refused(&t, async |tx| users::add(tx, &shouted).await).await;
    assert!(
        matches!(error, Error::Corrupt(_)),
        "an address in capitals is a defect of the caller: {error:?}"
    );
}

async fn users_are_listed_by_address(t: Testbed) {
    for email in ["zoe@example.org", "abe@example.org"] {
        write(&t, async |tx| users::add(tx, &user(email, Role::Manager)).await).await;
    }
    let emails: Vec<String> = users::list(&t.db).await.unwrap().into_iter().map(|user| user.email).collect();
    assert_eq!(
        emails,
        ["abe@example.org", "cleo@example.org", "mona@example.org", "sam@example.org", "zoe@example.org"]
    );
}

async fn ensuring_a_user_twice_keeps_the_first(t: Testbed) {
    let (first, second) = (user("ann@example.org", Role::Admin), user("ann@example.org", Role::EndUser));
    assert_eq!(write(&t, async |tx| users::ensure(tx, &first).await).await, first);
    assert_eq!(write(&t, async |tx| users::ensure(tx, &second).await).await, first);
}

async fn every_role_can_be_stored(t: Testbed) {
    for role in Role::ALL {
        let stored = user(&format!("{role}@example.org"), *role);
        write(&t, async |tx| users::add(tx, &stored).await).await;
        assert_eq!(users::get(&t.db, stored.id).await.unwrap(), Some(stored));
    }
}

async fn some_users_are_found_at_once(t: Testbed) {
    let nobody = user("x@example.org", Role::Admin).id;
    let found = users::of_ids(&t.db, &[t.staff.id, nobody, t.staff.id]).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&t.staff));
    assert_eq!(users::of_ids(&t.db, &[]).await.unwrap(), []);
}

async fn the_roles_are_those_of_people_who_can_sign_in(t: Testbed) {
    write(&t, async |tx| users::add(tx, &user("ann@example.org", Role::EndUser)).await).await;
    let mut roles = users::roles(&t.db).await.unwrap();
    roles.sort_unstable();
    assert_eq!(roles, [Role::EndUser, Role::SeniorEngineer, Role::Manager]);
    t.disable("sam@example.org").await;
    let mut roles = users::roles(&t.db).await.unwrap();
    roles.sort_unstable();
    assert_eq!(roles, [Role::EndUser, Role::Manager]);
}
