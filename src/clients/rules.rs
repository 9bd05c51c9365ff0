//! What holds of every client, however it came to be as it is: new clients and changed ones are checked as a whole.

use super::grant_types::{self, CLIENT_CREDENTIALS};
use super::types::{AuthMethod, Client, ClientType};
use super::{jwks, redirect_uris};
use crate::access::scope::{self, Scopes};
use crate::agents::{self, Agent};
use crate::kit::config::{Limits, Profile};
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::limits::{check_names, check_text};
use crate::tokens::Reuse;

/// The client with its lists in the form in which they are stored, or why it can't be.
pub fn check(mut client: Client, limits: &Limits) -> Result<Client> {
    check_texts(&client, limits)?;
    client.grant_types = grant_types::short(&client.grant_types)?;
    let scopes = Scopes::of(client.scopes.iter().map(String::as_str), limits.scopes)?;
    client.scopes = scopes.as_slice().to_vec();
    redirect_uris::check(&client.redirect_uris, limits)?;
    client.jwks = client.jwks.as_ref().map(jwks::public).transpose()?.flatten();
    client.token_profile = client.token_profile.filter(|profile| !profile.is_empty());
    let bad = |why: String, at: &'static str| Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    if client.token_profile.as_deref().is_some_and(|profile| Profile::of(profile).is_none()) {
        let known = Profile::ALL.map(Profile::as_str).join(", ");
        return bad(format!("token_profile is one of {known}"), "body.token_profile");
    }
    check_names(&client.allowed_audiences, "body.allowed_audiences", limits)?;
    check_names(&client.resources, "body.resources", limits)?;
    for (ttl, at) in [
        (client.access_token_ttl, "body.access_token_ttl"),
        (client.refresh_token_ttl, "body.refresh_token_ttl"),
    ] {
        if ttl < 0 {
            return bad("a lifetime is a number of seconds, or 0 for the server's own".into(), at);
        }
    }
    if client.grant_types.is_empty() {
        let why = "a client has at least one grant type; to stop it, set is_active to false";
        return bad(why.into(), "body.grant_types");
    }
    let public = client.client_type == ClientType::Public;
    if public && client.grant_types.iter().any(|grant| grant == CLIENT_CREDENTIALS) {
        let why = "a public client may not hold client_credentials: it cannot prove who it is";
        return bad(why.into(), "body.grant_types");
    }
    if client.jwks.is_some() && client.auth_method != AuthMethod::PrivateKeyJwt {
        return bad("jwks goes with token_endpoint_auth_method private_key_jwt".into(), "body.jwks");
    }
    Ok(client)
}

/// What is to become of a refresh token that comes again; "" is the server's own.
pub fn reuse(text: &str) -> Result<Reuse> {
    if text.is_empty() {
        return Ok(Reuse::default());
    }
    let why = || format!("refresh_token_reuse is one of {}", Reuse::ALL.map(Reuse::as_str).join(", "));
    let bad = |()| refuse_at(Kind::InvalidRequest, why(), "body.refresh_token_reuse", "");
    text.parse().map_err(bad)
}

fn check_texts(client: &Client, limits: &Limits) -> Result<()> {
    if client.name.trim().is_empty() {
        return Err(refuse_at(Kind::Invalid, "name must not be blank", "body.name", ""));
    }
    for (name, text) in [
        ("name", &client.name),
        ("description", &client.description),
        ("software_id", &client.software_id),
        ("software_version", &client.software_version),
    ] {
        check_text(name, text, limits)?;
    }
    client.contacts.iter().try_for_each(|contact| check_text("contacts", contact, limits))
}

/// Whoever sets a client's secret, keys or redirect URIs can act as the client, and as the identity it stands for. That
/// must not give him a reserved scope he does not hold.
pub async fn check_reach(cx: &mut Cx, client: &Client) -> Result<()> {
    let identity = identity(cx, client).await?;
    if client.auth_method == AuthMethod::PrivateKeyJwt && client.jwks.is_none() && identity.is_none() {
        let why =
            "private_key_jwt needs a key: send jwks, or the identity_id of an agent with a registered key";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.jwks", ""));
    }
    let scopes = Scopes::ceiling(Some(client.scopes.clone())).unwrap_or_default();
    scope::check_grantable(&scopes, "body.scopes", |scope| cx.caller.holds(scope))?;
    match identity {
        Some(agent) => {
            let own = agents::ceiling(cx, &agent).await?;
            agents::check_takeover(cx, "body.identity_id", own, None)
        }
        None => Ok(()),
    }
}

/// The identity that the client stands for, as its evidence will find it.
async fn identity(cx: &mut Cx, client: &Client) -> Result<Option<Agent>> {
    let Some(id) = client.identity_id else { return agents::by_external_id(cx, &client.client_id).await };
    let unknown = || -> Error {
        let why = "there is no agent with this id";
        refuse_at(Kind::InvalidRequest, why, "body.identity_id", id.to_string())
    };
    Ok(Some(agents::find(cx, id).await?.ok_or_else(unknown)?))
}
