//! Credentials that an administrator issues for an identity or rotates, in the request's own transaction.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use utoipa::ToSchema;
use uuid::Uuid;

use super::issue::{ClientStamp, Grant, Issued, issue};
use super::ledger::{self, Record};
use super::revoke::mark;
use super::store;
use crate::access::scope::ScopeName;
use crate::access::scope::{Ceiling, Scopes, check_grantable, intersect, narrow, narrow_beside};
use crate::agents::{self, Holding};
use crate::audit::{self, Event};
use crate::clients::CLIENT_CREDENTIALS;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::http::limits::check_names;
use crate::kit::http::members::AudienceName;
use crate::policies::{self, Policy};

/// A credential to be issued. Members it does not know are ignored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewCredential {
    /// For whom.
    pub identity_id: Uuid,
    /// What it may do; none means all that the identity may.
    #[serde(default)]
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<String>,
    /// How long it lives, in seconds; policies and the server may make it shorter.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub ttl_seconds: i64,
    /// The grant that the identity's policy is asked about, by either name.
    #[serde(default)]
    #[schema(
        pattern = "^(urn:ietf:params:oauth:grant-type:(jwt-bearer|token-exchange)|urn:openid:params:grant-type:ciba|jwt_bearer|token_exchange|client_credentials|api_key|authorization_code|refresh_token)?$"
    )]
    pub grant_type: String,
    /// For whom it is meant; this server where nothing is said.
    #[serde(default)]
    #[schema(value_type = Vec<AudienceName>)]
    pub audience: Vec<String>,
    /// Who alone may act for its holder (RFC 8693 section 4.4): an object with `sub`, or a list of names.
    #[serde(default)]
    pub may_act: Option<Value>,
}

/// What rotation keeps of a credential.
#[derive(Clone, Debug, FromRow)]
pub struct Kept {
    /// Whose it is.
    pub identity_id: Option<Uuid>,
    /// The holder's epoch.
    pub agent_epoch: i32,
    /// The API key it rests on.
    pub api_key_id: Option<Uuid>,
    /// The client it rests on.
    pub oauth_client_id: Option<Uuid>,
    /// That client's name.
    pub client_id: String,
    /// The client's epoch.
    pub client_epoch: i32,
    /// The linked subject it rests on.
    pub linked_subject_id: Option<Uuid>,
    /// The epoch of that.
    pub linked_subject_epoch: i32,
    /// Whether it was delegated.
    pub delegated: bool,
    /// Whether it speaks in a person's name.
    pub of_person: bool,
    /// Short name of the grant.
    pub grant_type: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// The thumbprint of the key it is bound to.
    pub jkt: Option<String>,
    /// How its claims are written.
    pub token_profile: String,
    /// The person behind it.
    pub user_id: String,
    /// How long it lived, in seconds.
    pub ttl_seconds: i64,
    /// Whether it and all it rests on stand.
    pub active: bool,
    /// What stands against obtaining it again, though it still lives.
    #[sqlx(flatten)]
    pub basis: Basis,
}

/// What a credential was obtained by, as it is now.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Whether its API key was replaced.
    pub key_replaced: bool,
    /// When its API key ends, if ever.
    pub key_expires_at: Option<Time>,
    /// The API key's own limit.
    pub key_scopes: Option<Vec<String>>,
    /// The API key's policy.
    pub key_policy: Option<Policy>,
    /// What its client may obtain; absent when no client obtained it.
    pub client_scopes: Option<Vec<String>>,
    /// Which grants its client may use.
    pub client_grants: Option<Vec<String>>,
    /// For whom its client's tokens may be meant; an empty list is no limit.
    pub client_audiences: Option<Vec<String>>,
}

impl FromRow<'_, PgRow> for Basis {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            key_replaced: row.try_get("key_replaced")?,
            key_expires_at: row.try_get("key_expires_at")?,
            key_scopes: row.try_get("key_scopes")?,
            key_policy: Policy::from_columns(row, "key_policy")?,
            client_scopes: row.try_get("client_scopes")?,
            client_grants: row.try_get("client_grants")?,
            client_audiences: row.try_get("client_audiences")?,
        })
    }
}

