//! What the API says about itself, and whether it is so.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::text;
use crate::server::Server;

on_both! {
    every_route_is_described_and_takes_no_other_method,
    every_operation_says_what_a_reader_needs,
    what_is_referred_to_is_there,
    answers_have_the_fields_that_are_described,
    what_makes_something_expects_no_version,
    the_pages_come_from_the_program_itself,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn document(server: &Server) -> Value {
    let (status, headers, text) = server.anybody.page("GET", "/openapi.json").await;
    assert_eq!((status, &headers["content-type"]), (200, &"application/json".parse().unwrap()));
    serde_json::from_str(&text).unwrap()
}

/// Every operation with where it is.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
    });
    all.collect()
}

async fn every_route_is_described_and_takes_no_other_method(t: Testbed) {
    let server = Server::over(t);
    let document = document(&server).await;
    let described: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let routes = server.anybody.routes();
    let own = |path: &&str| !path.starts_with("/docs") && *path != "/openapi.json";
    assert_eq!(routes.iter().map(String::as_str).filter(own).collect::<BTreeSet<_>>(), described);
    for path in described {
        let there = path.replace("{id}", "INC-1").replace("{override}", "x").replace("{token}", "x");
        for method in METHODS {
            let status = server.anybody.page(&method.to_uppercase(), &there).await.0;
            let is_described = document["paths"][path].get(method).is_some();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
}

async fn every_operation_says_what_a_reader_needs(t: Testbed) {
    let document = document(&Server::over(t)).await;
    assert!(text(&document["openapi"]).starts_with("3.1"));
    let tags: Vec<&str> = document["tags"].as_array().unwrap().iter().map(|tag| text(&tag["name"])).collect();
    let mut ids = BTreeSet::new();
    let all = operations(&document);
    assert!(all.len() > 50, "{}", all.len());
    for (place, operation) in all {
        assert!(text(&operation["summary"]).len() > 5, "{place}: {operation}");
        assert!(text(&operation["description"]).ends_with('.'), "{place}: {operation}");
        assert!(ids.insert(text(&operation["operationId"]).to_owned()), "{place} has another's id");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{place}");
        assert!(tags.contains(&text(&operation["tags"][0])), "{place}: {}", operation["tags"]);
        let responses = operation["responses"].as_object().unwrap();
        let has = |first: char| responses.keys().any(|status| status.starts_with(first));
        assert!(has('2') && has('4') && has('5'), "{place}: {:?}", responses.keys());
        let successes = responses.iter().filter(|(status, _)| status.starts_with('2'));
        let contents =
            successes.map(|(_, response)| &response["content"]).chain([&operation["requestBody"]["content"]]);
        for content in contents.filter_map(Value::as_object).flat_map(|contents| contents.values()) {
            assert!(!content["example"].is_null(), "{place}: {content}");
        }
        for (status, response) in responses {
            let named = response["headers"].get("X-Request-Id").is_some() || response.get("$ref").is_some();
            assert!(named, "{place} {status}");
        }
    }
}

async fn what_is_referred_to_is_there(t: Testbed) {
    let document = document(&Server::over(t)).await;
    let whole = document.to_string();
    let references = whole.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
    for place in references.collect::<BTreeSet<_>>() {
        assert!(document.pointer(place).is_some(), "{place}");
    }
    for stand_in in ["Definition", "NewDefinition", "DefinitionEdit", "DefinitionChange", "DefinitionVersion"]
    {
        assert!(document["components"]["schemas"].get(stand_in).is_none(), "{stand_in}");
    }
}

/// The fields of a schema with all its parts, or those that must be there.
fn fields(document: &Value, schema: &Value, list: &str) -> BTreeSet<String> {
    if let Some(place) = schema["$ref"].as_str() {
        return fields(document, document.pointer(place.trim_start_matches('#')).unwrap(), list);
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let parts = parts.flat_map(|part| fields(document, part, list));
    let listed = schema[list].as_array().into_iter().flatten().map(|name| text(name).to_owned());
    let named = schema[list].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    parts.chain(listed).chain(named).collect()
}

async fn answers_have_the_fields_that_are_described(t: Testbed) {
    let server = Server::over(t);
    let document = document(&server).await;
    server.open(json!({ "labels": ["printer"] })).await;
    for path in ["/me", "/users", "/tickets", "/labels", "/calendars", "/reports/sla-compliance"] {
        let place = format!("/paths/~1api~1v1{}", path.replace('/', "~1"));
        let operation = document.pointer(&place).unwrap()["get"].clone();
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let data = &schema["properties"]["data"];
        let one = if data["type"] == "array" { &data["items"] } else { data };
        let answer = server.manager.get(path).await.expect(200);
        for shown in answer.data().as_array().unwrap_or(&vec![answer.data().clone()]) {
            let shown: BTreeSet<String> = shown.as_object().unwrap().keys().cloned().collect();
            assert!(fields(&document, one, "required").is_subset(&shown), "{path}: {shown:?}");
            assert!(shown.is_subset(&fields(&document, one, "properties")), "{path}: {shown:?}");
        }
    }
}

async fn what_makes_something_expects_no_version(t: Testbed) {
    let document = document(&Server::over(t)).await;
    let expects = |path: &str, method: &str| {
        let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
        parameters.iter().any(|parameter| parameter["name"] == "If-Match")
    };
    assert!(!expects("/api/v1/tickets/{id}/comments", "post"));
    assert!(expects("/api/v1/tickets/{id}/resolve", "post"));
    assert!(expects("/api/v1/comments/{id}", "patch"));
}

async fn the_pages_come_from_the_program_itself(t: Testbed) {
    let server = Server::over(t);
    let (status, headers, _) = server.anybody.page("GET", "/docs").await;
    assert_eq!((status, &headers["location"]), (303, &"/docs/".parse().unwrap()));
    let (status, headers, page) = server.anybody.page("GET", "/docs/").await;
    assert_eq!(status, 200);
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(!page.contains("https://") && !page.contains("http://"), "{page}");
    for (file, says) in [("swagger-initializer.js", "/openapi.json"), ("swagger-ui.css", "swagger-ui")] {
        let (status, _, text) = server.anybody.page("GET", &format!("/docs/{file}")).await;
        assert!(status == 200 && text.contains(says), "{file}: {status}");
    }
}
