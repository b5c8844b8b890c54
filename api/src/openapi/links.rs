//! Where identifiers in answers lead to.

use serde_json::{Map, Value, json};

/// Answers that carry an identifier which other routes take: where it stands, and how those routes begin.
const CARRIERS: [(&str, &str, &str, &str); 6] = [
    ("/api/v1/tickets/{id}/sla", "get", "/data/0/id", "/api/v1/slas/{id}"),
    ("/api/v1/tickets/{id}/comments", "post", "/data/id", "/api/v1/comments/{id}"),
    ("/api/v1/tickets/{id}/attachments", "post", "/data/id", "/api/v1/attachments/{id}"),
    ("/api/v1/tickets/import", "post", "/data/id", "/api/v1/imports/{id}"),
    ("/api/v1/calendars/{id}/apply", "post", "/data/id", "/api/v1/replans/{id}"),
    ("/api/v1/sla-policies/{id}/apply", "post", "/data/id", "/api/v1/replans/{id}"),
];

/// Links what makes something to what can be done with it.
pub(super) fn add(paths: &mut Value) {
    let makers: Vec<String> = paths.as_object().into_iter().flatten().map(|(path, _)| path.clone()).collect();
    for path in makers {
        add_from(paths, &path, "post", "/data/id", &format!("{path}/{{id}}"));
    }
    for (path, method, place, target) in CARRIERS {
        add_from(paths, path, method, place, target);
    }
}

fn add_from(paths: &mut Value, path: &str, method: &str, place: &str, target: &str) {
    let below = |other: &str| other.strip_prefix(target).is_some_and(|rest| !rest.contains('{'));
    let targets = paths.as_object().into_iter().flatten().filter(|(other, _)| below(other));
    let operations = targets.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    let links = operations.filter_map(|(_, operation)| {
        let id = operation["operationId"].as_str()?;
        let link = json!({ "operationId": id, "parameters": { "id": format!("$response.body#{place}") } });
        Some((id.to_owned(), link))
    });
    let links: Map<String, Value> = links.collect();
    let responses =
        paths.get_mut(path).and_then(|item| item.get_mut(method)?.get_mut("responses")?.as_object_mut());
    for (status, response) in responses.into_iter().flatten() {
        if status.starts_with('2') && !links.is_empty() {
            response["links"] = links.clone().into();
        }
    }
}
