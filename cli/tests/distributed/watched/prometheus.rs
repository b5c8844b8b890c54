//! A real Prometheus and a real Alertmanager, with the project's own files: only addresses are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use shared::testkit::eventually;
use shared::time::Timestamp;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::catalogue::Labels;
use crate::services::{self, free_port, log, setting};

const SOON: Duration = Duration::from_secs(60);

/// How far apart a graph's points are: the scrape interval, as in a dashboard of an hour.
const STEP: &str = "5";

/// The files that operators deploy.
pub(crate) fn observability() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../observability").canonicalize().expect("they are there")
}

/// Replaces a text, which has to be there so often.
fn replace(text: &str, times: usize, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), times, "`{from}` in:\n{text}");
    text.replace(from, to)
}

/// Gives a configuration real addresses where it finds its targets by DNS.
fn with_targets(text: &str, targets: &BTreeMap<&str, Vec<String>>) -> String {
    let mut known: BTreeSet<&str> = targets.keys().copied().collect();
    let line = |line: &str| {
        let Some((before, sought)) = line.split_once("dns_sd_configs: [{ names: [") else {
            return line.to_owned();
        };
        let name = sought.split(']').next().unwrap_or_default();
        assert!(known.remove(name), "no part is called {name}, or it is named twice");
        format!("{before}static_configs: [{{ targets: {:?} }}]", targets[name])
    };
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    assert!(known.is_empty() && !text.contains("dns_sd"), "{known:?} are not targets in:\n{text}");
    text
}

/// A program that runs on a port and a folder of its own.
#[derive(Debug)]
struct Program {
    address: String,
    folder: TempDir,
    _child: Child,
}

impl Program {
    /// Writes its configuration and starts it; answers when it is ready.
    async fn start(setting: &str, storage: &str, more: &[&str], configuration: &str) -> Option<Self> {
        let program = services::setting(setting)?;
        let (folder, address) = (services::folder(), format!("127.0.0.1:{}", free_port()));
        let file = folder.path().join("configuration.yml");
        std::fs::write(&file, replace_own(configuration, &address)).expect("it can be written");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--web.listen-address={address}")).args(more);
        command.arg(format!("--{storage}={}", folder.path().join("data").display()));
        let said = log(&folder.path().join("log"));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.kill_on_drop(true).spawn().expect("it can be started");
        let program = Self { address, folder, _child: child };
        let url = program.url("/-/ready", &[]);
        let ready =
            async || reqwest::get(url.clone()).await.is_ok_and(|it| it.status().is_success()).then_some(());
        eventually(&format!("{setting} is ready"), SOON, ready).await;
        Some(program)
    }

    fn url(&self, path: &str, parameters: &[(&str, &str)]) -> url::Url {
        let mut url = url::Url::parse(&format!("http://{}{path}", self.address)).expect("a URL");
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = reqwest::get(self.url(path, parameters)).await.expect("it answers");
        answer.json().await.expect("JSON")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("---- what {} said ----\n{log}", self.address);
        }
    }
}

/// Prometheus scrapes itself on its own port.
fn replace_own(configuration: &str, address: &str) -> String {
    configuration.replace("localhost:9090", address)
}

/// A Prometheus that scrapes and judges by the project's rules.
#[derive(Debug)]
pub(crate) struct Prometheus {
    program: Program,
    began: Timestamp,
}

impl Prometheus {
    /// Starts one whose targets are these, by the names that the configuration knows them by.
    pub(crate) async fn start(targets: &BTreeMap<&str, Vec<String>>) -> Option<Self> {
        let folder = observability().join("prometheus");
        let text = std::fs::read_to_string(folder.join("prometheus.yml")).expect("a configuration");
        let rules = folder.join("rules/*.yml").display().to_string();
        let text = replace(&with_targets(&text, targets), 1, "rules/*.yml", &rules);
        let began = shared::time::wall();
        let program = Program::start("TEST_PROMETHEUS", "storage.tsdb.path", &[], &text).await?;
        Some(Self { program, began })
    }

