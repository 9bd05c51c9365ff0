//! Redirect URIs (RFC 6749 section 3.1.2, RFC 8252). They are kept as they came and compared as they are, so only the one
//! spelling is taken that URL parsers agree on.

use url::{Host, Url};

use crate::kit::config::Limits;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;

/// Refuses a list in which one is not fit.
pub fn check(uris: &[String], limits: &Limits) -> Result<()> {
    uris.iter().enumerate().try_for_each(|(position, uri)| {
        check_text("redirect_uris", uri, limits)?;
        let bad =
            |why: String| refuse_at(Kind::InvalidRequest, why, format!("body.redirect_uris[{position}]"), "");
        fit(uri).map_err(bad)
    })
}

fn fit(uri: &str) -> Result<(), String> {
    let parsed = Url::parse(uri).map_err(|_| "a redirect URI is an absolute URI".to_owned())?;
    if parsed.fragment().is_some() {
        return Err("a redirect URI has no fragment".into());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("a redirect URI has no user and no password".into());
    }
    let allowed = match parsed.scheme() {
        "https" => true,
        "http" => match parsed.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        // RFC 8252 section 7.1: a domain name in reverse order, which javascript: and data: are not.
        scheme => scheme.contains('.'),
    };
    if !allowed {
        return Err(
            "a redirect URI is https, http on a loopback host, or of a private-use scheme with a dot, \
                    as com.example.app:/callback"
                .into(),
        );
    }
    let canonical = parsed.as_str();
    if canonical == uri || canonical.strip_suffix('/') == Some(uri) {
        return Ok(());
    }
    Err(format!(
        "a redirect URI is compared as it is, so it stands in its one canonical spelling: {canonical}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_reads_in_two_ways_is_refused() {
        for good in [
            "https://app.example/callback",
            "https://app.example",
            "https://app.example:8443/cb?x=1&y=%20",
            "http://127.0.0.1:3000/cb",
            "http://127.9.9.9/",
            "http://[::1]:1/cb",
            "http://localhost/cb",
            "com.example.app:/callback",
            "com.example.app://callback/x",
        ] {
            assert_eq!(fit(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/callback",
            "//app.example/cb",
            "app.example/cb",
            "https://",
            "https:app.example/cb",
            "https:///app.example/cb",
            "https://app.example/cb#x",
            "https://app.example/cb#",
            "https://user@app.example/cb",
            "https://@app.example/cb",
            "https://u:p@app.example/cb",
            "https://app.example\\@evil.example/cb",
            "https://app.example/a/../cb",
            "https://app.example/%2e%2e/cb",
            "https://app.example:443/cb",
            "https://App.example/cb",
            "HTTPS://app.example/cb",
            " https://app.example/cb",
            "https://app.example/c b",
            "https://app.example/cb\n",
            "https://bücher.example/cb",
            "https://2130706433/cb",
            "http://app.example/cb",
            "http://localhost.evil.example/cb",
            "http://0.0.0.0/cb",
            "http://10.0.0.1/cb",
            "http://2130706433/cb",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp:/callback",
            "ws://localhost/",
            "ftp://localhost/",
        ] {
            assert!(fit(bad).is_err(), "{bad}");
        }
    }
}
