//! Redirect URIs (RFC 6749 section 3.1.2, RFC 8252). They are kept as they came and compared as they are, so only the one
//! spelling is taken that URL parsers agree on.

use url::{Host, Position, Url};

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

/// Whether a code may go to `asked` where `registered` is registered: the same text or, on the loopback hosts, the same but
/// for the port, which a program on the device can't choose (RFC 8252 section 7.3), and for which of their names it is.
pub fn matches(registered: &str, asked: &str) -> bool {
    let rest = |uri| on_loopback(uri).map(|(_, rest)| rest);
    registered == asked || rest(registered).is_some_and(|known| rest(asked).is_some_and(|rest| rest == known))
}

/// Whether two redirect URIs of one request are the same: `127.0.0.1` and `localhost` are.
pub fn same(one: &str, other: &str) -> bool {
    one == other
        || on_loopback(one).is_some_and(|known| on_loopback(other).is_some_and(|found| found == known))
}

/// Port and all that follows, where the host is a loopback one by any of its three names.
fn on_loopback(uri: &str) -> Option<(Option<u16>, String)> {
    let url = Url::parse(uri).ok().filter(|url| url.scheme() == "http" && fit(uri).is_ok())?;
    let known = ["127.0.0.1", "localhost", "[::1]"].contains(&url.host_str()?);
    known.then(|| (url.port(), url[Position::BeforePath..].to_owned()))
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
    // The parser leaves a space behind a private-use scheme as it is, and no URI holds one (RFC 3986 section 2).
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a redirect URI has no space and nothing beyond ASCII".into());
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
    fn a_port_of_a_loopback_host_may_vary_and_nothing_else() {
        let web = "https://app.example/cb";
        let device = "http://127.0.0.1:3000/cb?x=1";
        for (registered, asked) in [
            (web, web),
            (device, device),
            (device, "http://127.0.0.1:4000/cb?x=1"),
            (device, "http://127.0.0.1/cb?x=1"),
            (device, "http://localhost:1/cb?x=1"),
            (device, "http://[::1]:1/cb?x=1"),
            ("com.example.app:/cb", "com.example.app:/cb"),
        ] {
            assert!(matches(registered, asked), "{registered} {asked}");
        }
        for (registered, asked) in [
            (web, "https://app.example/cb/"),
            (web, "https://app.example/CB"),
            (web, "https://app.example/cb?x=1"),
            (web, "https://app.example/cb#x"),
            (web, "https://app.example:8443/cb"),
            (web, "https://app.example/..;/cb"),
            (web, "https://app.example/%63b"),
            (web, "https://app.example.evil.example/cb"),
            (web, "https://app.example@evil.example/cb"),
            (web, "http://app.example/cb"),
            (web, ""),
            (device, "http://127.0.0.1:4000/cb"),
            (device, "http://127.0.0.1:4000/other?x=1"),
            (device, "http://127.0.0.1:4000/cb?x=2"),
            (device, "https://127.0.0.1:4000/cb?x=1"),
            (device, "http://127.0.0.2:3000/cb?x=1"),
            (device, "http://localhost.evil.example:3000/cb?x=1"),
            (device, "http://localhost.:3000/cb?x=1"),
            (device, "http://LOCALHOST:3000/cb?x=1"),
            (device, "http://2130706433:3000/cb?x=1"),
            (device, "http://u@127.0.0.1:3000/cb?x=1"),
            (device, "http://127.0.0.1:99999/cb?x=1"),
            ("com.example.app:/cb", "com.example.app:/cb2"),
            ("com.example.app:/cb", "COM.example.app:/cb"),
        ] {
            assert!(!matches(registered, asked), "{registered} {asked}");
        }
        assert!(
            same(device, "http://localhost:3000/cb?x=1") && !same(device, "http://localhost:3001/cb?x=1")
        );
        assert!(same(web, web) && !same(web, "https://app.example/"));
    }

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
            "com.example.app:call back",
            "ws://localhost/",
            "ftp://localhost/",
        ] {
            assert!(fit(bad).is_err(), "{bad}");
        }
    }
}
