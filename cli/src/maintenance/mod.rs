//! Maintenance: what operators do to the database as a whole.

mod archive;
pub(crate) mod backup;
pub(crate) mod backups;
pub(crate) mod cleanup;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod import;
mod output;
mod place;
mod postgres;
pub(crate) mod reset;
pub(crate) mod restore;
pub(crate) mod stats;

pub(crate) use place::Place;

/// What names of unfinished files and folders begin with; the next backup or restore removes those of one that died.
const LEFTOVER: &str = ".dogwatch-";
