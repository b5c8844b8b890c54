//! The stream of events: one reader of the log for all streams of a process, and what each stream lets through.

mod subscription;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::ids::UserId;
use shared::metrics::{EVENT_STREAMS, Held};

use crate::error::ApiError;

pub(crate) use subscription::{Filter, Subscription};
pub(crate) use tail::Tail;

/// At most as many streams of one caller, in this process.
const OF_ONE: usize = 10;

/// At most as many streams in this process.
const OF_ALL: usize = 1_000;

/// How many streams there are, by caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<UserId, usize>>>);

/// The right to one stream; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    streams: Streams,
    user: UserId,
    _counted: Held,
}

impl Streams {
    /// Takes a seat, as long as there are some left for this caller and in all.
    pub(crate) fn seat(&self, user: UserId) -> Result<Seat, ApiError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&user).is_some_and(|own| *own >= OF_ONE) {
            return Err(ApiError::TooMany(5, "You have ten streams already, so close one first"));
        }
        let all: usize = taken.values().sum();
        if all >= OF_ALL {
            return Err(ApiError::TooMany(5, "There are too many streams at the moment"));
        }
        *taken.entry(user).or_default() += 1;
        Ok(Seat { streams: self.clone(), user, _counted: EVENT_STREAMS.hold() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}
