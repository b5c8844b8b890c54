//! Logs, traces and metrics of a process.

mod export;
mod filter;
mod logs;
mod traces;

use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

pub use logs::masked;
pub(crate) use traces::traceparent_of;
pub use traces::{continue_trace, link_trace, parse_traceparent, traceparent};

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
    let tracer = traces::provider(config)?;
    let ours = traces::Ours { exporting: config.otlp_endpoint.is_some() };
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("dogwatch"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    let default = if config.quiet { "error" } else { DEFAULT_FILTER };
    let events = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt::layer().with_writer(logs::Masked);
    let lines = match config.log_format {
        LogFormat::Json => lines.event_format(logs::JsonLines).boxed(),
        LogFormat::Pretty => lines.with_target(false).boxed(),
    };
    let wanted = filter::Wanted { ours, events };
    tracing_subscriber::registry()
        .with(traces)
        .with(logs::Correlation)
        .with(lines)
        .with(wanted)
        .try_init()?;
    Ok(Telemetry { prometheus: crate::metrics::install(&config.process)?, tracer })
}

impl Telemetry {
    /// Sends the spans not yet exported.
    pub fn shutdown(&self) {
        if let Err(error) = self.tracer.shutdown() {
            tracing::debug!(%error, "the last spans were not exported");
        }
    }
}
