//! Who users are to other issuers.

use shared::on_both;
use shared::store::accounts::{self, By};
use shared::store::identities;
use shared::testkit::Testbed;

use crate::write;

on_both! { a_subject_is_one_user_and_a_user_one_subject_of_an_issuer }

async fn a_subject_is_one_user_and_a_user_one_subject_of_an_issuer(t: Testbed) {
    let by = By { actor: None, ip: None, now: t.now() };
    let (sam, cleo) = (t.staff.id, t.customer.id);
    let bind = async |issuer, subject, user| {
        write(&t, async |tx| identities::bind(tx, issuer, subject, user, &by).await).await
    };
    assert!(bind("https://a", "1", sam).await);
    assert!(!bind("https://a", "1", cleo).await, "the subject is somebody else");
    assert!(!bind("https://a", "2", sam).await, "the user is another subject");
    assert!(bind("https://a", "2", cleo).await && bind("https://b", "1", cleo).await);
    for (issuer, subject, user) in
        [("https://a", "1", Some(sam)), ("https://b", "1", Some(cleo)), ("https://c", "1", None)]
    {
        assert_eq!(identities::find(&t.db, issuer, subject).await.unwrap(), user);
    }
    let history = accounts::history(&t.db, sam).await.unwrap();
    assert_eq!((history.len(), history[0].new_value.as_deref()), (1, Some("https://a")));
}
