//! The database remembers for which mode, issuer and master key it was set up. A server that disagrees must not start:
//! its tokens, hashes or seals would be of no use to the others.

use sqlx::PgConnection;

use super::store;
use crate::kit::clock::Time;
use crate::kit::config::{Config, Mode};
use crate::kit::error::Result;
use crate::kit::seal::MasterKeys;

/// What the one row says.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Fingerprint {
    pub mode: String,
    pub issuer: String,
    pub master_key_id: String,
}

/// Writes the row on first start, compares later. In development the issuer follows the port and may change.
pub async fn check(db: &mut PgConnection, config: &Config, master: &MasterKeys, now: Time) -> Result<()> {
    let mode = match config.mode {
        Mode::Development => "development",
        Mode::Production => "production",
    };
    let own =
        Fingerprint { mode: mode.to_owned(), issuer: config.issuer().to_owned(), master_key_id: master.id() };
    let Some(stored) = store::fingerprint(db).await? else {
        return Ok(store::insert_fingerprint(db, &own, now).await?);
    };
    match disagreement(&stored, &own, config.mode, master.knows(&stored.master_key_id)) {
        None => Ok(()),
        Some(sentence) => Err(anyhow::anyhow!(sentence).into()),
    }
}

fn disagreement(stored: &Fingerprint, own: &Fingerprint, mode: Mode, knows_key: bool) -> Option<String> {
    if stored.mode != own.mode {
        return Some(format!(
            "this database was set up in {} mode, but the server starts in {} mode; use another database, or start \
             {} --dev",
            stored.mode,
            own.mode,
            if own.mode == "development" { "without" } else { "with" }
        ));
    }
    if !knows_key {
        return Some(format!(
            "this database was set up with master key {}, but the key given is {}; set keys.master_key_file to the \
             file that holds the first, or add its line below the current key",
            stored.master_key_id, own.master_key_id
        ));
    }
    (mode == Mode::Production && stored.issuer != own.issuer).then(|| {
        format!(
            "this database issues tokens as {}, but the issuer configured is {}; set issuer to the first",
            stored.issuer, own.issuer
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disagreement_is_named() {
        let stored = Fingerprint {
            mode: "production".into(),
            issuer: "https://a.example".into(),
            master_key_id: "01".into(),
        };
        let other = |change: fn(&mut Fingerprint)| {
            let mut own = stored.clone();
            change(&mut own);
            let knows_key = own.master_key_id == stored.master_key_id;
            disagreement(&stored, &own, Mode::Production, knows_key).unwrap_or_default()
        };
        assert!(other(|_| ()).is_empty());
        assert!(other(|own| own.mode = "development".into()).contains("set up in production mode"));
        assert!(other(|own| own.master_key_id = "02".into()).contains("master key 01"));
        assert!(other(|own| own.issuer = "https://b.example".into()).contains("https://a.example"));
    }
}
