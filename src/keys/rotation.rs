//! Rotation: beside the key that signs there is always a next one, published long before its time. So a rotation, even
//! a forced one, never lets a key sign that a verifier's cached JWKS does not hold.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::Duration;

use super::store::StoredKey;
use super::{Keys, NATIVE, State, ring, store};
use crate::audit::{self, Event};
use crate::kit::clock::Time;
use crate::kit::config::Config;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::seal::MasterKeys;

/// Takes care that one key signs and the next one is published, and notes when superseded keys retire. Needs the lock.
pub(super) async fn ensure(
    db: &mut PgConnection,
    config: &Config,
    master: &MasterKeys,
    now: Time,
) -> Result<()> {
    let period = Duration::seconds(config.keys.rotation_seconds.into());
    let active = match (in_state(db, State::Active, now).await?, in_state(db, State::Published, now).await?) {
        (Some(active), _) => active.activate_at,
        (None, Some(next)) => {
            store::activate_at(db, &next.kid, now).await?;
            now
        }
        (None, None) => publish(db, master, now, now).await?,
    };
    if in_state(db, State::Published, now).await?.is_none() {
        publish(db, master, now, (active + period).max(now + lead(config))).await?;
    }
    retire(db, config, now).await
}

/// How long a key is published before it signs: a verifier may have cached the JWKS just before, from a server that
/// read its keys a refresh ago.
fn lead(config: &Config) -> Duration {
    Duration::seconds(
        i64::from(config.keys.jwks_lifetime_seconds) + 2 * i64::from(config.keys.refresh_seconds),
    )
}

/// Lets the next key sign as soon as every verifier knows it, and publishes the one after it. Answers its id and when.
pub async fn rotate(db: &PgPool, config: &Config, keys: &Keys, now: Time) -> Result<(String, Time)> {
    let mut cx = Cx::command_line(db.begin().await?, None, now);
    store::lock(&mut cx.tx).await?;
    ensure(&mut cx.tx, config, &keys.master, now).await?;
    let next = in_state(&mut cx.tx, State::Published, now).await?;
    let next = next.ok_or_else(|| anyhow::anyhow!("no next key is published"))?;
    let at = now.max(next.created_at + lead(config)).min(next.activate_at);
    store::activate_at(&mut cx.tx, &next.kid, at).await?;
    ensure(&mut cx.tx, config, &keys.master, now).await?;
    let facts = json!({ "activate_at": at.unix_timestamp() });
    audit::record(&mut cx, Event::new("signing_key.rotated", "signing_key", &next.kid).with(facts)).await?;
    cx.tx.commit().await?;
    Ok((next.kid, at))
}

/// Ends a leaked key: its tokens are dead at the commit. If it was the one that signs, the next takes over at once.
pub async fn revoke(db: &PgPool, config: &Config, keys: &Keys, kid: &str, now: Time) -> Result<()> {
    let mut cx = Cx::command_line(db.begin().await?, None, now);
    store::lock(&mut cx.tx).await?;
    if !store::revoke(&mut cx.tx, kid, "revoked_by_operator", now).await? {
        return Err(refuse(
            Kind::NotFound,
            "there is no unrevoked key with this id; see `chancery keys list`",
        ));
    }
    ensure(&mut cx.tx, config, &keys.master, now).await?;
    audit::record(&mut cx, Event::new("signing_key.revoked", "signing_key", kid)).await?;
    cx.tx.commit().await?;
    Ok(())
}

/// The first key in a state, oldest first.
async fn in_state(db: &mut PgConnection, wanted: State, now: Time) -> Result<Option<StoredKey>> {
    let keys = store::signing_keys(db, NATIVE).await?;
    let starts = ring::starts(&keys);
    Ok(keys.into_iter().find(|key| ring::state(key, &starts, now) == wanted))
}

async fn publish(db: &mut PgConnection, master: &MasterKeys, now: Time, activate_at: Time) -> Result<Time> {
    let key = ring::generate(master, NATIVE, now, activate_at)?;
    store::insert_signing_key(db, &key).await?;
    Ok(activate_at)
}

/// A key that was superseded is kept in the JWKS until the longest token it may have signed has expired.
async fn retire(db: &mut PgConnection, config: &Config, now: Time) -> Result<()> {
    let longest = Duration::seconds(config.tokens.max_ttl_seconds.into());
    let mut keys = store::signing_keys(db, NATIVE).await?;
    keys.retain(ring::ever_signs);
    for pair in keys.windows(2) {
        let [key, successor] = pair else { continue };
        if key.retire_at.is_none() && successor.activate_at <= now {
            store::retire_at(db, &key.kid, successor.activate_at + longest).await?;
        }
    }
    Ok(())
}
