//! The SLA engine against worked examples, and against oracles that share nothing with it.

mod history;
mod hours;
mod oracle;
mod proof;
mod properties;
mod sentences;
mod simulate;
mod vectors;
