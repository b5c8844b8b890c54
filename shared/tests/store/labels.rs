//! The labels in use.

use shared::domain::ticket::Priority;
use shared::on_both;
use shared::store::desk::Draft;
use shared::store::labels::{self, Filter, Used};
use shared::store::tickets;
use shared::testkit::Testbed;

use crate::write;

on_both! {
    labels_are_counted_by_the_tickets_that_somebody_may_see,
    tickets_are_found_by_their_contact,
}

async fn labels_are_counted_by_the_tickets_that_somebody_may_see(t: Testbed) {
    let mut opened = Vec::new();
    for (reporter, labels) in [
        (t.customer.id, &["net", "Network"][..]),
        (t.staff.id, &["net", "n_t", "disk"]),
        (t.staff.id, &["gone"]),
    ] {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let draft = Draft { reporter_id: reporter, labels, ..t.draft(Priority::Low) };
        opened.extend(write(&t, async |tx| t.desk.open(tx, vec![draft.clone()]).await).await);
    }
    write(&t, async |tx| {
        let mut ticket = tickets::lock(tx, opened[2].id).await?.unwrap();
        ticket.deleted_at = Some(t.now());
        tickets::update(tx, &mut ticket).await
    })
    .await;
    let all = Filter { limit: 10, ..Filter::default() };
    let list = async |filter: &Filter| {
        let mut found = labels::list(&t.db, filter).await.unwrap();
        // Each engine sorts by rules of its own.
        found.sort_by(|a, b| a.label.cmp(&b.label));
        found.into_iter().map(|Used { label, tickets }| (label, tickets)).collect::<Vec<_>>()
    };
    let some = |list: &[(&str, i64)]| list.iter().map(|(l, n)| ((*l).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(list(&all).await, some(&[("Network", 1), ("disk", 1), ("n_t", 1), ("net", 2)]));
    let own = Filter { visible_to: Some(t.customer.id), ..all.clone() };
    assert_eq!(list(&own).await, some(&[("Network", 1), ("net", 1)]));
    assert_eq!(labels::count(&t.db, &own).await.unwrap(), 2);
    for (prefix, expected) in
        [("NET", &[("Network", 1), ("net", 2)][..]), ("n_", &[("n_t", 1)]), ("%", &[]), ("gone", &[])]
    {
        let filter = Filter { prefix: Some(prefix.into()), ..all.clone() };
        assert_eq!(list(&filter).await, some(expected), "{prefix}");
    }
    let mut paged: Vec<String> = Vec::new();
    while paged.len() < 4 {
        let filter = Filter { after: paged.last().cloned(), limit: 1, ..all.clone() };
        paged.push(labels::list(&t.db, &filter).await.unwrap().remove(0).label);
    }
    paged.sort_unstable();
    assert_eq!(paged, ["Network", "disk", "n_t", "net"]);
    assert_eq!(list(&Filter { offset: 3, ..all.clone() }).await.len(), 1);
}

async fn tickets_are_found_by_their_contact(t: Testbed) {
    let draft = Draft { contact_email: Some("Ann@Example.org".into()), ..t.draft(Priority::Low) };
    let ann = write(&t, async |tx| t.desk.open(tx, vec![draft.clone()]).await).await.remove(0);
    t.open(Priority::Low).await;
    let contact = Some("ann@EXAMPLE.org".to_owned());
    let filter = tickets::Filter { contact, limit: 10, ..tickets::Filter::default() };
    let found = tickets::list(&t.db, &filter).await.unwrap();
    assert_eq!(found.iter().map(|(ticket, _)| ticket.id).collect::<Vec<_>>(), [ann.id]);
}
