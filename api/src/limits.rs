//! How often somebody may ask: so many requests a minute for each caller, and far fewer sign-ins for each address.
//!
//! Each process counts by itself. Source of the headers: IETF draft-ietf-httpapi-ratelimit-headers-10.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota};
use shared::ids::UserId;

use crate::app::App;
use crate::call::authenticate;
use crate::client;
use crate::error::ApiError;

/// Where people sign in.
pub(crate) const SIGN_IN: &str = "/api/v1/auth/login";

/// One sign-in costs as much as so many other requests.
const SIGN_IN_COST: u32 = 100;
const FEWEST_SIGN_INS: NonZeroU32 = NonZeroU32::new(10).unwrap();

const MINUTE: u64 = 60;

/// Forgets those who have not come for a while each time so many requests were counted.
const CLEAN_AFTER: u32 = 10_000;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    User(UserId),
    Address(IpAddr),
}

#[derive(Debug)]
struct Limit {
    name: &'static str,
    most: NonZeroU32,
    seen: DefaultKeyedRateLimiter<Key, StateInformationMiddleware>,
}

/// How the counts stand after a request.
#[derive(Clone, Copy, Debug)]
struct Standing {
    name: &'static str,
    most: u32,
    left: u32,
    /// Seconds until it may go on, where it may not.
    wait: Option<u64>,
}

/// What all requests are counted by; none where there is no limit.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Limit,
    sign_ins: Limit,
    counted: AtomicU32,
}

impl Limits {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        let sign_ins = NonZeroU32::new(per_minute.get() / SIGN_IN_COST);
        let sign_ins = sign_ins.map_or(FEWEST_SIGN_INS, |most| most.max(FEWEST_SIGN_INS));
        let [requests, sign_ins] = [("requests", per_minute), ("sign-ins", sign_ins)].map(|(name, most)| {
            let seen = DefaultKeyedRateLimiter::keyed(Quota::per_minute(most)).with_middleware();
            Limit { name, most, seen }
        });
        Self { requests, sign_ins, counted: AtomicU32::new(0) }
    }

    fn count(&self, key: Key, is_sign_in: bool) -> Standing {
        if self.counted.fetch_add(1, Ordering::Relaxed) % CLEAN_AFTER == CLEAN_AFTER - 1 {
            for limit in [&self.requests, &self.sign_ins] {
                limit.seen.retain_recent();
                limit.seen.shrink_to_fit();
            }
        }
        let limit = if is_sign_in { &self.sign_ins } else { &self.requests };
        let (left, wait) = match limit.seen.check_key(&key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => (0, Some(until.wait_time_from(DefaultClock::default().now()))),
        };
        let wait = wait.map(|wait: Duration| wait.as_secs() + 1);
        Standing { name: limit.name, most: limit.most.get(), left, wait }
    }
}

impl Standing {
    fn tell(&self, headers: &mut HeaderMap) {
        let Self { name, most, left, wait } = *self;
        // Requests come back one by one, the last of them when all that were used have.
        let reset = wait.unwrap_or_else(|| (MINUTE * u64::from(most - left.min(most))).div_ceil(most.into()));
        let said = [
            ("ratelimit-policy", format!("\"{name}\";q={most};w={MINUTE}")),
            ("ratelimit", format!("\"{name}\";r={left};t={reset}")),
        ];
        for (header, value) in said {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header, value);
            }
        }
    }
}

/// Counts a request, and answers in its place when there were too many.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(limits) = &app.limits else { return next.run(request).await };
    let (mut parts, body) = request.into_parts();
    let is_sign_in = parts.uri.path() == SIGN_IN;
    let address = client::address(&parts.extensions).map(|address| Key::Address(network(address)));
    // Who is known is counted as themselves, wherever they are; who only claims to be is counted by address.
    let account = if is_sign_in { None } else { authenticate(&app, &parts).await.ok() };
    let key = account.as_ref().map(|account| Key::User(account.user.id)).or(address);
    if let Some(account) = account {
        parts.extensions.insert(account);
    }
    let request = Request::from_parts(parts, body);
    let Some(key) = key else { return next.run(request).await };
    let standing = limits.count(key, is_sign_in);
    let mut response = match standing.wait {
        Some(wait) => ApiError::TooMany(wait, "That is too many requests").into_response(),
        None => next.run(request).await,
    };
    standing.tell(response.headers_mut());
    response
}

/// What one client may choose addresses from: all of IPv4's single address, half of IPv6's.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
