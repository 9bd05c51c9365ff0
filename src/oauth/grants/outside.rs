//! Whoever comes with a token that a trusted issuer signed: instead of a client's credentials in `client_credentials` (RFC
//! 7523 section 2.2), as the assertion of jwt-bearer (section 2.1), or as the subject token of an exchange (RFC 8693
//! section 2.1). A workload obtains a token of the agent to which its subject is linked. With a person's token a client to
//! which that person agreed obtains one in their name, by exchange alone.

use super::{Decision, Principal, Request, client_credentials, flawed, token_exchange};
use crate::access;
use crate::access::scope::{Scopes, intersect, narrow_beside};
use crate::agents::Holding;
use crate::authorizations::{self, Between, Consent};
use crate::issuers::{self, Vouched, Who};
use crate::kit::assertion::{Assertion, Flaw};
use crate::kit::config::Profile;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::audience;
use crate::oauth::client_auth::Authenticated;
use crate::tokens::{Grant, Outside};
use crate::users::Person;

/// Decides on a token from outside, which stood in the parameter `parameter`.
pub async fn redeem(
    request: &Request<'_>,
    grant_type: &'static str,
    parameter: &str,
    assertion: &Assertion<'_>,
) -> Decision {
    let Request { app, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let vouched = match issuers::verify(app, assertion, now).await? {
        Ok(Vouched { who: Who::Person(_), .. }) if grant_type != token_exchange::NAME => {
            Err(Flaw("its sub is linked to a person, and a client acts in a person's name by token exchange"))
        }
        outcome => outcome,
    };
    let vouched = match vouched {
        Ok(vouched) => vouched,
        Err(flaw) => {
            access::count_failure(app, from.address, now).await?;
            return Err(not_accepted(parameter, flaw).into());
        }
    };
    let (principal, outcome) = match vouched.who.clone() {
        Who::Agent(holding) => {
            let (tenant, id) = (holding.tenant.clone(), holding.holder.wimse_uri.clone());
            (Principal { tenant, kind: "agent", id }, of_agent(request, grant_type, *holding))
        }
        Who::Person(person) => {
            let known = acting(request)?;
            let may_act = assertion.claim("may_act");
            let named = token_exchange::is_named(may_act.as_ref(), &token_exchange::client_names(known));
            let outcome = match named {
                Ok(_) => of_person(request, grant_type, known, person).await,
                Err(error) => Err(error),
            };
            (client_credentials::principal(known), outcome)
        }
    };
    let bound = outcome.and_then(|grant| possess(request, &vouched).map(|()| grant));
    match bound {
        Ok(grant) => Ok((Box::new(on(grant, vouched)), principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

/// The grant, resting on the link and using the token up.
fn on(grant: Grant, vouched: Vouched) -> Grant {
    let Vouched { issuer_id, subject, link, artefact, .. } = vouched;
    Grant {
        outside: Some(Outside { issuer_id, subject }),
        linked_subject: Some(link),
        artefacts: vec![artefact],
        ..grant
    }
}

/// A workload's own token. By exchange nothing is granted by default, and a client beside it is its own.
fn of_agent(request: &Request<'_>, grant_type: &'static str, holding: Holding) -> Result<Grant> {
    let scopes = request.narrow(intersect(holding.ceilings()))?;
    if grant_type == token_exchange::NAME {
        token_exchange::check_own(request.client, &holding, "the subject_token is not of the agent")?;
        token_exchange::check_scopes(&request.scopes, &scopes)?;
    }
    Ok(Grant {
        scopes,
        audience: audience::granted(request, None)?,
        ..Grant::root(request.app, grant_type, holding)
    })
}

/// The client that acts in a person's name.
fn acting<'a>(request: &Request<'a>) -> Result<&'a Authenticated> {
    let why = "the subject_token is a person's; the client that acts in their name has to authenticate";
    request.client.filter(|known| known.proven).ok_or_else(|| refuse(Kind::InvalidRequest, why))
}

/// In a person's name, with no more than they agreed to for this client, as by a code.
async fn of_person(
    request: &Request<'_>,
    grant_type: &'static str,
    known: &Authenticated,
    person: Person,
) -> Result<Grant> {
    let client = &known.client;
    let why = "the client is bound to no agent that could act";
    let holding = known.holding.clone().ok_or_else(|| refuse(Kind::UnauthorizedClient, why))?;
    let between =
        Between { person: person.id, oauth_client_id: Some(client.id), client_id: &client.client_id };
    let consent = authorizations::consent_of(request.app, &person.tenant, between).await?;
    let why =
        "the person has not agreed that this client acts in their name; ask them by an authorization request";
    let Consent { id, scopes, resources, .. } = consent.ok_or_else(|| refuse(Kind::Forbidden, why))?;
    let layers = [Some(Scopes::stored(scopes)), request.client_ceiling()];
    let scopes = narrow_beside(&request.scopes, None, layers.into_iter().chain(holding.ceilings()))?;
    if scopes.is_empty() {
        let why = "the person has agreed to none of these scopes for this client, or the client or its agent may not \
                   hold them";
        return Err(refuse(Kind::InvalidScope, why));
    }
    let server = [request.app.config.issuer().to_owned()];
    let agreed = if resources.is_empty() { &server[..] } else { &resources };
    Ok(Grant {
        scopes,
        audience: audience::granted(request, Some(agreed))?,
        consent_id: Some(id),
        profile: Profile::Rfc8693,
        ..Grant::of_person(request.app, grant_type, person, Some(holding))
    })
}

/// A token that is bound to a key is of use only to whoever proves that key.
fn possess(request: &Request<'_>, vouched: &Vouched) -> Result<()> {
    if vouched.jkt.is_none() || vouched.jkt.as_deref() == request.proof.map(|proof| proof.jkt.as_str()) {
        return Ok(());
    }
    let why = "the token is bound to a key; send a proof by it in the header DPoP";
    Err(refuse(Kind::InvalidDpopProof, why))
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
