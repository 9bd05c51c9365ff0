//! An agent registers or replaces its own key: it proves possession of the new one and, where it has one, of the current
//! one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::PublicKey;
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use serde::Deserialize;
use time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::Agent;
use super::{ceiling, check_takeover, get, lifecycle, lock, public_key, store};
use crate::kit::app::App;
use crate::kit::assertion::{Assertion, Expected, Flaw, Key};
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::{ids, secret};
use crate::signals::{self, Lifecycle};
use crate::tokens::ledger::{self, Artefact, Outcome};

/// The path of the enrolment, which is part of the proofs' audience.
pub const PATH: &str = "/agents/self/public-key";

/// Longest life of a proof.
const LONGEST: Duration = Duration::seconds(120);

/// The kind under which proofs are used up.
const PROOF: &str = "key_proof";

/// A key to be registered, with its proofs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = KeyEnrolment)]
pub struct Enrolment {
    /// A P-256 key as SPKI PEM.
    #[schema(min_length = 1)]
    pub new_public_key_pem: String,
    /// A JWT that the new key signed.
    #[schema(min_length = 1)]
    pub new_key_proof: String,
    /// A JWT that the current key signed and that names the new one in `nkt`; needed when there is a current key.
    #[serde(default)]
    pub current_key_proof: Option<String>,
}

/// Registers the key. Proofs work once; the tokens that the agent holds live on.
pub async fn enrol(app: &App, cx: &mut Cx, id: Uuid, new: Enrolment) -> Result<Agent> {
    let agent = lock(cx, id).await?;
    lifecycle::usable(agent.status, agent.expires_at, cx.now).map_err(not_usable)?;
    let pem = new.new_public_key_pem.as_str();
    let key = public_key::parse(pem).map_err(|_| bad_key())?;
    let mut artefacts = vec![prove(app, cx, &agent, (&new.new_key_proof, pem), None)?];
    match store::public_key(cx, id).await? {
        Some(current) => {
            let why = "the agent has a key: send current_key_proof, signed by it";
            let proof = new.current_key_proof.as_deref().filter(|proof| !proof.is_empty());
            let proof = proof.ok_or_else(|| refuse(Kind::Forbidden, why))?;
            artefacts.push(prove(app, cx, &agent, (proof, &current), Some(&digest(pem)?))?);
        }
        // Nothing but the token stands for the agent here, and the key will obtain all that the agent may.
        None => {
            let own = ceiling(cx, &agent).await?;
            check_takeover(cx, "header.authorization", own, None)?;
        }
    }
    let used = ledger::use_up(&mut cx.tx, &[(ids::new(cx.now)?, &artefacts)]).await?;
    if used != [Outcome::Written] {
        return Err(refuse(Kind::Forbidden, "a key proof was used before; sign new ones"));
    }
    store::set_public_key(cx, id, &key).await?;
    signals::tell(cx, id, Lifecycle::KeyChanged("public_key")).await?;
    get(cx, id).await
}

/// Verifies a proof by the key in `by.1`; `next` is the digest of the new key that it must name.
fn prove(app: &App, cx: &Cx, agent: &Agent, by: (&str, &str), next: Option<&str>) -> Result<Artefact> {
    let (proof, pem) = by;
    let refused = |flaw: Flaw| refuse(Kind::Forbidden, format!("a key proof is not accepted: {flaw}"));
    let assertion = Assertion::parse(proof, app.config.limits.token_bytes).map_err(refused)?;
    let audience = format!("{}{PATH}", app.config.issuer());
    let expected = Expected { audience: &audience, longest: LONGEST, now: cx.now };
    let once = assertion.verify(&[Key::from_pem(pem).map_err(refused)?], &expected).map_err(refused)?;
    let claims = assertion.unverified();
    if claims.sub.as_deref() != Some(&agent.wimse_uri) {
        return Err(refused(Flaw("its sub is not the agent's URI")));
    }
    if next.is_some() && claims.nkt.as_deref() != next {
        return Err(refused(Flaw("its nkt is not the digest of the new key")));
    }
    Ok(Artefact { kind: PROOF, key: once.key, until: once.until })
}

/// SHA-256 over the key's SubjectPublicKeyInfo, as `nkt` holds it.
fn digest(pem: &str) -> Result<String> {
    let key = PublicKey::from_public_key_pem(pem.trim()).map_err(|_| bad_key())?;
    let der = key.to_public_key_der().map_err(|_| bad_key())?;
    Ok(URL_SAFE_NO_PAD.encode(secret::sha256(der.as_bytes())))
}

fn bad_key() -> Error {
    let why = "new_public_key_pem is not a P-256 key in SPKI PEM (-----BEGIN PUBLIC KEY-----)";
    refuse_at(Kind::InvalidRequest, why, "body.new_public_key_pem", "")
}

/// To an agent that asks for itself, its state is a fault of the request.
fn not_usable(error: Error) -> Error {
    match error {
        Error::Refused(refused) => refuse(Kind::InvalidRequest, refused.why),
        fault @ Error::Fault(_) => fault,
    }
}
