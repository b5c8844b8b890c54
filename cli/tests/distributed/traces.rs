//! Traces of a ticket, as a collector gets them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fake_opentelemetry_collector::{ExportedSpan, FakeCollectorServer};

use serde_json::Value;

use crate::events::{hire_ada, hook_up, receive};
use crate::system::{IN_TIME, System};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_one_trace_to_its_mail_and_its_breach_another_that_links_to_it() {
    let Some((system, mut collector)) = traced(ALL).await else { return };
    let ticket = system.open("critical").await;

    let mailed = |spans: &[_]| {
        sent(spans, "ticket.created").count() >= 2
            && sent(spans, "sla.breached").count() >= 3
            && are_whole(spans)
    };
    let spans = spans_until(&mut collector, mailed).await;
    let opened: Vec<_> = spans.iter().filter(|span| span.name == "POST /api/v1/tickets").collect();
    assert_eq!(opened.len(), 1);
    let opened = opened[0];
    assert_eq!((&*opened.kind, &*opened.parent_span_id), ("SPAN_KIND_SERVER", ""));
    let expected = [("http.request.method", "POST"), ("http.route", "/api/v1/tickets")];
    assert!(expected.iter().all(|(name, value)| text(opened, name) == *value), "{opened:#?}");
    assert_eq!(number(opened, "http.response.status_code"), 201);
    for mail in sent(&spans, "ticket.created") {
        assert_eq!(mail.trace_id, opened.trace_id);
        let way = way(&spans, mail);
        let names: Vec<&str> = way.iter().map(|span| &*span.name).collect();
        let expected = [
            "send mail",
            "process send_mail",
            "send send_mail",
            "process notify",
            "send notify",
            "POST /api/v1/tickets",
        ];
        assert_eq!(names, expected);
        let kinds: Vec<&str> = way.iter().map(|span| &span.kind["SPAN_KIND_".len()..]).collect();
        assert_eq!(kinds, ["CLIENT", "CONSUMER", "PRODUCER", "CONSUMER", "PRODUCER", "SERVER"]);
        assert_eq!(number(mail, "server.port"), i64::from(system.smtp.port));
        let consumer = way[1];
        assert_eq!(text(consumer, "messaging.message.id"), text(consumer, "job.id"));
        assert_eq!(text(consumer, "job.id"), text(way[2], "messaging.message.id"));
        assert_eq!(number(consumer, "job.attempt"), 1);
        assert!(consumer.attributes.contains_key("job.wait_seconds"), "{consumer:#?}");
    }
    // The database is asked on behalf of somebody, or it is no part of any trace.
    let statements = spans.iter().filter(|span| span.attributes.contains_key("db.system.name"));
    let of_trace: Vec<_> = statements.clone().filter(|span| span.trace_id == opened.trace_id).collect();
    assert!(statements.clone().all(|span| !span.parent_span_id.is_empty()));
    assert!(of_trace.iter().any(|span| span.name == "select users"), "{of_trace:#?}");
    assert!(of_trace.iter().all(|span| span.kind == "SPAN_KIND_CLIENT"));

    let breach: HashSet<_> = sent(&spans, "sla.breached").map(|mail| &mail.trace_id).collect();
    assert_eq!(breach.len(), 1, "one trace for all three mails");
    assert!(!breach.contains(&opened.trace_id));
    for mail in sent(&spans, "sla.breached") {
        let way = way(&spans, mail);
        let names: Vec<&str> = way.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["send mail", "process send_mail", "send send_mail", "process notify"]);
        let root = way.last().expect("it has one");
        assert!(root.links.iter().any(|link| link.trace_id == opened.trace_id), "{root:?}");
    }
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    let everything = format!("{spans:?}");
    for personal in ["@", "Rita", "Erik", "Checkout is down", &ticket.key] {
        assert!(!everything.contains(personal), "{personal} stands in an attribute");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_refused_is_an_error_and_its_retry_a_trace_that_links_to_the_first() {
    let Some((system, mut collector)) = traced(ALL).await else { return };
    system.smtp.defer(1);
    system.open("low").await;
    let tried = |spans: &[_]| sent(spans, "ticket.created").count() >= 3 && are_whole(spans);
    let spans = spans_until(&mut collector, tried).await;
    let failed =
        spans.iter().find(|span| span.attributes.contains_key("error.type") && span.name == "send mail");
    let failed = failed.expect("one was deferred");
    assert_eq!(text(failed, "error.type"), "451");
    let first = way(&spans, failed)[1];
    assert_eq!((&*first.name, &*text(first, "error.type")), ("process send_mail", "mail"));
    let id = text(first, "job.id");
    let again = |span: &&ExportedSpan| number(span, "job.attempt") == 2 && text(span, "job.id") == id;
    let again =
        spans.iter().filter(|span| span.name == "process send_mail").find(again).expect("it was tried again");
    assert!(again.parent_span_id.is_empty() && again.trace_id != first.trace_id);
    let send = way(&spans, first)[1];
    assert!(again.links.iter().any(|link| link.span_id == send.span_id), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_a_clients_span_that_keeps_the_address_to_itself() {
    let Some((system, mut collector)) = traced(("WEBHOOK_ALLOW_PRIVATE", "true")).await else { return };
    let token = hire_ada(&system).await;
    let (url, _) = receive().await;
    hook_up(&system, &token, &format!("{url}?key=hush"), &["ticket.created"]).await;
    system.open("low").await;
    let is_post = |span: &&ExportedSpan| span.name == "POST" && span.kind == "SPAN_KIND_CLIENT";
    let posted = |spans: &[ExportedSpan]| {
        let post = spans.iter().find(is_post);
        post.is_some_and(|post| way(spans, post).len() > 1)
    };
    let spans = spans_until(&mut collector, posted).await;
    let post = spans.iter().find(is_post).expect("it was posted");
    assert_eq!(way(&spans, post)[1].name, "process deliver_webhook");
    assert_eq!(number(post, "http.response.status_code"), 204);
    assert_eq!(text(post, "server.address"), "127.0.0.1");
    assert!(url.contains(&number(post, "server.port").to_string()), "{post:#?}");
    assert!(!format!("{spans:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_not_exported_and_still_has_an_id_in_the_log() {
    let never = ("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let Some((mut system, mut collector)) = traced(never).await else { return };
    let ticket = system.open("low").await;
    system.mailed(&ticket, "ticket.created", 2, IN_TIME).await;
    let log = std::fs::read_to_string(&system.part("worker-1").log).expect("a log");
    let mailed: Vec<Value> =
        log.lines().filter(|line| line.contains(r#""message":"mailed""#)).map(json).collect();
    assert!(!mailed.is_empty(), "{log}");
    for line in &mailed {
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
        assert!(line["span_id"].is_string() && line["job.id"].is_string(), "{line}");
    }
    assert_eq!(collector.exported_spans(1, Duration::from_secs(1)).await.len(), 0);
}

/// Nothing else than usual.
const ALL: (&str, &str) = ("OTEL_TRACES_SAMPLER", "parentbased_always_on");

/// Starts a system whose traces a collector gets, with one more setting.
async fn traced((name, value): (&'static str, &str)) -> Option<(System, FakeCollectorServer)> {
    let mut system = System::prepare().await?;
    let collector = FakeCollectorServer::start().await.expect("a collector");
    system.settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    system.settings.insert("OTEL_BSP_SCHEDULE_DELAY", "200".into());
    system.settings.insert(name, value.into());
    system.start(1, 1).await;
    Some((system, collector))
}

/// Collects spans until they are those that were waited for.
async fn spans_until(
    collector: &mut FakeCollectorServer,
    done: impl Fn(&[ExportedSpan]) -> bool,
) -> Vec<ExportedSpan> {
    let mut spans = Vec::new();
    let deadline = Instant::now() + IN_TIME;
    while !done(&spans) {
        assert!(Instant::now() < deadline, "these spans came: {spans:#?}");
        spans.extend(collector.exported_spans(1, Duration::from_secs(1)).await);
    }
    spans
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).expect("a log line is JSON")
}

/// A value that is a text; the collector shows it as `Some(AnyValue { value: Some(StringValue("…")) })`.
fn text(span: &ExportedSpan, attribute: &str) -> String {
    let value = span.attributes.get(attribute).map_or("", String::as_str);
    value.split('"').nth(1).unwrap_or_default().to_owned()
}

/// A value that is a whole number.
fn number(span: &ExportedSpan, attribute: &str) -> i64 {
    let value = span.attributes.get(attribute).map_or("", String::as_str);
    let digits = value.split("IntValue(").nth(1).and_then(|rest| rest.split(')').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1)
}

/// The spans of mails about an event.
fn sent<'a>(spans: &'a [ExportedSpan], event: &'a str) -> impl Iterator<Item = &'a ExportedSpan> {
    let about = move |span: &&ExportedSpan| {
        span.attributes.get("mail.event").is_some_and(|value| value.contains(event))
    };
    spans.iter().filter(about)
}

/// Tells whether the way of every mail has come up to its root: spans are exported as they end, the innermost first.
fn are_whole(spans: &[ExportedSpan]) -> bool {
    let mut mails = spans.iter().filter(|span| span.attributes.contains_key("mail.event"));
    mails.all(|mail| way(spans, mail).last().is_some_and(|root| root.parent_span_id.is_empty()))
}

/// A span, its parent, and so on up to the root.
fn way<'a>(spans: &'a [ExportedSpan], of: &'a ExportedSpan) -> Vec<&'a ExportedSpan> {
    let parent = |span: &&'a ExportedSpan| spans.iter().find(|other| other.span_id == span.parent_span_id);
    std::iter::successors(Some(of), parent).collect()
}
