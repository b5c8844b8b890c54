//! What all requests share.

use std::sync::Arc;

use shared::process::{Process, StartError};

use crate::auth::{Accounts, Tokens};
use crate::creator::Creator;

/// What all requests share. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) process: Process,
    pub(crate) tokens: Tokens,
    pub(crate) accounts: Accounts,
    pub(crate) creator: Creator,
}

impl App {
    pub(crate) fn new(process: Process) -> Result<Self, StartError> {
        let secret = process.config.jwt_secret.as_ref().ok_or("JWT_SECRET is missing")?;
        let tokens = Tokens::new(secret);
        let creator = Creator::start(&process);
        Ok(Self(Arc::new(Parts { tokens, accounts: Accounts::default(), creator, process })))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
