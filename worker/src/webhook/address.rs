//! Where webhooks may go: whoever configures one must not reach what only this network can reach.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use shared::addresses::is_private;

/// A name that stands for an address webhooks must not go to.
#[derive(Debug, thiserror::Error)]
#[error("its host is at a private address, where webhooks go only with WEBHOOK_ALLOW_PRIVATE=true")]
pub(crate) struct Private;

/// Resolves names, and refuses those with a private address. What it returns is what is connected to, so a name
/// cannot change its meaning in between.
#[derive(Debug)]
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|addr| is_private(addr.ip())) {
                return Err(Private.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}
