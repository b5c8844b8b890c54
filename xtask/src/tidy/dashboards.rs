//! What Grafana's dashboards have in common: the rules of grafana/dashboard-linter, and a grid without overlaps.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;
use super::tree::{File, Tree};

const FOLDER: &str = "observability/grafana/dashboards";

/// What every dashboard carries, so that each finds the others.
const TAG: &str = "dogwatch";

/// How long a window of time may be: what Grafana derives from the graph, or the time shown.
const WINDOWS: [&str; 2] = ["$__rate_interval", "$__range"];

/// A dashboard as it is provisioned. A file that is no JSON is `Null`, which breaks every rule.
pub(super) struct Dashboard<'t> {
    pub(super) file: &'t File,
    pub(super) json: Value,
}

impl Dashboard<'_> {
    pub(super) fn all(tree: &Tree) -> impl Iterator<Item = Dashboard<'_>> {
        let files = tree.files.iter().filter(|file| file.is_in(FOLDER) && file.path.ends_with(".json"));
        files.map(|file| Dashboard { file, json: serde_json::from_str(&file.text).unwrap_or_default() })
    }

    pub(super) fn uid(&self) -> &str {
        text(&self.json["uid"])
    }

    /// Returns the panels, also those in rows, and not the rows.
    pub(super) fn panels(&self) -> Vec<&Value> {
        let outer = list(&self.json["panels"]);
        let inner = outer.iter().flat_map(|panel| list(&panel["panels"]));
        outer.iter().chain(inner).filter(|panel| panel["type"] != "row").collect()
    }

    pub(super) fn annotations(&self) -> &[Value] {
        list(&self.json["annotations"]["list"])
    }

    fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// Returns every query of panels, annotations and variables.
    pub(super) fn queries(&self) -> Vec<&str> {
        let targets = self.panels().into_iter().flat_map(|panel| list(&panel["targets"]));
        let asked = targets.chain(self.annotations()).map(|asking| &asking["expr"]);
        let choices = self.variables().iter().filter(|variable| variable["type"] == "query");
        asked.chain(choices.map(|variable| &variable["query"])).map(text).collect()
    }

    /// Reports at the line that has this string, as the file writes it.
    pub(super) fn finding(&self, string: &str, problem: impl Into<String>) -> Finding {
        let needle = Value::from(string).to_string();
        let line = self.file.text.lines().position(|line| line.contains(&needle)).map_or(1, |at| at + 1);
        Finding::new(&self.file.path, line, problem)
    }

    fn general(&self) -> Vec<String> {
        let json = &self.json;
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: &str| problems.extend((!holds).then(|| problem.to_owned()));
        require(self.uid().starts_with("dogwatch-"), "needs a `uid` that begins with `dogwatch-`");
        require(!text(&json["title"]).is_empty(), "needs a title");
        require(!text(&json["description"]).is_empty(), "needs a description: what does it answer?");
        require(list(&json["tags"]).iter().any(|tag| tag == TAG), "needs the tag `dogwatch`");
        require(json["editable"] == false, "must not be editable: it is changed in this file");
        let sources: Vec<_> =
            self.variables().iter().filter(|variable| variable["type"] == "datasource").collect();
        let is_named = |source: &Value| source["name"] == "datasource" && source["label"] == "Data source";
        require(
            matches!(sources[..], [source] if is_named(source)),
            "needs one variable of type `datasource`, named `datasource` and labelled `Data source`",
        );
        for variable in self.variables().iter().filter(|variable| variable["type"] == "query") {
            let name = text(&variable["name"]);
            if !uses_the_variable(variable) {
                problems.push(format!("${name} must ask `${{datasource}}`"));
            }
            if variable["refresh"] != 2 {
                problems.push(format!("${name} must be refreshed when the time shown changes (2)"));
            }
        }
        for mark in self.annotations().iter().filter(|mark| !uses_the_variable(mark)) {
            problems.push(format!("`{}` must ask `${{datasource}}`", text(&mark["name"])));
        }
        problems
    }
}

fn uses_the_variable(value: &Value) -> bool {
    value["datasource"]["uid"] == "${datasource}"
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Holds that every dashboard can be read by a stranger, on any data source and over any time.
pub(super) fn dashboards_pass_the_linter(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dashboard in Dashboard::all(tree) {
        let title = text(&dashboard.json["title"]);
        findings.extend(dashboard.general().into_iter().map(|problem| dashboard.finding(title, problem)));
        for panel in dashboard.panels() {
            let problems = of_panel(panel).into_iter();
            findings.extend(problems.map(|problem| dashboard.finding(text(&panel["title"]), problem)));
        }
        for query in dashboard.queries() {
            findings.extend(of_query(query).map(|problem| dashboard.finding(query, problem)));
        }
    }
    findings
}

fn of_panel(panel: &Value) -> Vec<&'static str> {
    let (defaults, targets) = (&panel["fieldConfig"]["defaults"], list(&panel["targets"]));
    let mut problems = Vec::new();
    let mut require = |holds: bool, problem| problems.extend((!holds).then_some(problem));
    require(!text(&panel["title"]).is_empty(), "needs a title");
    require(
        !text(&panel["description"]).is_empty(),
        "needs a description: what is to be seen, and what is bad?",
    );
    require(!text(&defaults["unit"]).is_empty(), "needs a unit");
    require(!targets.is_empty(), "needs a query");
    require(
        uses_the_variable(panel) && targets.iter().all(uses_the_variable),
        "must ask `${datasource}`, in its own name and in each query",
    );
    problems
}

