//! The SLA engine against worked examples, and against an oracle that shares nothing with it.

mod proof;
mod simulate;
mod vectors;
