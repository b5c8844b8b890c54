//! What is held, until when, and how it leaves.

use chrono::TimeDelta;
use serde_json::json;
use shared::domain::job::{Digest, Ending, Notify, SendMail};
use shared::domain::ticket::{Priority, Status};
use shared::on_both;
use shared::store::notifications::{self, Filter, Notification, State};
use shared::store::{jobs, preferences};
use shared::testkit::Testbed;

use super::digest::{self, gather};
use crate::context::Outcome;
use crate::testing::Bench;

on_both! {
    what_a_storm_holds_leaves_as_one_mail_when_the_window_ends,
    a_digest_that_died_before_its_record_is_sent_again_as_it_was,
    what_is_held_while_a_digest_leaves_gets_another,
    what_no_longer_applies_when_a_digest_leaves_is_left_out,
    a_digest_that_is_given_up_can_be_retried,
    a_single_notification_held_leaves_as_its_own_mail,
    nobody_is_woken_but_for_critical_tickets,
    quiet_hours_do_not_count_towards_a_storm,
    only_those_who_may_acknowledge_get_a_link,
}

const STORM: &[(&str, &str)] = &[("STORM_LIMIT", "3"), ("STORM_WINDOW_SECONDS", "60")];
const WINDOW: TimeDelta = TimeDelta::seconds(60);
const SAM: &str = "sam@example.org";

async fn all(bench: &Bench, recipient: &str) -> Vec<Notification> {
    let filter = Filter { recipient: Some(recipient.into()), limit: 1_000, ..Filter::default() };
    notifications::list(&bench.t.db, &filter).await.unwrap()
}

async fn in_state(bench: &Bench, recipient: &str, state: State) -> Vec<Notification> {
    let mut all = all(bench, recipient).await;
    all.retain(|notification| notification.state == state);
    all
}

/// Opens tickets that only concern the staff member, decides whom to tell, and mails what need not wait.
async fn open(bench: &Bench, count: usize, priority: Priority) -> Vec<shared::store::tickets::Ticket> {
    let t = &bench.t;
    let mut draft = t.draft(priority);
    (draft.reporter_id, draft.actor) = (t.staff.id, t.staff());
    let mut tx = t.db.begin().await.unwrap();
    let opened = t.desk.open(&mut tx, vec![draft; count]).await.unwrap();
    let _ = tx.commit().await.unwrap();
    tell(bench).await;
    opened
}

async fn tell(bench: &Bench) {
    for outcome in bench.run_all::<Notify>().await.into_iter().chain(bench.run_all::<SendMail>().await) {
        assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
    }
}

async fn what_a_storm_holds_leaves_as_one_mail_when_the_window_ends(t: Testbed) {
    let bench = Bench::over(t, STORM);
    let tickets = open(&bench, 8, Priority::High).await;
    assert_eq!(bench.sent().len(), 3);
    let held = in_state(&bench, SAM, State::Held).await;
    assert_eq!(held.len(), 5);
    let end = bench.t.now() + WINDOW;
    let reason = Some("storm: more than 3 notifications within 60 s");
    assert!(held.iter().all(|n| n.release_at == Some(end) && n.reason.as_deref() == reason), "{held:?}");
    assert_eq!(bench.waiting::<Digest>().await.len(), 1, "one job for all of them");
    bench.t.advance(WINDOW - TimeDelta::microseconds(1));
    assert_eq!(bench.run_all::<Digest>().await.len(), 0);
    bench.t.advance(TimeDelta::microseconds(1));
    let outcomes = bench.run_all::<Digest>().await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Committed(Ending::Done))]), "{outcomes:?}");
    let sent = bench.sent();
    assert_eq!(sent.len(), 4);
    let (name, digest) = sent.iter().find(|(name, _)| name.starts_with("digest-")).unwrap();
    assert!(digest.contains("X-Dogwatch-Event: digest") && !digest.contains("X-Dogwatch-Ticket"), "{digest}");
    let told = in_state(&bench, SAM, State::Sent).await;
    assert_eq!(told.len(), 8);
    let id = name.trim_start_matches("digest-").trim_end_matches(".eml");
    let reason = format!("in digest <{id}@localhost>");
    assert!(digest.contains(&format!("Message-ID: <{id}@localhost>")), "{digest}");
    for ticket in tickets {
        let held = held.iter().any(|n| n.ticket_id == ticket.id);
        assert_eq!(digest.contains(&format!("{}: ", ticket.key())), held, "{digest}");
        let told = told.iter().find(|n| n.ticket_id == ticket.id).unwrap();
        assert_eq!(told.reason.as_deref(), held.then_some(&*reason));
    }
    open(&bench, 3, Priority::High).await;
    assert_eq!(bench.sent().len(), 7, "a new window has begun");
}

