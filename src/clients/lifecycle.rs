//! Secrets and their rotation, and what ends the tokens of clients. A client's tokens carry its epoch: a higher one ends
//! them all.

use std::fmt::Write;

use serde::Deserialize;
use time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::types::{Client, Secrets};
use super::{Created, lock, rules, store};
use crate::authorizations;
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::glob::Glob;
use crate::kit::http::limits::check_text;
use crate::kit::secret::{self, Secret};
use crate::tokens::{self, Anchor};

/// How a secret is to be rotated.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[schema(as = OAuthSecretRotation)]
pub struct Rotation {
    /// How long the old secret works on, if not as long as the server lets it.
    pub overlap_seconds: Option<u32>,
}

/// Which clients' tokens are to end.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = OAuthClientsRevocation)]
pub struct BulkRevocation {
    /// A glob over `client_id`.
    #[schema(required = true, min_length = 1, max_length = 512)]
    pub client_id_pattern: String,
    /// Why; stands with every token that ends.
    pub reason: String,
}

/// Longest pattern. It bounds the time that one match takes.
const PATTERN_CHARACTERS: usize = 512;

/// A new secret, 32 random bytes in hexadecimal, as the current one of `secrets`.
pub(super) fn new_secret(app: &App, secrets: &mut Secrets) -> Result<Secret> {
    let random = Zeroizing::new(secret::random::<32>()?);
    // Written into its full size at once, so that no copy of a part stays behind.
    let mut text = String::with_capacity(2 * random.len());
    random.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
    let secret = Secret::new(text);
    secrets.current = Some(app.keys.hash(secret.expose())?);
    Ok(secret)
}

/// Replaces the secret. The old one works on for the overlap; one that was still in its overlap ends. Tokens live on.
pub async fn rotate_secret(app: &App, cx: &mut Cx, id: Uuid, rotation: Rotation) -> Result<Created> {
    let mut client = lock(cx, id).await?;
    if !client.auth_method.has_secret() {
        let why = format!(
            "a client whose token_endpoint_auth_method is {} has no secret to rotate",
            client.auth_method.as_str()
        );
        return Err(refuse(Kind::InvalidRequest, why));
    }
    let most = app.config.clients.secret_overlap_seconds;
    let overlap = rotation.overlap_seconds.unwrap_or(most);
    if overlap > most {
        let why = format!("overlap_seconds is at most {most}, the server's clients.secret_overlap_seconds");
        return Err(refuse_at(Kind::InvalidRequest, why, "body.overlap_seconds", overlap.to_string()));
    }
    rules::check_reach(cx, &client).await?;
    let until = cx.now + Duration::seconds(overlap.into());
    let old = client.secrets.current.take().filter(|_| overlap > 0);
    client.secrets.old = old.map(|old| (old.mac, until));
    let secret = new_secret(app, &mut client.secrets)?;
    Ok(Created { client: save(cx, client).await?, client_secret: Some(secret) })
}

/// What ending the client now would end.
pub async fn would_end(cx: &mut Cx, id: Uuid) -> Result<Vec<Uuid>> {
    let client = lock(cx, id).await?;
    tokens::changed_by(cx, &[Anchor::Client(id, client.epoch)]).await
}

/// Ends a client and its tokens. The row stays, and the `client_id` may be taken again.
pub async fn delete(cx: &mut Cx, id: Uuid) -> Result<()> {
    let mut client = lock(cx, id).await?;
    end_epoch(cx, &mut client, "client_deleted").await?;
    client.is_active = false;
    save(cx, client).await?;
    Ok(store::delete(cx, id).await?)
}

/// Ends everything a client obtained so far, with what hangs below, and answers what ended. It may obtain new ones.
pub async fn revoke_tokens(app: &App, cx: &mut Cx, id: Uuid, reason: &str) -> Result<Vec<Uuid>> {
    check_text("reason", reason, &app.config.limits)?;
    let mut client = lock(cx, id).await?;
    let ended = tokens::changed_by(cx, &[Anchor::Client(id, client.epoch)]).await?;
    end_epoch(cx, &mut client, or(reason, "client_tokens_revoked")).await?;
    save(cx, client).await?;
    Ok(ended)
}

/// The same for every client of the tenant whose `client_id` matches the pattern. One that a document describes has no
/// epoch, so what people agreed to with it is taken back.
pub async fn revoke_by_pattern(app: &App, cx: &mut Cx, bulk: &BulkRevocation) -> Result<Vec<Uuid>> {
    let at = "body.client_id_pattern";
    if bulk.client_id_pattern.trim().is_empty() {
        let why = "client_id_pattern is missing: name a client_id or a pattern, * for all";
        return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    }
    if bulk.client_id_pattern.chars().count() > PATTERN_CHARACTERS {
        let why = format!("client_id_pattern has at most {PATTERN_CHARACTERS} characters");
        return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    }
    check_text("reason", &bulk.reason, &app.config.limits)?;
    let glob = Glob::new(&bulk.client_id_pattern);
    let clients = store::client_ids(cx).await?;
    let matching: Vec<Uuid> =
        clients.into_iter().filter(|(_, client_id)| glob.matches(client_id)).map(|(id, _)| id).collect();
    let locked = store::lock_all(cx, &matching).await?;
    let matching: Vec<Uuid> = locked.iter().map(|(id, _)| *id).collect();
    let consents = authorizations::lock_unregistered(cx, |client_id| glob.matches(client_id)).await?;
    let clients = locked.into_iter().map(|(id, epoch)| Anchor::Client(id, epoch));
    let anchors: Vec<Anchor> = clients.chain(consents.iter().copied().map(Anchor::Consent)).collect();
    let reason = or(&bulk.reason, "client_pattern_revoked");
    let ended = tokens::changed_by(cx, &anchors).await?;
    store::end_epochs(cx, &matching).await?;
    authorizations::end(cx, &consents, reason).await?;
    tokens::note_all(cx, &anchors, reason).await?;
    Ok(ended)
}

/// Begins a new epoch of a locked client, yet to be saved: what it obtained before is dead, whatever comes later.
pub(super) async fn end_epoch(cx: &mut Cx, client: &mut Client, reason: &str) -> Result<()> {
    tokens::note(cx, Anchor::Client(client.id, client.epoch), reason).await?;
    client.epoch += 1;
    Ok(())
}

/// Writes a locked client back.
pub(super) async fn save(cx: &mut Cx, mut client: Client) -> Result<Client> {
    client.updated_at = cx.now;
    store::save(cx, &client).await?;
    Ok(client)
}

fn or<'a>(reason: &'a str, default: &'a str) -> &'a str {
    if reason.trim().is_empty() { default } else { reason }
}
