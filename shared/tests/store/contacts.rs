//! The book of contacts.

use shared::ids::ContactId;
use shared::on_both;
use shared::store::contacts::{self, Contact, Filter};
use shared::store::edit::Error;
use shared::testkit::Testbed;

use crate::{refused, seconds, write};

on_both! {
    a_contact_is_kept_changed_and_deleted,
    an_address_belongs_to_one_contact,
    contacts_are_found_by_what_is_known_of_them,
}

async fn add(t: &Testbed, name: &str, email: &str, organization: Option<&str>) -> Contact {
    let contact = Contact {
        id: ContactId::new(),
        name: name.into(),
        email: email.into(),
        phone: None,
        organization: organization.map(str::to_owned),
        notes: Some("Two\nlines".into()),
        version: 1,
        created_at: t.now(),
        updated_at: t.now(),
    };
    write(t, async |tx| contacts::add(tx, &contact).await).await;
    contact
}

async fn a_contact_is_kept_changed_and_deleted(t: Testbed) {
    let ann = add(&t, "Ann", "ann@example.org", None).await;
    assert_eq!(contacts::get(&t.db, ann.id).await.unwrap(), Some(ann.clone()));
    t.advance(seconds(1));
    let phone = |c: &mut Contact| c.phone = Some("112".into());
    let changed = write(&t, async |tx| contacts::change(tx, ann.id, Some(1), t.now(), phone).await).await;
    let expected = Contact { phone: Some("112".into()), version: 2, updated_at: t.now(), ..ann.clone() };
    assert_eq!((&changed, contacts::get(&t.db, ann.id).await.unwrap()), (&expected, Some(expected.clone())));
    let same = write(&t, async |tx| contacts::change(tx, ann.id, None, t.now(), phone).await).await;
    assert_eq!(same.version, 2);
    let stale = refused(&t, async |tx| contacts::delete(tx, ann.id, Some(1)).await).await;
    assert!(matches!(stale, Error::Stale { current: 2, .. }), "{stale:?}");
    write(&t, async |tx| contacts::delete(tx, ann.id, Some(2)).await).await;
    assert_eq!(contacts::get(&t.db, ann.id).await.unwrap(), None);
    let gone = refused(&t, async |tx| contacts::delete(tx, ann.id, None).await).await;
    assert!(matches!(gone, Error::NotFound(_)), "{gone:?}");
}

async fn an_address_belongs_to_one_contact(t: Testbed) {
    let ann = add(&t, "Ann", "ann@example.org", None).await;
    let ben = add(&t, "Ben", "ben@example.org", None).await;
    let again = Contact { id: ContactId::new(), ..ann };
    let error = refused(&t, async |tx| contacts::add(tx, &again).await).await;
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
    let take = |c: &mut Contact| c.email = "ann@example.org".into();
    let error = refused(&t, async |tx| contacts::change(tx, ben.id, None, t.now(), take).await).await;
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
}

async fn contacts_are_found_by_what_is_known_of_them(t: Testbed) {
    let ann = add(&t, "Ann", "ann@example.org", Some("Flames & Co")).await;
    let ben = add(&t, "Ben 100%", "ben@example.org", None).await;
    let all = Filter { limit: 10, ..Filter::default() };
    let find = async |filter: Filter| {
        contacts::list(&t.db, &filter).await.unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(find(all.clone()).await, [ben.id, ann.id]);
    assert_eq!(find(Filter { before: Some(ben.id), ..all.clone() }).await, [ann.id]);
    assert_eq!(find(Filter { offset: 1, ..all.clone() }).await, [ann.id]);
    for (text, expected) in [
        ("ANN", &[ann.id][..]),
        ("flames", &[ann.id]),
        ("0%", &[ben.id]),
        ("_", &[]),
        ("@EXAMPLE", &[ben.id, ann.id]),
    ] {
        let filter = Filter { containing: Some(text.into()), ..all.clone() };
        assert_eq!(find(filter.clone()).await, expected, "{text}");
        assert_eq!(usize::try_from(contacts::count(&t.db, &filter).await.unwrap()), Ok(expected.len()));
    }
}
