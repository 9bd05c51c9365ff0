//! The `client_credentials` grant (RFC 6749 section 4.4): a client obtains a token for the identity it is bound to, or a
//! workload that its platform vouches for one of its agent.

use super::{Denial, Principal, Request, outside};
use crate::access::scope::{intersect, narrow};
use crate::kit::assertion::Assertion;
use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};
use crate::oauth::audience;
use crate::oauth::client_auth::{Authenticated, unknown};
use crate::tokens::Grant;

/// The grant's short name, which is also its `grant_type`.
pub const NAME: &str = "client_credentials";

/// What clients send for a tenant when their user named none.
const UNSET: &str = "default";

/// Decides for a client that has authenticated, or for a workload. Client authentication has left the workload's token
/// alone: it is no client's.
pub async fn redeem(request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    if let (None, Some(text)) = (request.client, request.params.get("client_assertion")) {
        let assertion = Assertion::parse(text, request.app.config.limits.token_bytes);
        let assertion = assertion.map_err(|_| unknown())?;
        return outside::redeem(request, NAME, "client_assertion", &assertion).await;
    }
    let why =
        "this grant needs client authentication; present a client_id and its secret, or a client_assertion";
    let known = request.client.ok_or_else(|| refuse(Kind::InvalidClient, why))?;
    let principal = principal(known);
    match decide(request, known) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

/// The client as the audit log names it.
pub fn principal(known: &Authenticated) -> Principal {
    Principal { tenant: known.client.tenant.clone(), kind: "client", id: known.client.client_id.clone() }
}

/// The same of one that may have no tenant, since a document describes it: then in that of what it presents.
pub fn principal_in(known: &Authenticated, tenant: &Tenant) -> Principal {
    let own = principal(known);
    if known.client.is_described() { Principal { tenant: tenant.clone(), ..own } } else { own }
}

fn decide(request: &Request<'_>, known: &Authenticated) -> Result<Grant> {
    if !known.proven {
        let why = "a public client can't use this grant: it has nothing to prove itself with";
        return Err(refuse(Kind::UnauthorizedClient, why));
    }
    check_tenant(request, known)?;
    if known.client.scopes.is_empty() {
        return Err(refuse(Kind::InvalidScope, "the client has no scopes, so none can be granted"));
    }
    // Neither bound to an identity nor named as one: there is nobody to issue a token for.
    let holding = known.holding.clone().ok_or_else(unknown)?;
    let ceiling = intersect([request.client_ceiling()].into_iter().chain(holding.ceilings()));
    Ok(Grant {
        scopes: narrow(&request.scopes, ceiling)?,
        audience: audience::granted(request, None)?,
        ..Grant::root(request.app, NAME, holding)
    })
}

/// The client tells its own tenant; a request that names another one is meant for a client of that name elsewhere.
fn check_tenant(request: &Request<'_>, known: &Authenticated) -> Result<()> {
    let tenant = &known.client.tenant;
    let named =
        |name: &str, own: &str| request.params.get(name).is_some_and(|value| value != own && value != UNSET);
    if named("account_id", &tenant.account_id) || named("project_id", &tenant.project_id) {
        return Err(unknown());
    }
    Ok(())
}
