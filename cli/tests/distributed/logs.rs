//! What the programs write to standard error.

use reqwest::StatusCode;
use serde_json::Value;
use shared::testkit::eventually;
use sqlx::Connection;

use crate::parts::Part;
use crate::system::{ERIK, EVERYBODY, IN_TIME, RITA, System};

fn lines(part: &Part) -> Vec<Value> {
    let log = std::fs::read_to_string(&part.log).expect("a log");
    // The last line may be half written.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

async fn logged(part: &Part, message: &str) -> Value {
    let found = async || lines(part).into_iter().find(|line| line["message"] == message);
    eventually(&format!("{} logs `{message}`", part.name), IN_TIME, found).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_says_where_it_belongs_and_holds_no_address_and_no_secret() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    // The server repeats the address in its answer, as servers do.
    system.smtp.refuse(Some(ERIK));
    system.open("critical").await;
    let gave_up = logged(system.part("worker-1"), "gave up telling; see `dogwatch jobs list --dead`").await;
    assert!(gave_up["why"].as_str().expect("a reason").contains("<[address]>: no such user"), "{gave_up}");
    for id in ["trace_id", "span_id", "job.id", "notification.id", "timestamp", "level", "target"] {
        assert!(gave_up[id].is_string(), "{id} in {gave_up}");
    }

    let mut breaker =
        sqlx::PgConnection::connect(&system.settings["DATABASE_URL"]).await.expect("a connection");
    let broken = sqlx::raw_sql("ALTER TABLE ticket_labels RENAME TO lost").execute(&mut breaker).await;
    broken.expect("the table is renamed");
    let token = system.log_in(RITA, crate::system::PASSWORD).await;
    let url = format!("http://{}/api/v1/labels", system.settings["API_ADDR"]);
    let answer = reqwest::Client::new().get(url).bearer_auth(&token).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let failed = logged(system.part("api-1"), "request failed").await;
    assert_eq!(failed["request_id"], Value::from(id), "{failed}");
    assert_eq!((&failed["route"], &failed["status"]), (&"/api/v1/labels".into(), &500.into()));
    assert!(failed["trace_id"].is_string(), "{failed}");

    system.settled().await;
    for part in &system.parts {
        let log = std::fs::read_to_string(&part.log).expect("a log");
        for hidden in EVERYBODY.into_iter().chain([&*token, &system.settings["JWT_SECRET"]]) {
            assert!(!log.contains(hidden), "{hidden} in the log of {}", part.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_that_nobody_takes_are_told_of_once_and_hold_up_nothing() {
    let Some(mut system) = System::prepare().await else { return };
    let nobody = format!("http://127.0.0.1:{}", crate::services::free_port());
    system.settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT", nobody);
    system.settings.insert("OTEL_BSP_SCHEDULE_DELAY", "100".into());
    system.start(1, 1).await;
    let ticket = system.open("low").await;
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    let message = "traces are not taken and get lost";
    assert_eq!(logged(system.part("worker-1"), message).await["level"], "WARN");
    let next = system.open("low").await;
    system.mailed(&next, "ticket.created", 2, IN_TIME).await;
    let worker = system.part("worker-1");
    let shown = async || {
        let shown = reqwest::get(format!("http://{}/metrics", worker.ops)).await.ok()?.text().await.ok()?;
        let line = shown.lines().find(|line| line.contains(r#"trace_exports_total{outcome="failed"}"#))?;
        line.rsplit(' ').next()?.parse::<u64>().ok().filter(|failed| *failed >= 2)
    };
    eventually("two batches were lost", IN_TIME, shown).await;
    assert_eq!(lines(worker).iter().filter(|line| line["message"] == message).count(), 1);
}
