//! What ties alerts, dashboards, metrics and the operator's page together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Finding;
use super::dashboards::{Dashboard, text};
use super::source::is_word;
use super::tree::{File, Tree};

const PAGE: &str = "docs/operations.md";
const RULES: &str = "observability/prometheus/rules";
const TESTS: &str = "observability/prometheus/tests";

/// The page as Grafana serves it where Compose mounts it.
const SERVED: &str = "/public/docs/operations.md#";

/// What every alert says, beside `summary` and `description`, which promtool's tests show.
const SAID: [&str; 5] = ["severity:", "summary:", "description:", "runbook_url:", "dashboard:"];

/// One alert in a file of rules.
struct Alert<'t> {
    path: &'t str,
    line: usize,
    name: &'t str,
    lines: Vec<&'t str>,
}

impl<'t> Alert<'t> {
    fn all(tree: &'t Tree) -> Vec<Self> {
        let mut alerts: Vec<Self> = Vec::new();
        for file in rules(tree) {
            let mut is_open = false;
            for (line, content) in (1..).zip(file.text.lines()) {
                let content = content.trim_start();
                if let Some(name) = content.strip_prefix("- alert: ") {
                    alerts.push(Self { path: &file.path, line, name, lines: Vec::new() });
                    is_open = true;
                } else if content.starts_with("- name:") || content.starts_with("- record:") {
                    is_open = false;
                } else if let Some(alert) = alerts.last_mut().filter(|_| is_open) {
                    alert.lines.push(content);
                }
            }
        }
        alerts
    }

    fn says(&self, key: &str) -> Option<&'t str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)).map(str::trim)
    }

    fn finding(&self, problem: impl Into<String>) -> Finding {
        Finding::new(self.path, self.line, problem)
    }
}

fn rules(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.is_in(RULES) && file.path.ends_with(".yml"))
}

/// Returns the headings of the operator's page with their lines, by the anchor that leads there.
fn headings(tree: &Tree) -> BTreeMap<String, (usize, &str)> {
    let lines = tree.get(PAGE).map(|page| page.text.lines()).into_iter().flatten();
    let headings = (1..).zip(lines).filter(|(_, line)| line.starts_with('#'));
    let titled = headings.map(|(number, line)| (number, line.trim_start_matches('#').trim()));
    titled.map(|(number, title)| (anchor(title), (number, title))).collect()
}

/// Returns a heading's anchor, as GitHub makes it.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| is_word(*c) || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Holds that every alert leads to its section of the runbook and to a dashboard, and every such section has its alert.
pub(super) fn alerts_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let (alerts, headings) = (Alert::all(tree), headings(tree));
    let uids: BTreeSet<String> = Dashboard::all(tree).map(|dashboard| dashboard.uid().to_owned()).collect();
    let mut findings = Vec::new();
    for alert in &alerts {
        for key in SAID {
            // Labels stand on one line, like `labels: { severity: warning }`.
            if alert.says(key).is_none()
                && !alert.lines.iter().any(|line| line.contains(&format!("{{ {key}")))
            {
                findings.push(alert.finding(format!("`{}` says no `{key}`", alert.name)));
            }
        }
        let section = anchor(alert.name);
        if !headings.contains_key(&section) {
            findings.push(alert.finding(format!("`{}` has no section in `{PAGE}`: write it", alert.name)));
        }
        let link = format!("{PAGE}#{section}");
        if alert.says("runbook_url:").is_some_and(|url| url != link) {
            findings.push(alert.finding(format!("must lead to `{link}`")));
        }
        if let Some(url) = alert.says("dashboard:")
            && !url.strip_prefix("/d/").is_some_and(|uid| uids.contains(uid))
        {
            findings.push(alert.finding(format!("`{url}` is no dashboard")));
        }
    }
    for (number, title) in headings.values().filter(|(_, title)| title.starts_with("Dogwatch")) {
        if !alerts.iter().any(|alert| alert.name == *title) {
            let text = format!("there is no alert `{title}`: delete the section or write the alert");
            findings.push(Finding::new(PAGE, *number, text));
        }
    }
    findings
}

