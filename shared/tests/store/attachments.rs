//! Files that belong to tickets, and which contents are still needed.

use shared::domain::attachment::State;
use shared::domain::event::EventKind;
use shared::domain::job::{Job, ScanAttachment};
use shared::domain::ticket::Priority;
use shared::ids::{AttachmentId, TicketId};
use shared::on_both;
use shared::store::attachments::{self, Attachment, Filter};
use shared::store::desk::{Error, NewFile};
use shared::store::{events, jobs, tickets};
use shared::testkit::Testbed;

use crate::{begin, hours, refused, write};

on_both! {
    attachments_are_listed_in_order_page_by_page,
    a_file_is_attached_once_and_put_on_record,
    a_file_waits_for_its_scan,
    a_content_is_kept_while_somebody_needs_it,
}

fn hash(n: u8) -> String {
    format!("{n:064x}")
}

fn file(n: u8, internal: bool) -> NewFile {
    NewFile {
        name: format!("{n}.png"),
        media_type: "image/png",
        size: 7,
        sha256: hash(n),
        internal,
        scan: false,
    }
}

fn all_of(ticket: TicketId) -> Filter {
    Filter { ticket, internal: true, descending: false, after: None, limit: 100 }
}

async fn names(t: &Testbed, filter: &Filter) -> Vec<String> {
    attachments::list(&t.db, filter).await.unwrap().into_iter().map(|found| found.name).collect()
}

async fn attachments_are_listed_in_order_page_by_page(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let new = |n: u8| Attachment {
        id: AttachmentId::new(),
        ticket_id: ticket.id,
        uploader_id: Some(t.staff.id),
        name: format!("{n}.png"),
        media_type: "image/png".into(),
        size: 7,
        sha256: hash(n),
        internal: n == 1,
        state: State::Unscanned,
        finding: None,
        created_at: t.now(),
        scanned_at: None,
        deleted_at: None,
    };
    let made: Vec<Attachment> = (0..4).map(new).collect();
    for attachment in &made {
        write(&t, async |tx| attachments::insert(tx, attachment).await).await;
    }
    let all = all_of(ticket.id);
    assert_eq!(attachments::list(&t.db, &all).await.unwrap(), made);
    assert_eq!(names(&t, &Filter { internal: false, ..all }).await, ["0.png", "2.png", "3.png"]);
    assert_eq!(names(&t, &Filter { after: Some(made[1].id), limit: 1, ..all }).await, ["2.png"]);
    let back = Filter { after: Some(made[1].id), descending: true, ..all };
    assert_eq!(names(&t, &back).await, ["0.png"]);
    assert_eq!(attachments::count(&t.db, &back).await.unwrap(), 4, "on all pages");
    let found =
        async |n, internal| attachments::with_content(&t.db, ticket.id, &hash(n), internal).await.unwrap();
    assert_eq!((found(1, true).await, found(1, false).await), (Some(made[1].clone()), None));
    write(&t, async |tx| attachments::delete(tx, made[1].id, t.now()).await).await;
    assert_eq!((attachments::get(&t.db, made[1].id).await.unwrap(), found(1, true).await), (None, None));
    let again = new(0);
    let mut tx = begin(&t).await;
    let refused = attachments::insert(&mut tx, &again).await;
    assert!(matches!(refused, Err(shared::store::Error::Conflict(_))), "{refused:?}");
}

