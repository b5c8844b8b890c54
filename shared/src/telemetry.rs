//! Logs, traces and metrics of a process.

use std::fmt;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Event, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// What `init` set up; keep it until the process ends.
#[derive(Debug)]
pub struct Telemetry {
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
    tracer: SdkTracerProvider,
}

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str =
    "info,sqlx=warn,apalis_core=warn,apalis_redis=warn,hyper=warn,h2=warn,tower=warn";

/// Sets up logs on standard error, traces (exported where `OTEL_EXPORTER_OTLP_ENDPOINT` says) and metrics.
///
/// # Errors
/// When called twice, or the endpoint cannot be used.
pub fn init(config: &Config) -> Result<Telemetry, Box<dyn std::error::Error + Send + Sync>> {
    let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
    let mut tracer = SdkTracerProvider::builder().with_resource(resource);
    if let Some(endpoint) = &config.otlp_endpoint {
        let exporter =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        tracer = tracer.with_batch_exporter(exporter);
    }
    let tracer = tracer.build();
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("dogwatch"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let default = if config.quiet { "error" } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Json => lines.event_format(JsonLines).boxed(),
        LogFormat::Pretty => lines.with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(traces).with(lines).try_init()?;
    Ok(Telemetry { prometheus: recorder()?, tracer })
}

/// Installs the metrics recorder, with buckets on the thresholds that matter.
fn recorder() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let fast = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    let lag = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &fast)?
        .set_buckets_for_metric(Matcher::Full("dogwatch_sla_detection_lag_seconds".into()), &lag)?
        .install_recorder()
}

impl Telemetry {
    /// Sends the spans not yet exported.
    pub fn shutdown(&self) {
        if let Err(error) = self.tracer.shutdown() {
            tracing::debug!(%error, "the last spans were not exported");
        }
    }
}

/// The W3C trace context of the current span, to hand to a job; `None` outside of any trace.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = tracing::Span::current().context();
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

/// Replaces mail addresses, which mail servers like to repeat in their answers, before a text is logged.
#[must_use]
pub fn masked(text: &str) -> String {
    let mask = |word: &str| if word.contains('@') { "[address]".to_owned() } else { word.to_owned() };
    text.split(' ').map(mask).collect::<Vec<_>>().join(" ")
}

/// One JSON object a line: time, level, target, `trace_id`, `span_id`, then the event's fields.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = serde_json::Map::new();
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        let context = opentelemetry::Context::current();
        let span = context.span().span_context().clone();
        if span.is_valid() {
            line.insert("trace_id".into(), span.trace_id().to_string().into());
            line.insert("span_id".into(), span.span_id().to_string().into());
        }
        event.record(&mut JsonFields(&mut line));
        writeln!(writer, "{}", serde_json::Value::Object(line))
    }
}

struct JsonFields<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

impl tracing::field::Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked() {
        assert_eq!(masked("550 5.1.1 <a@b.example>: no such user"), "550 5.1.1 [address] no such user");
    }

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
