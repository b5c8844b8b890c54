//! Workers that die or stop while they send.

use std::time::Duration;

use shared::domain::job::{Job, SendMail};
use shared::store::{jobs, workers};
use shared::testkit::eventually;

use crate::smtp::Verdict;
use crate::system::{ERIK, EVERYBODY, IN_TIME, RITA, System, Ticket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_worker_is_killed_is_sent_once_by_another() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    system.smtp.hold("sla.breached");
    let ticket = system.open("critical").await;
    let held = async || (system.smtp.held().len() == 3).then_some(());
    eventually("all three mails are being sent", IN_TIME, held).await;
    let (victim, its_jobs) = busiest(&system).await;
    system.part(&victim).kill().await;
    let gone = async || (system.smtp.held().len() == 3 - its_jobs.len()).then_some(());
    eventually("the mail server has noticed", IN_TIME, gone).await;
    system.smtp.release(|_| Verdict::Accept);

    system.breach(&ticket).await;
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    system.reckon(&ticket, &[("ticket.created", &[ERIK, RITA]), ("sla.breached", &EVERYBODY)]).await;
    for job in its_jobs {
        let ended = jobs::ended(&system.db, job).await.unwrap().expect("it ended");
        assert_eq!((ended.outcome.as_str(), ended.attempt), ("done", 2), "{ended:?}");
    }
}

/// Finds the worker that sends the most mails, and its jobs.
async fn busiest(system: &System) -> (String, Vec<shared::ids::JobId>) {
    let mut running = jobs::list(&system.db, 100).await.expect("jobs");
    running.retain(|job| job.kind == SendMail::KIND && job.state == "running");
    assert_eq!(running.len(), 3);
    let mut workers = workers::list(&system.db).await.expect("workers");
    let of = |worker: &workers::Worker| {
        let its = running.iter().filter(|job| job.worker_id == Some(worker.id));
        its.map(|job| job.id).collect::<Vec<_>>()
    };
    workers.sort_by_key(|worker| of(worker).len());
    let busiest = workers.last().expect("there are two");
    (busiest.host.clone(), of(busiest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_ends_what_it_can_and_leaves_the_rest_to_others() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    system.smtp.hold("ticket.created");
    let ticket = system.open("low").await;
    let held = async || (system.smtp.held().len() == 2).then_some(());
    eventually("both mails are being sent", IN_TIME, held).await;

    system.part("worker-1").terminate();
    // It claims nothing new, and waits for what it has begun.
    let closed =
        async || (!system.parts.iter().find(|part| part.name == "worker-1")?.is_ready().await).then_some(());
    eventually("it has heard", IN_TIME, closed).await;
    let late = system.open("low").await;
    assert!(system.part("worker-1").is_running());
    assert_eq!(system.smtp.held().len(), 2);
    system.smtp.release(|mail| if mail.to == ERIK { Verdict::Accept } else { Verdict::HangUp });
    let ended = system.part("worker-1").ended(Duration::from_secs(25)).await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(told(&system, &ticket), [ERIK]);
    assert!(workers::list(&system.db).await.unwrap().is_empty(), "it signed off");

    system.start_another("worker").await;
    system.mailed(&late, "ticket.created", 2, IN_TIME).await;
    for ticket in [&ticket, &late] {
        system.reckon(ticket, &[("ticket.created", &[ERIK, RITA])]).await;
    }
}

fn told(system: &System, ticket: &Ticket) -> Vec<String> {
    system.mails(ticket).into_iter().map(|mail| mail.to).collect()
}
