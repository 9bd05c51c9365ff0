//! The parameters of the OAuth endpoints as the document of the API has them. `params.rs` reads them by name.

use utoipa::ToSchema;

/// How a client names itself and proves who it is, where it does not use HTTP Basic.
#[derive(Debug, ToSchema)]
pub struct ClientParameters {
    /// The client, where one asks.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<String>,
    /// A JWT that its key signed (RFC 7523 section 2.2).
    pub client_assertion: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    pub client_assertion_type: Option<String>,
}

/// A request for a token. Which members a grant needs stands in the manual.
#[derive(Debug, ToSchema)]
pub struct TokenRequest {
    /// One of `grant_types_supported` of the server's metadata.
    pub grant_type: String,
    /// The scopes asked for, separated by spaces; all that may be had when absent.
    pub scope: Option<String>,
    /// Grant `api_key`: the key.
    pub api_key: Option<String>,
    /// Grant `jwt-bearer`: a JWT that the agent's key signed (RFC 7523 section 2.1).
    pub assertion: Option<String>,
    /// The same under the name that some clients use.
    pub subject: Option<String>,
    /// Token exchange: the token to be exchanged (RFC 8693 section 2.1).
    pub subject_token: Option<String>,
    /// Its type.
    pub subject_token_type: Option<String>,
    /// Token exchange: who acts.
    pub actor_token: Option<String>,
    /// Its type.
    pub actor_token_type: Option<String>,
    /// Grant `refresh_token`: the token (RFC 6749 section 6).
    pub refresh_token: Option<String>,
    /// For whom the token is meant; may be repeated.
    pub audience: Option<Vec<String>>,
    /// The same as URIs (RFC 8707); may be repeated.
    pub resource: Option<Vec<String>>,
    /// With `project_id` the tenant, where the grant does not tell it.
    pub account_id: Option<String>,
    /// See `account_id`.
    pub project_id: Option<String>,
    /// The client.
    #[schema(inline)]
    #[serde(flatten)]
    pub client: ClientParameters,
}

/// A token to be looked at or revoked.
#[derive(Debug, ToSchema)]
pub struct PresentedToken {
    /// The token.
    pub token: String,
    /// What it is thought to be; not needed.
    pub token_type_hint: Option<String>,
    /// `true`: only tell what a revocation would end; nothing does.
    pub dry_run: Option<String>,
    /// The client.
    #[schema(inline)]
    #[serde(flatten)]
    pub client: ClientParameters,
}
