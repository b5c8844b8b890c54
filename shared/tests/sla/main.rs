//! The SLA engine against worked examples, and against an oracle that shares nothing with it.

mod case;
mod history;
mod oracle;
mod properties;
mod sentences;
mod vectors;
