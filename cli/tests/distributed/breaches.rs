//! A breach, while what finds and dispatches it fails.

use chrono::TimeDelta;
use shared::store::notifications;
use shared::testkit::eventually;

use crate::system::{ERIK, EVERYBODY, IN_TIME, RITA, System, Ticket};

/// Who is told of what about a ticket that is opened and breached.
const TOLD: [(&str, &[&str]); 2] = [("ticket.created", &[ERIK, RITA]), ("sla.breached", &EVERYBODY)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_is_mailed_once_to_each_person() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    let tickets = [system.open("critical").await, system.open("critical").await];
    for ticket in &tickets {
        let breach = system.breach(ticket).await;
        assert!(breach.detected_at - breach.at < TimeDelta::seconds(5), "{breach:?}");
        let mails = system.mailed(ticket, "sla.breached", 3, IN_TIME).await;
        assert!(mails.iter().all(|mail| mail.at >= breach.at), "{mails:?}");
        system.reckon(ticket, &TOLD).await;
        let decided = notifications::of_ticket(&system.db, ticket.id).await.unwrap();
        let warnings = decided.iter().filter(|decided| decided.cause.event() == "sla.warning").count();
        assert_eq!(warnings, 9, "three thresholds, three people");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_everything_again_and_again_loses_and_doubles_nothing() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    let ticket = system.open("critical").await;
    system.redis.flush().await;
    let (breach, ()) = tokio::join!(system.breach(&ticket), async {
        // Whenever another mail has come, up to the breach.
        for mails in 0..6 {
            let more = async || (system.mails(&ticket).len() > mails).then_some(());
            eventually("another mail", IN_TIME, more).await;
            system.redis.flush().await;
        }
    });
    system.redis.flush().await;
    assert!(breach.detected_at - breach.at < TimeDelta::seconds(5), "{breach:?}");
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    system.redis.flush().await;
    system.reckon(&ticket, &TOLD).await;
    dispatch_works(&system).await;
    system.reckon(&ticket, &TOLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_go_out_while_redis_is_down_and_dispatch_recovers() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    system.redis.kill().await;
    let ticket = system.open("critical").await;
    system.breach(&ticket).await;
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    system.reckon(&ticket, &TOLD).await;
    for part in &mut system.parts {
        assert!(part.is_running() && part.is_ready().await, "{} does not need Redis", part.name);
    }

    system.redis.start_again().await;
    dispatch_works(&system).await;
    system.reckon(&ticket, &TOLD).await;
}

/// Opens a ticket and checks that its mails take the short way: jobs that nobody dispatched are found, too, but not
/// within this time.
async fn dispatch_works(system: &System) -> Ticket {
    let listening = async || (system.redis.listeners("normal").await >= 2).then_some(());
    eventually("both workers listen to Redis", IN_TIME, listening).await;
    let ticket = system.open("low").await;
    let mails = system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    let took = mails.iter().map(|mail| mail.at - ticket.created_at).max().expect("two mails");
    assert!(took < TimeDelta::seconds(4), "{took}");
    system.reckon(&ticket, &[("ticket.created", &[ERIK, RITA])]).await;
    ticket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_that_no_scheduler_saw_is_found_later_at_its_true_instant() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(2, 2).await;
    system.part("scheduler-1").kill().await;
    system.part("scheduler-2").kill().await;
    let ticket = system.open("critical").await;
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    let breached = async || {
        let clock = system.first_response(&ticket).await;
        (clock["state"] == "breached").then_some(clock)
    };
    let clock = eventually("the API shows the breach", IN_TIME, breached).await;
    assert!(!clock["breached_at"].is_null() && clock["detected_at"].is_null(), "{clock}");
    system.settled().await;
    assert_eq!(system.mails(&ticket).len(), 2, "nobody has noticed");

    let noticed = shared::time::wall();
    system.start_another("scheduler").await;
    system.start_another("scheduler").await;
    let breach = system.breach(&ticket).await;
    assert!(breach.detected_at > noticed - TimeDelta::seconds(1), "{breach:?}");
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    system.reckon(&ticket, &TOLD).await;
}