impl Basis {
    /// Whether the key or client could still obtain a credential by this grant.
    fn check(&self, grant_type: &str, now: Time) -> Result<()> {
        if self.key_replaced || self.key_expires_at.is_some_and(|at| at <= now) {
            let why =
                "the API key it came by has been replaced or has expired; let the agent use its new one";
            return Err(refuse(Kind::Conflict, why));
        }
        if self.client_grants.as_ref().is_some_and(|grants| grants.iter().all(|grant| grant != grant_type)) {
            let why = "the client that obtained it is no longer registered for its grant type";
            return Err(refuse(Kind::UnauthorizedClient, why));
        }
        Ok(())
    }

    /// The part of an audience that the client may address by now.
    fn audience(&self, held: Vec<String>) -> Result<Vec<String>> {
        let Some(limit) = self.client_audiences.as_ref().filter(|limit| !limit.is_empty()) else {
            return Ok(held);
        };
        let left: Vec<String> = held.into_iter().filter(|name| limit.contains(name)).collect();
        if left.is_empty() {
            let why = "the client that obtained it may no longer address its audience";
            return Err(refuse(Kind::InvalidTarget, why));
        }
        Ok(left)
    }

    fn of_key(&self) -> [Ceiling; 2] {
        [Scopes::ceiling(self.key_scopes.clone()), self.key_policy.as_ref().and_then(Policy::ceiling)]
    }

    fn of_client(&self) -> Ceiling {
        self.client_scopes.clone().map(Scopes::stored)
    }
}

impl Kept {
    /// What is left of its scopes: holder, key and client may hold less by now than when it was issued.
    fn scopes_now(&self, holding: &Holding) -> Result<Scopes> {
        let held = Scopes::stored(self.scopes.clone());
        if held.is_empty() {
            return Ok(held);
        }
        let own = holding.ceilings().into_iter().chain(self.basis.of_key());
        let client = self.basis.of_client();
        // The client's own grant has the client for its ceiling; beside any other it only narrows.
        if self.grant_type == CLIENT_CREDENTIALS {
            narrow(&held, intersect(own.chain([client])))
        } else {
            narrow_beside(&held, intersect(own), [client])
        }
    }
}

/// Issues a credential for an identity of the tenant.
pub async fn issue_for(app: &App, cx: &mut Cx, new: NewCredential) -> Result<(Grant, Issued)> {
    let holding = holding(cx, new.identity_id).await?;
    let requested = Scopes::of(new.scopes.iter().map(String::as_str), app.config.limits.scopes)?;
    let scopes = narrow(&requested, intersect(holding.ceilings()))?;
    check_grantable(&scopes, "body.scopes", |scope| cx.caller.holds(scope))?;
    let named = Some(new.grant_type.as_str()).filter(|name| !name.is_empty()).unwrap_or(CLIENT_CREDENTIALS);
    let grant_type = policies::grant_type(named).ok_or_else(|| {
        refuse_at(Kind::InvalidRequest, "grant_type is not one of the grant types", "body.grant_type", "")
    })?;
    let root = Grant::root(app, grant_type, holding);
    check_names(&new.audience, "body.audience", &app.config.limits)?;
    let grant = Grant {
        scopes,
        audience: if new.audience.is_empty() { root.audience.clone() } else { new.audience },
        ttl_seconds: ttl(new.ttl_seconds)?,
        // Nobody proves a key here, and the token goes to the agent: only the registered key can use it.
        jkt: root.holding.as_ref().and_then(|holding| holding.holder.dpop_jkt.clone()),
        may_act: new.may_act.filter(|value| !value.is_null()),
        ..root
    };
    let issued = issue(app, &grant, cx.now)?;
    write(cx, &issued, "credential.issued").await?;
    Ok((grant, issued))
}

