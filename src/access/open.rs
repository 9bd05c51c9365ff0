//! The open mode of development: no credential is needed, but only from this machine and from no web page.
//! A page in a browser can reach loopback through DNS rebinding; what gives it away is its `Host` or `Origin`.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use url::Url;

use super::Authenticated;
use crate::kit::config::Networks;
use crate::kit::cx::{Authority, Caller};
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::http::trace::peer;

/// Headers that a proxy adds: what came through one is not local.
const FORWARDED: [HeaderName; 7] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// The caller of an open request.
pub(super) fn authenticated() -> Authenticated {
    let caller = Caller {
        kind: "open",
        id: String::new(),
        user: None,
        across_tenants: true,
        authority: Authority::Everything,
    };
    Authenticated { caller, tenant: None, networks: Networks::default() }
}

/// All of these must hold for a request without a credential.
pub(super) fn check(parts: &Parts) -> Result<()> {
    let local_peer = peer(&parts.extensions).is_some_and(|address| address.is_loopback());
    let direct = !parts
        .headers
        .keys()
        .any(|name| FORWARDED.contains(name) || name.as_str().starts_with("x-forwarded-"));
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let own_origin = origins.all(|origin| origin.to_str().is_ok_and(is_loopback_origin));
    if local_peer && direct && own_origin && is_loopback_host(parts) {
        return Ok(());
    }
    Err(refuse(
        Kind::Forbidden,
        "the open admin API answers only direct requests from this machine to a loopback name, not web pages or \
         proxies; present an admin key instead",
    ))
}

/// Exactly one `Host`, which names loopback; an absolute request target must name it too.
pub(super) fn is_loopback_host(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let target = parts.uri.authority().is_none_or(|authority| is_loopback_authority(authority.as_str()));
    target && host.to_str().is_ok_and(is_loopback_authority)
}

fn is_loopback_authority(authority: &str) -> bool {
    !authority.contains(['/', '@', '?', '#', '\\']) && is_loopback_origin(&format!("http://{authority}"))
}

/// Parsed, never compared by its beginning: `localhost.example` is foreign.
fn is_loopback_origin(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_parsed_not_guessed() {
        for good in
            ["localhost", "localhost:8899", "127.0.0.1:8899", "[::1]:8899", "127.9.9.9", "a.localhost"]
        {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "localhost.evil.example",
            "evil.example",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "evil@localhost",
            "",
            "[::2]",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
        assert!(!is_loopback_origin("null"));
        assert!(!is_loopback_origin("https://evil.example"));
        assert!(is_loopback_origin("http://localhost:3000"));
    }
}
