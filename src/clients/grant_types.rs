//! Grant types as clients are registered for them: short names are stored, either name may be sent.

use crate::kit::error::{Kind, Result, refuse_at};
use crate::policies::grant_type;

/// CIBA has no short name.
pub const CIBA: &str = "urn:openid:params:grant-type:ciba";

/// For which a client needs to prove who it is: nobody else stands behind the token.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";

/// For clients that cannot keep a secret.
pub const AUTHORIZATION_CODE: &str = "authorization_code";

/// What may follow it.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// The short names of what was sent, each once, in the order in which they came.
pub fn short(sent: &[String]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (position, grant) in sent.iter().enumerate() {
        let Some(short) = grant_type(grant) else {
            let why = "grant_types holds a name that is no grant type";
            return Err(refuse_at(Kind::InvalidRequest, why, format!("body.grant_types[{position}]"), ""));
        };
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
        let urn = |name: &str| format!("urn:ietf:params:oauth:grant-type:{name}");
        let sent = ["token_exchange".to_owned(), urn("token-exchange"), urn("jwt-bearer"), CIBA.to_owned()];
        assert_eq!(short(&sent).unwrap(), ["token_exchange", "jwt_bearer", CIBA]);
        for bad in
            ["", "password", "implicit", "ciba", "urn:ietf:params:oauth:grant-type:device_code", "API_KEY"]
        {
            assert!(short(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
