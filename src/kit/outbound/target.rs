//! A URL from which something may be fetched. Only the one spelling is taken that URL parsers agree on.

use url::{Host, Url};

/// The ports of servers on the Internet that are asked.
pub const PORTS: [u16; 2] = [443, 8443];

/// Longest URL, in bytes.
const LONGEST: usize = 2048;

/// An https URL with a host, without a user, a password or a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host<String>,
}

impl Target {
    /// Reads a URL, or says what is wrong with it. Nothing of it is repeated: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is longer than 2048 bytes");
        }
        let url = Url::parse(text).map_err(|_| "it is not an absolute URL")?;
        if url.scheme() != "https" {
            return Err("it is not an https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user or a password");
        }
        if url.fragment().is_some() {
            return Err("it has a fragment");
        }
        // A decimal or octal host, an empty user, a default port, a dot segment: the parser mends them all.
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
            return Err(
                "it is not in the canonical spelling: lower-case host, no default port, no dot segments",
            );
        }
        let host = url.host().ok_or("it has no host")?.to_owned();
        Ok(Self { url, host })
    }

    /// The host as the parser reads it: `2130706433` is an address.
    pub fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// The whole of it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What the request line asks for.
    pub fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_of_an_https_url_is_taken() {
        for (text, authority, path) in [
            ("https://a.example", "a.example", "/"),
            ("https://a.example/keys?x=1", "a.example", "/keys?x=1"),
            ("https://a.example:8443/k", "a.example:8443", "/k"),
            ("https://[2606:4700::1111]:8443/k", "[2606:4700::1111]:8443", "/k"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.authority(), target.path_and_query()), (authority, path), "{text}");
        }
        for text in [
            "",
            "a.example/keys",
            "//a.example/keys",
            "http://a.example/keys",
            "ftp://a.example/keys",
            "file:///etc/passwd",
            "data:application/json,{}",
            "https://",
            "https:a.example",
            "https:///a.example",
            "https://user@a.example/",
            "https://user:password@a.example/",
            "https://@a.example/",
            "https://:@a.example/",
            "https://a.example/#x",
            "https://a.example/#",
            "https://a.example:443/",
            "https://A.example/",
            "HTTPS://a.example/",
            "https://a.example/x/../y",
            "https://a.example/%2e%2e/y",
            "https://a.example\\@127.0.0.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://①②⑦.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
            "https://a.example/ ",
            " https://a.example/",
            "https://a.example/a b",
            "https://a.ex\tample/",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        assert!(Target::parse(&format!("https://a.example/{}", "x".repeat(2048))).is_err());
    }
}
