//! The claims of an access token, in the profile of the native API: `sub` is the agent that presents the token.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::issue::Grant;
use crate::kit::clock::Time;

/// Claims in the order in which they are written. What is empty is left out, save what clients expect always.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a [String],
    iat: i64,
    exp: i64,
    jti: Uuid,
    account_id: &'a str,
    project_id: &'a str,
    grant_type: &'a str,
    mission_id: Uuid,
    external_id: &'a str,
    identity_type: &'a str,
    sub_type: &'a str,
    trust_level: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner_user_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    framework: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    publisher: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
}

/// RFC 8693 section 4.1. For a token from an API key: the person who made the key.
#[derive(Debug, Serialize)]
struct Actor<'a> {
    sub: &'a str,
}

/// The part of a token that only issuing knows.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The token's id.
    pub jti: Uuid,
    /// When it was issued, to the second.
    pub issued_at: Time,
    /// When it ends, to the second.
    pub expires_at: Time,
}

impl<'a> Claims<'a> {
    /// What a grant's token says.
    pub fn of(issuer: &'a str, grant: &'a Grant, stamp: Stamp) -> Self {
        let holder = &grant.holder;
        let tools = holder.capabilities.as_array();
        let named = tools.is_some_and(|tools| !tools.is_empty() && tools.iter().all(Value::is_string));
        Self {
            iss: issuer,
            sub: &holder.wimse_uri,
            aud: &grant.audience,
            iat: stamp.issued_at.unix_timestamp(),
            exp: stamp.expires_at.unix_timestamp(),
            jti: stamp.jti,
            account_id: &grant.tenant.account_id,
            project_id: &grant.tenant.project_id,
            grant_type: grant.grant_type,
            mission_id: stamp.jti,
            external_id: &holder.external_id,
            identity_type: holder.identity_type.as_str(),
            sub_type: &holder.sub_type,
            trust_level: holder.trust_level.as_str(),
            status: holder.status.as_str(),
            owner_user_id: &holder.owner_user_id,
            name: &holder.identity_name,
            framework: &holder.framework,
            version: &holder.version,
            publisher: &holder.publisher,
            capabilities: named.then_some(&holder.capabilities),
            scopes: grant.scopes.as_slice(),
            scope: grant.scopes.joined(),
            user_id: &grant.user_id,
            act: Some(Actor { sub: &grant.user_id }).filter(|act| !act.sub.is_empty()),
        }
    }
}
