//! The names of grants: what stands on the wire, and the short name that rows, claims and policies hold.

use utoipa::ToSchema;

/// A grant type: its short name, or its name on the wire.
#[derive(ToSchema)]
#[schema(
    pattern = "^(urn:ietf:params:oauth:grant-type:(jwt-bearer|token-exchange)|urn:openid:params:grant-type:ciba|jwt_bearer|token_exchange|client_credentials|api_key|authorization_code|refresh_token)$"
)]
pub struct GrantTypeName(pub String);

/// Every grant that a policy or client can name: the name on the wire and the short one.
const GRANT_TYPES: [(&str, &str); 7] = [
    ("client_credentials", "client_credentials"),
    ("urn:ietf:params:oauth:grant-type:jwt-bearer", "jwt_bearer"),
    ("urn:ietf:params:oauth:grant-type:token-exchange", "token_exchange"),
    ("api_key", "api_key"),
    ("authorization_code", "authorization_code"),
    ("refresh_token", "refresh_token"),
    ("urn:openid:params:grant-type:ciba", "urn:openid:params:grant-type:ciba"),
];

/// The short name of a grant, by either of its names.
pub fn grant_type(name: &str) -> Option<&'static str> {
    GRANT_TYPES.iter().find(|(wire, short)| *wire == name || *short == name).map(|(_, short)| *short)
}
