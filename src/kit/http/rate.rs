//! Request rates, per replica: a bucket for each address and each key, off unless configured.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::kit::config::Rate;
use crate::kit::error::{Error, Result, refuse_for};

type Buckets<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// The buckets of one server.
#[derive(Debug)]
pub struct Rates {
    addresses: Option<Buckets<IpAddr>>,
    keys: Option<Buckets<String>>,
}

/// What is left in a bucket, for the answer's headers.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    limit: u32,
    remaining: u32,
}

impl Rates {
    /// Buckets of the configured sizes.
    pub fn new(rate: &Rate) -> Self {
        Self { addresses: buckets(rate.per_address), keys: buckets(rate.per_key) }
    }

    /// Takes one request from an address's bucket. Addresses of one IPv6 network of 64 bits share it.
    pub fn address(&self, address: IpAddr) -> Result<Option<Left>> {
        take(self.addresses.as_ref(), &network(address), "this address sends more requests than it may")
    }

    /// Takes one request from a key's bucket. Only ids of keys that exist, so that strangers can't fill the memory.
    pub fn key(&self, id: &str) -> Result<()> {
        take(self.keys.as_ref(), &id.to_owned(), "this key sends more requests than it may").map(|_| ())
    }

    /// Forgets full buckets.
    pub fn prune(&self) {
        if let Some(addresses) = &self.addresses {
            addresses.retain_recent();
            addresses.shrink_to_fit();
        }
        if let Some(keys) = &self.keys {
            keys.retain_recent();
            keys.shrink_to_fit();
        }
    }
}

/// What counts as one address: whoever has one of an IPv6 network of 64 bits has them all.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

impl Left {
    /// The headers of draft-ietf-httpapi-ratelimit-headers, in the form that clients read today.
    pub fn write(self, headers: &mut HeaderMap) {
        for (name, value) in
            [("ratelimit-limit", self.limit), ("ratelimit-remaining", self.remaining), ("ratelimit-reset", 1)]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}

fn buckets<K: std::hash::Hash + Eq + Clone>(per_second: u32) -> Option<Buckets<K>> {
    let rate = NonZeroU32::new(per_second)?;
    let quota = Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
    Some(RateLimiter::keyed(quota).with_middleware())
}

fn take<K: std::hash::Hash + Eq + Clone>(
    buckets: Option<&Buckets<K>>,
    key: &K,
    why: &'static str,
) -> Result<Option<Left>> {
    let Some(buckets) = buckets else { return Ok(None) };
    match buckets.check_key(key) {
        Ok(state) => Ok(Some(Left {
            limit: state.quota().burst_size().get(),
            remaining: state.remaining_burst_capacity(),
        })),
        Err(until) => Err(too_often(until.wait_time_from(DefaultClock::default().now()), why)),
    }
}

fn too_often(wait: std::time::Duration, why: &'static str) -> Error {
    refuse_for(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1), why)
}