fn of_query(query: &str) -> Option<String> {
    if query.is_empty() {
        return Some("needs a query in `expr`".into());
    }
    for (at, _) in query.match_indices('[') {
        let window = query[at + 1..].split([']', ':']).next().unwrap_or_default();
        let is_rate = ["rate(", "irate("].iter().any(|function| opening_call(&query[..at]) == *function);
        if !WINDOWS.contains(&window) || (is_rate && window != WINDOWS[0]) {
            return Some(format!(
                "looks back `{window}`: use `$__rate_interval`, or record the rule if the window matters"
            ));
        }
    }
    None
}

/// Returns the name of the innermost call that is open at the end, with its parenthesis.
fn opening_call(before: &str) -> &str {
    let mut closed = 0_usize;
    for (at, c) in before.char_indices().rev() {
        match c {
            ')' => closed += 1,
            '(' if closed > 0 => closed -= 1,
            '(' => {
                let start = before[..at].rfind(|c: char| !super::source::is_word(c)).map_or(0, |at| at + 1);
                return &before[start..=at];
            }
            _ => {}
        }
    }
    ""
}

/// Holds that panels are told apart and that none covers another.
pub(super) fn panels_have_their_places(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dashboard in Dashboard::all(tree) {
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard.json["panels"]) {
            let title = text(&panel["title"]);
            if !ids.insert(panel["id"].as_u64()) {
                findings.push(dashboard.finding(title, "has the `id` of another panel"));
            }
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or(0));
            if w == 0 || h == 0 || x + w > 24 {
                findings.push(dashboard.finding(title, "must lie within the 24 columns of the grid"));
            } else if !(y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))).all(|cell| cells.insert(cell))
            {
                findings.push(dashboard.finding(title, "covers another panel"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::findings;
    use super::*;

    const PATH: &str = "observability/grafana/dashboards/jobs.json";

    fn sound() -> Value {
        let source = json!({ "type": "prometheus", "uid": "${datasource}" });
        json!({
            "uid": "dogwatch-jobs", "title": "Jobs", "description": "Does work start?", "tags": ["dogwatch"], "editable": false,
            "annotations": { "list": [{ "name": "Deploys", "datasource": source, "expr": "dogwatch_build_info" }] },
            "templating": { "list": [
                { "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" },
                { "name": "kind", "type": "query", "datasource": source, "refresh": 2, "query": "label_values(kind)" },
            ]},
            "panels": [
                { "id": 1, "type": "row", "title": "Runs", "gridPos": { "x": 0, "y": 0, "w": 24, "h": 1 }, "panels": [] },
                {
                    "id": 2, "type": "stat", "title": "Ended", "description": "Runs a second.", "datasource": source,
                    "gridPos": { "x": 0, "y": 1, "w": 12, "h": 8 }, "fieldConfig": { "defaults": { "unit": "ops" } },
                    "targets": [{ "datasource": source, "expr": "sum(rate(a_total{kind=~\"$kind\"}[$__rate_interval]))" }],
                },
            ],
        })
    }

    /// What both rules say when one value is another.
    fn broken(pointer: &str, value: Value) -> Vec<String> {
        let mut dashboard = sound();
        *dashboard.pointer_mut(pointer).expect("a value") = value;
        let file = serde_json::to_string_pretty(&dashboard).expect("JSON");
        let files = [(PATH, file.as_str())];
        let both = [dashboards_pass_the_linter, panels_have_their_places];
        both.iter().flat_map(|rule| findings(*rule, &files)).collect()
    }

    #[test]
    fn a_sound_dashboard_passes() {
        assert_eq!(broken("/title", json!("Jobs")), Vec::<String>::new());
    }

    #[test]
    fn what_the_linter_asks_for_is_asked_for() {
        let elsewhere = json!({ "type": "prometheus", "uid": "prometheus" });
        let asks = "must ask `${datasource}`";
        for (pointer, value, problem) in [
            ("/tags", json!([]), "the tag `dogwatch`"),
            ("/editable", json!(true), "not be editable"),
            ("/description", json!(""), "needs a description"),
            ("/templating/list/0/name", json!("source"), "one variable of type `datasource`"),
            ("/templating/list/1/datasource", elsewhere.clone(), asks),
            ("/templating/list/1/refresh", json!(1), "refreshed"),
            ("/annotations/list/0/datasource", elsewhere.clone(), asks),
            ("/panels/1/datasource", elsewhere.clone(), asks),
            ("/panels/1/targets/0/datasource", elsewhere, asks),
            ("/panels/1/targets", json!([]), "needs a query"),
            ("/panels/1/description", json!(""), "needs a description"),
            ("/panels/1/fieldConfig/defaults", json!({}), "needs a unit"),
            ("/panels/1/gridPos/x", json!(13), "24 columns"),
            ("/panels/1/gridPos/y", json!(0), "covers another panel"),
            ("/panels/1/id", json!(1), "the `id` of another panel"),
        ] {
            let found = broken(pointer, value);
            assert!(matches!(&found[..], [one] if one.contains(problem)), "{pointer}: {found:?}");
        }
    }

    #[test]
    fn windows_follow_the_graph() {
        assert!(
            of_query("sum(increase(a_total[$__range])) / sum(rate(b_total[$__rate_interval]))").is_none()
        );
        assert!(of_query("sum(rate(a_total[5m]))").is_some());
        assert!(of_query("sum(increase(a_total[1h]))").is_some());
        assert!(of_query("sum(rate(a_total{b=~\"(c|d)\"}[$__range]))").is_some());
        assert!(of_query("max_over_time(a[6h:1m])").is_some());
    }

    #[test]
    fn a_file_that_is_no_json_breaks_the_rules() {
        assert!(!findings(dashboards_pass_the_linter, &[(PATH, "{")]).is_empty());
    }
}
