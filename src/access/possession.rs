//! Possession: whether whoever presents a token holds the key that it is bound to (RFC 9449 section 7), and the proofs of
//! requests that ask for one.

use axum::extract::OriginalUri;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::bearer::{Presented, Scheme};
use super::{open, origin};
use crate::audit::{Entry, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::kit::dpop::{self, Expected, Proof, address};
use crate::kit::error::{Error, Kind, Refused, Result, refuse};
use crate::kit::http::trace::peer;
use crate::kit::ids;
use crate::tokens::ledger::{Artefact, Record};
use crate::tokens::{self, Found};

/// The kind under which proofs are used up, wherever they are accepted.
pub const PROOF: &str = "dpop_proof";

/// What a request asks of whom: its method, and the addresses under which it may have been sent.
#[derive(Clone, Debug)]
pub struct Target {
    method: String,
    addresses: Vec<String>,
}

impl Target {
    /// Of the request itself: the path as it came, at the issuer's origin. What a proxy in front calls this server is not
    /// asked. In development it may also be sent to any loopback name.
    pub fn of(app: &App, parts: &Parts) -> Self {
        let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.path());
        let mut addresses: Vec<String> =
            address(&format!("{}{path}", app.config.issuer())).into_iter().collect();
        if app.config.is_development()
            && open::is_loopback_host(parts)
            && let Some(host) = one(&parts.headers, header::HOST.as_str())
        {
            addresses.extend(address(&format!("http://{host}{path}")));
        }
        Self { method: parts.method.to_string(), addresses }
    }

    /// Of the request about which a trusted proxy asks, as it tells it; `None` when anybody else does, or not all is told.
    pub fn forwarded(app: &App, parts: &Parts) -> Option<Self> {
        let peer = peer(&parts.extensions)?;
        if !app.config.trusted_proxies.contains(peer) {
            return None;
        }
        let told = |name| one(&parts.headers, name);
        let (proto, host) = (told("x-forwarded-proto")?, told("x-forwarded-host")?);
        let (method, path) = (told("x-forwarded-method")?, told("x-forwarded-uri")?);
        let origin = address(&format!("{proto}://{host}"))?;
        if !path.starts_with('/') || origin.matches('/').count() != 3 {
            return None;
        }
        let address = address(&format!("{}{path}", origin.trim_end_matches('/')))?;
        Some(Self { method: method.to_owned(), addresses: vec![address] })
    }
}

/// A header that stands once and is plain text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// The proof that a request carries, checked but not used up; `None` where it carries none.
pub fn proof(
    app: &App,
    headers: &HeaderMap,
    target: &Target,
    access_token: Option<&str>,
    now: Time,
) -> Result<Option<Proof>> {
    let flawed = |flaw| refuse(Kind::InvalidDpopProof, format!("the DPoP proof is not accepted: {flaw}"));
    let Some(text) = dpop::carried(headers).map_err(flawed)? else { return Ok(None) };
    let Target { method, addresses } = target;
    let expected = Expected { method, addresses, access_token, now };
    let proof = dpop::verify(text, app.config.limits.token_bytes, &expected).map_err(flawed)?;
    // A client that sends one knows how to try again (RFC 9449 section 8); no other is ever asked.
    if proof.nonce.as_deref().is_some_and(|nonce| !app.keys.knows_nonce(nonce, now)) {
        let why =
            "the nonce of the DPoP proof is not known or too old; take the one of this answer's DPoP-Nonce";
        return Err(refuse(Kind::UseDpopNonce, why));
    }
    Ok(Some(proof))
}

/// What of a proof works once.
pub fn artefact(proof: &Proof) -> Artefact {
    Artefact { kind: PROOF, key: proof.once.key, until: proof.once.until }
}

/// The refusal of a proof that comes again.
pub fn used_before() -> Error {
    refuse(Kind::InvalidDpopProof, "the DPoP proof was used before; sign a new one for every request")
}

/// A token of ours that a request presents.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// As it came.
    pub presented: &'a Presented<'a>,
    /// What is known of it.
    pub found: &'a Found,
}

/// Whether the token is presented as it was issued: a bound one under the scheme DPoP with a proof by its key, any other
/// as a bearer. Somebody who fails with a bound token may have stolen it, so that leaves a row in the audit log.
pub async fn check(
    app: &App,
    parts: &Parts,
    target: Option<&Target>,
    shown: Shown<'_>,
    now: Time,
) -> Result<()> {
    match (shown.presented.scheme, &shown.found.jkt) {
        (Scheme::Bearer, None) => return Ok(()),
        (Scheme::Dpop, None) => {
            let why = "the token is not bound to a key; present it as Authorization: Bearer TOKEN";
            return Err(refuse(Kind::InvalidToken, why));
        }
        (_, Some(_)) => {}
    }
    let outcome = prove(app, parts, target, shown, now).await;
    if let Err(Error::Refused(refused)) = &outcome
        && refused.kind == Kind::InvalidDpopProof
    {
        app.write(Record::Refusal(refusal(parts, shown.found, refused, now)?)).await?;
    }
    outcome
}

async fn prove(app: &App, parts: &Parts, target: Option<&Target>, shown: Shown<'_>, now: Time) -> Result<()> {
    let unproven = |why: &'static str| refuse(Kind::InvalidDpopProof, why);
    if shown.presented.scheme != Scheme::Dpop {
        return Err(unproven(
            "the token is bound to a key; present it as Authorization: DPoP TOKEN, with a proof in the header DPoP",
        ));
    }
    let untold = "the token is bound to a key, and no trusted proxy tells which request it came with: it forwards \
                  X-Forwarded-Method, -Proto, -Host and -Uri, and stands in trusted_proxies";
    let target = target.ok_or_else(|| unproven(untold))?;
    let proof = proof(app, &parts.headers, target, Some(shown.presented.token), now)?;
    let proof =
        proof.ok_or_else(|| unproven("the token is bound to a key; send a proof in the header DPoP"))?;
    if shown.found.jkt.as_deref() != Some(&proof.jkt) {
        return Err(unproven("the DPoP proof is not by the key that the token is bound to"));
    }
    let mut db = app.connection().await?;
    if tokens::use_once(&mut db, ids::new(now)?, &artefact(&proof)).await? {
        Ok(())
    } else {
        Err(used_before())
    }
}

fn refusal(parts: &Parts, found: &Found, refused: &Refused, now: Time) -> Result<Entry> {
    Ok(Entry {
        id: ids::new(now)?,
        tenant: Tenant { account_id: found.account_id.clone(), project_id: found.project_id.clone() },
        occurred_at: now,
        event: Event::new("token.unproven", "credential", found.jti),
        actor: (if found.identity_id.is_some() { "agent" } else { "person" }, found.presenter.clone()),
        refused: Some(refused.why.to_string()),
        origin: origin(parts),
    })
}
