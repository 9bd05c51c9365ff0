//! Client authentication (RFC 6749 section 2.3, RFC 7523 section 2.2): one way at a time, and the one that the client is
//! registered for.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::Duration;

use super::error::OauthError;
use super::params::Params;
use crate::access::{self, possession};
use crate::agents::Holding;
use crate::authorizations::CODE;
use crate::clients::{self, AuthMethod, Client, Evidence};
use crate::issuers;
use crate::kit::app::App;
use crate::kit::assertion::{Assertion, Expected, Key};
use crate::kit::clock::Time;
use crate::kit::cx::Origin;
use crate::kit::error::{Error, Kind, Refused, Result, refuse};
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::tokens::Found;
use crate::tokens::ledger::{self, Artefact, Outcome};
use crate::tokens::refresh::Family;

/// Longest life of an assertion that a client or agent signs.
pub const LONGEST: Duration = Duration::minutes(5);

/// The kind under which assertions of clients are used up.
pub const CLIENT_ASSERTION: &str = "client_assertion";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that authenticated, or a public one that named itself.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The client.
    pub client: Client,
    /// The identity as which it acts, if it is bound to one.
    pub holding: Option<Holding>,
    /// Whether it proved who it is. A public client can't.
    pub proven: bool,
    /// The assertion that it used, to be used up.
    pub artefact: Option<Artefact>,
}

impl Authenticated {
    /// Whether the client may see a token and end it: one of its tenant that it owns, or that is meant for this server or
    /// for the client itself. A public client proves nothing, so it sees what it owns.
    pub fn sees(&self, found: &Found, issuer: &str) -> bool {
        let tenant = &self.client.tenant;
        if tenant.account_id != found.account_id || tenant.project_id != found.project_id {
            return false;
        }
        let holder = self.holding.as_ref().map(|holding| holding.holder.identity_id);
        let owns = self.client.row().is_some_and(|row| found.oauth_client_id == Some(row))
            || (self.proven && found.identity_id.is_some() && found.identity_id == holder);
        let named = |audience: &String| {
            audience == issuer
                || *audience == self.client.client_id
                || self.client.resources.contains(audience)
        };
        owns || (self.proven && found.audience.iter().any(named))
    }

    /// Whether a refresh family was begun for this client. A `client_id` that was taken again is another client's.
    pub fn owns(&self, family: &Family) -> bool {
        family.oauth_client_id == self.client.row() && family.client_id == self.client.client_id
    }
}

/// What a request presents.
enum Presented {
    /// An id and its secret.
    Secret(String, Secret),
    /// A signed assertion.
    Assertion(String),
    /// An id alone.
    Id(String),
    /// The same after an authorization, to which a client may come that only a document describes.
    AuthorizedId(String),
}

/// Who asks, if the request names a client. Whatever is presented must be good.
pub async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
    from: &Origin,
    now: Time,
) -> Result<Option<Authenticated>, OauthError> {
    let Some(presented) = presented(basic(headers)?, params)? else { return Ok(None) };
    let outcome = admit(app, presented, params, from, now).await;
    outcome.map(Some).map_err(|error| OauthError::told(error, headers))
}

/// The client to which something was issued, where its name alone is enough: a public one.
pub async fn by_name(
    app: &App,
    client_id: String,
    params: &Params,
    from: &Origin,
    now: Time,
) -> Result<Authenticated> {
    admit(app, Presented::AuthorizedId(client_id), params, from, now).await
}

/// Checks what is presented, and counts what is wrong.
async fn admit(
    app: &App,
    presented: Presented,
    params: &Params,
    from: &Origin,
    now: Time,
) -> Result<Authenticated> {
    access::check_lockout(app, from.address, now)?;
    let outcome = check(app, presented, params, now).await;
    if let Err(Error::Refused(Refused { kind: Kind::InvalidClient, .. })) = &outcome {
        access::count_failure(app, from.address, now).await?;
    }
    outcome
}

/// The same at the token endpoint, where two further parties come by. After an authorization a client may name itself that
/// only a document describes (OAuth Client ID Metadata Document); nowhere else and for no other grant is one known. And for
/// `client_credentials` a workload may present a token of its platform: it is no client, and the grant looks at it.
pub async fn authenticate_for(
    grant_type: &str,
    app: &App,
    headers: &HeaderMap,
    (params, from): (&Params, &Origin),
    now: Time,
) -> Result<Option<Authenticated>, OauthError> {
    if grant_type == clients::CLIENT_CREDENTIALS && presents_workload(app, headers, params)? {
        return Ok(None);
    }
    let of_authorization = [clients::AUTHORIZATION_CODE, clients::REFRESH_TOKEN].contains(&grant_type);
    let url = params.get("client_id").filter(|id| of_authorization && clients::may_be_described(app, id));
    let others = ["client_secret", "client_assertion"].iter().any(|name| params.get(name).is_some());
    let Some(url) = url.filter(|_| !others && !headers.contains_key(header::AUTHORIZATION)) else {
        return authenticate(app, headers, params, from, now).await;
    };
    let outcome = by_name(app, url.to_owned(), params, from, now).await;
    outcome.map(Some).map_err(|error| OauthError::told(error, headers))
}

