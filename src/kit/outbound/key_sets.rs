//! The JWK sets that others publish, kept in memory. A key that is new at its issuer is found at once, but nobody makes
//! this server ask more often than now and then; an outage over there is bridged for a while, and then nothing passes.

use std::sync::Arc;

use serde_json::Value;
use time::Duration;
use uuid::Uuid;

use super::{Failed, Outbound, Slots};
use crate::kit::assertion::Key;
use crate::kit::clock::Time;
use crate::kit::jwks;

/// Largest set, in bytes.
const LARGEST: usize = 65_536;

/// Most sets in memory.
const MOST: usize = 1000;

/// How long after one fetch the next may begin, for whatever reason.
const PAUSE: Duration = Duration::seconds(10);

/// How long a set is believed without asking again: until then a key that its owner took back still counts.
const FRESH: Duration = Duration::minutes(5);

/// How long a set is believed while its owner can't be reached.
const OUTAGE: Duration = Duration::hours(1);

/// The sets of everybody, by who registered them and where they are.
#[derive(Debug)]
pub struct KeySets(Slots<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    set: Option<(Value, Time)>,
    asked: Option<Time>,
}

impl Known {
    fn set_since(&self, now: Time, longest: Duration) -> Option<&Value> {
        self.set.as_ref().filter(|(_, at)| now - *at < longest).map(|(set, _)| set)
    }

    /// The keys that a fresh set has for this `kid`; none if it has to be asked for again.
    fn fresh(&self, kid: Option<&str>, now: Time) -> Option<Vec<Key>> {
        self.set_since(now, FRESH).map(|set| Key::from_set(set, kid)).filter(|keys| !keys.is_empty())
    }

    fn may_ask(&self, now: Time) -> bool {
        self.asked.is_none_or(|at| now - at >= PAUSE)
    }
}

impl Default for KeySets {
    fn default() -> Self {
        Self(Slots::new(MOST))
    }
}

impl KeySets {
    /// The keys that `kid` may mean in the set at `url`, which `owner` registered. No key means that the set has none of
    /// that name. Holds no connection of the database, and must not be called while one is held.
    pub async fn keys(
        &self,
        outbound: &Arc<Outbound>,
        (owner, url): (Uuid, &str),
        kid: Option<&str>,
        now: Time,
    ) -> Result<Vec<Key>, Failed> {
        let slot = self.0.of(&format!("{owner} {url}"));
        if let Some(keys) = slot.get().fresh(kid, now) {
            return Ok(keys);
        }
        let (outbound, url, name) = (outbound.clone(), url.to_owned(), kid.map(str::to_owned));
        let is_due = move |known: &Known| known.may_ask(now) && known.fresh(name.as_deref(), now).is_none();
        let renew = move |known: Known| async move {
            let set = fetch(&outbound, &url).await.ok().map(|set| (set, now));
            Known { set: set.or(known.set), asked: Some(now) }
        };
        let known = slot.renewed(is_due, renew).await;
        let set = known.set_since(now, OUTAGE).ok_or(Failed::Unreachable)?;
        Ok(Key::from_set(set, kid))
    }
}

async fn fetch(outbound: &Outbound, url: &str) -> Result<Value, Failed> {
    let fetched = outbound.get(url, LARGEST).await?;
    let set = serde_json::from_slice(&fetched.body).ok().as_ref().and_then(jwks::usable);
    set.ok_or_else(|| {
        tracing::warn!(url, "what was fetched is no JWK set");
        Failed::Refused
    })
}
