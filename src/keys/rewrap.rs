//! Sealing everything again under the current master key. Every row is a step of its own that leaves it readable under
//! the old keys and the new, so an interrupted run is simply run again.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::ring::context;
use super::{NATIVE, pepper_context, store};
use crate::audit::{self, Event};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::seal::MasterKeys;

/// Answers how many values were sealed again.
pub async fn rewrap(db: &PgPool, master: &MasterKeys, now: Time) -> Result<usize> {
    let mut connection = db.acquire().await?;
    let done = peppers(&mut connection, master).await? + signing_keys(&mut connection, master).await?;
    drop(connection);
    // Last: a server that knows only the former key must be able to start until nothing needs the new one.
    let mut cx = Cx::command_line(db.begin().await?, None, now);
    store::set_master_key(&mut cx.tx, &master.id()).await?;
    let facts = json!({ "values": done });
    audit::record(&mut cx, Event::new("master_key.rewrapped", "master_key", master.id()).with(facts)).await?;
    cx.tx.commit().await?;
    Ok(done)
}

async fn peppers(db: &mut PgConnection, master: &MasterKeys) -> Result<usize> {
    let mut done = 0;
    for (id, sealed) in store::peppers(db).await? {
        if !master.is_current(&sealed) {
            let context = pepper_context(id);
            let plain = master.open(&context, &sealed)?;
            store::reseal_pepper(db, id, &master.seal(&context, &plain)?).await?;
            done += 1;
        }
    }
    Ok(done)
}

async fn signing_keys(db: &mut PgConnection, master: &MasterKeys) -> Result<usize> {
    let mut done = 0;
    for key in store::signing_keys(db, NATIVE).await? {
        if !master.is_current(&key.sealed_private) {
            let context = context(&key.kid);
            let plain = master.open(&context, &key.sealed_private)?;
            store::reseal_signing_key(db, &key.kid, &master.seal(&context, &plain)?).await?;
            done += 1;
        }
    }
    Ok(done)
}
