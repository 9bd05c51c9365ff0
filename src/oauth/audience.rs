//! For whom a token is meant: what a request names in `resource` (RFC 8707 section 2) and `audience` (RFC 8693 section
//! 2.1), within what its client may address.

use url::Url;

use super::grants::Request;
use super::params::Params;
use crate::clients::Client;
use crate::kit::config::Config;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::limits::is_name;

/// The audience of a token: what was asked for, each of it within `within` and the client's own limit. A request that
/// names nothing gets all of these, and this server where neither is limited.
pub fn granted(request: &Request<'_>, within: Option<&[String]>) -> Result<Vec<String>> {
    let config = &request.app.config;
    let own = request.client.map(|known| known.client.allowed_audiences.as_slice());
    let ceiling = intersect(within, own.filter(|limit| !limit.is_empty()));
    let asked = asked(request.params, config)?;
    match ceiling {
        None if asked.is_empty() => Ok(vec![config.issuer().to_owned()]),
        None => Ok(asked),
        Some(ceiling) if ceiling.is_empty() => Err(too_far()),
        Some(ceiling) if asked.is_empty() => Ok(ceiling),
        Some(ceiling) if asked.iter().all(|name| ceiling.contains(name)) => Ok(asked),
        Some(_) => Err(too_far()),
    }
}

/// What a person is asked to agree to: what the request names, within what the client may address. Where it names nothing,
/// all of that, and where that is not limited, nothing: it stands for this server.
pub fn agreeable(params: &Params, client: &Client, config: &Config) -> Result<Vec<String>> {
    let (asked, limit) = (asked(params, config)?, &client.allowed_audiences);
    if asked.is_empty() {
        return Ok(limit.clone());
    }
    if limit.is_empty() || asked.iter().all(|name| limit.contains(name)) { Ok(asked) } else { Err(too_far()) }
}

/// What a request names, each once.
pub fn asked(params: &Params, config: &Config) -> Result<Vec<String>> {
    let mut asked: Vec<String> = Vec::new();
    for resource in params.all("resource") {
        asked.push(identifier(resource, config)?);
    }
    for name in params.all("audience") {
        if !is_name(name, &config.limits) {
            return Err(refuse(Kind::InvalidTarget, "an audience is a name or a URI without spaces"));
        }
        asked.push(name.to_owned());
    }
    if asked.len() > config.limits.list_items {
        let why = format!("more than {} resources are named", config.limits.list_items);
        return Err(refuse(Kind::InvalidTarget, why));
    }
    let mut seen = std::collections::HashSet::new();
    asked.retain(|name| seen.insert(name.clone()));
    Ok(asked)
}

/// A resource as it goes into the token: as it came, save that this server has one spelling. Programs that hold an
/// address in a URL type put a slash behind it.
fn identifier(resource: &str, config: &Config) -> Result<String> {
    let absolute = Url::parse(resource).is_ok() && !resource.contains('#');
    if !absolute || !is_name(resource, &config.limits) {
        return Err(refuse(Kind::InvalidTarget, "a resource is an absolute URI without a fragment"));
    }
    let issuer = config.issuer();
    Ok(if resource.strip_suffix('/') == Some(issuer) { issuer } else { resource }.to_owned())
}

/// What both allow, in the order of the first; `None` limits nothing.
fn intersect(one: Option<&[String]>, other: Option<&[String]>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.iter().filter(|name| other.contains(name)).cloned().collect()),
        (Some(only), None) | (None, Some(only)) => Some(only.to_vec()),
        (None, None) => None,
    }
}

fn too_far() -> Error {
    let why =
        "the resource or audience is not one that the client may address or that the presented grant is for";
    refuse(Kind::InvalidTarget, why)
}
