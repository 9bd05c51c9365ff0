//! The one place that says yes: every grant's outcome is checked, clamped, signed and turned into a record here.

use time::Duration;
use uuid::Uuid;

use super::claims::{Claims, Stamp};
use super::ledger::Credential;
use crate::access::scope::Scopes;
use crate::agents::{self, Holder};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::{ids, secret};
use crate::policies::{self, Policy, Question};

/// What a grant found and decided: evidence in, this out. It neither signs nor writes.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Short name of the grant type.
    pub grant_type: &'static str,
    /// Whose token.
    pub tenant: Tenant,
    /// For whom.
    pub holder: Holder,
    /// Every policy over it; one that is missing is no policy but a fault.
    pub policies: Vec<Policy>,
    /// What it may do, already narrowed.
    pub scopes: Scopes,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// An end it must not outlive, as the API key's.
    pub not_after: Option<Time>,
    /// The API key it rests on.
    pub api_key_id: Option<Uuid>,
    /// The person behind it, "" if unknown.
    pub user_id: String,
}

/// A signed token, not yet durable: write the record before the answer leaves.
#[derive(Debug)]
pub struct Issued {
    /// The compact JWS.
    pub token: String,
    /// Its row.
    pub credential: Credential,
}

/// Checks state and policies, clamps the lifetime and signs.
pub fn issue(app: &App, grant: &Grant, now: Time) -> Result<Issued> {
    agents::usable(grant.holder.status, grant.holder.identity_expires_at, now)?;
    if grant.policies.is_empty() {
        return Err(anyhow::anyhow!("identity {} has no credential policy", grant.holder.identity_id).into());
    }
    let question =
        Question { grant_type: grant.grant_type, trust_level: grant.holder.trust_level, depth: 0, now };
    grant.policies.iter().try_for_each(|policy| policies::check(policy, &question))?;
    let (issued_at, expires_at) = lifetime(app, grant, now)?;
    let stamp = Stamp { jti: ids::new(now)?, issued_at, expires_at };
    let ring = app.keys.ring();
    let key = ring.signer(now, app.config.keys.jwks_lifetime_seconds)?;
    let token = key.sign(&Claims::of(app.config.issuer(), grant, stamp))?;
    let credential = Credential {
        jti: stamp.jti,
        tenant: grant.tenant.clone(),
        token_sha256: secret::sha256(token.as_bytes()),
        kid: key.kid().to_owned(),
        identity_id: grant.holder.identity_id,
        agent_epoch: grant.holder.epoch,
        api_key_id: grant.api_key_id,
        mission_id: stamp.jti,
        grant_type: grant.grant_type,
        subject: grant.holder.wimse_uri.clone(),
        user_id: grant.user_id.clone(),
        scopes: grant.scopes.clone(),
        audience: grant.audience.clone(),
        issued_at,
        expires_at,
    };
    Ok(Issued { token, credential })
}

/// The default, or less where a policy, the identity's end or the grant's own bound asks for it. Whole seconds:
/// a token must not live longer than what it rests on.
fn lifetime(app: &App, grant: &Grant, now: Time) -> Result<(Time, Time)> {
    let issued_at = now.replace_nanosecond(0)?;
    let longest = [app.config.tokens.default_ttl_seconds, app.config.tokens.max_ttl_seconds].map(i64::from);
    let policies = grant.policies.iter().map(|policy| i64::from(policy.max_ttl_seconds));
    let seconds = longest.into_iter().chain(policies).min().unwrap_or_default();
    let mut expires_at = issued_at + Duration::seconds(seconds);
    for (bound, why) in
        [(grant.holder.identity_expires_at, "identity_expired"), (grant.not_after, "credential_expired")]
    {
        let Some(bound) = bound else { continue };
        expires_at = expires_at.min(bound.replace_nanosecond(0)?);
        if expires_at <= now {
            return Err(refuse(Kind::InvalidGrant, why));
        }
    }
    Ok((issued_at, expires_at))
}
