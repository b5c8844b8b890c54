//! Mail: what it says and how it leaves.

mod digest;
mod letter;
mod mailer;
#[cfg(test)]
mod tests;

pub(crate) use letter::{Letter, Story, Subject};
pub(crate) use mailer::{Mailer, SendError};
