//! The clock that all processes agree on: the database's.
//!
//! Each process measures how far the database's time is from its own and adds the difference to a monotonic
//! source, so that two machines with different wall clocks record the same instants. Tests move the clock by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// An instant in UTC, in whole microseconds: the precision both databases keep.
pub type Timestamp = DateTime<Utc>;

/// Tells the time; clones share one source.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Microseconds since the epoch at `started`, corrected by every measurement of the database's clock.
    System { started: Instant, base: AtomicI64 },
    /// Microseconds since the epoch, moved by hand.
    Manual(AtomicI64),
}

impl Clock {
    /// Starts from this machine's wall clock; `agree_with` corrects it to the database's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn system() -> Self {
        let base = AtomicI64::new(Utc::now().timestamp_micros());
        Self(Arc::new(Source::System { started: Instant::now(), base }))
    }

    /// Stands still at `at` until it is moved.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Returns the current instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let micros = match &*self.0 {
            Source::System { started, base } => base.load(Ordering::Relaxed) + micros(started.elapsed()),
            Source::Manual(now) => now.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Returns the current instant in seconds since the beginning of 1970, as metrics have it.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.now() - DateTime::UNIX_EPOCH).as_seconds_f64()
    }

    /// Adopts the database's time, read half of `round_trip` ago, and returns by how much this clock was off
    /// (positive: it was behind). A manual clock keeps its own time.
    pub fn agree_with(&self, database: Timestamp, round_trip: std::time::Duration) -> TimeDelta {
        let Source::System { base, .. } = &*self.0 else { return TimeDelta::zero() };
        let offset = database.timestamp_micros() + micros(round_trip) / 2 - self.now().timestamp_micros();
        base.fetch_add(offset, Ordering::Relaxed);
        TimeDelta::microseconds(offset)
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On a system clock: only tests move time.
    pub fn advance(&self, by: TimeDelta) {
        match &*self.0 {
            Source::Manual(now) => now.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst),
            Source::System { .. } => panic!("a system clock cannot be moved"),
        };
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// This machine's wall clock, for the embedded database, whose clock it is.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> Timestamp {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_the_database_catches_up() {
        let clock = Clock::system();
        let ahead = clock.now() + TimeDelta::hours(1);
        let offset = clock.agree_with(ahead, std::time::Duration::ZERO);
        assert!((offset - TimeDelta::hours(1)).abs() < TimeDelta::seconds(1), "{offset}");
        assert!((clock.now() - ahead).abs() < TimeDelta::seconds(1));
    }

    #[test]
    fn a_manual_clock_only_moves_by_hand() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        clock.agree_with(wall(), std::time::Duration::ZERO);
        clock.advance(TimeDelta::seconds(5));
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH + TimeDelta::seconds(5));
    }
}
