//! Service-level clocks: what is open, how much has elapsed, when it is due, when it was breached.

pub mod calendar;
pub mod clock;
pub mod explain;
pub mod policy;
pub mod simulate;

pub use calendar::Calendar;
pub use clock::{Clock, Command, Event, Hold, Metric, Mode, Recorded, State};
pub use policy::{Fraction, Plan, Policy};
