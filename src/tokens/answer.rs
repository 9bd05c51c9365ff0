//! A token on its way to the one who asked for it.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::issue::{Grant, Issued};

/// The answer of RFC 6749 section 5.1, with what agents' clients read beside it. No member is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccessToken {
    /// The token itself.
    #[serde(rename = "access_token")]
    token: String,
    /// Of an exchange only (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// `Bearer`, or `DPoP` where it is bound to a key (RFC 9449 section 5).
    token_type: &'static str,
    /// How many seconds it lives.
    expires_in: i64,
    /// What it may do; absent when nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    /// Its id.
    jti: Uuid,
    /// When it was issued, in seconds since 1970.
    iat: i64,
    /// With `project_id` the tenant.
    account_id: String,
    /// See `account_id`.
    project_id: String,
    /// The external id of the identity behind it; absent where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    external_id: String,
    /// The person behind it, where one is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
    /// What it is refreshed with, where the client may do so.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// What a client need not take the token apart for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// The key to which the token is bound (RFC 9449 section 6.1).
#[derive(Debug, Serialize, ToSchema)]
struct Confirmation {
    /// Its thumbprint (RFC 7638).
    jkt: String,
}

impl AccessToken {
    /// What is told of a token to the one who asked for it.
    pub fn of(grant: &Grant, issued: &Issued) -> Self {
        let credential = &issued.credential;
        Self {
            token: issued.token.clone(),
            issued_token_type: None,
            token_type: if credential.jkt.is_some() { "DPoP" } else { "Bearer" },
            expires_in: (credential.expires_at - credential.issued_at).whole_seconds(),
            scope: credential.scopes.joined(),
            jti: credential.jti,
            iat: credential.issued_at.unix_timestamp(),
            account_id: credential.tenant.account_id.clone(),
            project_id: credential.tenant.project_id.clone(),
            external_id: grant.holder().map(|holder| holder.external_id.clone()).unwrap_or_default(),
            user_id: credential.user_id.clone(),
            refresh_token: issued.refresh.as_ref().map(|made| made.token.expose().to_owned()),
            cnf: credential.jkt.clone().map(|jkt| Confirmation { jkt }),
        }
    }

    /// The same, as the outcome of an exchange.
    #[must_use]
    pub fn exchanged(self, kind: &'static str) -> Self {
        Self { issued_token_type: Some(kind), ..self }
    }
}