    /// Asks the API and returns the data, or what is wrong with the question.
    pub(crate) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut answer = self.program.get(path, parameters).await;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer.to_string()),
        }
    }

    /// Whether a query has had any number since the beginning.
    pub(crate) async fn has_data(&self, query: &str) -> Result<bool, String> {
        let (start, end) = (self.began.to_rfc3339(), shared::time::wall().to_rfc3339());
        let parameters = [("query", query), ("start", &start), ("end", &end), ("step", STEP)];
        let data = self.get("/api/v1/query_range", &parameters).await?;
        let series = data["result"].as_array().expect("series").iter();
        let mut values = series.flat_map(|series| series["values"].as_array().expect("values"));
        Ok(values.any(|value| value[1].as_str().is_some_and(|number| number != "NaN")))
    }

    /// Every time series that was scraped from Dogwatch, by its labels, without what rules made of them.
    pub(crate) async fn scraped(&self) -> Vec<Labels> {
        let of = [("match[]", r#"{job=~"dogwatch-.+",__name__!~"ALERTS.*|.+:.+"}"#)];
        let all = self.get("/api/v1/series", &of).await.expect("series");
        serde_json::from_value(all).expect("labels")
    }

    /// The values of a label among the series of a selector.
    pub(crate) async fn label_values(&self, label: &str, of: &str) -> Result<Vec<String>, String> {
        let values = self.get(&format!("/api/v1/label/{label}/values"), &[("match[]", of)]).await?;
        Ok(serde_json::from_value(values).expect("values"))
    }

    /// All rules as they were evaluated last.
    pub(crate) async fn rules(&self) -> Vec<Rule> {
        let data = self.get("/api/v1/rules", &[]).await.expect("rules");
        let groups = data["groups"].as_array().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
        rules.map(|rule| serde_json::from_value(rule.clone()).expect("a rule")).collect()
    }

    /// Waits until every target has been scraped with success.
    pub(crate) async fn sees(&self, targets: usize) {
        let seen = async || {
            let up = self.get("/api/v1/query", &[("query", "sum(up)")]).await.ok()?;
            (up["result"][0]["value"][1].as_str()?.parse() == Ok(targets)).then_some(())
        };
        eventually(&format!("{targets} targets are scraped"), SOON, seen).await;
    }
}

/// A recording or alerting rule.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) health: String,
    #[serde(default, rename = "lastError")]
    pub(crate) error: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) alerts: Vec<Alert>,
}

/// What a rule says about one set of labels.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Alert {
    pub(crate) labels: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub(crate) state: String,
}

/// The metrics that a query names, recorded ones among them.
pub(crate) fn metrics_in(query: &str) -> BTreeSet<&str> {
    let named = |word: &&str| word.starts_with("dogwatch") || word.contains(':') || *word == "up";
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    // What stands in quotes is a label's value; `5m:1m` is no name.
    let words = query.split('"').step_by(2).flat_map(|text| text.split(part));
    words.filter(|word| word.starts_with(char::is_alphabetic)).filter(named).collect()
}

#[test]
fn metrics_are_found_in_a_query() {
    let query = r#"sum by (job) (rate(dogwatch_a_total{job="dogwatch-b"}[5m])) / max_over_time(x:dogwatch_c:max[1h:1m])"#;
    assert_eq!(metrics_in(query), ["dogwatch_a_total", "x:dogwatch_c:max"].into());
}

/// Holds metrics in the text format against the linter of Prometheus; says what it finds.
pub(crate) async fn check_metrics(text: &str) -> Result<(), String> {
    let promtool = setting("TEST_PROMTOOL").expect("it is there where Prometheus is");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("it can be started");
    let mut input = child.stdin.take().expect("it has one");
    input.write_all(text.as_bytes()).await.expect("it reads");
    drop(input);
    let output = child.wait_with_output().await.expect("it ends");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// An Alertmanager that routes as the project says, to a mail server of the test's.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    program: Program,
}

impl Alertmanager {
    pub(crate) async fn start(smtp: u16) -> Option<Self> {
        let file = observability().join("alertmanager/alertmanager.yml");
        let text = std::fs::read_to_string(file).expect("a configuration");
        let host = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("smtp_smarthost: "))
            .expect("a mail server");
        let text = replace(
            &text,
            1,
            &format!("smtp_smarthost: {host}"),
            &format!("smtp_smarthost: 127.0.0.1:{smtp}"),
        );
        let alone = ["--cluster.listen-address="];
        Some(Self { program: Program::start("TEST_ALERTMANAGER", "storage.path", &alone, &text).await? })
    }

    pub(crate) fn address(&self) -> String {
        self.program.address.clone()
    }

    /// The states of the alerts of this name: `active`, or `suppressed` where something silences them.
    pub(crate) async fn states(&self, name: &str) -> Vec<String> {
        let filter = format!("alertname={name}");
        let alerts = self.program.get("/api/v2/alerts", &[("filter", &filter)]).await;
        let alerts = alerts.as_array().expect("alerts").iter();
        alerts.map(|alert| alert["status"]["state"].as_str().expect("a state").to_owned()).collect()
    }
}