/// Replaces a credential by a new one with its scopes, audience, lifetime and grant, and ends it with what hangs below.
/// Everything is asked before anything ends.
pub async fn rotate(app: &App, cx: &mut Cx, jti: Uuid) -> Result<(Grant, Issued)> {
    let unknown = || refuse(Kind::NotFound, "there is no credential with this id");
    let kept = store::kept(cx, jti).await?.ok_or_else(unknown)?;
    if !kept.active {
        return Err(refuse(Kind::Conflict, "the credential has been revoked or has expired"));
    }
    if kept.delegated {
        let why = "a delegated credential can't be rotated; let its agent exchange the subject token again";
        return Err(refuse(Kind::Conflict, why));
    }
    if kept.of_person {
        let why = "a credential in a person's name can't be rotated; let its client ask the person again";
        return Err(refuse(Kind::Conflict, why));
    }
    let no_identity = || refuse(Kind::InvalidRequest, "the credential belongs to no identity");
    let holding = holding(cx, kept.identity_id.ok_or_else(no_identity)?).await?;
    // Between the two reads the identity may have ended all its credentials. The new one must not outlive that.
    if holding.holder.epoch != kept.agent_epoch {
        return Err(refuse(Kind::Conflict, "the credential was revoked at this moment"));
    }
    kept.basis.check(&kept.grant_type, cx.now)?;
    let scopes = kept.scopes_now(&holding)?;
    check_grantable(&scopes, "path.id", |scope| cx.caller.holds(scope))?;
    let grant_type = policies::grant_type(&kept.grant_type)
        .ok_or_else(|| refuse(Kind::Conflict, "the credential came by a grant that is no more"))?;
    let root = Grant::root(app, grant_type, holding);
    let stamp =
        |id| ClientStamp { id: Some(id), client_id: kept.client_id.clone(), epoch: kept.client_epoch };
    let grant = Grant {
        scopes,
        audience: kept.basis.audience(kept.audience)?,
        ttl_seconds: u32::try_from(kept.ttl_seconds).ok(),
        key_policy: kept.basis.key_policy,
        not_after: kept.basis.key_expires_at,
        api_key_id: kept.api_key_id,
        client: kept.oauth_client_id.map(stamp),
        linked_subject: kept.linked_subject_id.map(|id| (id, kept.linked_subject_epoch)),
        jkt: kept.jkt,
        profile: Profile::of(&kept.token_profile).unwrap_or(root.profile),
        user_id: kept.user_id,
        ..root
    };
    let issued = issue(app, &grant, cx.now)?;
    if !mark(cx, jti, "rotated").await? {
        return Err(refuse(Kind::Conflict, "the credential was revoked at this moment"));
    }
    write(cx, &issued, "credential.rotated").await?;
    Ok((grant, issued))
}

async fn holding(cx: &mut Cx, identity_id: Uuid) -> Result<Holding> {
    let unknown = || refuse(Kind::NotFound, "there is no identity with this id");
    agents::holding(cx, identity_id).await?.ok_or_else(unknown)
}

fn ttl(seconds: i64) -> Result<Option<u32>> {
    if seconds < 0 {
        return Err(refuse_at(Kind::InvalidRequest, "ttl_seconds is negative", "body.ttl_seconds", ""));
    }
    // Longer than any token may live is as long as it may live.
    Ok(Some(u32::try_from(seconds).unwrap_or(u32::MAX)).filter(|seconds| *seconds > 0))
}

/// The ledger writes the credential with the one audit row of the request.
async fn write(cx: &mut Cx, issued: &Issued, action: &'static str) -> Result<()> {
    let credential = &issued.credential;
    let facts = json!({
        "grant_type": credential.grant_type,
        "identity_id": credential.identity_id,
        "scope": credential.scopes.joined(),
    });
    let event = Event::new(action, "credential", credential.jti).with(facts);
    let entry = audit::entry(cx, event)?;
    ledger::write(&mut cx.tx, &[Record::Issue(credential.clone(), entry)]).await?;
    Ok(())
}
