//! Logs: one line an event, which says to which trace, request and job it belongs, and holds no address and no secret.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;

use opentelemetry::trace::TraceContextExt;
use regex::Regex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Fields of a span that every line within it repeats.
const CARRIED: [&str; 2] = ["request_id", "job.id"];

/// Keeps what lines within a span repeat.
pub(super) struct Correlation;

struct Carried(Vec<(&'static str, String)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Correlation {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut carried = Carried(Vec::new());
        attributes.record(&mut carried);
        if let Some(span) = context.span(id).filter(|_| !carried.0.is_empty()) {
            span.extensions_mut().insert(carried);
        }
    }
}

impl Visit for Carried {
    fn record_str(&mut self, field: &Field, value: &str) {
        if CARRIED.contains(&field.name()) {
            self.0.push((field.name(), value.to_owned()));
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if CARRIED.contains(&field.name()) {
            self.0.push((field.name(), format!("{value:?}")));
        }
    }
}

/// One JSON object a line: time, level, target, `trace_id`, `span_id`, `request_id`, `job.id`, then the event's fields.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = serde_json::Map::new();
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        let active = opentelemetry::Context::current();
        let span = active.span().span_context().clone();
        if span.is_valid() {
            line.insert("trace_id".into(), span.trace_id().to_string().into());
            line.insert("span_id".into(), span.span_id().to_string().into());
        }
        for span in context.event_scope().into_iter().flatten() {
            for (name, value) in span.extensions().get::<Carried>().iter().flat_map(|carried| &carried.0) {
                line.insert((*name).into(), value.clone().into());
            }
        }
        event.record(&mut JsonFields(&mut line));
        writeln!(writer, "{}", serde_json::Value::Object(line))
    }
}

struct JsonFields<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
}

/// Standard error, where nothing is written that nobody should read: whatever a library, a database or a mail server
/// put into its message.
pub(super) struct Masked;

impl<'a> MakeWriter<'a> for Masked {
    type Writer = MaskedStderr;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedStderr
    }
}

pub(super) struct MaskedStderr;

impl Write for MaskedStderr {
    /// Takes one whole line, which is how lines come.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(masked(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Who stands before an `@` in a URL, mail addresses, API keys, webhook secrets, and tokens.
static HIDDEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let hidden = [
        r"(?<scheme>://)[^\s/@\x22]+@",
        r"(?<address>[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+)",
        r"(?<secret>\b(?:dw|whsec)_[A-Za-z0-9+/=_-]{8,}|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)",
    ];
    Regex::new(&hidden.join("|")).ok()
});

/// Replaces addresses and secrets in a text that somebody may read who should not know them.
#[must_use]
pub fn masked(line: &str) -> Cow<'_, str> {
    let Some(hidden) = &*HIDDEN else { return "[a line that could not be masked]\n".into() };
    hidden.replace_all(line, |found: &regex::Captures<'_>| {
        let replacement = [("scheme", "://[secret]@"), ("address", "[address]"), ("secret", "[secret]")];
        let replacement = replacement.into_iter().find(|(name, _)| found.name(name).is_some());
        replacement.map_or("[hidden]", |(_, text)| text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_secrets_are_masked_wherever_they_stand() {
        for (line, expected) in [
            ("550 5.1.1 <a.b+c@d.example>: no such user", "550 5.1.1 <[address]>: no such user"),
            (r#"{"why":"no \"eve@example.org\""}"#, r#"{"why":"no \"[address]\""}"#),
            ("at postgres://dogwatch:s3cret@db:5432/x", "at postgres://[secret]@db:5432/x"),
            ("redis://:pa55@cache, smtp://u%40x:p@mail", "redis://[secret]@cache, smtp://[secret]@mail"),
            ("key dw_0123456789abcdef refused", "key [secret] refused"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[secret]"),
            ("Bearer eyJhbGciOiJI.eyJzdWIi.SflKxw_c", "Bearer [secret]"),
            ("nothing to hide, 3 @ 5 o'clock", "nothing to hide, 3 @ 5 o'clock"),
        ] {
            assert_eq!(masked(line), expected);
        }
    }
}