/// Whether the one thing presented is the token of a workload.
fn presents_workload(app: &App, headers: &HeaderMap, params: &Params) -> Result<bool> {
    match presented(basic(headers)?, params)? {
        Some(Presented::Assertion(text)) if params.get("client_id").is_none() => {
            let assertion = Assertion::parse(&text, app.config.limits.token_bytes);
            let issuer = |assertion: Assertion<'_>| assertion.unverified().iss.clone().unwrap_or_default();
            Ok(assertion.is_ok_and(|assertion| issuers::is_foreign(app, &issuer(assertion))))
        }
        _ => Ok(false),
    }
}

/// Who may look at tokens and end them: a client, or in the open mode anybody.
pub async fn inspector(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
    from: &Origin,
    now: Time,
) -> Result<Option<Authenticated>, OauthError> {
    match authenticate(app, headers, params, from, now).await? {
        Some(client) => {
            use_up(app, &client, now).await?;
            Ok(Some(client))
        }
        None if app.config.introspection_open() => Ok(None),
        None => {
            let why = "this endpoint needs client authentication; present a client_id and its secret";
            Err(refuse(Kind::InvalidClient, why).into())
        }
    }
}

/// Reads what is presented; two ways at once are refused (RFC 6749 section 2.3).
fn presented(basic: Option<(String, Secret)>, params: &Params) -> Result<Option<Presented>> {
    let (id, password) = (params.get("client_id"), params.get("client_secret"));
    let assertion = params.get("client_assertion");
    let ways = [basic.is_some(), password.is_some(), assertion.is_some()];
    // A client_id beside Basic names and proves nothing: pushed requests must have one (RFC 9126 section 2.1).
    let another = basic.as_ref().is_some_and(|(own, _)| id.is_some_and(|id| id != own));
    if ways.into_iter().filter(|way| *way).count() > 1 || another {
        return Err(refuse(Kind::InvalidRequest, "the client authenticates in two ways at once; use one"));
    }
    if let Some((id, password)) = basic {
        return Ok(Some(Presented::Secret(id, password)));
    }
    if let Some(assertion) = assertion {
        if params.get("client_assertion_type") != Some(ASSERTION_TYPE) {
            let why = format!("client_assertion_type must be {ASSERTION_TYPE}");
            return Err(refuse(Kind::InvalidRequest, why));
        }
        return Ok(Some(Presented::Assertion(assertion.to_owned())));
    }
    match (id, password) {
        (Some(id), Some(password)) => {
            Ok(Some(Presented::Secret(id.to_owned(), Secret::new(password.to_owned()))))
        }
        (Some(id), None) => Ok(Some(Presented::Id(id.to_owned()))),
        (None, Some(_)) => Err(unknown()),
        (None, None) => Ok(None),
    }
}

async fn check(app: &App, presented: Presented, params: &Params, now: Time) -> Result<Authenticated> {
    let (proven, artefact, Evidence { client, holding }) = match presented {
        Presented::Secret(id, password) => {
            // Hashed before the client is looked up: an unknown client takes as long as a wrong secret.
            let hashes = app.keys.hashes(password.expose());
            let found = find(app, &id).await?;
            if !(found.client.auth_method.has_secret() && found.client.accepts_secret(&hashes, now)) {
                return Err(unknown());
            }
            (true, None, found)
        }
        Presented::Assertion(text) => {
            let assertion = Assertion::parse(&text, app.config.limits.token_bytes).map_err(|_| unknown())?;
            let claims = assertion.unverified();
            let (Some(id), true) = (claims.iss.as_deref(), claims.iss == claims.sub) else {
                return Err(unknown());
            };
            if params.get("client_id").is_some_and(|named| named != id) {
                return Err(unknown());
            }
            let found = find(app, id).await?;
            let artefact = verify(app, &assertion, &found, now).await?;
            (true, Some(artefact), found)
        }
        Presented::Id(id) => (false, None, find(app, &id).await?),
        Presented::AuthorizedId(id) => {
            (false, None, clients::for_authorization(app, &id, now).await?.ok_or_else(unknown)?)
        }
    };
    if !proven && !client.is_public() {
        return Err(unknown());
    }
    if !client.is_active || !client.tenant_active {
        return Err(unknown());
    }
    Ok(Authenticated { client, holding, proven, artefact })
}

