//! What keeps a database in order.

use reqwest::Method;
use serde_json::json;
use shared::store::maintenance::Engine;
use shared::store::query::query;

use crate::machine::{Machine, on_both_engines};

on_both_engines! {
    a_database_is_counted_checked_cleaned_and_reset,
}

async fn a_database_is_counted_checked_cleaned_and_reset(engine: Engine) {
    let machine = Machine::in_use(engine).await;
    let serving = machine.serve().await;
    let token = machine.log_in().await;
    let (old, open) = (machine.open(&token, "Old").await, machine.open(&token, "Open").await);
    machine
        .ask(&token, Method::PATCH, &format!("/tickets/{old}/status"), Some(&json!({ "status": "resolved" })))
        .await;
    let stats = machine.json(&["stats"]).await;
    assert_eq!(
        (&stats["tickets"]["new"]["high"], &stats["tickets"]["resolved"]["high"]),
        (&json!(1), &json!(1))
    );
    assert!(machine.succeed(&["stats"]).await.contains("Open clocks:    2 active"));
    let healthy = machine.json(&["health"]).await;
    assert_eq!(healthy["healthy"], json!(true), "{healthy}");
    let refused = machine.fail(&["reset", "--yes-i-mean", "x"]).await;
    assert!(refused.contains("the database is in use"), "{refused}");
    machine.stop(serving).await;

    let db = machine.db().await;
    let mut tx = db.begin().await.unwrap();
    let long_ago = "UPDATE tickets SET created_at = '2020-01-01T00:00:00.000000+00:00', resolved_at = '2020-01-02T00:00:00.000000+00:00' WHERE status = 'resolved'";
    assert_eq!(query(long_ago).execute(&mut tx).await.unwrap(), 1);
    let _ = tx.commit().await.unwrap();
    db.close().await;
    let counted = machine.json(&["cleanup"]).await;
    assert_eq!(
        (&counted["applied"], &counted["tickets"], &counted["labels"]),
        (&json!(false), &json!(1), &json!(2))
    );
    let none = machine.json(&["cleanup", "--older-than", "36500d"]).await;
    assert_eq!(none["tickets"], json!(0));
    let removed = machine.json(&["cleanup", "--apply"]).await;
    assert_eq!(
        (&removed["applied"], &removed["tickets"], &removed["labels"]),
        (&json!(true), &json!(1), &json!(2))
    );
    assert_eq!(machine.json(&["cleanup"]).await["tickets"], json!(0));
    let stats = machine.json(&["stats"]).await;
    assert_eq!((&stats["deleted_tickets"], &stats["tickets"]["new"]["high"]), (&json!(1), &json!(1)));
    assert!(open.starts_with("INC-"));

    let db = machine.db().await;
    let mut tx = db.begin().await.unwrap();
    assert_eq!(
        query("UPDATE tickets SET status = 'closed' WHERE deleted_at IS NULL")
            .execute(&mut tx)
            .await
            .unwrap(),
        1
    );
    let _ = tx.commit().await.unwrap();
    db.close().await;
    let ill = machine.dogwatch(&["health"]).await;
    let said = String::from_utf8_lossy(&ill.stdout);
    assert!(ill.status.code() == Some(1) && said.contains("FAIL  closed_without_resolved: 1"), "{said}");

    let name = machine.url.rsplit('/').next().unwrap().to_owned();
    assert!(machine.fail(&["reset", "--yes-i-mean", "other"]).await.contains("nothing was changed"));
    assert!(machine.fail(&["reset"]).await.contains(&format!("--yes-i-mean {name}")));
    let before = machine.contents().await;
    let reset = machine.json(&["reset", "--yes-i-mean", &name]).await;
    let after = machine.contents().await;
    assert!(after["users"].is_empty() && after["tickets"].is_empty() && after["ticket_history"].is_empty());
    machine.succeed(&["restore", reset["kept"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(machine.contents().await, before, "a reset can be undone");
    machine.json(&["reset", "--yes-i-mean", &name, "--no-backup"]).await;
    assert_eq!(machine.contents().await["users"].len(), 0);
}
