//! Traces: which spans there are, where they go, and how they refer to each other across processes.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::{Context, Filter};

use super::export::Watched;
use crate::config::{Config, Sampling};

/// Makes spans, and exports them where there is somewhere to.
pub(super) fn provider(
    config: &Config,
) -> Result<SdkTracerProvider, Box<dyn std::error::Error + Send + Sync>> {
    let attributes = [opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attributes(attributes)
        .build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &config.otlp_endpoint else {
        // Spans still have identifiers, which log lines are found by.
        return Ok(provider.with_sampler(Sampler::AlwaysOff).build());
    };
    // `OTEL_EXPORTER_OTLP_HEADERS` and the like are read by the exporter itself.
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    let exporter = if endpoint.starts_with("https:") {
        exporter.with_tls_config(ClientTlsConfig::new().with_native_roots())
    } else {
        exporter
    };
    let exporter = Watched::new(exporter.build()?);
    Ok(provider.with_sampler(sampler(config.sampling)).with_batch_exporter(exporter).build())
}

fn sampler(sampling: Sampling) -> Sampler {
    let root = Sampler::TraceIdRatioBased(sampling.share);
    if sampling.by_parent { Sampler::ParentBased(Box::new(root)) } else { root }
}

/// The spans that are ours: the detailed ones, of statements and of jobs being sent, only where they go somewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    pub(super) exporting: bool,
}

impl Ours {
    pub(super) fn has(self, metadata: &Metadata<'_>) -> bool {
        let ours = ["dogwatch", "shared"].iter().any(|start| metadata.target().starts_with(start));
        metadata.is_span() && ours && *metadata.level() <= self.finest()
    }

    pub(super) const fn finest(self) -> LevelFilter {
        if self.exporting { LevelFilter::DEBUG } else { LevelFilter::INFO }
    }
}

/// Traces are of spans alone: events are for the log, and may name people.
impl<S> Filter<S> for Ours {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.has(metadata)
    }

    /// Has every span asked about anew, lest an answer about something else be taken for it.
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.has(metadata) { Interest::sometimes() } else { Interest::never() }
    }
}

/// The W3C trace context of the current span, to hand to a job; `None` outside of any trace.
#[must_use]
pub fn traceparent() -> Option<String> {
    traceparent_of(&tracing::Span::current())
}

/// The W3C trace context of a span; `None` when it is part of no trace.
pub(crate) fn traceparent_of(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    let render = || format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    span.is_valid().then(render)
}

/// Reads a W3C trace context; `None` when it is not one.
///
/// Source: W3C Trace Context, section 3.2 (version 00).
#[must_use]
pub fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() || trace.len() != 32 || span.len() != 16 || flags.len() != 2
    {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

/// Makes `span` a child of `parent`.
pub fn continue_trace(span: &tracing::Span, parent: SpanContext) {
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
}

/// Links `span` to another trace.
pub fn link_trace(span: &tracing::Span, to: SpanContext) {
    span.add_link(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_trace_context_is_read() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(parse_traceparent(good).is_some_and(|context| context.is_sampled()));
        for bad in [
            "",
            "00-x-y-01",
            &good[..54],
            &format!("{good}-00"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }
}