async fn find(app: &App, client_id: &str) -> Result<Evidence> {
    clients::evidence(app, client_id).await?.ok_or_else(unknown)
}

/// Verifies a client's assertion with its registered keys or, where it has none, with that of the identity it is bound
/// to (RFC 7523 section 3).
async fn verify(app: &App, assertion: &Assertion<'_>, found: &Evidence, now: Time) -> Result<Artefact> {
    if found.client.auth_method != AuthMethod::PrivateKeyJwt {
        return Err(unknown());
    }
    let of_identity = || found.holding.as_ref()?.public_key_pem.as_deref();
    let keys: Vec<Key> = match (&found.client.jwks, &found.client.jwks_uri) {
        (Some(set), _) => Key::from_set(set, assertion.kid()),
        (None, Some(uri)) => {
            let why = "the client's keys could not be fetched from its jwks_uri; try again shortly";
            let keys = app.key_sets.keys(&app.outbound, (found.client.id, uri), assertion.kid(), now).await;
            keys.map_err(|_| refuse(Kind::Unavailable, why))?
        }
        (None, None) => of_identity().and_then(|pem| Key::from_pem(pem).ok()).into_iter().collect(),
    };
    let expected = Expected { audience: app.config.issuer(), longest: LONGEST, now };
    let once = assertion.verify(&keys, &expected).map_err(|_| unknown())?;
    Ok(Artefact { kind: CLIENT_ASSERTION, key: once.key, until: once.until })
}

/// Whether the request tries HTTP Basic, which a refusal then has to name.
pub fn tries_basic(headers: &HeaderMap) -> bool {
    let scheme = |value: &HeaderValue| value.to_str().ok()?.split(' ').next().map(str::to_ascii_lowercase);
    headers.get(header::AUTHORIZATION).and_then(scheme).as_deref() == Some("basic")
}

/// Id and secret of HTTP Basic, each form-encoded within it (RFC 6749 section 2.3.1). Other schemes are not client
/// authentication.
fn basic(headers: &HeaderMap) -> Result<Option<(String, Secret)>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || refuse(Kind::InvalidRequest, "the Authorization header is malformed");
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = STANDARD.decode(credentials.trim()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (id, password) = decoded.split_once(':').ok_or_else(malformed)?;
    let id = form_decoded(id).filter(|id| !id.contains('\0')).ok_or_else(malformed)?;
    Ok(Some((id, Secret::new(form_decoded(password).ok_or_else(malformed)?))))
}

/// Decodes `+` and `%xx`; what is no UTF-8 then is nothing.
fn form_decoded(text: &str) -> Option<String> {
    // Only as a value: an "&" or "=" in it is part of it.
    let text = format!("v={}", text.replace('&', "%26"));
    let (_, value) = form_urlencoded::parse(text.as_bytes()).next()?;
    (!value.contains('\u{fffd}')).then(|| value.into_owned())
}

/// An unknown client, a wrong secret and an inactive client are the same answer.
pub fn unknown() -> Error {
    refuse(Kind::InvalidClient, "the client is unknown or its credentials are wrong")
}

/// The refusal of an artefact of this kind that comes again.
pub fn used_before(kind: &str) -> Error {
    match kind {
        CLIENT_ASSERTION => {
            refuse(Kind::InvalidClient, "the client assertion was used before; sign a new one")
        }
        possession::PROOF => possession::used_before(),
        CODE => {
            let why = "the code was used before, so what it obtained has ended; ask the person again";
            refuse(Kind::InvalidGrant, why)
        }
        _ => refuse(Kind::InvalidGrant, "the assertion was used before; sign a new one"),
    }
}

/// Uses up what a client presented where no token is issued: at introspection and revocation.
async fn use_up(app: &App, client: &Authenticated, now: Time) -> Result<()> {
    let Some(artefact) = &client.artefact else { return Ok(()) };
    let mut tx = app.begin_reserved().await?;
    let used = ledger::use_up(&mut tx, &[(ids::new(now)?, std::slice::from_ref(artefact))]).await?;
    tx.commit().await?;
    match used.as_slice() {
        [Outcome::Written] => Ok(()),
        _ => Err(used_before(CLIENT_ASSERTION)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded_within() {
        assert_eq!(form_decoded("a%3Ab+c").as_deref(), Some("a:b c"));
        assert_eq!(form_decoded("a&b=c").as_deref(), Some("a&b=c"));
        assert_eq!(form_decoded("%ff"), None);
    }
}
