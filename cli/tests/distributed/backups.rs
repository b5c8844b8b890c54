//! Backup on one machine, restore on an empty one, and everything is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::store::maintenance::Engine;
use shared::store::{Db, clocks, tickets};
use shared::testkit::{self, eventually};

use crate::machine::{Machine, on_both_engines};
use crate::parts;
use crate::system::IN_TIME;

on_both_engines! {
    what_was_there_when_the_backup_was_taken_is_on_the_new_machine_and_works,
    every_row_is_the_same_and_what_was_there_before_is_kept,
    an_archive_that_is_not_right_changes_nothing,
    a_restore_that_is_killed_leaves_the_old_or_the_new_and_can_be_repeated,
    an_older_backup_is_migrated,
}

async fn what_was_there_when_the_backup_was_taken_is_on_the_new_machine_and_works(engine: Engine) {
    let old = Arc::new(Machine::in_use(engine).await);
    let serving = old.serve().await;
    let token = old.log_in().await;
    let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Mutex::new(Vec::new())));
    let writer = {
        let (old, token, stop, opened) = (old.clone(), token.clone(), stop.clone(), opened.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = old.open(&token, "It is slow").await;
                let path = format!("/tickets/{number}/status");
                let moved =
                    old.ask(&token, Method::PATCH, &path, Some(&json!({ "status": "in_progress" }))).await;
                assert_eq!(moved.0, StatusCode::OK, "{}", moved.1);
                opened.lock().await.push(number);
            }
        })
    };
    let so_many = async |count| {
        eventually("tickets come in", IN_TIME, async || (opened.lock().await.len() >= count).then_some(()))
            .await;
        opened.lock().await.clone()
    };
    let before = so_many(10).await;
    let (file, manifest) = old.backup().await;
    let so_far = opened.lock().await.len();
    let after = so_many(so_far + 5).await;
    let refused = old.fail(&["restore", file.to_str().unwrap(), "--yes"]).await;
    assert!(refused.contains("the database is in use (dogwatch"), "{refused}");
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("it wrote to its end");
    old.stop(serving).await;

    let new = Machine::new(engine).await;
    let moved = new.path().join("from-the-old-machine.dwbackup");
    std::fs::copy(&file, &moved).unwrap();
    let restored = new.json(&["restore", moved.to_str().unwrap(), "--yes"]).await;
    assert_eq!((&restored["kept"], &restored["rows"].as_i64()), (&Value::Null, &sum(&manifest["tables"])));
    assert!(new.succeed(&["health"]).await.contains(" 0 failed."));
    same_tickets(&old, &new, &before, manifest["tables"]["tickets"].as_u64().unwrap()).await;
    assert!(after.len() as u64 > manifest["tables"]["tickets"].as_u64().unwrap(), "it came in between");

    let serving = new.serve().await;
    let (status, me) = new.ask(&token, Method::GET, "/me", None).await;
    assert_eq!(status, StatusCode::OK, "a token of the old machine: {me}");
    let token = new.log_in().await;
    let next = new.open(&token, "The next one").await;
    assert!(!before.contains(&next), "{next} is a number of its own");
    new.stop(serving).await;
}

/// Every ticket opened before a backup is on the new machine, whole, and its clocks are due when they were.
async fn same_tickets(old: &Machine, new: &Machine, before: &[String], count: u64) {
    let (old, new) = (old.db().await, new.db().await);
    let filter = tickets::Filter { limit: 10_000, ..tickets::Filter::default() };
    let restored = tickets::list(&new, &filter).await.unwrap();
    assert_eq!(restored.len() as u64, count);
    let numbers: Vec<String> = restored.iter().map(|(ticket, _)| ticket.key()).collect();
    assert!(before.iter().all(|number| numbers.contains(number)), "{before:?}, {numbers:?}");
    for (ticket, _) in &restored {
        let clocks = clocks::of_ticket(&new, ticket.id).await.unwrap();
        assert_eq!(clocks.len(), 2, "{}", ticket.key());
        for clock in clocks {
            let was = clocks::get(&old, clock.id).await.unwrap().expect("it is on the old machine");
            let events = clocks::events(&new, clock.id).await.unwrap();
            // On the old machine the ticket may have moved on since.
            let since = clocks::events(&old, clock.id).await.unwrap();
            assert!(!events.is_empty() && since.starts_with(&events), "{since:?}, {events:?}");
            if since.len() == events.len() {
                assert_eq!(clock, was);
                assert_eq!(clock.clock.due_at(), was.clock.due_at());
            }
        }
        assert_eq!(tickets::labels(&new, ticket.id).await.unwrap(), ["berlin", "vpn"]);
    }
    old.close().await;
    new.close().await;
}

fn sum(tables: &Value) -> Option<i64> {
    tables.as_object()?.values().map(Value::as_i64).sum()
}

