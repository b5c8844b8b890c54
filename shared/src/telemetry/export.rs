//! Where traces leave, in view: what nobody takes is dropped, and somebody should find out.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::metrics::TRACE_EXPORTS;

/// An exporter whose failures are counted, and logged when they begin and end.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    fails: AtomicBool,
}

impl<E> Watched<E> {
    pub(super) const fn new(exporter: E) -> Self {
        Self { exporter, fails: AtomicBool::new(false) }
    }

    fn saw(&self, exported: &OTelSdkResult) {
        TRACE_EXPORTS.of([if exported.is_ok() { "sent" } else { "failed" }]).increment(1);
        let failed = self.fails.swap(exported.is_err(), Ordering::Relaxed);
        match exported {
            Err(error) if !failed => tracing::warn!(%error, "traces are not taken and get lost"),
            Ok(()) if failed => tracing::info!("traces are taken again"),
            _ => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        self.saw(&exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
