//! What a client asks for at the authorization endpoint: first whether client and redirect URI are good, then the rest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::access::scope::{Scopes, narrow_beside};
use crate::agents::Holding;
use crate::audit::Event;
use crate::authorizations::{self, Between, Decided, URN};
use crate::clients::{self, AUTHORIZATION_CODE, Evidence, redirect_matches};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::{Kind, Result, refuse};
use crate::oauth::audience;
use crate::oauth::client_auth::unknown;
use crate::oauth::params::Params;
use crate::tokens::ledger::Artefact;
use crate::users::Person;

/// The parameters of an authorization request that mean something here; others are ignored.
pub const PARAMETERS: [&str; 10] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "dpop_jkt",
];

/// The longest `state` and redirect URI that are carried around.
const CARRIED: usize = 4096;

/// A request as the client made it, here or beforehand.
pub struct Asked {
    /// Its parameters.
    pub params: Params,
    /// What is used up by answering it, if it was pushed.
    pub artefact: Option<Artefact>,
    /// By which the consent page names it.
    pub form: String,
}

/// Where the answer may go.
pub struct Target {
    /// The client.
    pub evidence: Evidence,
    /// Where codes go, as the client wrote it.
    pub redirect_uri: String,
    /// What comes back with the answer.
    pub state: Option<String>,
    /// Whether errors may go there too. Nobody vouches for a client that describes itself, so they do not.
    pub takes_errors: bool,
}

/// What is asked for, readable and lawful.
pub struct Wanted {
    scopes: Scopes,
    resources: Vec<String>,
    code_challenge: String,
    dpop_jkt: Option<String>,
}

impl Asked {
    /// Reads a request. What was pushed stands alone: nothing beside its name counts (RFC 9126 section 4).
    pub async fn read(app: &App, params: &Params, now: Time) -> Result<Self> {
        if params.get("client_secret").or(params.get("client_assertion")).is_some() {
            return Err(refuse(
                Kind::InvalidRequest,
                "no credential belongs here; leave it out, and replace it",
            ));
        }
        if params.get("request").is_some() {
            return Err(refuse(
                Kind::InvalidRequest,
                "the parameter request is not supported; push the request",
            ));
        }
        let Some(uri) = params.get("request_uri") else {
            return Ok(Self {
                params: params.only(&PARAMETERS),
                artefact: None,
                form: params.form(&PARAMETERS),
            });
        };
        let client_id = params.required("client_id")?;
        let stale = || {
            let why = "the request_uri is unknown, was used before, or has expired; push the request again";
            refuse(Kind::InvalidRequest, why)
        };
        let pushed = if uri.starts_with(URN) { authorizations::pushed(app, uri, now).await? } else { None };
        let pushed = pushed.filter(|pushed| pushed.client_id == client_id).ok_or_else(stale)?;
        let form = params.form(&["client_id", "request_uri"]);
        let params = Params::from_query(&pushed.parameters, &app.config.limits)?;
        Ok(Self { params, artefact: Some(pushed.artefact), form })
    }
}

impl Target {
    /// Whether this person may be asked: one of the client's tenant. A client that a document describes has none, so the
    /// person brings it.
    pub fn is_for(&self, person: &Person) -> bool {
        let client = &self.evidence.client;
        client.is_described() || client.tenant == person.tenant
    }

    /// Whose consent it is: this person's for the client.
    pub fn between(&self, person: &Person) -> Between<'_> {
        let client = &self.evidence.client;
        Between { person: person.id, oauth_client_id: client.row(), client_id: &client.client_id }
    }

    /// By which the audit log names the client: its row or, where it has none, its name.
    pub fn logged_as(&self) -> String {
        let client = &self.evidence.client;
        client.row().map_or_else(|| client.client_id.clone(), |row| row.to_string())
    }

    /// What the audit log says of a refusal, once the person is known.
    pub fn refused(&self) -> Event {
        let facts = json!({ "client_id": self.evidence.client.client_id });
        Event::new("code.refused", "client", self.logged_as()).with(facts)
    }
}

