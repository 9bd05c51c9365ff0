//! Grant types as clients name them, and their short names, which are stored.

use crate::kit::error::{Kind, Result, refuse_at};

/// Short name and URN of every grant type that has both.
const URNS: [(&str, &str); 2] = [
    ("jwt_bearer", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ("token_exchange", "urn:ietf:params:oauth:grant-type:token-exchange"),
];

/// CIBA has no short name.
pub const CIBA: &str = "urn:openid:params:grant-type:ciba";

/// For which a client needs to prove who it is: nobody else stands behind the token.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";

/// For clients that cannot keep a secret.
pub const AUTHORIZATION_CODE: &str = "authorization_code";

const KNOWN: [&str; 7] = [
    CLIENT_CREDENTIALS,
    "jwt_bearer",
    "token_exchange",
    "api_key",
    AUTHORIZATION_CODE,
    "refresh_token",
    CIBA,
];

/// The short names of what was sent, each once, in the order in which they came.
pub fn short(sent: &[String]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (position, grant) in sent.iter().enumerate() {
        let short = URNS.iter().find(|(_, urn)| urn == grant).map_or(grant.as_str(), |(short, _)| short);
        if !KNOWN.contains(&short) {
            let why = format!("grant_types holds short names or URNs of: {}", KNOWN.join(", "));
            return Err(refuse_at(Kind::InvalidRequest, why, format!("body.grant_types[{position}]"), ""));
        }
        if !names.iter().any(|name| name == short) {
            names.push(short.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_urn_and_its_short_name_are_one() {
        let sent = ["token_exchange", URNS[1].1, URNS[0].1, CIBA].map(str::to_owned);
        assert_eq!(short(&sent).unwrap(), ["token_exchange", "jwt_bearer", CIBA]);
        for bad in
            ["", "password", "implicit", "ciba", "urn:ietf:params:oauth:grant-type:device_code", "API_KEY"]
        {
            assert!(short(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