async fn a_file_is_attached_once_and_put_on_record(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let attach = async |file: NewFile| {
        write(&t, async |tx| t.desk.attach(tx, ticket.id, &t.customer(), file.clone()).await).await
    };
    let attached = attach(file(1, false)).await.unwrap();
    assert_eq!(attached.uploader_id, Some(t.customer.id));
    assert_eq!(attach(NewFile { name: "other.png".into(), ..file(1, false) }).await, Err(attached.clone()));
    let internal = refused(&t, async |tx| t.desk.attach(tx, ticket.id, &t.customer(), file(1, true)).await);
    assert!(matches!(internal.await, Error::Forbidden(_)));
    let secret =
        write(&t, async |tx| t.desk.attach(tx, ticket.id, &t.staff(), file(1, true)).await).await.unwrap();
    let hidden = refused(&t, async |tx| t.desk.detach(tx, secret.id, &t.customer()).await).await;
    assert!(matches!(hidden, Error::NotFound("attachment")));
    let others = refused(&t, async |tx| t.desk.detach(tx, attached.id, &t.staff()).await).await;
    assert!(matches!(others, Error::Forbidden(_)));
    write(&t, async |tx| t.desk.detach(tx, attached.id, &t.customer()).await).await;
    assert_eq!(names(&t, &all_of(ticket.id)).await, ["1.png"]);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let seen: Vec<_> =
        history[1..].iter().map(|c| (c.internal, c.old_value.as_deref(), c.new_value.as_deref())).collect();
    assert_eq!(
        seen,
        [(false, None, Some("1.png")), (true, None, Some("1.png")), (false, Some("1.png"), None)]
    );
    let told = events::after(&t.db, 0, 100).await.unwrap();
    let told: Vec<_> =
        told.iter().filter(|e| e.kind == EventKind::TicketAttached).map(|e| e.internal).collect();
    assert_eq!(told, [false, true]);
}

async fn a_file_waits_for_its_scan(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let mut ids = Vec::new();
    for n in 1..=2 {
        let file = NewFile { scan: true, ..file(n, false) };
        let attached =
            write(&t, async |tx| t.desk.attach(tx, ticket.id, &t.staff(), file).await).await.unwrap();
        assert_eq!(attached.state, State::Pending);
        ids.push(attached.id);
    }
    let waiting = jobs::list(&t.db, 100).await.unwrap();
    assert_eq!(waiting.iter().filter(|job| job.kind == ScanAttachment::KIND).count(), 2);
    let judge = async |id, finding| write(&t, async |tx| t.desk.judge(tx, id, finding).await).await;
    assert!(judge(ids[0], None).await.is_some());
    assert!(judge(ids[1], Some("Eicar-Signature")).await.is_some());
    assert!(judge(ids[1], None).await.is_none(), "the first verdict counts");
    let judged = attachments::list(&t.db, &all_of(ticket.id)).await.unwrap();
    let judged: Vec<_> = judged.iter().map(|a| (a.state, a.finding.as_deref(), a.scanned_at)).collect();
    let now = Some(t.now());
    assert_eq!(judged, [(State::Clean, None, now), (State::Quarantined, Some("Eicar-Signature"), now)]);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(history.last().unwrap().new_value.as_deref(), Some("2.png: quarantined as Eicar-Signature"));
    write(&t, async |tx| t.desk.detach(tx, ids[0], &t.staff()).await).await;
    assert!(judge(ids[0], None).await.is_none());
    let direct =
        async |tx: &mut shared::store::Tx| attachments::judge(tx, ids[1], State::Clean, None, t.now()).await;
    assert!(!write(&t, direct).await);
}

async fn a_content_is_kept_while_somebody_needs_it(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    for n in 1..=2 {
        write(&t, async |tx| attachments::touch(tx, &hash(n), 7, t.now()).await).await;
    }
    let attached =
        write(&t, async |tx| t.desk.attach(tx, ticket.id, &t.staff(), file(1, false)).await).await.unwrap();
    let unused = async || attachments::unused(&t.db, t.now() - hours(24), 10).await.unwrap();
    assert_eq!(unused().await, [] as [String; 0], "somebody may just be attaching it");
    t.advance(hours(25));
    assert_eq!(unused().await, [hash(2)]);
    write(&t, async |tx| t.desk.detach(tx, attached.id, &t.staff()).await).await;
    assert_eq!(unused().await, [hash(1), hash(2)]);
    write(&t, async |tx| attachments::touch(tx, &hash(1), 7, t.now()).await).await;
    let before = t.now() - hours(24);
    let forget = async |n| write(&t, async |tx| attachments::forget(tx, &hash(n), before).await).await;
    assert_eq!((forget(1).await, forget(2).await, forget(2).await), (false, true, false));
    assert_eq!(unused().await, [] as [String; 0]);
}
