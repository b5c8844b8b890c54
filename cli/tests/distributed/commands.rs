//! The operator's commands, and how programs refuse to start.

use std::process::Output;

use reqwest::{Method, StatusCode};
use shared::testkit::{self, eventually};
use tokio::process::Command;

use crate::parts::{Settings, run};
use crate::services::{folder, free_port, setting};
use crate::system::{ERIK, IN_TIME, System};

const SERVERS: [&str; 3] = ["dogwatch-api", "dogwatch-worker", "dogwatch-scheduler"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_bad_setting_stops_a_program_and_is_named() {
    let bad = [
        ("API_ADDR", "nowhere"),
        ("OPS_ADDR", "9464"),
        ("PUBLIC_URL", "ftp://hunter2@host"),
        ("SMTP_URL", "http://user:hunter2@host"),
        ("DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("JWT_SECRET", "hunter2"),
        ("ONCALL_EMAIL", "hunter2"),
        ("MAIL_FROM", "hunter2"),
        ("SLA_P1_RESPONSE_HOURS", "-1"),
        ("SLA_P4_RESOLUTION_HOURS", "soon"),
        ("ESCALATION_STEP_MINUTES", "0"),
        ("SWEEP_INTERVAL_MS", "1"),
        ("WORKER_CONCURRENCY", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tempo"),
        ("LOG_FORMAT", "hunter2"),
        ("AUTO_MIGRATE", "hunter2"),
    ];
    let folder = folder();
    let good = Settings::from([
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none".to_owned()),
        ("REDIS_URL", "redis://127.0.0.1:1".into()),
        ("JWT_SECRET", "not a secret, but as long as one has to be".into()),
    ]);
    // All read their settings by the same code: one server for each variable, in turns, and the embedded one.
    for ((variable, value), server) in bad.into_iter().zip(SERVERS.iter().cycle()) {
        let mut settings = good.clone();
        settings.insert(variable, value.into());
        for (program, argument) in [(*server, None), ("dogwatch", Some("serve"))] {
            let refused = run(program, argument.as_slice(), &settings, folder.path()).await;
            let error = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{program}, {variable}: {error}");
            assert!(error.starts_with(&format!("error: {variable} must be")), "{program}: {error}");
            assert!(!said(&refused).contains("hunter2"), "{program}: {error}");
            assert_eq!(error.trim_end().lines().count(), 1, "{program}: {error}");
        }
    }
    for server in SERVERS {
        for missing in good.keys().filter(|name| server == "dogwatch-api" || **name != "JWT_SECRET") {
            let mut settings = good.clone();
            settings.remove(missing);
            let refused = run(server, &[], &settings, folder.path()).await;
            assert_eq!(refused.status.code(), Some(1));
            assert!(
                said(&refused).contains(&format!("{missing} is missing")),
                "{server}: {}",
                said(&refused)
            );
        }
    }
}

#[tokio::test]
async fn unknown_arguments_are_a_usage_error_and_help_is_none() {
    let folder = folder();
    let run =
        async |program, arguments: &[&str]| run(program, arguments, &Settings::new(), folder.path()).await;
    for program in SERVERS.into_iter().chain(["dogwatch"]) {
        let refused = run(program, &["--no-such-flag"]).await;
        assert_eq!(refused.status.code(), Some(2), "{program}: {}", said(&refused));
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty());
        for flag in ["--help", "--version"] {
            let helped = run(program, &[flag]).await;
            assert_eq!(helped.status.code(), Some(0), "{program}: {}", said(&helped));
            assert!(
                String::from_utf8_lossy(&helped.stdout).contains("dogwatch"),
                "{program}: {}",
                said(&helped)
            );
        }
    }
    let wrong: [&[&str]; 5] = [
        &[],
        &["user", "add"],
        &["user", "add", "--email", "a@b.example", "--name", "A", "--role", "king"],
        &["jobs", "retry"],
        &["demo", "--exit-after", "30"],
    ];
    for arguments in wrong {
        let refused = run("dogwatch", arguments).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", said(&refused));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[tokio::test]
async fn servers_refuse_a_database_that_was_not_migrated() {
    let Some(server) = testkit::postgres_server() else { return };
    let Some(programs) = setting("TEST_POSTGRES_BIN") else { return };
    let name = format!("empty_{}", std::process::id());
    let mut create = Command::new(std::path::Path::new(&programs).join("createdb"));
    let created = create.arg(format!("--maintenance-db={server}")).arg(&name).output().await.unwrap();
    assert!(created.status.success(), "{}", said(&created));
    let mut database = url::Url::parse(&server).unwrap();
    database.set_path(&name);
    let settings = Settings::from([
        ("DATABASE_URL", database.to_string()),
        ("REDIS_URL", "redis://127.0.0.1:1".into()),
        ("JWT_SECRET", "not a secret, but as long as one has to be".into()),
        ("API_ADDR", format!("127.0.0.1:{}", free_port())),
        ("OPS_ADDR", format!("127.0.0.1:{}", free_port())),
    ]);
    let folder = folder();
    for server in SERVERS {
        let refused = run(server, &[], &settings, folder.path()).await;
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("run `dogwatch migrate`"),
            "{}",
            said(&refused)
        );
    }
    for _ in 0..2 {
        let migrated = run("dogwatch", &["migrate"], &settings, folder.path()).await;
        assert_eq!(migrated.status.code(), Some(0), "{}", said(&migrated));
        assert_eq!(String::from_utf8_lossy(&migrated.stdout), "The schema is up to date.\n");
    }
    let checked = run("dogwatch", &["doctor"], &settings, folder.path()).await;
    let report = said(&checked);
    assert_eq!(checked.status.code(), Some(1), "Redis is away: {report}");
    for line in ["ok    settings", "ok    database", "FAIL  dispatch", "ok    mail"] {
        assert!(report.contains(line), "{line} is missing in:\n{report}");
    }
}

#[tokio::test]
async fn accounts_of_the_embedded_database_are_kept_by_commands() {
    let folder = folder();
    let dogwatch = async |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = run("dogwatch", &arguments, &Settings::new(), folder.path()).await;
        (output.status.code(), said(&output))
    };
    let (code, error) = dogwatch("user list").await;
    assert!(code == Some(1) && error.contains("there is no folder data"), "{error}");
    for _ in 0..2 {
        assert_eq!(dogwatch("migrate").await, (Some(0), "The schema is up to date.\n".into()));
    }
    let (code, empty) = dogwatch("user list").await;
    assert!(code == Some(0) && empty.contains("no accounts yet"), "{empty}");

    let (code, added) = dogwatch("user add --email Ann@Example.org --name Ann --role admin").await;
    assert!(code == Some(0) && added.starts_with("Added ann@example.org (admin).\nPassword: "), "{added}");
    let (code, twice) = dogwatch("user add --email ann@example.org --name Ann --role admin").await;
    assert!(
        code == Some(1) && twice.contains("there is an account with the address ann@example.org already"),
        "{twice}"
    );
    for bad in [
        "--email nowhere --name B --role admin",
        "--email b@b.example --name B --role admin --password short",
    ] {
        let (code, error) = dogwatch(&format!("user add {bad}")).await;
        assert!(code == Some(1) && error.starts_with("error: --"), "{error}");
    }

    let (code, token) = dogwatch("token --email ann@example.org --ttl 5m").await;
    assert!(code == Some(0) && token.trim().split('.').count() == 3, "{token}");
    let (code, last) = dogwatch("user disable --email ann@example.org").await;
    assert!(code == Some(1) && last.contains("admin"), "the last admin stays: {last}");
    assert_eq!(dogwatch("user add --email bob@example.org --name Bob --role admin").await.0, Some(0));
    assert_eq!(dogwatch("user disable --email ann@example.org").await.0, Some(0));
    assert_eq!(dogwatch("user disable --email ann@example.org").await.0, Some(1));
    let (_, listed) = dogwatch("user list").await;
    assert!(
        listed.lines().count() == 2 && listed.contains("ann@example.org") && listed.contains("disabled"),
        "{listed}"
    );
    assert_eq!(dogwatch("token --email ann@example.org").await.0, Some(1));
    assert_eq!(dogwatch("jobs list").await, (Some(0), "No job waits or runs.\n".into()));
    assert_eq!(dogwatch("doctor").await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_until_its_owner_is_disabled_and_the_doctor_finds_all_well() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    let token = system.dogwatch(&["token", "--email", ERIK, "--ttl", "1h"]).await;
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
    let (status, me) = system.ask(&token, Method::GET, "/me", None).await;
    assert_eq!((status, me["data"]["email"].as_str()), (StatusCode::OK, Some(ERIK)));

    let checked = system.dogwatch(&["doctor"]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert_eq!(
        said(&checked).lines().filter(|line| line.starts_with("ok ")).count(),
        4,
        "{}",
        said(&checked)
    );
    for name in ["api-1", "worker-1", "scheduler-1"] {
        let url = format!("http://{}", system.part(name).ops);
        let asked = system.dogwatch(&["doctor", "--url", &url]).await;
        assert_eq!((asked.status.code(), said(&asked)), (Some(0), "ready\n".into()));
    }
    let url = format!("http://{}", system.part("worker-1").ops);
    system.part("worker-1").kill().await;
    let asked = system.dogwatch(&["doctor", "--url", &url]).await;
    assert!(asked.status.code() == Some(1) && said(&asked).contains("does not answer"), "{}", said(&asked));

    let disabled = system.dogwatch(&["user", "disable", "--email", ERIK]).await;
    assert!(disabled.status.success(), "{}", said(&disabled));
    let locked_out = async || {
        let (status, _) = system.ask(&token, Method::GET, "/me", None).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    };
    eventually("he is locked out", IN_TIME, locked_out).await;
}
