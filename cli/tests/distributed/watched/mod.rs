//! Dogwatch as its operators see it: a real system under a small load, with breaches, a mail that nobody takes and a
//! worker that is killed, watched by a real Prometheus and Alertmanager with the project's own rules.

mod catalogue;
mod dashboards;
mod prometheus;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use shared::testkit::eventually;

use crate::services::free_port;
use crate::smtp::{Mail, Smtp};
use crate::system::System;
use dashboards::questions;
use prometheus::{Alertmanager, Prometheus, Rule, check_metrics, metrics_in};
use traffic::Traffic;

/// What has to fire and to be mailed.
const MAILED: [&str; 3] = ["DogwatchDeadLetters", "DogwatchMailFailing", "DogwatchProcessDown"];

/// What has to fire, too, and follows from [`MAILED`]: Alertmanager silences it. It may have been mailed before that.
const SILENCED: &str = "DogwatchDeliveryBudgetBurns";

const FIRED_WITHIN: Duration = Duration::from_secs(240);

/// The slowest rules are evaluated once a minute.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// From one round of traffic to the next: a few scrapes.
const PAUSE: Duration = Duration::from_secs(6);

fn expected() -> impl Iterator<Item = &'static str> {
    MAILED.into_iter().chain([SILENCED])
}

/// The name of the alert that a mail is about.
fn subject(mail: &Mail) -> Option<String> {
    let (_, rest) = mail.subject.split_once("] ")?;
    Some(rest.split_once(": ")?.0.to_owned())
}

/// A system and who watches it.
struct Watched {
    system: System,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    mailbox: Smtp,
    /// Alerts that have fired so far.
    fired: BTreeSet<String>,
}

impl Watched {
    async fn start() -> Option<Self> {
        let mut system = System::prepare().await?;
        system.settings.insert("WEBHOOK_ALLOW_PRIVATE", "true".into());
        system.settings.insert("ESCALATION_STEP_MINUTES", "0.02".into());
        // Tickets that nobody answers are at risk long enough to be counted.
        system.settings.insert("SLA_P2_RESPONSE_HOURS", "0.04".into());
        system.start(2, 2).await;
        let mut mailbox = Smtp::new(free_port());
        mailbox.listen().await;
        let alertmanager = Alertmanager::start(mailbox.port).await?;
        let mut targets = BTreeMap::from([("alertmanager", vec![alertmanager.address()])]);
        for part in &system.parts {
            let kind = part.name.split('-').next().unwrap_or_default();
            targets.entry(kind).or_default().push(part.ops.clone());
        }
        let prometheus = Prometheus::start(&targets).await?;
        // With itself, and without the one to whom it speaks.
        prometheus.sees(system.parts.len() + 1).await;
        Some(Self { system, prometheus, alertmanager, mailbox, fired: BTreeSet::new() })
    }

    /// Looks at all rules: none may fail, and none fire that should not.
    async fn look(&mut self) -> Vec<Rule> {
        let rules = self.prometheus.rules().await;
        for rule in &rules {
            assert!(rule.error.is_empty() && rule.health != "err", "{rule:?}");
            for alert in rule.alerts.iter().filter(|alert| alert.state == "firing") {
                assert!(expected().any(|name| name == rule.name), "{alert:?} should not fire");
                self.fired.insert(rule.name.clone());
            }
        }
        rules
    }

    /// Keeps users busy until everything fires that should.
    async fn until_all_fire(&mut self, traffic: &mut Traffic) {
        let began = Instant::now();
        while self.fired.len() < expected().count() {
            assert!(began.elapsed() < FIRED_WITHIN, "only these fire: {:?}", self.fired);
            self.busy(traffic).await;
        }
    }

    /// Lets users do something and then nothing for a while.
    async fn busy(&mut self, traffic: &mut Traffic) {
        let next = Instant::now() + PAUSE;
        traffic.round(&self.system).await;
        while Instant::now() < next {
            self.look().await;
            tokio::time::sleep(Duration::from_secs(1)).await; // tidy: users are not always busy
        }
    }

    /// Waits until a mail told of each alert, and what follows from them is silenced.
    async fn until_mailed(&self) {
        let all = async || {
            let about =
                self.mailbox.accepted().into_iter().filter_map(|mail| subject(&mail)).collect::<Vec<_>>();
            MAILED.iter().all(|name| about.iter().any(|about| about == name)).then_some(())
        };
        eventually("each alert is mailed", Duration::from_secs(60), all).await;
        let silenced = async || {
            let states = self.alertmanager.states(SILENCED).await;
            (!states.is_empty() && states.iter().all(|state| state == "suppressed")).then_some(())
        };
        eventually("what follows from it is silenced", Duration::from_secs(60), silenced).await;
    }

