//! A database that goes away.

use reqwest::StatusCode;
use shared::testkit::eventually;
use sqlx::Connection;

use crate::parts::run;
use crate::services::{Postgres, folder};
use crate::smtp::Verdict;
use crate::system::{ERIK, EVERYBODY, IN_TIME, RITA, System};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_restarted_before_and_after_a_breach_loses_and_doubles_nothing() {
    let Some(mut postgres) = Postgres::start().await else { return };
    let settings = [("DATABASE_URL", postgres.url())].into();
    let migrated = run("dogwatch", &["migrate"], &settings, folder().path()).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let Some(mut system) = System::over(&postgres.url()).await else { return };
    system.start(2, 2).await;

    system.smtp.hold("sla.breached");
    let ticket = system.open("critical").await;
    postgres.stop().await;
    let (status, answer) = system.try_to_open("low").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    postgres.start_again().await;

    system.breach(&ticket).await;
    let held = async || (system.smtp.held().len() == 3).then_some(());
    eventually("all three mails are being sent", IN_TIME, held).await;
    postgres.stop().await;
    // Nobody can put on record that these went out, until the database is back.
    system.smtp.release(|_| Verdict::Accept);
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    for part in &mut system.parts {
        part.not_ready().await;
        let says = async || part.failing().await.contains_key("database").then_some(());
        eventually("it says that the database is away", IN_TIME, says).await;
    }
    postgres.start_again().await;
    for part in &mut system.parts {
        part.ready().await;
    }

    system.reckon(&ticket, &[("ticket.created", &[ERIK, RITA]), ("sla.breached", &EVERYBODY)]).await;
    let next = system.open("low").await;
    system.mailed(&next, "ticket.created", 2, IN_TIME).await;
    system.reckon(&next, &[("ticket.created", &[ERIK, RITA])]).await;
    system.breach(&ticket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_do_his_work_says_which_although_the_database_answers() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    let database = &system.settings["DATABASE_URL"];
    let mut blocker = sqlx::PgConnection::connect(database).await.expect("a connection");
    // Nobody can claim a job nor look for due clocks meanwhile; everything else goes on.
    let locked =
        sqlx::raw_sql("BEGIN; LOCK TABLE jobs, sla_clocks IN ACCESS EXCLUSIVE MODE").execute(&mut blocker);
    locked.await.expect("the locks");
    for (part, check) in [("worker-1", "claim"), ("scheduler-1", "sweep")] {
        let part = system.part(part);
        part.not_ready().await;
        let failing = part.failing().await;
        assert_eq!(failing.keys().collect::<Vec<_>>(), [check]);
        assert!(failing[check].starts_with("last succeeded "), "{failing:?}");
    }
    assert!(system.part("api-1").is_ready().await, "the API still takes what it can");
    sqlx::raw_sql("COMMIT").execute(&mut blocker).await.expect("the locks are gone");
    for part in &mut system.parts {
        part.ready().await;
    }
}
