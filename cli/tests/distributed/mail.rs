//! A mail server that refuses, puts off, or is away.

use shared::domain::job::{Job, SendMail};
use shared::store::jobs;
use shared::store::notifications::{self, State};
use shared::testkit::eventually;

use crate::system::{ERIK, IN_TIME, RITA, System, Ticket};

const CREATED: [(&str, &[&str]); 1] = [("ticket.created", &[ERIK, RITA])];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_tried_again_until_the_server_takes_it() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    system.smtp.defer(2);
    let ticket = system.open("low").await;
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    system.reckon(&ticket, &CREATED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_gets_its_mails_once_it_is_back() {
    let Some(mut system) = System::prepare().await else { return };
    system.smtp.close().await;
    system.start(1, 1).await;
    let ticket = system.open("low").await;
    let tried = async || {
        let waiting = jobs::list(&system.db, 100).await.ok()?;
        let failed = waiting.iter().filter(|job| job.kind == SendMail::KIND && job.last_error.is_some());
        (failed.count() == 2).then_some(())
    };
    eventually("both mails were tried in vain", IN_TIME, tried).await;
    system.smtp.listen().await;
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    system.reckon(&ticket, &CREATED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_mail_is_a_dead_letter_until_the_operator_retries_it() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    system.smtp.refuse(Some(ERIK));
    let ticket = system.open("low").await;
    system.reckon(&ticket, &[("ticket.created", &[RITA])]).await;
    let refused = told(&system, &ticket).await;
    assert_eq!(refused.state, State::Failed);
    assert!(refused.reason.as_deref().is_some_and(|why| why.contains("no such user")), "{refused:?}");
    let listed = system.dogwatch(&["jobs", "list", "--dead"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.lines().count() == 1 && listed.contains("send_mail") && listed.contains("no such user"),
        "{listed}"
    );

    system.smtp.refuse(None);
    let id = listed.split_whitespace().next().unwrap();
    let retried = system.dogwatch(&["jobs", "retry", id]).await;
    assert!(retried.status.success(), "{retried:?}");
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    system.reckon(&ticket, &CREATED).await;
    assert_eq!(told(&system, &ticket).await.state, State::Sent);

    let unknown = system.dogwatch(&["jobs", "retry", "00000000-0000-7000-8000-000000000000"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let stats = system.dogwatch(&["jobs", "stats"]).await;
    let stats = String::from_utf8(stats.stdout).unwrap();
    assert!(
        stats.contains("send_mail") && stats.contains("dead") && stats.contains("dogwatch-worker"),
        "{stats}"
    );
}

/// What became of telling Erik.
async fn told(system: &System, ticket: &Ticket) -> notifications::Notification {
    let decided = notifications::of_ticket(&system.db, ticket.id).await.expect("notifications");
    decided.into_iter().find(|decided| decided.recipient == ERIK).expect("he should be told")
}
