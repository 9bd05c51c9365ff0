//! The `authorization_code` grant (RFC 6749 section 4.1.3, RFC 7636): a client redeems the code by which a person let it act
//! in their name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Denial, Ends, Principal, Request, check_some_left, client_credentials};
use crate::access;
use crate::access::scope::narrow_beside;
use crate::agents::Holding;
use crate::authorizations::{self, Code};
use crate::clients::{AUTHORIZATION_CODE, REFRESH_TOKEN, redirect_matches, redirect_same};
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::secret::{same, sha256};
use crate::oauth::audience;
use crate::oauth::client_auth::{Authenticated, used_before};
use crate::tokens::Grant;
use crate::tokens::refresh::Refresh;

/// The grant's short name, which is also its `grant_type`.
pub const NAME: &str = AUTHORIZATION_CODE;

/// How long a token lives that can't be refreshed, in seconds, if client and policies say nothing.
const UNREFRESHED: u32 = 24 * 3600;

/// Decides on a code. It is used up last, when the token is written.
pub async fn redeem(request: &Request<'_>) -> Result<(Grant, Principal), Denial> {
    let Request { app, params, from, now, .. } = *request;
    access::check_lockout(app, from.address, now)?;
    let presented = params.required("code")?;
    let why = "the parameter client_id is missing, and no client authenticated otherwise";
    let known = request.client.ok_or_else(|| refuse(Kind::InvalidRequest, why))?;
    let verifier = params.required("code_verifier")?;
    let redirect_uri = params.required("redirect_uri")?;
    let Some(code) = authorizations::code(app, presented).await? else {
        access::count_failure(app, from.address, now).await?;
        return Err(invalid().into());
    };
    let principal = client_credentials::principal_in(known, &code.person.tenant);
    if code.is_used {
        let denial = principal.denied(used_before(code.artefact.kind));
        return Err(Denial { ends: Some(Box::new(Ends::FirstUse(code.artefact))), ..denial });
    }
    match decide(request, known, code, verifier, redirect_uri) {
        Ok(grant) => Ok((grant, principal)),
        Err(error) => Err(principal.denied(error)),
    }
}

fn decide(
    request: &Request<'_>,
    known: &Authenticated,
    code: Code,
    verifier: &str,
    redirect_uri: &str,
) -> Result<Grant> {
    let decided = &code.decided;
    let client = &known.client;
    check(request, known, &code, verifier, redirect_uri)?;
    let beside = known.holding.as_ref().map(Holding::ceilings).into_iter().flatten();
    let layers = [Some(decided.scopes.clone()), request.client_ceiling()].into_iter().chain(beside);
    let scopes = narrow_beside(&request.scopes, None, layers)?;
    check_some_left(decided.scopes.as_slice(), &scopes)?;
    let refreshes = client.grant_types.iter().any(|grant| grant == REFRESH_TOKEN);
    let holding = known.holding.clone();
    let server = [request.app.config.issuer().to_owned()];
    let agreed = if decided.resources.is_empty() { &server[..] } else { &decided.resources };
    let audience = audience::granted(request, Some(agreed))?;
    let plain = Grant::of_person(request.app, NAME, code.person, holding);
    // The family keeps all that was agreed to, also where the first token is narrower.
    let refresh = Refresh::Begin {
        scopes: decided.scopes.clone(),
        audience: agreed.to_vec(),
        client_ttl: client.refresh_token_ttl,
    };
    Ok(Grant {
        audience,
        refresh: refreshes.then_some(refresh),
        scopes,
        consent_id: Some(code.consent_id),
        ttl_seconds: (!refreshes).then_some(UNREFRESHED),
        artefacts: vec![code.artefact],
        ..plain
    })
}

/// Whether the code is the client's, what it rests on still stands as it did, and whoever redeems it is the one who asked
/// for it.
fn check(
    request: &Request<'_>,
    known: &Authenticated,
    code: &Code,
    verifier: &str,
    redirect_uri: &str,
) -> Result<()> {
    let decided = &code.decided;
    let client = &known.client;
    let own = decided.client_id == client.client_id && decided.oauth_client_id == client.row();
    if !own || code.expires_at <= request.now {
        return Err(invalid());
    }
    let identity = known.holding.as_ref().map(|holding| (holding.holder.identity_id, holding.holder.epoch));
    let unchanged = decided.client_epoch == client.epoch
        && client.redirect_uris.iter().any(|uri| redirect_matches(uri, &decided.redirect_uri))
        && decided.identity == identity
        && code.person_epoch == code.person.epoch
        && code.consent_stands;
    if !unchanged {
        return Err(refuse(Kind::InvalidGrant, "what the code rests on has ended; ask the person again"));
    }
    if !redirect_same(&decided.redirect_uri, redirect_uri) {
        return Err(refuse(
            Kind::InvalidGrant,
            "the redirect_uri is not the one of the authorization request",
        ));
    }
    if !verifies(verifier, &decided.code_challenge) {
        return Err(refuse(Kind::InvalidGrant, "the code_verifier does not belong to the code_challenge"));
    }
    // RFC 9449 section 10.
    let proved = request.proof.map(|proof| proof.jkt.as_str());
    if decided.dpop_jkt.is_some() && decided.dpop_jkt.as_deref() != proved {
        let why = "the code is bound to a key by dpop_jkt; send a proof by it in the header DPoP";
        return Err(refuse(Kind::InvalidDpopProof, why));
    }
    Ok(())
}

/// RFC 7636 section 4.6, with the verifier's own form of section 4.1.
fn verifies(verifier: &str, challenge: &str) -> bool {
    let lawful = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    lawful && same(URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())).as_bytes(), challenge.as_bytes())
}

/// Unknown, expired and another client's codes are one answer.
fn invalid() -> Error {
    refuse(Kind::InvalidGrant, "the code is unknown, has expired or is another client's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7636_appendix_b() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(verifies("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge));
        for bad in ["", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK", challenge] {
            assert!(!verifies(bad, challenge), "{bad}");
        }
        let of = |verifier: &str| URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
        for (verifier, lawful) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("~".repeat(128), true),
            ("a".repeat(129), false),
        ] {
            assert_eq!(verifies(&verifier, &of(&verifier)), lawful, "{verifier}");
        }
        assert!(!verifies(&format!("{}+", "a".repeat(43)), &of(&format!("{}+", "a".repeat(43)))));
    }
}
