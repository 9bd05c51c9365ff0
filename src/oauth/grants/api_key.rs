//! The `api_key` grant: an agent exchanges its key for a short-lived token of its own.

use super::{Decision, Principal, Request};
use crate::access;
use crate::access::scope::{Scopes, intersect};
use crate::api_keys::{self, Evidence};
use crate::kit::config::Networks;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::audience;
use crate::policies::Policy;
use crate::tokens::Grant;

/// The grant's short name, which is also its `grant_type`.
pub const NAME: &str = "api_key";

/// Decides on a key. Tenant members of the request are ignored: the key tells its own.
pub async fn redeem(request: &Request<'_>) -> Decision {
    let Request { app, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let key = request.params.required("api_key")?;
    let Some(evidence) = api_keys::evidence(app, key).await? else {
        Box::pin(access::count_failure(app, from.address, now)).await?;
        return Err(invalid().into());
    };
    app.rates.key(&evidence.key_id.to_string())?;
    let principal =
        Principal { tenant: evidence.tenant.clone(), kind: "api_key", id: evidence.key_id.to_string() };
    match decide(request, evidence) {
        Ok(grant) => Ok((Box::new(grant), principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

fn decide(request: &Request<'_>, evidence: Evidence) -> Result<Grant> {
    if evidence.key_ended || evidence.key_expires_at.is_some_and(|at| at <= request.now) {
        return Err(invalid());
    }
    check_network(&evidence, request.from)?;
    evidence.check_policies()?;
    let holding = evidence.holding.ok_or_else(invalid)?;
    let layers =
        [Scopes::ceiling(evidence.key_scopes), evidence.key_policy.as_ref().and_then(Policy::ceiling)];
    let own = intersect(layers.into_iter().chain(holding.ceilings()));
    Ok(Grant {
        scopes: request.narrow(own)?,
        audience: audience::granted(request, None)?,
        key_policy: evidence.key_policy,
        not_after: evidence.key_expires_at,
        api_key_id: Some(evidence.key_id),
        user_id: evidence.created_by,
        ..Grant::root(request.app, NAME, holding)
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
