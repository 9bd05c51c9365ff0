//! The `api_key` grant: an agent exchanges its key for a short-lived token of its own.

use super::{Denial, Principal};
use crate::access;
use crate::access::scope::{Scopes, intersect, narrow};
use crate::api_keys::{self, Evidence};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Networks;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::params::Params;
use crate::policies::Policy;
use crate::tokens::Grant;

/// The grant's short name, which is also its `grant_type`.
pub const NAME: &str = "api_key";

/// Decides on a key. Tenant members of the request are ignored: the key tells its own.
pub async fn redeem(
    app: &App,
    params: &Params,
    from: &Origin,
    now: Time,
) -> Result<(Grant, Principal), Denial> {
    access::check_lockout(app, from.address, now)?;
    let requested = Scopes::parse(params.get("scope").unwrap_or_default(), app.config.limits.scopes)?;
    let key = params.required("api_key")?;
    let mut db = app.connection().await?;
    let found = api_keys::evidence(app, &mut db, key).await?;
    drop(db);
    let Some(evidence) = found else {
        access::count_failure(app, from.address, now).await?;
        return Err(invalid().into());
    };
    app.rates.key(&evidence.key_id.to_string())?;
    let principal =
        Principal { tenant: evidence.tenant.clone(), kind: "api_key", id: evidence.key_id.to_string() };
    match decide(app, evidence, &requested, from, now) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(Denial { error, principal: Some(principal) }),
    }
}

fn decide(app: &App, evidence: Evidence, requested: &Scopes, from: &Origin, now: Time) -> Result<Grant> {
    if evidence.key_ended || evidence.key_expires_at.is_some_and(|at| at <= now) {
        return Err(invalid());
    }
    check_network(&evidence, from)?;
    let Some(holding) = &evidence.holding else { return Err(invalid()) };
    if !holding.tenant_active {
        return Err(refuse(Kind::InvalidGrant, "the tenant is suspended"));
    }
    let holder = holding.holder.clone();
    let policies = evidence.policies()?;
    let layers = [Scopes::ceiling(evidence.key_scopes), Scopes::ceiling(holder.allowed_scopes.clone())];
    let ceiling = intersect(layers.into_iter().chain(policies.iter().map(Policy::ceiling)));
    Ok(Grant {
        grant_type: NAME,
        scopes: narrow(requested, ceiling)?,
        audience: vec![app.config.issuer().to_owned()],
        not_after: evidence.key_expires_at,
        api_key_id: Some(evidence.key_id),
        user_id: evidence.created_by,
        tenant: evidence.tenant,
        policies,
        holder,
    })
}

/// A key that is bound to networks works from nowhere else.
fn check_network(evidence: &Evidence, from: &Origin) -> Result<()> {
    let Some(networks) = &evidence.ip_allowlist else { return Ok(()) };
    let unreadable =
        |why| anyhow::anyhow!("the allow list of API key {} can't be read: {why}", evidence.key_id);
    let networks = Networks::of(networks).map_err(unreadable)?;
    if networks.is_empty() || from.address.is_some_and(|address| networks.contains(address)) {
        return Ok(());
    }
    Err(refuse(Kind::InvalidGrant, "the api key may not be used from this address"))
}

/// Unknown, revoked, replaced and expired keys are one answer.
fn invalid() -> Error {
    refuse(Kind::InvalidGrant, "invalid api key")
}
