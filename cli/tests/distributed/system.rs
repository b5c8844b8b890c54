//! The whole of Dogwatch as operators run it, and what tests ask about it.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::domain::sla::Event;
use shared::ids::TicketId;
use shared::store::notifications::{self, State};
use shared::store::{Db, clocks, jobs};
use shared::testkit::{self, eventually};
use shared::time::Timestamp;
use tempfile::TempDir;

use crate::parts::{self, Part, Settings};
use crate::services::{self, Redis, free_port};
use crate::smtp::{Mail, Smtp};

/// Who reports the tickets, and may say whom they are with.
pub(crate) const RITA: &str = "rita@example.org";
/// Whom they are assigned to.
pub(crate) const ERIK: &str = "erik@example.org";
/// Who is on call.
pub(crate) const ONCALL: &str = "oncall@example.org";
/// Whom a breach concerns.
pub(crate) const EVERYBODY: [&str; 3] = [ERIK, ONCALL, RITA];

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Long enough for a machine that does much else.
pub(crate) const IN_TIME: Duration = Duration::from_secs(40);

/// One Dogwatch. Everything in it ends when it is dropped; when the test failed, its logs are printed before.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) db: Db,
    pub(crate) redis: Redis,
    pub(crate) smtp: Smtp,
    pub(crate) parts: Vec<Part>,
    pub(crate) settings: Settings,
    /// From the opening of a critical ticket to the breach of its first response.
    pub(crate) target: TimeDelta,
    api: String,
    client: reqwest::Client,
    /// Tokens by address.
    tokens: BTreeMap<&'static str, String>,
    erik: String,
    folder: TempDir,
}

/// A ticket as the API showed it when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) id: TicketId,
    pub(crate) key: String,
    pub(crate) created_at: Timestamp,
}

/// The breach of a ticket's first response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breach {
    pub(crate) at: Timestamp,
    pub(crate) detected_at: Timestamp,
}

impl System {
    /// Prepares a system of which nothing runs yet, on a database of its own; `None` skips the test.
    pub(crate) async fn prepare() -> Option<Self> {
        let server = testkit::postgres_server()?;
        Self::over(&testkit::postgres_database(&server).await).await
    }

    /// Prepares a system on this database.
    pub(crate) async fn over(database: &str) -> Option<Self> {
        let redis = Redis::start().await?;
        let mut smtp = Smtp::new(free_port());
        smtp.listen().await;
        let api = format!("127.0.0.1:{}", free_port());
        let settings = [
            ("DATABASE_URL", database.to_owned()),
            ("REDIS_URL", redis.url()),
            ("SMTP_URL", format!("smtp://127.0.0.1:{}", smtp.port)),
            ("API_ADDR", api.clone()),
            ("RATE_LIMIT_PER_MINUTE", "0".into()),
            ("JWT_SECRET", "not a secret, but as long as one has to be".into()),
            ("ONCALL_EMAIL", ONCALL.into()),
            ("SWEEP_INTERVAL_MS", "200".into()),
            ("SLA_P1_RESPONSE_HOURS", "0.001".into()),
            ("SLA_P1_RESOLUTION_HOURS", "8".into()),
            ("ESCALATION_STEP_MINUTES", "60".into()),
            // Floods of tickets are mailed one by one, so that every mail can be counted.
            ("STORM_LIMIT", "1000000".into()),
        ];
        let system = Self {
            db: Db::connect(database, 4).await.expect("the database opens"),
            redis,
            smtp,
            parts: Vec::new(),
            settings: settings.into(),
            target: TimeDelta::milliseconds(3_600),
            api,
            client: reqwest::Client::new(),
            tokens: BTreeMap::new(),
            erik: String::new(),
            folder: services::folder(),
        };
        for (email, name, role) in [(RITA, "Rita", "manager"), (ERIK, "Erik", "senior_engineer")] {
            let add =
                ["user", "add", "--email", email, "--name", name, "--role", role, "--password", PASSWORD];
            let added = system.dogwatch(&add).await;
            assert!(added.status.success(), "{added:?}");
        }
        Some(system)
    }

    /// Runs a command of the operator.
    pub(crate) async fn dogwatch(&self, arguments: &[&str]) -> Output {
        parts::run("dogwatch", arguments, &self.settings, self.folder.path()).await
    }

