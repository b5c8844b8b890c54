//! An incident's whole life within seconds, as a newcomer first sees it.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::TimeDelta;
use dogwatch_api::auth;
use shared::config::{Config, LogFormat, Process as Kind};
use shared::domain::access::Caller;
use shared::domain::role::Role;
use shared::domain::sla::policy::Targets;
use shared::domain::sla::{Event, Metric};
use shared::domain::ticket::{Category, Priority, Status};
use shared::process::Process;
use shared::store::desk::{Actor, Draft};
use shared::store::notifications::State;
use shared::store::tickets::Ticket;
use shared::store::users::User;
use shared::store::{clocks, escalations, notifications, users as accounts};
use shared::telemetry;

use crate::{serve, users};

/// Seconds to first response and to resolution, by priority.
const TARGETS: [(i64, i64); 4] = [(4, 10), (6, 20), (60, 300), (120, 600)];

/// Seconds from a breach to the first escalation step.
const STEP: i64 = 3;

/// Runs the demo, and keeps serving until Ctrl-C or `exit_after`.
pub(crate) async fn run(data: PathBuf, exit_after: Option<Duration>) -> anyhow::Result<ExitCode> {
    let config = demo_config(&data)?;
    let telemetry = telemetry::init(&config).map_err(|error| anyhow::anyhow!(error))?;
    let process = Process::connect(config).await.map_err(|error| anyhow::anyhow!(error))?;
    let ops = tokio::net::TcpListener::bind(process.config.ops_addr).await?;
    tokio::spawn(shared::ops::serve(
        ops,
        telemetry.prometheus.clone(),
        shared::metrics::Vitals::of(process.db.clone(), process.health.clone()),
        process.health.clone(),
        process.stop.clone(),
    ));
    tokio::spawn(process.clone().stop_on_signal());
    if let Some(time) = exit_after {
        let stop = process.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            stop.cancel();
        });
    }
    let cast = Cast::hire(&process).await?;
    introduce(&process, &cast);
    let serving = tokio::spawn(serve::all(process.clone()));
    let mut story = Story::begin(&process, &cast).await?;
    let told = story.tell(&process, &cast).await;
    process.stop.cancel();
    serving.await??;
    told?;
    process.db.close().await;
    telemetry.shutdown();
    if story.breach_mailed {
        println!("\nA breach mail was delivered: look into {}.", process.config.mail_dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nNo breach mail was delivered in that time.");
    Ok(ExitCode::FAILURE)
}

/// The settings of the environment, with targets of seconds and a fresh database of its own.
fn demo_config(data: &Path) -> anyhow::Result<Config> {
    let chosen = std::env::var_os("DATABASE_URL").is_some();
    let mut config = Config::from_env(Kind::AllInOne(data.to_owned()))?;
    serve::keep_secret(&mut config)?;
    if !chosen {
        let file = data.join("demo.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
        config.database_url = shared::config::Secret::new(format!("sqlite://{}", file.display()));
    }
    for (targets, (response, resolution)) in config.rules.sla.targets.iter_mut().zip(TARGETS) {
        *targets = Targets::of(TimeDelta::seconds(response), TimeDelta::seconds(resolution));
    }
    config.rules.escalation.step = TimeDelta::seconds(STEP);
    config.oncall_email.get_or_insert_with(|| "oncall@demo.example".into());
    config.sweep_interval = config.sweep_interval.min(Duration::from_millis(100));
    if std::env::var_os("RUST_LOG").is_none() && config.log_format == LogFormat::Pretty {
        // The story is told on standard output; the log would interrupt it. Errors still show.
        config.quiet = true;
    }
    config.api_addr = free("API_ADDR", config.api_addr)?;
    config.ops_addr = free("OPS_ADDR", config.ops_addr)?;
    if std::env::var_os("PUBLIC_URL").is_none() {
        config.public_url = format!("http://{}", config.api_addr);
    }
    Ok(config)
}

/// The address, or another port on it when the default one is taken by somebody else.
fn free(variable: &str, addr: SocketAddr) -> anyhow::Result<SocketAddr> {
    if std::env::var_os(variable).is_some() || TcpListener::bind(addr).is_ok() {
        return Ok(addr);
    }
    Ok(TcpListener::bind((addr.ip(), 0))?.local_addr()?)
}

/// Who plays.
struct Cast {
    reporter: User,
    engineer: User,
    passwords: [String; 2],
}

impl Cast {
    async fn hire(process: &Process) -> anyhow::Result<Self> {
        let passwords = [auth::make_password(), auth::make_password()];
        let reporter =
            users::new(process, "rita@demo.example", "Rita Reporter", Role::EndUser, &passwords[0])?;
        let engineer = users::new(process, "erik@demo.example", "Erik Engineer", Role::Admin, &passwords[1])?;
        let mut tx = process.db.begin().await?;
        let reporter = accounts::ensure(&mut tx, &reporter).await?;
        let engineer = accounts::ensure(&mut tx, &engineer).await?;
        let _ = tx.commit().await?;
        Ok(Self { reporter, engineer, passwords })
    }

    fn engineer(&self) -> Actor {
        Caller::alone(self.engineer.id, self.engineer.role).into()
    }
}

fn introduce(process: &Process, cast: &Cast) {
    let config = &process.config;
    println!("Dogwatch demo: targets are seconds, and nothing but this folder is used.\n");
    println!("  API       http://{}/api/v1", config.api_addr);
    println!("  Metrics   http://{}/metrics", config.ops_addr);
    println!("  Mails     {}", config.mail_dir.display());
    println!("  Accounts  {} (end_user)  password {}", cast.reporter.email, cast.passwords[0]);
    println!("            {} (admin)     password {}\n", cast.engineer.email, cast.passwords[1]);
}

/// What has been shown so far.
struct Story {
    started: shared::time::Timestamp,
    /// Nobody looks at this one until it has been escalated.
    neglected: Ticket,
    /// This one is answered in time.
    answered: Ticket,
    shown: HashSet<String>,
    breach_mailed: bool,
}

impl Story {
    async fn begin(process: &Process, cast: &Cast) -> anyhow::Result<Self> {
        let draft = |title: &str, priority| Draft {
            title: title.into(),
            description: "Seeded by the demo.".into(),
            priority,
            category: Category::Incident,
            environment: Some("production".into()),
            affected_service: Some("checkout".into()),
            contact_name: None,
            contact_email: None,
            assignee_id: Some(cast.engineer.id),
            team_id: None,
            labels: vec!["demo".into()],
            reporter_id: cast.reporter.id,
            // An end user may not say who works on it.
            actor: Caller::alone(cast.engineer.id, cast.engineer.role).into(),
            traceparent: None,
        };
        let drafts = vec![
            draft("Checkout answers 500 to every order", Priority::Critical),
            draft("Search is slow", Priority::High),
        ];
        let mut tx = process.db.begin().await?;
        let mut opened = process.desk.open(&mut tx, drafts).await?.into_iter();
        process.queue.push(tx.commit().await?);
        let (Some(neglected), Some(answered)) = (opened.next(), opened.next()) else {
            anyhow::bail!("the demo's tickets were not opened");
        };
        let started = neglected.created_at;
        let mut story = Self { started, neglected, answered, shown: HashSet::new(), breach_mailed: false };
        for ticket in [story.neglected.clone(), story.answered.clone()] {
            let what = format!("created   {}, {}: {}", ticket.key(), ticket.priority, ticket.title);
            story.show(&format!("created {}", ticket.id), ticket.created_at, &what);
        }
        Ok(story)
    }

    /// Shows what happens and plays the engineer, until the process stops.
    async fn tell(&mut self, process: &Process, cast: &Cast) -> anyhow::Result<()> {
        let tick = || tokio::time::sleep(Duration::from_millis(100));
        while process.stop.run_until_cancelled(tick()).await.is_some() {
            for ticket in [self.neglected.clone(), self.answered.clone()] {
                self.watch(process, &ticket).await?;
            }
            self.act(process, cast).await?;
        }
        Ok(())
    }

    async fn act(&mut self, process: &Process, cast: &Cast) -> anyhow::Result<()> {
        let passed = (process.desk.clock.now() - self.started).num_seconds();
        let (neglected, answered, engineer) = (self.neglected.id, self.answered.id, cast.engineer());
        let mut tx = process.db.begin().await?;
        let now = process.desk.clock.now();
        if passed >= 2 && self.shown.insert("answer".into()) {
            process.desk.move_to(&mut tx, answered, None, &engineer, Status::InProgress).await?;
            self.print(now, &format!("answered  {}: Erik starts to work on it", self.answered.key()));
        } else if passed >= 15 && self.shown.insert("acknowledge".into()) {
            process.desk.acknowledge(&mut tx, neglected, None, &engineer).await?;
            self.print(now, &format!("acknowledged {} by Erik: escalation stops", self.neglected.key()));
        } else if passed >= 17 && self.shown.insert("resolve".into()) {
            process.desk.move_to(&mut tx, neglected, None, &engineer, Status::Resolved).await?;
            process.desk.move_to(&mut tx, answered, None, &engineer, Status::Resolved).await?;
            self.print(now, "resolved  both incidents");
        } else if passed >= 20 && self.shown.insert("end".into()) {
            println!("\nThat was the whole life of an incident. Still serving; Ctrl-C stops.");
        }
        process.queue.push(tx.commit().await?);
        Ok(())
    }

    async fn watch(&mut self, process: &Process, ticket: &Ticket) -> anyhow::Result<()> {
        let key = ticket.key();
        for stored in clocks::of_ticket(&process.db, ticket.id).await? {
            let metric = if stored.metric == Metric::Resolution { "resolution" } else { "first response" };
            for recorded in clocks::events(&process.db, stored.id).await? {
                let what = match &recorded.event {
                    Event::Warned { fraction } => format!(
                        "warned    {key}: {} % of the time for the {metric}",
                        fraction.whole_percent()
                    ),
                    Event::Breached { detected_at } => {
                        let late = (*detected_at - recorded.at).num_milliseconds();
                        format!("breached  {key}: the {metric} is late (noticed after {late} ms)")
                    }
                    Event::Stopped if stored.clock.breached_at.is_none() => {
                        format!("met       {key}: the {metric} was in time")
                    }
                    _ => continue,
                };
                self.show(&format!("{} {}", stored.id, recorded.seq), recorded.at, &what);
            }
        }
        for escalation in escalations::of_ticket(&process.db, ticket.id).await? {
            for step in 1..=escalation.steps_done {
                let what = format!("escalated {key}: call {step}, nobody has acknowledged");
                self.show(&format!("{} {step}", escalation.id), process.desk.clock.now(), &what);
            }
        }
        for notification in notifications::of_ticket(&process.db, ticket.id).await? {
            let event = notification.cause.event();
            let what = match notification.state {
                State::Sent => format!("mailed    {key}: {event} to {}", notification.recipient),
                State::Suppressed => {
                    format!(
                        "not sent  {key}: {event}, {}",
                        notification.reason.as_deref().unwrap_or_default()
                    )
                }
                State::Pending | State::Held | State::Failed => continue,
            };
            self.breach_mailed |= notification.state == State::Sent && event == "sla.breached";
            self.show(
                &notification.id.to_string(),
                notification.settled_at.unwrap_or(notification.created_at),
                &what,
            );
        }
        Ok(())
    }

    fn show(&mut self, id: &str, at: shared::time::Timestamp, what: &str) {
        if self.shown.insert(id.to_owned()) {
            self.print(at, what);
        }
    }

    fn print(&self, at: shared::time::Timestamp, what: &str) {
        println!("{:6.2} s  {what}", (at - self.started).as_seconds_f64());
    }
}
