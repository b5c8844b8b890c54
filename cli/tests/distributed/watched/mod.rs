//! Dogwatch as its operators see it: a real system under a small load, with breaches, a mail that nobody takes and a
//! worker that is killed, watched by a real Prometheus and Alertmanager with the project's own rules.

mod dashboards;
mod prometheus;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shared::testkit::eventually;

use crate::services::free_port;
use crate::smtp::{Mail, Smtp};
use crate::system::System;
use dashboards::questions;
use prometheus::{Alertmanager, Prometheus, Rule, check_metrics};
use traffic::Traffic;

/// What has to fire, and nothing else may.
const EXPECTED: [&str; 2] = ["DogwatchDeadLetters", "DogwatchProcessDown"];

/// Queries that have no data here, with the reason.
const WITHOUT_DATA: [(&str, &str); 0] = [];

const WITHIN: Duration = Duration::from_secs(240);

/// From one round of traffic to the next: a few scrapes.
const PAUSE: Duration = Duration::from_secs(6);

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
                assert!(EXPECTED.contains(&&*rule.name), "{alert:?} should not fire");
                self.fired.insert(rule.name.clone());
            }
        }
        rules
    }

    /// Keeps users busy until everything fires that should.
    async fn until_all_fire(&mut self, traffic: &mut Traffic) {
        let began = Instant::now();
        while self.fired.len() < EXPECTED.len() {
            let missing = || EXPECTED.iter().filter(|name| !self.fired.contains(**name)).collect::<Vec<_>>();
            assert!(began.elapsed() < WITHIN, "these do not fire: {:?}", missing());
            let next = Instant::now() + PAUSE;
            traffic.round(&self.system).await;
            while Instant::now() < next {
                self.look().await;
                tokio::time::sleep(Duration::from_secs(1)).await; // tidy: users are not always busy
            }
        }
    }

    /// Waits until a mail came for each group of alerts.
    async fn until_mailed(&mut self) -> Vec<Mail> {
        let groups = self.alertmanager.groups().await;
        assert_eq!(
            groups.iter().flatten().collect::<BTreeSet<_>>(),
            EXPECTED.map(str::to_owned).iter().collect()
        );
        let all = async || (self.mailbox.accepted().len() >= groups.len()).then(|| self.mailbox.accepted());
        let mails = eventually("each group of alerts is mailed", Duration::from_secs(60), all).await;
        assert_eq!(mails.len(), groups.len(), "{mails:?}");
        for group in &groups {
            let about =
                |mail: &&Mail| group.iter().any(|name| mail.text.contains(&format!("alertname = {name}")));
            let mails: Vec<_> = mails.iter().filter(about).collect();
            assert_eq!(mails.len(), 1, "{group:?} in {mails:?}");
            for name in group {
                let runbook = format!("docs/operations.md#{}", name.to_lowercase());
                assert!(mails[0].text.contains(&runbook), "{runbook} in:\n{}", mails[0].text);
            }
        }
        mails
    }

    /// Holds what every process shows against the linter of Prometheus.
    async fn check_metrics(&mut self) {
        let running: Vec<_> =
            self.system.parts.iter_mut().filter_map(|part| part.is_running().then_some(&*part)).collect();
        assert_eq!(running.len(), 4);
        for part in running {
            let text = reqwest::get(format!("http://{}/metrics", part.ops)).await.expect("it answers");
            let checked = check_metrics(&text.text().await.expect("text")).await;
            assert_eq!(checked, Ok(()), "{}", part.name);
        }
    }

    /// Returns the questions that have had no answer so far.
    async fn unanswered(&self, rules: &[Rule]) -> Vec<String> {
        let mut unanswered = Vec::new();
        let mut ask = async |place: String, query: &str| match self.prometheus.has_data(query).await {
            Ok(true) => {}
            Ok(false) if WITHOUT_DATA.iter().any(|(known, _)| place.contains(known)) => {}
            Ok(false) => unanswered.push(format!("{place}: {query}")),
            Err(problem) => panic!("{place}: {query}: {problem}"),
        };
        for question in questions(&self.prometheus).await {
            ask(question.place, &question.query).await;
        }
        for rule in rules {
            if rule.kind == "recording" {
                ask(format!("the record {}", rule.name), &rule.name).await;
            }
            for metric in rule.metrics() {
                ask(format!("the rule {}", rule.name), metric).await;
            }
        }
        unanswered
    }
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
    let mails = watched.until_mailed().await;
    watched.check_metrics().await;
    let rules = watched.look().await;
    let unanswered = watched.unanswered(&rules).await;
    assert!(unanswered.is_empty(), "these have no data:\n{}", unanswered.join("\n"));
    let down = rules.iter().filter(|rule| rule.name == "DogwatchProcessDown").flat_map(|rule| &rule.alerts);
    let down: Vec<_> = down.map(|alert| alert.labels["instance"].clone()).collect();
    assert_eq!(down, [watched.system.part(&killed).ops.clone()]);
    assert_eq!(watched.mailbox.accepted().len(), mails.len(), "each group is mailed once");
}
