//! What all requests share.

use std::sync::Arc;

use shared::hmac::Key;
use shared::process::{Process, StartError};
use shared::{links, store};
use tokio::sync::OnceCell;

use crate::auth::issuer::Issuer;
use crate::auth::{Accounts, Tokens};
use crate::creator::Creator;
use crate::limits::Limits;

/// What all requests share. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) process: Process,
    pub(crate) tokens: Tokens,
    /// Whose tokens are taken besides our own.
    pub(crate) issuer: Option<Issuer>,
    pub(crate) accounts: Accounts,
    pub(crate) creator: Creator,
    /// How often callers may ask; none where it does not matter.
    pub(crate) limits: Option<Limits>,
    /// What acknowledge links are signed with, once it is known.
    link_key: OnceCell<Key>,
}

impl App {
    pub(crate) fn new(process: Process) -> Result<Self, StartError> {
        let secret = process.config.jwt_secret.as_ref().ok_or("JWT_SECRET is missing")?;
        let tokens = Tokens::new(secret);
        let issuer = process.config.oidc.clone().map(Issuer::new).transpose()?;
        let creator = Creator::start(&process);
        Ok(Self(Arc::new(Parts {
            tokens,
            issuer,
            accounts: Accounts::default(),
            creator,
            limits: process.config.http.per_minute.map(Limits::new),
            link_key: OnceCell::new(),
            process,
        })))
    }

    /// The key that acknowledge links are signed with.
    pub(crate) async fn link_key(&self) -> store::Result<&Key> {
        let process = &self.process;
        self.link_key.get_or_try_init(|| links::key(&process.db, process.desk.clock.now())).await
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
