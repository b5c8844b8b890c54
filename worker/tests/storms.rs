//! A storm against a whole worker: many jobs at once, one recipient.

use std::time::Duration;

use chrono::TimeDelta;
use shared::domain::ticket::Priority;
use shared::on_both;
use shared::store::jobs;
use shared::store::notifications::{self, Filter, Notification, State};
use shared::testkit::{Testbed, eventually};

on_both! { two_hundred_causes_at_once_are_three_mails_and_one_digest }

const SOON: Duration = Duration::from_secs(60);
const SAM: &str = "sam@example.org";

async fn told(t: &Testbed, state: State) -> Vec<Notification> {
    let filter =
        Filter { state: Some(state), recipient: Some(SAM.into()), limit: 1_000, ..Filter::default() };
    notifications::list(&t.db, &filter).await.expect("a list")
}

async fn two_hundred_causes_at_once_are_three_mails_and_one_digest(t: Testbed) {
    let mails = tempfile::tempdir().expect("a folder");
    let folder = mails.path().display().to_string();
    let process = t.process(&[("MAIL_DIR", &folder), ("STORM_LIMIT", "3"), ("STORM_WINDOW_SECONDS", "300")]);
    let running = process.clone();
    let worker = tokio::spawn(async move { dogwatch_worker::run(running).await.expect("a worker") });
    let mut draft = t.draft(Priority::High);
    (draft.reporter_id, draft.actor) = (t.staff.id, t.staff());
    let mut tx = t.db.begin().await.expect("a transaction");
    let tickets = t.desk.open(&mut tx, vec![draft; 200]).await.expect("tickets");
    process.queue.push(tx.commit().await.expect("a commit"));
    let decided = async || {
        let (sent, held) = (told(&t, State::Sent).await, told(&t, State::Held).await);
        (sent.len() + held.len() == 200).then_some((sent, held))
    };
    let (sent, held) = eventually("everybody is told or waits", SOON, decided).await;
    assert_eq!((sent.len(), held.len()), (3, 197));
    // A little more: a worker without a scheduler leaves jobs to it for a second.
    t.advance(TimeDelta::seconds(302));
    let released = async || (told(&t, State::Sent).await.len() == 200).then_some(());
    eventually("the digest is sent", SOON, released).await;
    let ended = async || jobs::list(&t.db, 1_000).await.expect("a list").is_empty().then_some(());
    eventually("nothing is left to do", SOON, ended).await;
    process.stop.cancel();
    worker.await.expect("an orderly end");

    let files = std::fs::read_dir(mails.path()).expect("the folder");
    let mut names: Vec<_> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("text")).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 4, "{names:?}");
    let digest = names.iter().find(|name| name.starts_with("digest-")).expect("a digest");
    let digest = std::fs::read_to_string(mails.path().join(digest)).expect("a mail");
    let text = digest.replace("=\r\n", "");
    for ticket in tickets {
        let waited = held.iter().any(|held| held.ticket_id == ticket.id);
        assert_eq!(text.contains(&format!("{}: ", ticket.key())), waited, "{}", ticket.key());
    }
}
