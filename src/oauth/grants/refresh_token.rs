//! The `refresh_token` grant (RFC 6749 section 6): a refresh token is spent for an access token and its successor.

use super::{Denial, Ends, Principal, Request, check_some_left, client_credentials};
use crate::access;
use crate::access::scope::{Scopes, narrow_beside};
use crate::agents::Holding;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::audience;
use crate::oauth::client_auth::{self, Authenticated};
use crate::oauth::params::Params;
use crate::tokens::refresh::{self, Family, Found, Refresh, Rotation, Verdict};
use crate::tokens::{self, Grant};

/// The grant's short name, which is also its `grant_type`.
pub const NAME: &str = "refresh_token";

/// The client of a request that names none: the token tells whose it is, which is enough where that one is public.
pub async fn client(app: &App, params: &Params, from: &Origin, now: Time) -> Result<Option<Authenticated>> {
    access::check_lockout(app, from.address, now)?;
    let Some(text) = params.get("refresh_token") else { return Ok(None) };
    let Some(found) = refresh::find(app, text).await? else { return Ok(None) };
    client_auth::by_name(app, found.family.client_id, params, from, now).await.map(Some)
}

/// Decides on a refresh token. Tenant members of the request are ignored: the token tells its own.
pub async fn redeem(request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    let Request { app, params, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let text = params.required("refresh_token")?;
    let found = refresh::find(app, text).await?;
    let (Some(found), Some(known)) = (found, request.client) else {
        access::count_failure(app, from.address, now).await?;
        return Err(invalid().into());
    };
    let principal = client_credentials::principal_in(known, &found.family.tenant);
    // RFC 6749 section 6: it is bound to the client to which it was issued.
    if !known.owns(&found.family) {
        return Err(principal.denied(invalid()));
    }
    match decide(request, known, &found) {
        Ok(Decision::Grant(grant)) => Ok((*grant, principal)),
        Ok(Decision::EndFamily) => {
            Err(Denial { ends: Some(Box::new(Ends::Family(found.family.id))), ..principal.denied(reused()) })
        }
        Err(error) => Err(principal.denied(error)),
    }
}

enum Decision {
    Grant(Box<Grant>),
    /// The token was spent too long ago: two hold it.
    EndFamily,
}

/// Everything is asked that a first grant is asked. What refuses for another reason than reuse spends nothing and ends
/// nothing, so it stands before that.
fn decide(request: &Request<'_>, known: &Authenticated, found: &Found) -> Result<Decision> {
    let family = &found.family;
    if !found.is_live(request.now) || family.client_epoch != known.client.epoch {
        return Err(invalid());
    }
    check_key(request, family)?;
    let holding = holding(known, family)?;
    let grant = grant(request, family, holding)?;
    let client_ttl = known.client.refresh_token_ttl;
    let reuse = known.client.refresh_token_reuse;
    let (family_id, mission_id) = (family.id, family.mission_id);
    let Some(spent) = &found.spent else {
        let rotation = Rotation {
            family_id,
            mission_id,
            family_expires_at: family.expires_at,
            spent: found.id,
            client_ttl,
            keep: reuse == refresh::Reuse::Reissue,
        };
        let artefacts = vec![found.artefact()];
        let refresh = Some(Refresh::Rotate(rotation));
        return Ok(Decision::Grant(Box::new(Grant { artefacts, refresh, ..grant })));
    };
    tokens::check(&grant, request.now)?;
    match reuse.judge(spent.at, spent.successor_used, request.now) {
        Verdict::EndFamily => Ok(Decision::EndFamily),
        Verdict::Refuse => Err(spent_before()),
        Verdict::Again => {
            let successor = found.successor(request.app)?.ok_or_else(spent_before)?;
            let refresh = Some(Refresh::Again { family_id, mission_id, successor });
            Ok(Decision::Grant(Box::new(Grant { refresh, ..grant })))
        }
    }
}

/// RFC 9449 section 5: what was bound to a key when it was issued is refreshed with a proof by that key.
fn check_key(request: &Request<'_>, family: &Family) -> Result<()> {
    let Some(jkt) = &family.jkt else { return Ok(()) };
    if request.proof.is_some_and(|proof| proof.jkt == *jkt) {
        return Ok(());
    }
    let why = "the refresh token is bound to a key; send a proof by it in the header DPoP";
    Err(refuse(Kind::InvalidDpopProof, why))
}

/// The identity that held the first token holds the next one. A client that stood for none may stand for one by now.
fn holding(known: &Authenticated, family: &Family) -> Result<Option<Holding>> {
    let now = known.holding.as_ref().map(|holding| (holding.holder.identity_id, holding.holder.epoch));
    if family.identity.is_some() && family.identity != now {
        return Err(invalid());
    }
    Ok(known.holding.clone())
}

fn grant(request: &Request<'_>, family: &Family, holding: Option<Holding>) -> Result<Grant> {
    let scopes = scopes(request, family, holding.as_ref())?;
    let audience = audience::granted(request, Some(&family.audience))?;
    let base = match (&family.person, holding) {
        (Some(person), holding) => Grant::of_person(request.app, NAME, person.clone(), holding),
        (None, Some(holding)) => Grant::root(request.app, NAME, holding),
        (None, None) => return Err(invalid()),
    };
    let jkt = request.proof.map(|proof| proof.jkt.clone());
    Ok(Grant { scopes, audience, consent_id: family.consent_id, jkt, profile: family.profile, ..base })
}

/// Never more than was granted (RFC 6749 section 6), and without what client, identity or policy have lost since. What a
/// narrower request left out may be asked for again.
fn scopes(request: &Request<'_>, family: &Family, holding: Option<&Holding>) -> Result<Scopes> {
    let granted = Scopes::stored(family.scopes.clone());
    if request.scopes.iter().any(|scope| !granted.contains(scope)) {
        let why =
            "a scope was asked for that the refresh token was not granted; leave scope out for all of them";
        return Err(refuse(Kind::InvalidScope, why));
    }
    let layers = holding.iter().flat_map(|holding| holding.ceilings()).chain([request.client_ceiling()]);
    let scopes = narrow_beside(&request.scopes, Some(granted), layers)?;
    check_some_left(&family.scopes, &scopes)?;
    Ok(scopes)
}

/// Unknown, expired, revoked and another client's tokens are one answer.
fn invalid() -> Error {
    refuse(Kind::InvalidGrant, "the refresh token is unknown, expired or revoked")
}

/// Told of one that was spent a moment ago: nothing else happens.
fn spent_before() -> Error {
    refuse(
        Kind::InvalidGrant,
        "the refresh token was used before; use the one that came with the last answer",
    )
}

fn reused() -> Error {
    let why = "the refresh token was used before, so all tokens of its grant have ended; ask for a new grant";
    refuse(Kind::InvalidGrant, why)
}
