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
    /// Grant `authorization_code`: the code (RFC 6749 section 4.1.3).
    pub code: Option<String>,
    /// The verifier of its `code_challenge` (RFC 7636).
    pub code_verifier: Option<String>,
    /// Where the code was sent.
    pub redirect_uri: Option<String>,
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

/// A request at the authorization endpoint, or one that is pushed beforehand.
#[derive(Debug, ToSchema)]
pub struct AuthorizationRequest {
    /// The client.
    pub client_id: String,
    /// `code`.
    pub response_type: Option<String>,
    /// `query`; not needed.
    pub response_mode: Option<String>,
    /// Where the answer goes; registered for the client.
    pub redirect_uri: Option<String>,
    /// The scopes asked for, separated by spaces.
    pub scope: Option<String>,
    /// Comes back with the answer.
    pub state: Option<String>,
    /// The base64url of the SHA-256 of the verifier (RFC 7636).
    pub code_challenge: Option<String>,
    /// `S256`.
    pub code_challenge_method: Option<String>,
    /// Where the token is to be used (RFC 8707); may repeat.
    pub resource: Option<String>,
    /// The key whose proof must come with the code (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// A request that was pushed beforehand; nothing but `client_id` counts beside it.
    pub request_uri: Option<String>,
}

/// What a person says on the consent page.
#[derive(Debug, ToSchema)]
pub struct ConsentAnswer {
    /// The request, as the page has it.
    pub request: String,
    /// What binds the page to browser and request.
    pub csrf: String,
    /// `allow` or `deny`.
    pub decision: String,
}

/// A pushed request that is kept.
#[derive(Debug, ToSchema)]
pub struct PushedRequest {
    /// How it is named at the authorization endpoint.
    pub request_uri: String,
    /// How many seconds it waits for its person.
    pub expires_in: i64,
}