    /// Checks that each mail is about something that fires, and the only one.
    fn check_mails(&self) {
        let mut told = BTreeSet::new();
        for mail in self.mailbox.accepted() {
            let name = subject(&mail).unwrap_or_else(|| panic!("what is this about? {}", mail.text));
            assert!(told.insert(mail.subject.clone()), "twice: {}", mail.text);
            assert!(MAILED.contains(&&*name) || name == SILENCED, "{}", mail.text);
            let runbook = format!("docs/operations.md#{}", name.to_lowercase());
            assert!(mail.text.contains(&runbook), "{runbook} in:\n{}", mail.text);
        }
    }

    /// Holds what every process shows against the linter of Prometheus.
    async fn check_metrics(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for part in &mut self.system.parts {
            if part.is_running() {
                let shown = reqwest::get(format!("http://{}/metrics", part.ops)).await.expect("it answers");
                let checked = check_metrics(&shown.text().await.expect("text")).await;
                problems.extend(checked.err().map(|problem| format!("{}: {problem}", part.name)));
            }
        }
        problems
    }

    /// Holds what was scraped against the catalogue.
    async fn differences(&self) -> Vec<String> {
        let scraped = self.prometheus.scraped().await;
        let api = format!("http://{}/openapi.json", self.system.settings["API_ADDR"]);
        let described = reqwest::get(api).await.expect("the API answers");
        let described: Value = described.json().await.expect("JSON");
        let routes = described["paths"].as_object().expect("paths").keys().cloned().collect();
        catalogue::differences(&scraped, &routes)
    }

    /// Keeps users busy until every question has had an answer, and returns those that get none.
    async fn until_answered(&mut self, traffic: &mut Traffic) -> Vec<String> {
        let began = Instant::now();
        loop {
            let rules = self.look().await;
            let unanswered = self.unanswered(&rules).await;
            if unanswered.is_empty() || began.elapsed() > ANSWERED_WITHIN {
                return unanswered;
            }
            self.busy(traffic).await;
        }
    }

    /// Returns the queries of dashboards and rules, and the metrics that they name, that have had no data so far.
    async fn unanswered(&self, rules: &[Rule]) -> Vec<String> {
        let mut asked: BTreeMap<String, String> = BTreeMap::new();
        let mut ask = |place: &str, query: &str| {
            for query in metrics_in(query).into_iter().chain([query]) {
                asked.entry(query.to_owned()).or_insert_with(|| place.to_owned());
            }
        };
        for question in questions(&self.prometheus).await {
            ask(&question.place, &question.query);
        }
        for rule in rules {
            // An alert that does not fire has no data of its own.
            let of_it = if rule.kind == "recording" { vec![&*rule.name] } else { Vec::new() };
            let of_it = of_it.into_iter().chain(metrics_in(&rule.query));
            of_it.for_each(|query| ask(&rule.name, query));
        }
        let mut unanswered = Vec::new();
        for (query, place) in &asked {
            match self.prometheus.has_data(query).await {
                Ok(true) => {}
                Ok(false) => unanswered.push(format!("{place}: no data: {query}")),
                Err(problem) => panic!("{place}: {query}: {problem}"),
            }
        }
        let answered = asked.len() - unanswered.len();
        eprintln!("of {} queries and metrics {answered} have data", asked.len());
        unanswered
    }
}

/// The values of a label of what fires.
fn firing<'a>(rules: &'a [Rule], name: &str, label: &str) -> BTreeSet<&'a str> {
    let alerts = rules.iter().filter(|rule| rule.name == name).flat_map(|rule| &rule.alerts);
    let alerts = alerts.filter(|alert| alert.state == "firing");
    alerts.map(|alert| alert.labels[label].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, needs Prometheus and must run alone, since alerts tell of a busy machine, too: `cargo xtask observability`"]
async fn whoever_watches_sees_everything_and_is_mailed_what_is_wrong_and_nothing_else() {
    let Some(mut watched) = Watched::start().await else { return };
    let mut traffic = Traffic::begin(&watched.system).await;
    for _ in 0..2 {
        traffic.round(&watched.system).await;
        watched.look().await;
    }
    let killed = traffic.kill_a_worker(&mut watched.system).await;
    watched.until_all_fire(&mut traffic).await;
    watched.until_mailed().await;
    let rules = watched.look().await;
    assert_eq!(firing(&rules, "DogwatchDeadLetters", "kind"), ["send_mail"].into());
    let killed = watched.system.part(&killed).ops.clone();
    assert_eq!(firing(&rules, "DogwatchProcessDown", "instance"), [&*killed].into());

    let mut problems = watched.until_answered(&mut traffic).await;
    problems.extend(watched.differences().await);
    problems.extend(watched.check_metrics().await);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    // At the end: each was told of once, although it still fires.
    watched.check_mails();
}
