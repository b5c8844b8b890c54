//! What the dashboards ask of Prometheus, as Grafana would put it.

use std::fs;

use serde_json::Value;

use super::prometheus::{Prometheus, observability};

/// What Grafana makes of `$__rate_interval` on a graph of an hour: four scrapes.
const RATE_INTERVAL: &str = "20s";

/// A query of a panel, an annotation or a variable.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Like `jobs.json: Oldest ready job`.
    pub(crate) place: String,
    pub(crate) query: String,
}

/// The questions of all dashboards. Those to other data sources are left out.
///
/// # Panics
/// When a variable has no values, or a query holds one that is not defined.
pub(crate) async fn questions(prometheus: &Prometheus) -> Vec<Question> {
    let mut questions = Vec::new();
    for entry in fs::read_dir(observability().join("grafana/dashboards")).expect("dashboards") {
        let path = entry.expect("a dashboard").path();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let dashboard: Value = serde_json::from_slice(&fs::read(&path).expect("text")).expect("JSON");
        let variables = variables(prometheus, &file, &dashboard).await;
        let mut put = |place: &Value, query: &Value| {
            let place = format!("{file}: {}", place.as_str().expect("a title"));
            let query = fill(query.as_str().expect("a query"), &variables);
            assert!(!query.contains('$'), "{place}: an unknown variable: {query}");
            questions.push(Question { place, query });
        };
        for panel in panels(&dashboard) {
            for target in list(&panel["targets"]).filter(|target| asks_prometheus(&target["datasource"])) {
                put(&panel["title"], &target["expr"]);
            }
        }
        let marks =
            list(&dashboard["annotations"]["list"]).filter(|mark| asks_prometheus(&mark["datasource"]));
        for mark in marks {
            let query = if mark["expr"].is_null() { &mark["target"]["expr"] } else { &mark["expr"] };
            put(&mark["name"], query);
        }
    }
    questions
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// All panels, also those in rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = || list(&dashboard["panels"]);
    outer().chain(outer().flat_map(|row| list(&row["panels"]))).collect()
}

fn asks_prometheus(source: &Value) -> bool {
    source["type"] == "prometheus"
}

/// The variables of a dashboard with what stands for them in a query when everything is chosen.
async fn variables(prometheus: &Prometheus, file: &str, dashboard: &Value) -> Vec<(String, String)> {
    let fixed = [
        ("__rate_interval", RATE_INTERVAL),
        ("__interval", "5s"),
        ("__interval_ms", "5000"),
        ("__range", "1h"),
        ("__range_s", "3600"),
    ];
    let mut known: Vec<_> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for variable in list(&dashboard["templating"]["list"]) {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let value = match variable["type"].as_str() {
            Some("query") => {
                let query = &variable["query"];
                let query = query.as_str().or(query["query"].as_str()).expect("a query");
                let values = choices(prometheus, &fill(query, &known)).await;
                assert!(!values.is_empty(), "{file}: there is nothing to choose for ${name}");
                variable["allValue"].as_str().map_or_else(|| alternatives(&values), str::to_owned)
            }
            Some("custom") => {
                let values: Vec<_> = variable["query"].as_str().expect("values").split(',').collect();
                alternatives(&values)
            }
            Some("datasource") => continue,
            other => panic!("{file}: ${name} is of an unknown type: {other:?}"),
        };
        known.push((name, value));
    }
    // Longer names first: `$job` is how `$jobs` begins.
    known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    known
}

/// Answers `label_values(label)` and `label_values(selector, label)`.
async fn choices(prometheus: &Prometheus, query: &str) -> Vec<String> {
    let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.unwrap_or_else(|| panic!("not a query for a variable: {query}"));
    let (selector, label) = inner.rsplit_once(',').unwrap_or((r#"{job=~".+"}"#, inner));
    prometheus.label_values(label.trim(), selector.trim()).await.expect("an answer")
}

/// What Grafana writes when several values are chosen.
fn alternatives<T: AsRef<str>>(values: &[T]) -> String {
    let escaped = |value: &T| {
        let special = |c: char| r"\$^*{}[]+?.()|".contains(c);
        let mut text = String::new();
        for c in value.as_ref().trim().chars() {
            text.extend(special(c).then_some(r"\\"));
            text.push(c);
        }
        text
    };
    format!("({})", values.iter().map(escaped).collect::<Vec<_>>().join("|"))
}

fn fill(query: &str, variables: &[(String, String)]) -> String {
    let mut query = query.to_owned();
    for (name, value) in variables {
        for form in [format!("${{{name}}}"), format!("${{{name}:regex}}"), format!("${name}")] {
            query = query.replace(&form, value);
        }
    }
    query
}

#[test]
fn a_choice_of_everything_is_written_as_grafana_writes_it() {
    let all = alternatives(&["/tickets/{id}", "none"]);
    assert_eq!(all, r"(/tickets/\\{id\\}|none)");
    let variables =
        [("routes", "none"), ("route", &*all)].map(|(name, value)| (name.into(), value.to_owned()));
    assert_eq!(
        fill(r#"up{a=~"$route",b=~"${routes:regex}"}"#, &variables),
        format!(r#"up{{a=~"{all}",b=~"none"}}"#)
    );
}
