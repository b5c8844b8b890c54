//! Tickets taken on by people without an account.

use chrono::TimeDelta;
use shared::domain::escalation::StopReason;
use shared::domain::ticket::{Priority, Status};
use shared::ids::TicketId;
use shared::on_both;
use shared::store::desk::{Actor, Error, Who};
use shared::store::{acknowledgements, escalations, tickets};
use shared::testkit::Testbed;

use crate::{refused, write};

on_both! {
    an_address_takes_a_ticket_on_once,
    a_reopened_ticket_is_taken_on_anew,
    a_ticket_that_is_gone_cannot_be_taken_on,
}

const ONCALL: &str = "oncall@example.org";

/// Whoever reads an address.
fn reader(address: &str) -> Actor {
    Actor { who: Who::Address(address.into()), ip: Some("192.0.2.7".into()) }
}

async fn by_whom(t: &Testbed, id: TicketId) -> Option<String> {
    let ticket = tickets::get(&t.db, id).await.unwrap().unwrap();
    acknowledgements::by_whom(&t.db, &ticket).await.unwrap()
}

async fn an_address_takes_a_ticket_on_once(t: Testbed) {
    let id = t.open(Priority::Critical).await.id;
    assert_eq!(by_whom(&t, id).await, None);
    t.advance(TimeDelta::hours(2));
    t.sweep().await;
    let taken = write(&t, async |tx| t.desk.acknowledge(tx, id, None, &reader(ONCALL)).await).await;
    assert_eq!((taken.acknowledged_at, taken.acknowledged_by, taken.version), (Some(t.now()), None, 2));
    assert_eq!(
        escalations::of_ticket(&t.db, id).await.unwrap()[0].stop_reason,
        Some(StopReason::Acknowledged)
    );
    assert_eq!(tickets::get(&t.db, id).await.unwrap(), Some(taken.clone()));
    t.advance(TimeDelta::hours(1));
    let again =
        write(&t, async |tx| t.desk.acknowledge(tx, id, None, &reader("eve@example.org")).await).await;
    assert_eq!(again, taken);
    let again = write(&t, async |tx| t.desk.acknowledge(tx, id, None, &t.staff()).await).await;
    assert_eq!(again, taken);
    assert_eq!(by_whom(&t, id).await.as_deref(), Some(ONCALL));
    let history = tickets::history(&t.db, id).await.unwrap();
    let taken: Vec<_> = history.iter().filter(|change| change.field == "acknowledged_as").collect();
    assert_eq!((taken.len(), taken[0].new_value.as_deref(), taken[0].version), (1, Some(ONCALL), 2));
    assert_eq!(taken[0].ip.as_deref(), Some("192.0.2.7"));
}

async fn a_reopened_ticket_is_taken_on_anew(t: Testbed) {
    let id = t.open(Priority::Critical).await.id;
    write(&t, async |tx| t.desk.acknowledge(tx, id, None, &reader(ONCALL)).await).await;
    for status in [Status::Resolved, Status::Reopened] {
        write(&t, async |tx| t.desk.move_to(tx, id, None, &t.staff(), status).await).await;
    }
    assert_eq!(by_whom(&t, id).await, None);
    write(&t, async |tx| t.desk.acknowledge(tx, id, None, &t.staff()).await).await;
    assert_eq!(by_whom(&t, id).await.as_deref(), Some("sam"));
}

async fn a_ticket_that_is_gone_cannot_be_taken_on(t: Testbed) {
    let error =
        refused(&t, async |tx| t.desk.acknowledge(tx, TicketId::new(), None, &reader(ONCALL)).await).await;
    assert!(matches!(error, Error::NotFound("ticket")), "{error:?}");
}