async fn a_digest_that_died_before_its_record_is_sent_again_as_it_was(t: Testbed) {
    let bench = Bench::over(t, STORM);
    open(&bench, 6, Priority::High).await;
    bench.t.advance(WINDOW);
    let (ready, digest) = bench.waiting::<Digest>().await.remove(0);
    let cx = bench.claim(ready.id).await;
    let gathered = gather(&digest, &cx).await.unwrap().unwrap();
    cx.worker.mailer.send(gathered.letter.as_ref().unwrap()).await.unwrap();
    let before = bench.sent();
    assert_eq!(before.len(), 4);
    // The worker is gone. Meanwhile there is another storm.
    let again =
        jobs::Again { job: ready.id, lease_seq: cx.job.lease_seq, at: bench.t.now(), refund: 0, error: None };
    let mut tx = bench.t.db.begin().await.unwrap();
    jobs::put_back(&mut tx, bench.worker.id, vec![again]).await.unwrap();
    let _ = tx.commit().await.unwrap();
    open(&bench, 5, Priority::High).await;
    bench.t.advance(WINDOW);
    assert_eq!(bench.run_all::<Digest>().await.len(), 2);
    let after = bench.sent();
    assert_eq!(after.len(), 8, "three single ones and a second digest came");
    let subject = |mail: &str| mail.lines().find(|line| line.starts_with("Subject")).unwrap().to_owned();
    for (name, mail) in &before {
        assert_eq!(subject(&after[name]), subject(mail), "the same name is the same Message-ID");
    }
    assert_eq!(in_state(&bench, SAM, State::Sent).await.len(), 11);
}

async fn what_is_held_while_a_digest_leaves_gets_another(t: Testbed) {
    let bench = Bench::over(t, STORM);
    open(&bench, 5, Priority::High).await;
    let waiting = bench.waiting::<Digest>().await;
    bench.t.advance(WINDOW);
    let (ready, digest) = waiting[0].clone();
    let cx = bench.claim(ready.id).await;
    let gathered = gather(&digest, &cx).await.unwrap().unwrap();
    // Somebody whose clock is a little behind still counts into the window that has ended.
    bench.t.advance(-TimeDelta::seconds(1));
    open(&bench, 2, Priority::High).await;
    bench.t.advance(TimeDelta::seconds(1));
    assert_eq!(bench.waiting::<Digest>().await.len(), 0, "the job seems to be still ahead");
    digest::settle(&digest, &cx, &gathered, State::Sent, None).await.unwrap();
    assert_eq!(in_state(&bench, SAM, State::Held).await.len(), 2);
    assert_eq!(bench.run_all::<Digest>().await.len(), 1);
    assert_eq!(in_state(&bench, SAM, State::Sent).await.len(), 7);
}

async fn what_no_longer_applies_when_a_digest_leaves_is_left_out(t: Testbed) {
    let bench = Bench::over(t, &[("STORM_LIMIT", "1"), ("STORM_WINDOW_SECONDS", "60")]);
    let tickets = open(&bench, 4, Priority::High).await;
    for (ticket, statuses) in
        tickets.iter().zip([&[Status::Resolved][..], &[Status::Resolved, Status::Reopened], &[]])
    {
        for status in statuses {
            let mut tx = bench.t.db.begin().await.unwrap();
            bench.t.desk.move_to(&mut tx, ticket.id, None, &bench.t.staff(), *status).await.unwrap();
            let _ = tx.commit().await.unwrap();
        }
    }
    tell(&bench).await;
    bench.t.advance(WINDOW);
    bench.run_all::<Digest>().await;
    let suppressed = in_state(&bench, SAM, State::Suppressed).await;
    assert_eq!(suppressed.len(), 1, "{suppressed:?}");
    assert_eq!(suppressed[0].reason.as_deref(), Some("the ticket was reopened"));
    assert_eq!(in_state(&bench, SAM, State::Sent).await.len(), 5);
}

async fn a_digest_that_is_given_up_can_be_retried(t: Testbed) {
    let bench = Bench::over(t, STORM);
    open(&bench, 6, Priority::High).await;
    bench.t.advance(WINDOW);
    let (ready, digest) = bench.waiting::<Digest>().await.remove(0);
    let cx = bench.claim(ready.id).await;
    let gathered = gather(&digest, &cx).await.unwrap().unwrap();
    let why = Some("no such user".to_owned());
    let ended = digest::settle(&digest, &cx, &gathered, State::Failed, why).await.unwrap();
    assert_eq!(ended, Outcome::Committed(Ending::Dead));
    assert_eq!(in_state(&bench, SAM, State::Failed).await.len(), 3);
    let mut tx = bench.t.db.begin().await.unwrap();
    assert!(jobs::retry(&mut tx, ready.id, bench.t.now()).await.unwrap().is_some());
    let _ = tx.commit().await.unwrap();
    assert_eq!(bench.run_all::<Digest>().await.len(), 1);
    assert_eq!(in_state(&bench, SAM, State::Sent).await.len(), 6);
    assert!(bench.sent().keys().any(|name| *name == format!("digest-{}.eml", digest.digest)));
}

