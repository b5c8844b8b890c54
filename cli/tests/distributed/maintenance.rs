//! What keeps a database in order.

use reqwest::Method;
use serde_json::json;
use shared::store::maintenance::Engine;
use shared::store::query::query;

use crate::machine::{ANN, Machine, on_both_engines};

on_both_engines! {
    a_database_is_counted_checked_cleaned_and_reset,
    tickets_come_in_and_go_out_as_csv,
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

async fn tickets_come_in_and_go_out_as_csv(engine: Engine) {
    let machine = Machine::in_use(engine).await;
    let mut csv = String::from("title,priority,labels,external_id\r\n");
    (0..1_200).for_each(|n| csv += &format!("\"Ticket {n}, or so\",high,vpn;berlin,X-{n}\r\n"));
    csv += "=1+1,urgent,,X-bad\r\n";
    std::fs::write(machine.path().join("in.csv"), csv).unwrap();
    let import = ["import", "in.csv", "--as", ANN];
    let refused = machine.fail(&["import", "in.csv", "--as", "nobody@example.org"]).await;
    assert!(refused.contains("no account with the address"), "{refused}");
    for (imported, skipped) in [(1_200, 0), (0, 1_200)] {
        let done = machine.dogwatch(&[&import[..], &["--json"]].concat()).await;
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((&report["rows"], &report["failed"]), (&json!(1_201), &json!(1)), "{report}");
        assert_eq!((&report["imported"], &report["skipped"]), (&json!(imported), &json!(skipped)));
        assert_eq!(done.status.code(), Some(1), "a row was refused");
    }
    assert_eq!(machine.json(&["stats"]).await["tickets"]["new"]["high"], json!(1_200));
    let written = machine.json(&["export", "--as", ANN, "--out", "out.csv"]).await;
    assert_eq!(written["tickets"], json!(1_200));
    let exported = std::fs::read_to_string(machine.path().join("out.csv")).unwrap();
    assert!(exported.starts_with("number,id,title,") && exported.lines().count() == 1_201);
    assert!(exported.contains("\"Ticket 7, or so\""), "{exported}");
    assert_eq!(machine.succeed(&["export", "--as", ANN]).await, exported);

    std::fs::write(machine.path().join("bad.csv"), "name,colour\r\nx,red\r\n").unwrap();
    assert!(machine.fail(&["import", "bad.csv", "--as", ANN]).await.contains("must name the columns"));
    let ben = ["user", "add", "--email", "ben@example.org", "--name", "Ben", "--role", "end_user"];
    machine.succeed(&ben).await;
    assert!(machine.fail(&["import", "in.csv", "--as", "ben@example.org"]).await.contains("may not import"));
    assert_eq!(
        machine.succeed(&["export", "--as", "ben@example.org"]).await.lines().count(),
        1,
        "he reported none"
    );
    assert!(machine.succeed(&["health"]).await.contains(" 0 failed."));
}
