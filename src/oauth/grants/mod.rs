//! Grants, a file each: evidence in, a decision out. A grant neither signs nor writes.
pub mod api_key;
pub mod authorization_code;
pub mod client_credentials;
pub mod jwt_bearer;
pub mod outside;
pub mod refresh_token;
pub mod token_exchange;

use uuid::Uuid;

use super::client_auth::Authenticated;
use super::params::Params;
use crate::access::scope::{Ceiling, Scopes, narrow_beside};
use crate::agents::Holding;
use crate::kit::app::App;
use crate::kit::assertion::{Assertion, Expected, Flaw, Key, NOT_SIGNED};
use crate::kit::clock::Time;
use crate::kit::cx::{Origin, Tenant};
use crate::kit::dpop::Proof;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::oauth::client_auth::LONGEST;
use crate::tokens::ledger::Artefact;

/// A request at the token endpoint, its client authenticated if it names one.
pub struct Request<'a> {
    /// The server.
    pub app: &'a App,
    /// What was sent.
    pub params: &'a Params,
    /// The scopes that were asked for.
    pub scopes: Scopes,
    /// The client, if one is named.
    pub client: Option<&'a Authenticated>,
    /// The proof of the key to which the token will be bound, if there is one.
    pub proof: Option<&'a Proof>,
    /// Whether it is decided anew, since another spent its refresh token first.
    pub repeated: bool,
    /// From where it came.
    pub from: &'a Origin,
    /// When.
    pub now: Time,
}

/// A refusal on the token path, with the principal if one was recognised by then.
#[derive(Debug)]
pub struct Denial {
    /// Why.
    pub error: Error,
    /// Who, for the audit log.
    pub principal: Option<Box<Principal>>,
    /// What ends with it.
    pub ends: Option<Box<Ends>>,
}

/// What a refusal ends, in its own transaction.
#[derive(Clone, Debug)]
pub enum Ends {
    /// A refresh family, of which a spent token came again.
    Family(Uuid),
    /// What the first use of this obtained.
    FirstUse(Artefact),
}

/// Who asked for a token.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose log it goes to.
    pub tenant: Tenant,
    /// `agent`, `api_key` or `client`.
    pub kind: &'static str,
    /// The id of that kind.
    pub id: String,
}

impl From<Error> for Denial {
    fn from(error: Error) -> Self {
        Self { error, principal: None, ends: None }
    }
}

impl Principal {
    /// A refusal of this principal.
    pub fn denied(self, error: Error) -> Denial {
        Denial { error, principal: Some(Box::new(self)), ends: None }
    }
}

impl Request<'_> {
    /// What the client may obtain at the most; a request that names none is not limited by it.
    pub fn client_ceiling(&self) -> Ceiling {
        self.client.and_then(|known| known.client.ceiling())
    }

    /// What is granted of the request under `own`, the ceiling of whoever presents the grant. A client beside him narrows
    /// it and adds nothing: a reserved scope must stand in his own.
    pub fn narrow(&self, own: Ceiling) -> Result<Scopes> {
        narrow_beside(&self.scopes, own, [self.client_ceiling()])
    }
}

/// Refuses a token of which nothing is left: what client, identity or policy have lost since is not granted.
fn check_some_left(granted: &[String], left: &Scopes) -> Result<()> {
    if !granted.is_empty() && left.is_empty() {
        let why = "of the scopes that were granted none may be granted any more";
        return Err(refuse(Kind::InvalidScope, why));
    }
    Ok(())
}

/// The kind under which assertions of agents are used up, wherever they are accepted.
pub const ASSERTION: &str = "assertion";

/// Verifies an assertion that an agent signed for itself (RFC 7523 section 3): issuer and subject are its URI.
pub fn verify_assertion(
    request: &Request<'_>,
    assertion: &Assertion<'_>,
    holding: Option<&Holding>,
) -> Result<Artefact, Flaw> {
    let holding = holding.ok_or(NOT_SIGNED)?;
    let key = holding.public_key_pem.as_deref().ok_or(NOT_SIGNED).and_then(Key::from_pem);
    let expected = Expected { audience: request.app.config.issuer(), longest: LONGEST, now: request.now };
    let once = assertion.verify(&[key.map_err(|_| NOT_SIGNED)?], &expected)?;
    let claims = assertion.unverified();
    let uri = Some(holding.holder.wimse_uri.as_str());
    if claims.iss.as_deref() != uri || claims.sub.as_deref() != uri {
        return Err(Flaw("its iss and sub are not the agent's URI"));
    }
    Ok(Artefact { kind: ASSERTION, key: once.key, until: once.until })
}

/// The refusal of an assertion or actor token.
pub fn flawed(what: &str, flaw: Flaw) -> Error {
    refuse(Kind::InvalidGrant, format!("the {what} is not accepted: {flaw}"))
}