/// Holds that promtool tries every rule: each alert is named by a test, each recorded series asked for.
pub(super) fn every_rule_is_tested(tree: &Tree) -> Vec<Finding> {
    let tests: Vec<&str> =
        tree.files.iter().filter(|file| file.is_in(TESTS)).map(|file| file.text.as_str()).collect();
    let is_part = |c: char| is_word(c) || c == ':';
    let tried: BTreeSet<&str> = tests.iter().flat_map(|test| test.split(|c| !is_part(c))).collect();
    let mut findings = Vec::new();
    for file in rules(tree) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let rule = line.trim_start().trim_start_matches("- ");
            let name = ["alert: ", "record: "].iter().find_map(|key| rule.strip_prefix(key));
            if let Some(name) = name.filter(|name| !tried.contains(name)) {
                let text = format!("`{name}` has no test in `{TESTS}`");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

/// Holds that links of dashboards lead to sections and dashboards that exist, or into Grafana itself.
pub(super) fn links_of_dashboards_resolve(tree: &Tree) -> Vec<Finding> {
    let headings = headings(tree);
    let uids: BTreeSet<String> = Dashboard::all(tree).map(|dashboard| dashboard.uid().to_owned()).collect();
    let leads = |url: &str| {
        let anchor = url.strip_prefix(SERVED);
        let uid = url.strip_prefix("/d/").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        anchor.is_some_and(|anchor| headings.contains_key(anchor))
            || uid.is_some_and(|uid| uids.contains(uid))
            || ["/explore?", "/alerting/"].iter().any(|start| url.starts_with(start))
    };
    let mut findings = Vec::new();
    for dashboard in Dashboard::all(tree) {
        let mut urls = Vec::new();
        collect_urls(&dashboard.json, &mut urls);
        for url in urls.into_iter().filter(|url| !leads(url)) {
            findings.push(dashboard.finding(url, format!("`{url}` leads nowhere")));
        }
    }
    findings
}

fn collect_urls<'v>(value: &'v Value, urls: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            urls.extend(fields.get("url").map(text));
            fields.values().for_each(|field| collect_urls(field, urls));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_urls(item, urls)),
        _ => {}
    }
}

/// Holds that every panel the runbook names in italics is on a dashboard, as a panel, a dashboard, a mark or a link.
pub(super) fn the_runbook_names_what_exists(tree: &Tree) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    for dashboard in Dashboard::all(tree) {
        collect_names(&dashboard.json, &mut known);
    }
    let Some((first, section)) = section(tree, "Runbook") else { return Vec::new() };
    let mut findings = Vec::new();
    // A name may go over the end of a line; bold print and code are no names.
    let mut line = first;
    for (at, paragraph) in section.split("\n\n").enumerate() {
        line += if at == 0 { 0 } else { 2 };
        let plain = paragraph.split('`').step_by(2).collect::<Vec<_>>().join("`").replace("**", "");
        for name in plain.split('*').skip(1).step_by(2) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            if !known.contains(&name) {
                let text = format!("*{name}* is on no dashboard: name what an operator can find");
                findings.push(Finding::new(PAGE, line, text));
            }
        }
        line += paragraph.matches('\n').count();
    }
    findings
}

fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let own = ["title", "name"].iter().filter_map(|key| fields.get(*key)?.as_str());
            names.extend(own.map(str::to_owned));
            fields.values().for_each(|field| collect_names(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

/// Returns a section of the operator's page, down to the next of its rank, and its first line's number.
fn section<'t>(tree: &'t Tree, title: &str) -> Option<(usize, &'t str)> {
    let page = &tree.get(PAGE)?.text;
    let heading = format!("\n## {title}\n");
    let start = page.find(&heading)? + heading.len();
    let rest = &page[start..];
    let end = rest.find("\n## ").unwrap_or(rest.len());
    Some((page[..start].matches('\n').count() + 1, &rest[..end]))
}

/// Holds that dashboards and rules ask for documented metrics only.
pub(super) fn metrics_are_documented(tree: &Tree) -> Vec<Finding> {
    let Some((_, table)) = section(tree, "Metrics") else { return Vec::new() };
    let documented: BTreeSet<&str> = metrics(table).collect();
    let is_documented = |name: &str| {
        let parts = ["", "_bucket", "_sum", "_count"].iter();
        parts.filter_map(|part| name.strip_suffix(part)).any(|metric| documented.contains(metric))
    };
    let text = |name: &str| format!("`{name}` is not among the metrics in `{PAGE}`");
    let mut findings = Vec::new();
    for file in rules(tree) {
        for (number, line) in
            (1..).zip(file.text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#'))
        {
            let unknown = metrics(line).filter(|name| !is_documented(name));
            findings.extend(unknown.map(|name| Finding::new(&file.path, number, text(name))));
        }
    }
    for dashboard in Dashboard::all(tree) {
        for query in dashboard.queries() {
            let unknown = metrics(query).filter(|name| !is_documented(name));
            findings.extend(unknown.map(|name| dashboard.finding(query, text(name))));
        }
    }
    findings
}

/// Returns the names of metrics; a recorded one has colons and is none.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !is_word(c) && c != ':');
    words.filter(|word| word.starts_with("dogwatch_") && !word.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::*;

    const ALERT: &str = "groups:\n  - name: a\n    rules:\n      - alert: DogwatchLate\n        expr: dogwatch_lag > 1\n        \
        labels: { severity: warning }\n        annotations:\n          summary: Late\n          description: Late\n          \
        runbook_url: docs/operations.md#dogwatchlate\n          dashboard: /d/dogwatch-jobs\n      - record: a:b:c\n";
    const BOARD: &str = r#"{ "uid": "dogwatch-jobs", "title": "Jobs", "panels": [{ "title": "Lag", "type": "stat",
        "targets": [{ "expr": "rate(dogwatch_lag_bucket[$__rate_interval]) / a:dogwatch_b:c" }],
        "links": [{ "url": "/public/docs/operations.md#dogwatchlate" }, { "url": "/explore?a" }, { "url": "/d/dogwatch-jobs" }] }] }"#;
    const TEXT: &str = "# Operating\n\n## Metrics\n\n| `dogwatch_lag` |\n\n## Runbook\n\nStart.\n\n### DogwatchLate\n\n\
        **Look at.** *Jobs*: *Lag*, `a * b`.\n";

    fn of(rule: super::super::Rule, alert: &str, board: &str, page: &str) -> Vec<String> {
        let files = [
            ("observability/prometheus/rules/alerts.yml", alert),
            ("observability/grafana/dashboards/jobs.json", board),
            (PAGE, page),
        ];
        findings(rule, &files)
    }

    #[test]
    fn what_fits_together_passes() {
        for rule in [
            alerts_lead_somewhere,
            links_of_dashboards_resolve,
            the_runbook_names_what_exists,
            metrics_are_documented,
        ] {
            assert_eq!(of(rule, ALERT, BOARD, TEXT), Vec::<String>::new());
        }
    }

    #[test]
    fn an_alert_without_its_section_and_a_section_without_its_alert_are_caught() {
        assert_eq!(
            of(
                alerts_lead_somewhere,
                &ALERT.replace("alert: DogwatchLate", "alert: DogwatchSlow"),
                BOARD,
                TEXT
            ),
            [
                "observability/prometheus/rules/alerts.yml:4: `DogwatchSlow` has no section in `docs/operations.md`: write it",
                "observability/prometheus/rules/alerts.yml:4: must lead to `docs/operations.md#dogwatchslow`",
                "docs/operations.md:11: there is no alert `DogwatchLate`: delete the section or write the alert",
            ]
        );
    }

    #[test]
    fn a_rule_that_nobody_tries_is_caught() {
        let files = [
            ("observability/prometheus/rules/alerts.yml", ALERT),
            (
                "observability/prometheus/tests/alerts_test.yml",
                "- { alertname: DogwatchLate }\n- { expr: 'a:b:cd' }\n",
            ),
        ];
        assert_eq!(
            findings(every_rule_is_tested, &files),
            [
                "observability/prometheus/rules/alerts.yml:12: `a:b:c` has no test in `observability/prometheus/tests`"
            ]
        );
    }

    #[test]
    fn an_alert_that_says_too_little_is_caught() {
        let silent = ALERT
            .replace("severity", "size")
            .replace("/d/dogwatch-jobs", "/d/jobs")
            .replace("summary", "title");
        assert_eq!(
            of(alerts_lead_somewhere, &silent, BOARD, TEXT),
            [
                "observability/prometheus/rules/alerts.yml:4: `DogwatchLate` says no `severity:`",
                "observability/prometheus/rules/alerts.yml:4: `DogwatchLate` says no `summary:`",
                "observability/prometheus/rules/alerts.yml:4: `/d/jobs` is no dashboard",
            ]
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_caught() {
        for (good, bad) in
            [("#dogwatchlate", "#gone"), ("/d/dogwatch-jobs", "/d/gone"), ("/explore?a", "https://a")]
        {
            let found = of(links_of_dashboards_resolve, ALERT, &BOARD.replace(good, bad), TEXT);
            assert!(matches!(&found[..], [one] if one.ends_with("leads nowhere")), "{found:?}");
        }
    }

    #[test]
    fn a_panel_that_was_renamed_is_caught() {
        let page = TEXT.replace("*Lag*", "*Old\nlag*");
        assert_eq!(
            of(the_runbook_names_what_exists, ALERT, BOARD, &page),
            ["docs/operations.md:13: *Old lag* is on no dashboard: name what an operator can find"]
        );
    }

    #[test]
    fn an_undocumented_metric_is_caught() {
        let page = TEXT.replace("`dogwatch_lag`", "`dogwatch_age`");
        assert_eq!(
            of(metrics_are_documented, ALERT, BOARD, &page),
            [
                "observability/prometheus/rules/alerts.yml:5: `dogwatch_lag` is not among the metrics in `docs/operations.md`",
                "observability/grafana/dashboards/jobs.json:2: `dogwatch_lag_bucket` is not among the metrics in `docs/operations.md`",
            ]
        );
        assert!(of(metrics_are_documented, ALERT, BOARD, "# Operating\n").is_empty());
    }
}