async fn every_row_is_the_same_and_what_was_there_before_is_kept(engine: Engine) {
    let old = Machine::in_use(engine).await;
    let serving = old.serve().await;
    let token = old.log_in().await;
    for title in ["O'Brien's \"printer\"", "日本語 \\ \u{1F525}", "second\nline\ttab"] {
        let title = title.replace(['\n', '\t'], " ");
        let number = old.open(&token, &title).await;
        old.ask(&token, Method::POST, &format!("/tickets/{number}/acknowledge"), None).await;
    }
    old.stop(serving).await;
    let attachment = "sha256/ab/cdef";
    let write = |machine: &Machine, name: &str, content: &[u8]| {
        let path = machine.path().join("data/attachments").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write(&old, attachment, &[0, 1, 2, 255].repeat(50_000));
    write(&old, "tmp/half", b"an upload that is not finished");
    let before = old.contents().await;
    let (file, manifest) = old.backup().await;
    assert!(before["tickets"].len() == 3 && old.contents().await == before, "a backup changes nothing");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<&str> = manifest["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["path"].as_str().unwrap())
        .collect();
    match engine {
        Engine::Sqlite => assert_eq!(names, ["database.sqlite", "jwt_secret", "attachments/sha256/ab/cdef"]),
        Engine::Postgres => assert_eq!(names, ["database.dump", "attachments/sha256/ab/cdef"]),
    }
    let listed = old.json(&["backups", "--verify"]).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["problem"]), (1, &Value::Null));
    assert_eq!(listed[0]["tables"], manifest["tables"]);

    // On a machine with a life of its own.
    let new = Machine::new(engine).await;
    new.succeed(&["migrate"]).await;
    new.succeed(&["user", "add", "--email", "bob@example.org", "--name", "Bob", "--role", "manager"]).await;
    write(&new, "sha256/99/mine", b"mine");
    let own = new.contents().await;
    let asked = new.fail(&["restore", file.to_str().unwrap()]).await;
    assert!(asked.contains("--yes") && new.contents().await == own, "{asked}");
    let restored = new.json(&["restore", file.to_str().unwrap(), "--yes"]).await;
    assert_eq!(new.contents().await, before);
    let read = |name: &str| std::fs::read(new.path().join("data/attachments").join(name)).unwrap();
    assert_eq!(read(attachment), [0, 1, 2, 255].repeat(50_000));
    assert_eq!(read("sha256/99/mine"), b"mine", "no attachment is removed");
    assert!(!new.path().join("data/attachments/tmp").exists());

    let kept = new.path().join(restored["kept"].as_str().expect("what was there before is kept"));
    assert!(kept.to_str().unwrap().ends_with("-before-restore.dwbackup"), "{kept:?}");
    new.succeed(&["restore", kept.to_str().unwrap(), "--yes"]).await;
    assert_eq!(new.contents().await, own);
    assert_eq!(left_over(&new), [""; 0]);
}

/// Names of unfinished files on a machine.
fn left_over(machine: &Machine) -> Vec<String> {
    let folders = ["data", "data/backups", "backups"].map(|folder| machine.path().join(folder));
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".dogwatch-") || name.contains("fresh")).collect()
}

async fn an_archive_that_is_not_right_changes_nothing(engine: Engine) {
    let machine = Machine::in_use(engine).await;
    let (file, _) = machine.backup().await;
    machine
        .succeed(&["user", "add", "--email", "bob@example.org", "--name", "Bob", "--role", "manager"])
        .await;
    let before = machine.contents().await;
    let whole = std::fs::read(&file).unwrap();
    let bad = machine.path().join("bad.dwbackup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let other = match engine {
        Engine::Sqlite => "postgres",
        Engine::Postgres => "sqlite",
    };
    let newer = |manifest: &mut Value| manifest["schema"] = json!(999);
    let counted = |manifest: &mut Value| manifest["tables"]["users"] = json!(7);
    let cases: [(Vec<u8>, &str); 7] = [
        (flipped, "is damaged"),
        (whole[..whole.len() - 4_000].to_vec(), "is no whole backup"),
        (b"not a backup".repeat(100), "is no whole backup"),
        (Vec::new(), "is no whole backup"),
        (rewritten(&whole, newer), "schema 999"),
        (rewritten(&whole, |manifest| manifest["engine"] = json!(other)), "this is a backup of"),
        (rewritten(&whole, |manifest| manifest["format"] = json!(2)), "by a newer dogwatch"),
    ];
    for (content, problem) in cases {
        std::fs::write(&bad, content).unwrap();
        let refused = machine.fail(&["restore", bad.to_str().unwrap(), "--yes"]).await;
        assert!(refused.contains(problem), "{refused}");
        assert_eq!(machine.contents().await, before, "{problem}");
    }
    std::fs::write(&bad, rewritten(&whole, counted)).unwrap();
    let refused = machine.fail(&["restore", bad.to_str().unwrap(), "--yes"]).await;
    assert!(refused.contains("users has 1 of 7 rows"), "{refused}");
    std::fs::write(&bad, &whole[..5_000]).unwrap();
    let listed = machine.dogwatch(&["backups", "--dir", "."]).await;
    assert_eq!(listed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&listed.stdout).starts_with("DAMAGED"));
    let missing = machine.fail(&["restore", "nowhere.dwbackup", "--yes"]).await;
    assert!(missing.contains("cannot read nowhere.dwbackup"), "{missing}");
    assert!(machine.fail(&["backup", "--out", file.to_str().unwrap()]).await.contains("exists already"));
}

