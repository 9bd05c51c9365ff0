//! DPoP proofs (RFC 9449 section 4): a JWT by which whoever sends a request shows that he holds a key.

use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::Duration;
use url::Url;

use super::assertion::Once;
use super::clock::Time;
use super::jwk::PublicJwk;
use super::jws::{Flaw, Jws, present};
use super::secret;

/// The header that carries a proof.
pub const HEADER: HeaderName = HeaderName::from_static("dpop");

/// The header that carries a nonce to the client (RFC 9449 section 8).
pub const NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");

/// How old a proof may be, and how far in the future its maker's clock may lie; both in seconds, both inclusive.
const PAST: i64 = 65;
const AHEAD: i64 = 5;

/// The request that a proof must have been made for.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The request's method.
    pub method: &'a str,
    /// Under which addresses it may have been sent, as [`address`] writes them.
    pub addresses: &'a [String],
    /// The access token that came with it.
    pub access_token: Option<&'a str>,
    /// Now.
    pub now: Time,
}

/// A proof that holds.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The thumbprint of the key (RFC 7638).
    pub jkt: String,
    /// The server's nonce that it repeats. Whether it is one is for the caller to say.
    pub nonce: Option<String>,
    /// By what it is recognised when it comes again.
    pub once: Once,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    htm: Option<String>,
    #[serde(default, deserialize_with = "present")]
    htu: Option<String>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    ath: Option<String>,
    #[serde(default, deserialize_with = "present")]
    nonce: Option<String>,
}

/// The proof that a request carries, if it carries one. There must not be two (RFC 9449 section 4.3, check 1).
pub fn carried(headers: &HeaderMap) -> Result<Option<&str>, Flaw> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Flaw("more than one DPoP header"));
    }
    first.to_str().map(Some).map_err(|_| Flaw("it is not plain text"))
}

/// Checks a proof (RFC 9449 section 4.3); `longest` bounds its size in bytes.
pub fn verify(proof: &str, longest: usize, expected: &Expected<'_>) -> Result<Proof, Flaw> {
    let jws = Jws::parse(proof, longest)?;
    if jws.typ() != Some("dpop+jwt") {
        return Err(Flaw("its typ is not dpop+jwt"));
    }
    let jwk = jws.jwk().ok_or(Flaw("its header has no jwk"))?;
    let key = PublicJwk::parse(jwk).map_err(|flaw| match flaw {
        super::jwk::PRIVATE_KEY => Flaw("the jwk of its header holds a private key: make that key anew"),
        _ => Flaw("the jwk of its header is no public key that is accepted here; see the algorithms of the metadata"),
    })?;
    if !jws.is_signed_by(&[key.key]) {
        return Err(Flaw("the key of its header did not sign it, or with an algorithm that is not accepted"));
    }
    let claims: Claims = jws.claims()?;
    let jti = claims.jti.as_deref().filter(|jti| (1..=512).contains(&jti.len()));
    let jti = jti.ok_or(Flaw("it has no jti of 1 to 512 characters"))?;
    let until = claims.check(expected)?;
    // The thumbprint has one length, so nothing else has the same key: who burns a jti burns his own only.
    let key_of_once = secret::sha256(format!("{}{jti}", key.thumbprint).as_bytes());
    Ok(Proof { once: Once { key: key_of_once, until }, jkt: key.thumbprint, nonce: claims.nonce })
}

impl Claims {
    /// What was requested, when, and with which token. Answers until when the proof has to be remembered.
    fn check(&self, expected: &Expected<'_>) -> Result<Time, Flaw> {
        if self.htm.as_deref() != Some(expected.method) {
            return Err(Flaw("its htm is not the method of the request"));
        }
        let address = self.htu.as_deref().and_then(address);
        if address.is_none_or(|address| !expected.addresses.contains(&address)) {
            return Err(Flaw("its htu is not the address of the request, without query and fragment"));
        }
        let until = self.check_times(expected.now)?;
        let hash = |token: &str| URL_SAFE_NO_PAD.encode(secret::sha256(token.as_bytes()));
        match (expected.access_token, &self.ath) {
            (None, _) => Ok(until),
            (Some(token), Some(ath)) if secret::same(hash(token).as_bytes(), ath.as_bytes()) => Ok(until),
            (Some(_), Some(_)) => Err(Flaw("its ath is not the hash of the access token")),
            (Some(_), None) => Err(Flaw("it has no ath: beside an access token it holds the token's hash")),
        }
    }

