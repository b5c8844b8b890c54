//! Mail: what it says and how it leaves.

mod letter;
mod mailer;
#[cfg(test)]
mod tests;

pub(crate) use letter::{Letter, Subject};
pub(crate) use mailer::{Mailer, SendError};
