//! Pushed authorization requests (RFC 9126): a client sends its request beforehand, authenticated, and names it later.

use time::Duration;
use uuid::Uuid;

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::kit::secret::{Secret, SecretHash};
use crate::tokens::ledger::Artefact;

/// How a pushed request is named (RFC 9126 section 2.2).
pub const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// The kind under which pushed requests are used up.
pub const PUSHED_REQUEST: &str = "pushed_request";

/// How long one waits for its person.
pub const LIFETIME: Duration = Duration::minutes(10);

/// A request as it was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// By which client.
    pub client_id: String,
    /// Its parameters, as a form.
    pub parameters: String,
    /// What is used up by answering it.
    pub artefact: Artefact,
}

/// What is stored of a new one.
#[derive(Debug)]
pub(super) struct NewPushed<'a> {
    pub id: Uuid,
    pub hash: SecretHash,
    pub client_id: &'a str,
    pub parameters: &'a str,
    pub expires_at: Time,
}

/// Keeps a request of a client, and answers its `request_uri`.
pub async fn push(app: &App, cx: &mut Cx, client_id: &str, parameters: &str) -> Result<Secret> {
    let uri = Secret::generate::<32>(URN)?;
    let hash = app.keys.hash(uri.expose())?;
    let id = ids::new(cx.now)?;
    let new = NewPushed { id, hash, client_id, parameters, expires_at: cx.now + LIFETIME };
    store::insert_pushed(cx, &new).await?;
    Ok(uri)
}

/// The request of this name, while it may be answered.
pub async fn pushed(app: &App, uri: &str, now: Time) -> Result<Option<Pushed>> {
    let mut db = app.connection().await?;
    let found = store::pushed(&mut db, &app.keys.hashes(uri), now).await?;
    found
        .map(|(client_id, parameters, hash, expires_at)| {
            let key =
                <[u8; 32]>::try_from(hash).map_err(|_| anyhow::anyhow!("a request's hash has 32 bytes"))?;
            let artefact = Artefact { kind: PUSHED_REQUEST, key, until: expires_at };
            Ok(Pushed { client_id, parameters, artefact })
        })
        .transpose()
}
