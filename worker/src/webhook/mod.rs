//! Webhooks: what they say, how they are signed, and where they must not go.

mod address;
#[cfg(test)]
mod deliveries;
mod event;
mod poster;
pub(crate) mod secret;
#[cfg(test)]
mod tests;

pub(crate) use event::Event;
pub(crate) use poster::{Answer, PostError, Poster};
