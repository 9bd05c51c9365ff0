//! The jwt-bearer grant (RFC 7523): an agent obtains a token of its own with an assertion that its registered key signed,
//! or that a trusted issuer signed for it.

use super::{Denial, Principal, Request, flawed, outside, verify_assertion};
use crate::access;
use crate::access::scope::intersect;
use crate::agents::Holding;
use crate::issuers;
use crate::kit::assertion::Assertion;
use crate::kit::error::{Kind, Result, refuse};
use crate::oauth::audience;
use crate::tokens::Grant;
use crate::tokens::ledger::Artefact;

/// The grant's `grant_type`.
pub const URN: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The grant's short name.
pub const NAME: &str = "jwt_bearer";

/// Decides on an assertion, in `assertion` or in its older name `subject`. The agent's URI tells its tenant.
pub async fn redeem(request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    let Request { app, params, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let text = match params.get("assertion") {
        Some(text) => text,
        None => params.get("subject").map_or_else(|| params.required("assertion"), Ok)?,
    };
    let assertion = Assertion::parse(text, app.config.limits.token_bytes);
    let assertion = assertion.map_err(|flaw| flawed("assertion", flaw))?;
    let uri = assertion.unverified().iss.as_deref().unwrap_or_default();
    if issuers::is_foreign(app, uri) {
        return outside::redeem(request, NAME, "assertion", &assertion).await;
    }
    let holding = app.find_holding(uri.to_owned()).await?;
    let artefact = match verify_assertion(request, &assertion, holding.as_ref()) {
        Ok(artefact) => artefact,
        Err(flaw) => {
            access::count_failure(app, from.address, now).await?;
            return Err(flawed("assertion", flaw).into());
        }
    };
    let holding = holding.ok_or_else(|| refuse(Kind::InvalidGrant, "unknown agent"))?;
    let principal = Principal { tenant: holding.tenant.clone(), kind: "agent", id: uri.to_owned() };
    match decide(request, holding, artefact) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

fn decide(request: &Request<'_>, holding: Holding, artefact: Artefact) -> Result<Grant> {
    Ok(Grant {
        scopes: request.narrow(intersect(holding.ceilings()))?,
        audience: audience::granted(request, None)?,
        artefacts: vec![artefact],
        ..Grant::root(request.app, NAME, holding)
    })
}
