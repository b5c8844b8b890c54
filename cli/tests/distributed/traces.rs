//! Traces of a ticket, as a collector gets them.

use std::collections::HashSet;
use std::time::Duration;

use fake_opentelemetry_collector::{ExportedSpan, FakeCollectorServer};

use crate::system::{IN_TIME, System};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_one_trace_to_its_mail_and_its_breach_another_that_links_to_it() {
    let Some(mut system) = System::prepare().await else { return };
    let mut collector = FakeCollectorServer::start().await.expect("a collector");
    system.settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    system.settings.insert("OTEL_BSP_SCHEDULE_DELAY", "200".into());
    system.start(1, 1).await;
    let ticket = system.open("critical").await;

    let mut spans = Vec::new();
    let deadline = std::time::Instant::now() + IN_TIME;
    while sent(&spans, "ticket.created").count() < 2 || sent(&spans, "sla.breached").count() < 3 {
        assert!(std::time::Instant::now() < deadline, "these spans came: {spans:#?}");
        spans.extend(collector.exported_spans(1, Duration::from_secs(1)).await);
    }
    let opened: Vec<_> = spans.iter().filter(|span| span.name == "POST /api/v1/tickets").collect();
    assert_eq!(opened.len(), 1);
    let opened = opened[0];
    assert_eq!((&*opened.kind, &*opened.parent_span_id), ("SPAN_KIND_SERVER", ""));
    for mail in sent(&spans, "ticket.created") {
        assert_eq!(mail.trace_id, opened.trace_id);
        let way: Vec<&str> = way(&spans, mail).iter().map(|span| &*span.name).collect();
        assert_eq!(way, ["send mail", "process send_mail", "process notify", "POST /api/v1/tickets"]);
    }

    let breach: HashSet<_> = sent(&spans, "sla.breached").map(|mail| &mail.trace_id).collect();
    assert_eq!(breach.len(), 1, "one trace for all three mails");
    assert!(!breach.contains(&opened.trace_id));
    for mail in sent(&spans, "sla.breached") {
        let way = way(&spans, mail);
        let names: Vec<&str> = way.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["send mail", "process send_mail", "process notify"]);
        let root = way.last().expect("it has one");
        assert!(root.links.iter().any(|link| link.trace_id == opened.trace_id), "{root:?}");
    }
    system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
}

/// The spans of mails about an event.
fn sent<'a>(spans: &'a [ExportedSpan], event: &'a str) -> impl Iterator<Item = &'a ExportedSpan> {
    let about = move |span: &&ExportedSpan| {
        span.attributes.get("mail.event").is_some_and(|value| value.contains(event))
    };
    spans.iter().filter(about)
}

/// A span, its parent, and so on up to the root.
fn way<'a>(spans: &'a [ExportedSpan], of: &'a ExportedSpan) -> Vec<&'a ExportedSpan> {
    let parent = |span: &&'a ExportedSpan| spans.iter().find(|other| other.span_id == span.parent_span_id);
    std::iter::successors(Some(of), parent).collect()
}