/// An archive with another manifest, which its checksum confirms.
fn rewritten(archive: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut change = Some(change);
    let (mut written, mut text) = (tar::Builder::new(Vec::new()), Vec::new());
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, path) = (entry.header().clone(), entry.path().unwrap().into_owned());
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
        if path == Path::new("manifest.json") {
            let mut manifest = serde_json::from_slice(&data).unwrap();
            change.take().expect("there is one manifest")(&mut manifest);
            data = serde_json::to_vec(&manifest).unwrap();
            text = data.clone();
        } else if path == Path::new("manifest.sha256") {
            let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            data = format!("{hash}  manifest.json\n").into_bytes();
        }
        header.set_size(data.len() as u64);
        written.append_data(&mut header, path, &*data).unwrap();
    }
    written.into_inner().unwrap()
}

async fn a_restore_that_is_killed_leaves_the_old_or_the_new_and_can_be_repeated(engine: Engine) {
    let machine = Machine::in_use(engine).await;
    let (first, _) = machine.backup().await;
    let mut states = vec![(first, machine.contents().await)];
    for n in 0..5 {
        let email = format!("{n}@example.org");
        machine
            .succeed(&[
                "user",
                "add",
                "--email",
                &email,
                "--name",
                "N",
                "--role",
                "manager",
                "--password",
                "long enough",
            ])
            .await;
    }
    let (second, _) = machine.backup().await;
    states.push((second, machine.contents().await));

    let mut current = 1;
    for delay in [5, 20, 40, 60, 90, 120, 160, 210, 270, 350, 450, 600] {
        let (file, expected) = &states[1 - current];
        let arguments = ["restore", file.to_str().unwrap(), "--yes"];
        let mut restoring = parts::start("dogwatch", &arguments, &machine.settings, machine.path());
        if tokio::time::timeout(Duration::from_millis(delay), restoring.wait()).await.is_err() {
            restoring.kill().await.unwrap();
        }
        let found = settled(&machine).await;
        let is_new = found == *expected;
        assert!(is_new || found == states[current].1, "killed after {delay} ms: neither the old nor the new");
        current = if is_new { 1 - current } else { current };
    }
    for (file, expected) in &states {
        machine.succeed(&["restore", file.to_str().unwrap(), "--yes"]).await;
        assert_eq!(machine.contents().await, *expected);
    }
    assert_eq!(left_over(&machine), [""; 0], "what was left over is gone");
}

/// What is in the database once nobody works on it: `psql` outlives whoever is killed for a moment.
async fn settled(machine: &Machine) -> std::collections::BTreeMap<String, Vec<String>> {
    if let Db::Postgres(pool) = machine.db().await {
        let others = "SELECT COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'dogwatch%' AND pid <> pg_backend_pid()";
        eventually("everybody has left", IN_TIME, async || {
            let count: i64 = sqlx::query_scalar(others).fetch_one(&pool).await.ok()?;
            (count <= i64::from(pool.size() - 1)).then_some(())
        })
        .await;
        pool.close().await;
    }
    machine.contents().await
}

async fn an_older_backup_is_migrated(engine: Engine) {
    let old = Machine::new(engine).await;
    std::fs::create_dir_all(old.path().join("data")).unwrap();
    let db = old.db().await;
    testkit::migrate_to(&db, 4).await;
    db.close().await;
    let (file, manifest): (PathBuf, Value) = old.backup().await;
    assert_eq!((&manifest["schema"], manifest["tables"]["_sqlx_migrations"].as_i64()), (&json!(4), Some(4)));
    for refused in ["stats", "health", "cleanup"] {
        assert!(old.fail(&[refused]).await.contains("run `dogwatch migrate`"), "{refused} changes no schema");
    }
    let new = Machine::new(engine).await;
    let restored = new.json(&["restore", file.to_str().unwrap(), "--yes"]).await;
    assert_eq!((&restored["schema"], &restored["migrated_to"]), (&json!(4), &json!(Db::newest_schema())));
    assert!(new.succeed(&["health"]).await.contains(" 0 failed."));
}
