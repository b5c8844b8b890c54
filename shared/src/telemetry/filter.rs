//! What is looked at: our own spans always, since log lines tell where they belong; events as `RUST_LOG` says.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::traces::Ours;

/// The filter before everything else. One for all, because a span that one layer sees and another does not is lost to
/// both where a library asks whether something is enabled and then says nothing.
pub(super) struct Wanted {
    pub(super) ours: Ours,
    pub(super) events: EnvFilter,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Wanted {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.ours.has(metadata) {
            return Interest::always();
        }
        Layer::<S>::register_callsite(&self.events, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.ours.has(metadata) || Layer::<S>::enabled(&self.events, metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Layer::<S>::max_level_hint(&self.events)?.max(self.ours.finest()))
    }

    // Directives of `RUST_LOG` may name spans.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.events.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.events.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.events.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.events.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.events.on_close(id, context);
    }
}