    /// Starts one API and so many workers and schedulers, and waits until all are ready.
    pub(crate) async fn start(&mut self, workers: usize, schedulers: usize) {
        let mut kinds = vec!["api"];
        kinds.extend(std::iter::repeat_n("worker", workers));
        kinds.extend(std::iter::repeat_n("scheduler", schedulers));
        let first = self.parts.len();
        kinds.into_iter().for_each(|kind| self.begin(kind));
        for part in &mut self.parts[first..] {
            part.ready().await;
        }
        for who in [RITA, ERIK] {
            let token = self.log_in(who, PASSWORD).await;
            self.tokens.insert(who, token);
        }
        let me = self.call(ERIK, Method::GET, "/me", None).await;
        self.erik = me["id"].as_str().expect("an id").to_owned();
    }

    /// Starts one more, and waits until it is ready.
    pub(crate) async fn start_another(&mut self, kind: &str) {
        self.begin(kind);
        self.parts.last_mut().expect("it was begun").ready().await;
    }

    /// Starts one that was killed anew, under its old name.
    pub(crate) async fn restart(&mut self, name: &str) {
        let place = self.parts.iter().position(|part| part.name == name).expect("it was started");
        let (kind, number) = name.rsplit_once('-').expect("a kind and a number");
        let number = number.parse().expect("a number");
        let mut part = Part::start(kind, number, &self.settings, self.folder.path());
        part.ready().await;
        self.parts[place] = part;
    }

    fn begin(&mut self, kind: &str) {
        let number = self.parts.iter().filter(|part| part.name.starts_with(kind)).count() + 1;
        self.parts.push(Part::start(kind, number, &self.settings, self.folder.path()));
    }

    pub(crate) fn part(&mut self, name: &str) -> &mut Part {
        self.parts.iter_mut().find(|part| part.name == name).expect("it was started")
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> String {
        let request = self
            .client
            .post(self.address("/auth/login"))
            .json(&json!({ "email": email, "password": password }));
        let answer = request.send().await.expect("the API answers");
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.expect("JSON");
        answer["data"]["access_token"].as_str().expect("a token").to_owned()
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}/api/v1{path}", self.api)
    }

