//! The SLA engine against worked examples, and against an oracle that shares nothing with it.

mod simulate;
mod vectors;
