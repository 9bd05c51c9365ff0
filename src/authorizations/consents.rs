//! What a person agreed to, for one client. A later agreement widens it; taken back, it ends all that came of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::access::scope::ScopeName;
use crate::access::scope::{Scopes, is_reserved};
use crate::clients;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::http::members::AudienceName;
use crate::kit::http::page::Page;
use crate::kit::ids;
use crate::tokens::{self, Anchor};
use crate::users;

/// A consent as the API shows it. No member is ever null.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Consent {
    /// A random id.
    pub id: Uuid,
    /// Whose, by the row of the person.
    pub user_id: Uuid,
    /// What tokens call the person.
    pub subject: String,
    /// For which client, as it names itself.
    pub client_id: String,
    /// What people call the client, "" where nothing registered it.
    pub client_name: String,
    /// What it may obtain, space-separated.
    pub scope: String,
    /// The same as a list.
    pub scopes: Vec<String>,
    /// For which resources; none means this server.
    pub resources: Vec<String>,
    /// When it was given first.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub granted_at: Time,
    /// When it was widened last.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub updated_at: Time,
    /// When it was taken back.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
}

impl Consent {
    /// Whether it says yes to these scopes for these resources.
    pub fn covers(&self, scopes: &Scopes, resources: &[String]) -> bool {
        let resources_known = resources.iter().all(|one| self.resources.contains(one));
        // An empty list of resources is this server, to which a consent for others says nothing.
        let server_known = !resources.is_empty() || self.resources.is_empty();
        scopes.iter().all(|scope| self.scopes.iter().any(|known| known == scope))
            && resources_known
            && server_known
    }
}

/// Which consents a list shows.
#[derive(Clone, Debug)]
pub struct ConsentFilter {
    /// Of this person.
    pub user_id: Option<Uuid>,
    /// For this client.
    pub client_id: Option<String>,
    /// Also those that were taken back.
    pub include_revoked: bool,
    /// Which of them.
    pub page: Page,
}

/// A consent that an administrator gives in a person's stead.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewConsent {
    /// The person's row.
    #[schema(required = true)]
    pub user_id: Uuid,
    /// The client, as it names itself.
    #[schema(required = true, min_length = 1)]
    pub client_id: String,
    /// What it may obtain.
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<String>,
    /// The same, space-separated.
    #[schema(pattern = r"^( *[!#-\[\]-~]{1,255}( +[!#-\[\]-~]{1,255})* *)?$")]
    pub scope: String,
    /// For which resources; none means this server.
    #[schema(value_type = Vec<AudienceName>)]
    pub resources: Vec<String>,
}

/// Whose consent, and for which client. One that is registered anew under the same name is another one.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    /// The person's row.
    pub person: Uuid,
    /// The client's row, if one registered it.
    pub oauth_client_id: Option<Uuid>,
    /// As it names itself.
    pub client_id: &'a str,
}

/// The live consent of a person for a client.
pub async fn find(cx: &mut Cx, between: Between<'_>) -> Result<Option<Consent>> {
    Ok(store::live_consent(&mut cx.tx, &cx.tenant, between).await?)
}

/// The same outside of a transaction.
pub async fn consent_of(app: &App, tenant: &Tenant, between: Between<'_>) -> Result<Option<Consent>> {
    let mut db = app.connection().await?;
    Ok(store::live_consent(&mut db, tenant, between).await?)
}

/// Writes a person's consent down, or widens the one there is.
pub async fn agree(cx: &mut Cx, between: Between<'_>, scopes: &Scopes, resources: &[String]) -> Result<Uuid> {
    let id = ids::new(cx.now)?;
    Ok(store::agree(cx, id, between, scopes.as_slice(), resources).await?)
}

/// A consent in the stead of a person of the tenant, and whether it is new.
pub async fn create(app: &App, cx: &mut Cx, new: &NewConsent) -> Result<(Consent, bool)> {
    let limits = &app.config.limits;
    let user = users::get(cx, new.user_id).await?;
    let spaced = new.scope.split(' ').filter(|scope| !scope.is_empty());
    let scopes = Scopes::of(new.scopes.iter().map(String::as_str).chain(spaced), limits.scopes)?;
    if scopes.iter().any(is_reserved) {
        let why = "a consent holds no reserved scope: no person has one to give";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.scopes", ""));
    }
    let unknown =
        || refuse_at(Kind::InvalidRequest, "there is no client with this client_id", "body.client_id", "");
    let client =
        clients::evidence(app, &new.client_id).await?.filter(|found| found.client.tenant == cx.tenant);
    let client = client.ok_or_else(unknown)?.client;
    let between = Between { person: user.id, oauth_client_id: Some(client.id), client_id: &client.client_id };
    let known = find(cx, between).await?.is_some();
    let id = agree(cx, between, &scopes, &new.resources).await?;
    Ok((get(cx, id).await?, !known))
}

/// A page of the tenant's consents, newest first, and how many match.
pub async fn list(cx: &mut Cx, filter: &ConsentFilter) -> Result<(Vec<Consent>, i64)> {
    Ok(store::consents(cx, filter).await?)
}

/// Takes a consent back, with every token that came of it and all below. The person is asked anew.
pub async fn revoke(cx: &mut Cx, id: Uuid) -> Result<Consent> {
    if store::revoke_consents(cx, &[id], "consent_revoked").await? == 1 {
        tokens::note(cx, Anchor::Consent(id), "consent_revoked").await?;
    }
    get(cx, id).await
}

/// Locks the live consents for the unregistered clients with such a name, so that they can be taken back at once.
pub async fn lock_unregistered(cx: &mut Cx, matches: impl Fn(&str) -> bool) -> Result<Vec<Uuid>> {
    let mut client_ids = store::unregistered(cx).await?;
    client_ids.retain(|client_id| matches(client_id));
    Ok(if client_ids.is_empty() { Vec::new() } else { store::lock_unregistered(cx, &client_ids).await? })
}

/// Takes locked consents back. The caller notes the marks.
pub async fn end(cx: &mut Cx, ids: &[Uuid], reason: &str) -> Result<()> {
    store::revoke_consents(cx, ids, reason).await?;
    Ok(())
}

async fn get(cx: &mut Cx, id: Uuid) -> Result<Consent> {
    store::consent(cx, id).await?.ok_or_else(unknown)
}

/// Another tenant's consent and none at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no consent with this id")
}