    /// Makes a request and returns the status and the whole answer.
    pub(crate) async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.address(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the API answers");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Sends a file.
    pub(crate) async fn upload(
        &self,
        who: &str,
        path: &str,
        kind: &str,
        file: String,
    ) -> (StatusCode, Value) {
        let request = self.client.post(self.address(path)).bearer_auth(&self.tokens[who]);
        let answer = request.header("content-type", kind).body(file).send().await.expect("the API answers");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Asks for a whole file.
    pub(crate) async fn download(&self, who: &str, path: &str) -> String {
        let answer = self.client.get(self.address(path)).bearer_auth(&self.tokens[who]).send().await;
        let answer = answer.expect("the API answers");
        assert!(answer.status().is_success());
        answer.text().await.expect("a whole file")
    }

    /// Makes a request that succeeds and returns the data of the answer.
    pub(crate) async fn call(&self, who: &str, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.ask(&self.tokens[who], method, path, body).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer["data"].clone()
    }

    /// Opens a ticket of Rita's that is assigned to Erik.
    pub(crate) async fn open(&self, priority: &str) -> Ticket {
        let (status, answer) = self.try_to_open(priority).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let ticket = &answer["data"];
        Ticket {
            id: text(&ticket["id"]).parse().expect("an id"),
            key: text(&ticket["number"]),
            created_at: time(&ticket["created_at"]).expect("a time"),
        }
    }

    pub(crate) async fn try_to_open(&self, priority: &str) -> (StatusCode, Value) {
        let ticket = json!({ "title": "Checkout is down", "priority": priority, "assignee_id": self.erik });
        self.ask(&self.tokens[RITA], Method::POST, "/tickets", Some(&ticket)).await
    }

    /// Shows the clock of a ticket's first response.
    pub(crate) async fn first_response(&self, ticket: &Ticket) -> Value {
        let clocks = self.call(ERIK, Method::GET, &format!("/tickets/{}/sla", ticket.key), None).await;
        let clocks = clocks.as_array().expect("clocks");
        clocks.iter().find(|clock| clock["metric"] == "first_response").expect("it has one").clone()
    }

    /// Waits until the breach of the first response is on record, and checks that it is the true one, once.
    pub(crate) async fn breach(&self, ticket: &Ticket) -> Breach {
        let recorded = async || {
            let clock = self.first_response(ticket).await;
            Some((time(&clock["breached_at"])?, time(&clock["detected_at"])?, clock))
        };
        let (at, detected_at, clock) = eventually("the breach is on record", IN_TIME, recorded).await;
        assert_eq!(clock["state"], "breached", "{clock}");
        assert_eq!(at, ticket.created_at + self.target, "{clock}");
        assert!(detected_at >= at, "{clock}");
        let mut breaches = 0;
        for stored in clocks::of_ticket(&self.db, ticket.id).await.expect("clocks") {
            let events = clocks::events(&self.db, stored.id).await.expect("events");
            breaches +=
                events.iter().filter(|recorded| matches!(recorded.event, Event::Breached { .. })).count();
        }
        assert_eq!(breaches, 1);
        Breach { at, detected_at }
    }

    /// The mails about a ticket so far.
    pub(crate) fn mails(&self, ticket: &Ticket) -> Vec<Mail> {
        self.smtp.accepted().into_iter().filter(|mail| mail.ticket == ticket.key).collect()
    }

    /// Waits until so many mails about an event of a ticket were accepted.
    pub(crate) async fn mailed(
        &self,
        ticket: &Ticket,
        event: &str,
        count: usize,
        within: Duration,
    ) -> Vec<Mail> {
        eventually(&format!("{count} mails about {event} came"), within, async || {
            let mut mails = self.mails(ticket);
            mails.retain(|mail| mail.event == event);
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    /// Waits until nobody has anything left to do about tickets.
    pub(crate) async fn settled(&self) {
        let idle = async || {
            let jobs = jobs::list(&self.db, 1_000).await.ok()?;
            jobs.iter().all(|job| ["audit", "prune", "tidy_redis"].contains(&&*job.kind)).then_some(())
        };
        eventually("all jobs have ended", Duration::from_secs(60), idle).await;
    }

    /// Waits until everything is settled, and holds the mails against what was decided and against `expected`, which
    /// names everybody told of each event but warnings: those go out unless something worse has happened by then.
    pub(crate) async fn reckon(&self, ticket: &Ticket, expected: &[(&str, &[&str])]) {
        self.settled().await;
        let mails = self.mails(ticket);
        let mut told: Vec<(&str, &str)> = mails.iter().map(|mail| (&*mail.event, &*mail.to)).collect();
        told.retain(|(event, _)| *event != "sla.warning");
        told.sort_unstable();
        let mut expected: Vec<_> =
            expected.iter().flat_map(|(event, people)| people.iter().map(|who| (*event, *who))).collect();
        expected.sort_unstable();
        assert_eq!(told, expected);

        let mut sent = 0;
        for decided in notifications::of_ticket(&self.db, ticket.id).await.expect("notifications") {
            let id = format!("<{}@localhost>", decided.id);
            let copies: Vec<_> = mails.iter().filter(|mail| mail.message_id == id).collect();
            let count = usize::from(decided.state == State::Sent);
            assert_eq!(copies.len(), count, "{decided:?}");
            assert!(
                copies.iter().all(|mail| mail.to == decided.recipient && mail.event == decided.cause.event())
            );
            assert!(copies.iter().all(|mail| mail.subject == format!("[{}] Checkout is down", ticket.key)));
            let superseded = decided.cause.event() == "sla.warning" && decided.state == State::Suppressed;
            assert!(superseded || matches!(decided.state, State::Sent | State::Failed), "{decided:?}");
            sent += count;
        }
        assert_eq!(mails.len(), sent);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for part in &self.parts {
            let log = std::fs::read_to_string(&part.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("---- the end of what {} said ----\n{end}", part.name);
        }
        eprintln!("---- accepted mails ----");
        for mail in self.smtp.accepted() {
            eprintln!("{} {} {} to {} {}", mail.at, mail.ticket, mail.event, mail.to, mail.message_id);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
