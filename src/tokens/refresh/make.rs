//! The refresh token that goes out beside an access token.

use time::Duration;
use uuid::Uuid;

use super::PREFIX;
use super::found::seal_context;
use crate::access::scope::Scopes;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::kit::secret::{Secret, SecretHash};

/// What a grant wants beside its access token.
#[derive(Clone, Debug)]
pub enum Refresh {
    /// The first token of a new family, which keeps what the grant decided.
    Begin {
        /// What may be obtained at the most, also where the first access token is narrower.
        scopes: Scopes,
        /// For whom tokens may be meant at the most.
        audience: Vec<String>,
        /// The client's lifetime of refresh tokens, in seconds; 0 leaves that to the server.
        client_ttl: i32,
    },
    /// The successor of a token that is spent for it.
    Rotate(Rotation),
    /// The successor that was made before: its answer was lost.
    Again {
        /// The family.
        family_id: Uuid,
        /// The mission of everything obtained with it.
        mission_id: Uuid,
        /// The successor.
        successor: Secret,
    },
}

/// How a family goes on.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The family.
    pub family_id: Uuid,
    /// The mission of everything obtained with it.
    pub mission_id: Uuid,
    /// When refreshing ends.
    pub family_expires_at: Time,
    /// The token that is spent.
    pub spent: Uuid,
    /// The client's lifetime of refresh tokens, in seconds; 0 leaves that to the server.
    pub client_ttl: i32,
    /// Whether the answer may be given again, so that the successor has to be kept.
    pub keep: bool,
}

/// A refresh token that was made, not yet durable.
#[derive(Debug)]
pub struct Made {
    /// The family.
    pub family_id: Uuid,
    /// Shown this once.
    pub token: Secret,
    /// Its row; none where the token is there already.
    pub row: Option<NewToken>,
}

/// A row of `refresh_tokens`. Whose it is stands in the credential that is written with it.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id.
    pub id: Uuid,
    /// Its family.
    pub family_id: Uuid,
    /// The token that was spent for it.
    pub predecessor_id: Option<Uuid>,
    /// By what it is recognised.
    pub hash: SecretHash,
    /// The token itself, where the answer may be given again.
    pub sealed: Option<Vec<u8>>,
    /// When it was made.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// The family, where it begins.
    pub begins: Option<NewFamily>,
}

/// A row of `refresh_families`, save what the credential that is written with it has too.
#[derive(Clone, Debug)]
pub struct NewFamily {
    /// What may be obtained at the most.
    pub scopes: Scopes,
    /// For whom tokens may be meant at the most; no member holds a space.
    pub audience: Vec<String>,
    /// When refreshing ends.
    pub expires_at: Time,
}

impl Refresh {
    /// The mission that a family keeps; one that begins takes its first token's.
    pub fn mission_id(&self) -> Option<Uuid> {
        match self {
            Self::Begin { .. } => None,
            Self::Rotate(Rotation { mission_id, .. }) | Self::Again { mission_id, .. } => Some(*mission_id),
        }
    }

    /// Makes the token.
    pub fn make(&self, app: &App, now: Time) -> Result<Made> {
        let seconds = |seconds: u32| Duration::seconds(seconds.into());
        match self {
            Self::Begin { scopes, audience, client_ttl } => {
                let end = now + seconds(app.config.tokens.refresh_family_ttl_seconds);
                let made = new_token(app, ids::new(now)?, lifetime(app, *client_ttl), end, now)?;
                let begun = NewFamily { scopes: scopes.clone(), audience: audience.clone(), expires_at: end };
                Ok(made.changed(|row| row.begins = Some(begun)))
            }
            Self::Rotate(rotation) => {
                let Rotation { family_id, family_expires_at, spent, client_ttl, keep, .. } = *rotation;
                let made = new_token(app, family_id, lifetime(app, client_ttl), family_expires_at, now)?;
                let seal = || app.keys.seal(&seal_context(spent), made.token.expose().as_bytes());
                let sealed = keep.then(seal).transpose()?;
                Ok(made.changed(|row| (row.predecessor_id, row.sealed) = (Some(spent), sealed)))
            }
            Self::Again { family_id, successor, .. } => {
                Ok(Made { family_id: *family_id, token: successor.clone(), row: None })
            }
        }
    }
}

impl Made {
    fn changed(mut self, change: impl FnOnce(&mut NewToken)) -> Self {
        if let Some(row) = &mut self.row {
            change(row);
        }
        self
    }
}

/// What the client is registered for, else the server's.
fn lifetime(app: &App, client_ttl: i32) -> Duration {
    let of_client = u32::try_from(client_ttl).ok().filter(|ttl| *ttl > 0);
    Duration::seconds(of_client.unwrap_or(app.config.tokens.refresh_ttl_seconds).into())
}

fn new_token(app: &App, family_id: Uuid, lifetime: Duration, end: Time, now: Time) -> Result<Made> {
    let token = Secret::generate::<32>(PREFIX)?;
    let row = NewToken {
        id: ids::new(now)?,
        family_id,
        predecessor_id: None,
        hash: app.keys.hash(token.expose())?,
        sealed: None,
        issued_at: now,
        expires_at: end.min(now + lifetime),
        begins: None,
    };
    Ok(Made { family_id, token, row: Some(row) })
}
