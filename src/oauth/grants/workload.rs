//! A workload with a token that a trusted issuer signed for it: instead of a client's credentials in `client_credentials`
//! (RFC 7523 section 2.2), or as the assertion of jwt-bearer (section 2.1). It obtains a token of the agent to which its
//! subject is linked.

use super::{Denial, Principal, Request, flawed};
use crate::access;
use crate::access::scope::intersect;
use crate::issuers::{self, Workload};
use crate::kit::assertion::{Assertion, Flaw};
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::audience;
use crate::tokens::{Grant, Outside};

/// Decides on a workload's token, which stood in the parameter `parameter`.
pub async fn redeem(
    request: &Request<'_>,
    grant_type: &'static str,
    parameter: &str,
    assertion: &Assertion<'_>,
) -> Result<(Grant, Principal), Denial> {
    let Request { app, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let workload = match issuers::workload(app, assertion, now).await? {
        Ok(workload) => workload,
        Err(flaw) => {
            access::count_failure(app, from.address, now).await?;
            return Err(not_accepted(parameter, flaw).into());
        }
    };
    let holding = &workload.holding;
    let principal =
        Principal { tenant: holding.tenant.clone(), kind: "agent", id: holding.holder.wimse_uri.clone() };
    match decide(request, grant_type, workload) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

fn decide(request: &Request<'_>, grant_type: &'static str, workload: Workload) -> Result<Grant> {
    let Workload { issuer_id, subject, holding, artefact } = workload;
    Ok(Grant {
        scopes: request.narrow(intersect(holding.ceilings()))?,
        audience: audience::granted(request, None)?,
        outside: Some(Outside { issuer_id, subject }),
        artefacts: vec![artefact],
        ..Grant::root(request.app, grant_type, holding)
    })
}

/// In the place of a client's credentials it is a client that did not authenticate (RFC 7521 section 4.2.1).
fn not_accepted(parameter: &str, flaw: Flaw) -> Error {
    match parameter {
        "client_assertion" => {
            refuse(Kind::InvalidClient, format!("the client_assertion is not accepted: {flaw}"))
        }
        other => flawed(other, flaw),
    }
}
