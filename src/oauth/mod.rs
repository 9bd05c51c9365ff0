//! OAuth 2: the authorization endpoint, the token endpoint and its grants, introspection, revocation, forward
//! authentication and metadata.
mod audience;
mod authorize;
mod client_auth;
mod dpop;
mod error;
mod forward_auth;
mod grants;
mod introspect;
mod metadata;
mod par;
mod params;
mod requests;
mod revoke;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use utoipa::OpenApi;

use crate::kit::app::App;

pub use error::{Body as ErrorBody, OauthError};
pub use params::Params;
pub use requests::{
    AuthorizationRequest, ClientParameters, ConsentAnswer, PresentedToken, PushedRequest, TokenRequest,
};

/// Everything under `/oauth2`, and the documents that describe it.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth2/authorize", get(authorize::by_get).post(authorize::by_post))
        .route("/oauth2/consent", post(authorize::consent::consent))
        .route("/oauth2/par", post(par::push))
        .route("/oauth2/token", post(token::token))
        .route("/oauth2/token/introspect", post(introspect::introspect))
        .route("/oauth2/token/revoke", post(revoke::revoke))
        .route("/oauth2/token/verify", get(forward_auth::verify))
        .route("/.well-known/oauth-authorization-server", get(metadata::authorization_server))
        .route("/.well-known/openid-configuration", get(metadata::openid_configuration))
        .route("/.well-known/oauth-protected-resource", get(metadata::protected_resource))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(
    authorize::by_get,
    authorize::by_post,
    authorize::consent::consent,
    par::push,
    token::token,
    introspect::introspect,
    revoke::revoke,
    forward_auth::verify,
    metadata::authorization_server,
    metadata::openid_configuration,
    metadata::protected_resource
))]
pub struct Api;
