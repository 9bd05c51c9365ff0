//! DPoP at the token endpoint (RFC 9449 section 5) and for pushed requests (section 10.1): what a proof binds, and who must
//! send one.

use axum::http::request::Parts;

use super::client_auth::Authenticated;
use crate::access::possession::{self, Target};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::dpop::{HEADER, Proof};
use crate::kit::error::{Kind, Result, refuse};
use crate::tokens::Grant;

/// The proof of a token request, if it carries one. It is used up with the token that it binds, so a request that is
/// refused leaves it unused.
pub fn proof(app: &App, parts: &Parts, client: Option<&Authenticated>, now: Time) -> Result<Option<Proof>> {
    let proof = offered(app, parts, client, now)?;
    // RFC 9449 section 5.2.
    if client.is_some_and(|known| known.client.dpop.dpop_bound_access_tokens) && proof.is_none() {
        let why =
            "the client is registered for tokens that are bound to a key; send a proof in the header DPoP";
        return Err(refuse(Kind::InvalidDpopProof, why));
    }
    Ok(proof)
}

/// The proof of a request, if it carries one: with a nonce, where its client is registered for these.
pub fn offered(app: &App, parts: &Parts, client: Option<&Authenticated>, now: Time) -> Result<Option<Proof>> {
    // Most requests have none, and a target is costly to read.
    let proof = if parts.headers.contains_key(HEADER) {
        possession::proof(app, &parts.headers, &Target::of(app, parts), None, now)?
    } else {
        None
    };
    let is_required = client.is_some_and(|known| known.client.dpop.dpop_nonce_required);
    if is_required && proof.as_ref().is_some_and(|proof| proof.nonce.is_none()) {
        let why =
            "the client is registered for proofs with a nonce; repeat the one of this answer's DPoP-Nonce";
        return Err(refuse(Kind::UseDpopNonce, why));
    }
    Ok(proof)
}

/// Binds the grant's token to the key that was proved.
pub fn bind(grant: &mut Grant, proof: Option<&Proof>) {
    let Some(proof) = proof else { return };
    grant.jkt = Some(proof.jkt.clone());
    grant.artefacts.push(possession::artefact(proof));
}
