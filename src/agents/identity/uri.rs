//! The URIs of identities, which are SPIFFE ids: how one is made, and the look-up by one.

use super::{Identity, IdentityType, store};
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse_at};

/// The longest URI that is looked up.
const LONGEST: usize = 2048;

/// `spiffe://{trust domain}/{account}/{project}/{type}/{external id}`; every part was checked to be a path segment.
pub fn wimse_uri(
    trust_domain: &str,
    tenant: &Tenant,
    identity_type: IdentityType,
    external_id: &str,
) -> String {
    let Tenant { account_id, project_id } = tenant;
    format!("spiffe://{trust_domain}/{account_id}/{project_id}/{}/{external_id}", identity_type.as_str())
}

/// The identity of the tenant with this URI. What is no such URI is told from one that nobody has.
pub async fn by_uri(cx: &mut Cx, uri: &str) -> Result<Identity> {
    let shown = || uri.chars().take(LONGEST).collect::<String>();
    if !is_wimse_uri(uri) {
        return Err(refuse_at(Kind::InvalidRequest, "invalid_wimse_uri", "query.uri", shown()));
    }
    let found = store::by_uri(cx, uri).await?;
    found.ok_or_else(|| refuse_at(Kind::NotFound, "identity_not_found", "query.uri", shown()))
}

/// `spiffe://`, a trust domain in lower case, and a path of plain segments; no port, user, query or fragment.
pub fn is_wimse_uri(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(in_path)
    };
    uri.len() <= LONGEST
        && !domain.is_empty()
        && domain.bytes().all(in_domain)
        && path.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_of_an_identity_has_plain_segments_and_nothing_else() {
        assert!(is_wimse_uri("spiffe://agents.example.com/acme/demo/agent/fetcher-1.a_b"));
        for bad in [
            "",
            "fetcher",
            "https://agents.example.com/a",
            "spiffe://agents.example.com",
            "spiffe://agents.example.com/",
            "spiffe:///a",
            "spiffe://Agents.example.com/a",
            "spiffe://agents.example.com:80/a",
            "spiffe://user@agents.example.com/a",
            "spiffe://agents.example.com/a?x=1",
            "spiffe://agents.example.com/a#x",
            "spiffe://agents.example.com/a/",
            "spiffe://agents.example.com/a//b",
            "spiffe://agents.example.com/a/../b",
            "spiffe://agents.example.com/a%2Fb",
        ] {
            assert!(!is_wimse_uri(bad), "{bad}");
        }
        assert!(!is_wimse_uri(&format!("spiffe://a/{}", "x".repeat(2048))));
    }
}
