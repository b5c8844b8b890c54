//! The links in mails by which a ticket is acknowledged: who holds one may acknowledge one ticket, as the one person
//! it was mailed to, for a week.
//!
//! A link names its notification, which knows the ticket and the address, so that it tells a stranger nothing. The
//! signature covers all of them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

use crate::hmac::Key;
use crate::ids::{NotificationId, TicketId, UserId};
use crate::store::{Db, Result, signing_keys};
use crate::time::Timestamp;

/// How long a link works.
pub const LIFETIME: TimeDelta = TimeDelta::days(7);

const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"dogwatch acknowledge link\0";
/// Version, notification, user, seconds since the epoch.
const CLAIMS: usize = 1 + 16 + 16 + 8;
const SIGNATURE: usize = 32;

/// Finds the key that links are signed with; the first process that asks makes it.
pub async fn key(db: &Db, now: Timestamp) -> Result<Key> {
    let fresh = || STANDARD.encode(rand::random::<[u8; 32]>());
    let key = signing_keys::ensure(db, "acknowledge", fresh, now).await?;
    Ok(Key::new(key.expose().as_bytes()))
}

/// What a link lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The notification that carried it.
    pub notification: NotificationId,
    /// Whom the address belonged to; nobody where it is one without an account.
    pub user: Option<UserId>,
    /// Until when it works, in whole seconds.
    pub expires_at: Timestamp,
}

/// A link as it came in: what it says, and the signature that is still to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// What it says.
    pub link: Link,
    signature: [u8; SIGNATURE],
}

impl Link {
    /// Writes the link's token, safe in a URL.
    #[must_use]
    pub fn sign(&self, key: &Key, ticket: TicketId, address: &str) -> String {
        let mut token = self.claims();
        token.extend(key.sign(&self.message(ticket, address)));
        URL_SAFE_NO_PAD.encode(token)
    }

    fn claims(&self) -> Vec<u8> {
        let mut claims = vec![VERSION];
        claims.extend(self.notification.0.as_bytes());
        claims.extend(self.user.map_or(Uuid::nil(), |user| user.0).as_bytes());
        claims.extend(self.expires_at.timestamp().to_be_bytes());
        claims
    }

    fn message(&self, ticket: TicketId, address: &str) -> Vec<u8> {
        // Only the last part varies in length, so no two messages read alike.
        [PURPOSE, &self.claims(), ticket.0.as_bytes(), address.as_bytes()].concat()
    }
}

impl Presented {
    /// Reads a token; `None` when it is none.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == CLAIMS + SIGNATURE)?;
        let (claims, signature) = bytes.split_at(CLAIMS);
        if claims[0] != VERSION {
            return None;
        }
        let user = Uuid::from_slice(&claims[17..33]).ok()?;
        let seconds = i64::from_be_bytes(claims[33..].try_into().ok()?);
        let link = Link {
            notification: NotificationId(Uuid::from_slice(&claims[1..17]).ok()?),
            user: (!user.is_nil()).then_some(UserId(user)),
            expires_at: DateTime::from_timestamp(seconds, 0)?,
        };
        Some(Self { link, signature: signature.try_into().ok()? })
    }

    /// Tells whether the link was signed with this key, for this ticket and address.
    #[must_use]
    pub fn is_genuine(&self, key: &Key, ticket: TicketId, address: &str) -> bool {
        key.is_signed(&self.link.message(ticket, address), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Link { notification: NotificationId::new(), user: Some(UserId::new()), expires_at }
    }

    #[test]
    fn a_link_says_what_was_put_into_it_and_is_bound_to_ticket_address_and_key() {
        let (key, ticket) = (Key::new(b"one"), TicketId::new());
        for link in [link(), Link { user: None, ..link() }] {
            let token = link.sign(&key, ticket, "sam@example.org");
            assert!(
                token.len() < 120 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            let presented = Presented::read(&token).unwrap();
            assert_eq!(presented.link, link);
            assert!(presented.is_genuine(&key, ticket, "sam@example.org"));
            assert!(!presented.is_genuine(&key, ticket, "eve@example.org"));
            assert!(!presented.is_genuine(&key, TicketId::new(), "sam@example.org"));
            assert!(!presented.is_genuine(&Key::new(b"two"), ticket, "sam@example.org"));
        }
    }

    #[test]
    fn no_changed_link_is_genuine() {
        let (key, ticket) = (Key::new(b"one"), TicketId::new());
        let token = URL_SAFE_NO_PAD.decode(link().sign(&key, ticket, "sam@example.org")).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            let read = Presented::read(&URL_SAFE_NO_PAD.encode(changed));
            assert!(read.is_none_or(|read| !read.is_genuine(&key, ticket, "sam@example.org")), "byte {at}");
        }
        for odd in ["", "a", "../..", &"A".repeat(97), &"A".repeat(98), &"A".repeat(5_000), "ä", "AAAA=="] {
            assert!(Presented::read(odd).is_none_or(|read| !read.is_genuine(&key, ticket, "")), "{odd}");
        }
    }
}