async fn a_single_notification_held_leaves_as_its_own_mail(t: Testbed) {
    let bench = Bench::over(t, STORM);
    let tickets = open(&bench, 4, Priority::High).await;
    let held = in_state(&bench, SAM, State::Held).await.remove(0);
    bench.t.advance(WINDOW);
    bench.run_all::<Digest>().await;
    let key = tickets.iter().find(|ticket| ticket.id == held.ticket_id).unwrap().key();
    let name = format!("{key}-ticket.created-{}.eml", held.id);
    assert!(bench.sent()[&name].contains("X-Dogwatch-Event: ticket.created"));
    assert_eq!(in_state(&bench, SAM, State::Sent).await.len(), 4);
}

/// Leaves Sam alone from 07:00 to 09:00 on Fridays; it is Friday at 08:00.
async fn leave_sam_alone(t: &Testbed) {
    let quiet = json!({ "tz": "UTC", "weekly": { "fri": ["07:00-09:00"] } });
    let mut tx = t.db.begin().await.unwrap();
    let wanted = preferences::get(&mut tx, t.staff.id).await.unwrap().unwrap();
    let (tz, quiet_hours) = (Some("Europe/Berlin".into()), Some(quiet.into()));
    preferences::set(&mut tx, &preferences::Preferences { tz, quiet_hours, ..wanted }).await.unwrap();
    let _ = tx.commit().await.unwrap();
}

async fn nobody_is_woken_but_for_critical_tickets(t: Testbed) {
    let bench = Bench::over(t, &[]);
    leave_sam_alone(&bench.t).await;
    open(&bench, 1, Priority::Critical).await;
    assert_eq!(bench.sent().len(), 1);
    open(&bench, 2, Priority::High).await;
    assert_eq!(bench.sent().len(), 1);
    let held = in_state(&bench, SAM, State::Held).await;
    let end = bench.t.now() + TimeDelta::hours(1);
    assert!(held.iter().all(|n| n.release_at == Some(end)), "{held:?}");
    assert_eq!(held[0].reason.as_deref(), Some("quiet hours until 2027-01-15T09:00:00+00:00"));
    bench.t.advance(TimeDelta::hours(1));
    open(&bench, 1, Priority::High).await;
    assert_eq!(bench.sent().len(), 2, "it is not quiet any more");
    bench.run_all::<Digest>().await;
    let sent = bench.sent();
    assert_eq!(sent.len(), 3);
    let digest = &sent.iter().find(|(name, _)| name.starts_with("digest-")).unwrap().1;
    assert!(digest.contains("2027-01-15 09:00:00 CET (2027-01-15 08:00:00 UTC)"), "{digest}");
}

async fn quiet_hours_do_not_count_towards_a_storm(t: Testbed) {
    let bench = Bench::over(t, STORM);
    leave_sam_alone(&bench.t).await;
    open(&bench, 10, Priority::Low).await;
    open(&bench, 3, Priority::Critical).await;
    assert_eq!(bench.sent().len(), 3);
    assert_eq!(in_state(&bench, SAM, State::Held).await.len(), 10);
    assert_eq!(bench.waiting::<Digest>().await.len(), 1);
}

async fn only_those_who_may_acknowledge_get_a_link(t: Testbed) {
    let bench =
        Bench::over(t, &[("ONCALL_EMAIL", "oncall@example.org"), ("PUBLIC_URL", "https://desk.example.org")]);
    bench.t.open(Priority::High).await;
    bench.t.advance(TimeDelta::hours(5));
    bench.t.sweep().await;
    tell(&bench).await;
    let breaches: Vec<String> = bench
        .sent()
        .into_iter()
        .filter(|(name, _)| name.contains("sla.breached"))
        .map(|(_, mail)| mail)
        .collect();
    let links = |to: &str| {
        let mail = breaches.iter().find(|mail| mail.contains(&format!("To: {to}"))).unwrap();
        let text = mail.split("Content-Type: text/html").next().unwrap();
        text.matches("Acknowledge: https://desk.example.org/acknowledge/").count()
    };
    assert_eq!(breaches.len(), 3);
    assert_eq!([SAM, "oncall@example.org", "cleo@example.org"].map(links), [1, 1, 0]);
    let created: Vec<_> =
        bench.sent().into_iter().filter(|(name, _)| name.contains("ticket.created")).collect();
    assert!(created.len() == 2 && created.iter().all(|(_, mail)| !mail.contains("/acknowledge/")));
}

#[test]
fn every_kind_that_can_be_run_has_its_label_in_the_metrics() {
    assert_eq!(super::registry().kinds(), shared::domain::job::KINDS.into());
}