/// Client and redirect URI. Whatever is wrong here is never told by a redirect (RFC 6749 section 4.1.2.1).
pub async fn target(app: &App, asked: &Asked, now: Time) -> Result<Target> {
    let params = &asked.params;
    let client_id = params.required("client_id")?;
    let evidence = clients::for_authorization(app, client_id, now).await?.ok_or_else(unknown)?;
    if !evidence.client.is_active || !evidence.client.tenant_active {
        return Err(unknown());
    }
    let redirect_uri = params.required("redirect_uri")?;
    let known = evidence.client.redirect_uris.iter().any(|known| redirect_matches(known, redirect_uri));
    if redirect_uri.len() > CARRIED || !known {
        let why = "the redirect_uri is not registered for the client; it is compared as it is";
        return Err(refuse(Kind::InvalidRequest, why));
    }
    let state = params.get("state").map(str::to_owned);
    let takes_errors = !evidence.client.is_described();
    Ok(Target { redirect_uri: redirect_uri.to_owned(), state, takes_errors, evidence })
}

/// The rest of the request.
pub fn wanted(app: &App, params: &Params, target: &Target) -> Result<Wanted> {
    let limits = &app.config.limits;
    if !target.evidence.client.grant_types.iter().any(|grant| grant == AUTHORIZATION_CODE) {
        let why = "the client is not registered for the grant authorization_code";
        return Err(refuse(Kind::UnauthorizedClient, why));
    }
    if params.required("response_type")? != "code" {
        return Err(refuse(Kind::UnsupportedResponseType, "response_type is code"));
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(refuse(Kind::InvalidRequest, "response_mode is query"));
    }
    if target.state.as_ref().is_some_and(|state| state.len() > CARRIED) {
        return Err(refuse(Kind::InvalidRequest, "state is too long"));
    }
    let code_challenge = params.required("code_challenge")?;
    // RFC 7636 section 4.3: without a method it is plain, which is no proof.
    if params.get("code_challenge_method") != Some("S256") || !is_digest(code_challenge) {
        let why = "PKCE is required: send code_challenge, the base64url of a SHA-256, and code_challenge_method=S256";
        return Err(refuse(Kind::InvalidRequest, why));
    }
    let dpop_jkt = params.get("dpop_jkt");
    if dpop_jkt.is_some_and(|jkt| !is_digest(jkt)) {
        return Err(refuse(Kind::InvalidRequest, "dpop_jkt is the base64url of a SHA-256 thumbprint"));
    }
    Ok(Wanted {
        scopes: Scopes::parse(params.get("scope").unwrap_or_default(), limits.scopes)?,
        resources: audience::agreeable(params, &target.evidence.client, &app.config)?,
        code_challenge: code_challenge.to_owned(),
        dpop_jkt: dpop_jkt.map(str::to_owned),
    })
}

/// The base64url of 32 bytes, in its one form.
fn is_digest(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// What may be granted of it. No person has a reserved scope to give; client and agent narrow the rest.
pub fn decide(target: &Target, wanted: Wanted) -> Result<Decided> {
    let Evidence { client, holding } = &target.evidence;
    let beside = holding.as_ref().map(Holding::ceilings).into_iter().flatten();
    let layers = [client.ceiling()].into_iter().chain(beside);
    Ok(Decided {
        oauth_client_id: client.row(),
        client_id: client.client_id.clone(),
        client_epoch: client.epoch,
        identity: holding.as_ref().map(|holding| (holding.holder.identity_id, holding.holder.epoch)),
        redirect_uri: target.redirect_uri.clone(),
        code_challenge: wanted.code_challenge,
        dpop_jkt: wanted.dpop_jkt,
        scopes: narrow_beside(&wanted.scopes, None, layers)?,
        resources: wanted.resources,
    })
}

/// A request that is pushed is checked as it will be when it is answered (RFC 9126 section 2.1).
pub async fn check_pushed(app: &App, params: &Params, now: Time) -> Result<()> {
    let asked = Asked { params: params.only(&PARAMETERS), artefact: None, form: String::new() };
    let target = target(app, &asked, now).await?;
    wanted(app, &asked.params, &target).map(drop)
}