    /// In whole seconds, so that both edges are exact.
    fn check_times(&self, now: Time) -> Result<Time, Flaw> {
        let now = now.unix_timestamp();
        let issued = self.iat.ok_or(Flaw("it has no iat"))?;
        if now.saturating_sub(issued) > PAST {
            return Err(Flaw("it is too old: a proof is made for one request, at that moment"));
        }
        if issued.saturating_sub(now) > AHEAD {
            return Err(Flaw("its iat lies in the future; set the clock"));
        }
        if self.exp.is_some_and(|end| end <= now) {
            return Err(Flaw("it has expired"));
        }
        if self.nbf.is_some_and(|start| start.saturating_sub(now) > AHEAD) {
            return Err(Flaw("it is not valid yet"));
        }
        let issued = Time::from_unix_timestamp(issued).map_err(|_| Flaw("its iat is no time"))?;
        // The second after the last one in which it would be accepted. What is used up is kept beyond that, for servers
        // whose clocks are behind.
        Ok(issued + Duration::seconds(PAST + 1))
    }
}

/// An address in the form in which addresses are compared: normalized by syntax and scheme (RFC 3986 sections 6.2.2 and
/// 6.2.3, which RFC 9449 section 4.3 asks for), and without query and fragment. `None` for what is no address of HTTP.
pub fn address(text: &str) -> Option<String> {
    // A parser of browsers drops and mends these; a proof that holds them was not made for any request.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    plain.then(|| format!("{}{}", url.origin().ascii_serialization(), unescaped(url.path())))
}

/// A path whose escapes are in capitals and only where they are needed.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            Some(_) => {
                out.push('%');
                out.extend(after.chars().take(2).map(|digit| digit.to_ascii_uppercase()));
            }
            // No escape at all: it stays as it is.
            None => {
                out.push('%');
                rest = after;
                continue;
            }
        }
        rest = &after[2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc9449_s4_3_addresses_are_compared_in_one_form() {
        let form = |text| address(text).unwrap();
        for same in [
            "https://server.example/a/b",
            "HTTPS://Server.Example/a/b",
            "https://server.example:443/a/b",
            "https://server.example/a/b?query=1#fragment",
            "https://server.example/a/./b",
            "https://server.example/x/../a/b",
            "https://server.example/%61/%62",
        ] {
            assert_eq!(form(same), "https://server.example/a/b", "{same}");
        }
        assert_eq!(form("http://server.example:80"), "http://server.example/");
        assert_eq!(form("http://server.example/%c3%a4%2f"), "http://server.example/%C3%A4%2F");
        assert_eq!(form("http://[::1]:8899/%zz%4"), "http://[::1]:8899/%zz%4");
        for other in [
            "http://server.example/a/b",
            "https://server.example:444/a/b",
            "https://server.example/a/b/",
            "https://server.example/A/b",
            "https://server.example/a%2Fb",
            "https://server.example.evil.example/a/b",
        ] {
            assert_ne!(form(other), "https://server.example/a/b", "{other}");
        }
        for none in [
            "",
            "/a/b",
            "server.example/a/b",
            "ftp://server.example/a/b",
            "https://user@server.example/a/b",
            "https://:secret@server.example/a/b",
            "https://server.example/a b",
            "https:\\\\server.example\\a\\b",
            " https://server.example/a/b",
            "https://server.example/a/b\n",
            "https://sérver.example/a/b",
        ] {
            assert_eq!(address(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn an_address_in_the_form_is_in_the_form(text in "https?://[a-zA-Z0-9.]{1,12}(:[0-9]{1,4})?(/[ -~]{0,20})?") {
            if let Some(form) = address(&text) {
                prop_assert_eq!(address(&form), Some(form.clone()));
            }
        }

        #[test]
        fn case_of_host_default_port_query_and_escapes_do_not_matter(
            host in "[a-z]{1,8}\\.example",
            path in "(/[a-zA-Z0-9._~-]{1,8}){1,4}",
            query in "[a-z0-9=&%?/.]{0,12}",
        ) {
            let plain = address(&format!("https://{host}{path}")).unwrap();
            let escaped: String =
                path.chars().map(|char| if char == '/' { "/".to_owned() } else { format!("%{:02x}", u32::from(char)) }).collect();
            let upper = host.to_uppercase();
            for text in [
                format!("HTTPS://{upper}:443{path}?{query}"),
                format!("https://{host}{path}#{query}"),
                format!("https://{host}{escaped}"),
                format!("https://{host}/x/..{path}"),
            ] {
                prop_assert_eq!(address(&text), Some(plain.clone()), "{}", text);
            }
            prop_assert_ne!(address(&format!("https://{host}{path}/x")), Some(plain));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = address(&text);
            let _ = unescaped(&text);
        }
    }
}
