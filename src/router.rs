//! The table of contents of the HTTP API: every capability's routes under their mounts.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use tower_http::catch_panic::CatchPanicLayer;

use crate::kit::app::App;
use crate::kit::error::{Error, Kind, refuse};
use crate::kit::http::problem::Problem;
use crate::kit::http::{health, trace};
use crate::oauth::OauthError;
use crate::{
    agents, api_keys, audit, authorizations, clients, delegations, issuers, keys, oauth, openapi, policies,
    signals, tokens, users,
};

/// The whole server. Admin routes answer at the root, where the SDK asks, and under `/api/v1`.
pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(openapi::routes::routes())
        .merge(keys::routes::routes())
        .merge(oauth::routes().layer(CatchPanicLayer::custom(oauth_panicked)))
        .merge(agents::routes::self_routes())
        .merge(users::routes::open_routes())
        .merge(admin())
        .nest("/api/v1", admin())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), admit))
        .layer(from_fn_with_state(app.clone(), trace::observe))
        .with_state(app.clone())
}

fn admin() -> Router<Arc<App>> {
    Router::new()
        .merge(agents::routes::routes())
        .merge(api_keys::routes::routes())
        .merge(policies::routes::routes())
        .merge(clients::routes::routes())
        .merge(tokens::routes::routes())
        .merge(delegations::routes::routes())
        .merge(issuers::routes::routes())
        .merge(signals::routes::routes())
        .merge(audit::routes::routes())
        .merge(users::routes::routes())
        .merge(authorizations::routes::routes())
}

async fn not_found(uri: Uri) -> axum::response::Response {
    project(&uri, refuse(Kind::NotFound, "there is no such route"))
}

async fn method_not_allowed(request: Request) -> axum::response::Response {
    project(request.uri(), refuse(Kind::MethodNotAllowed, "this route does not know the method"))
}

/// Every surface answers in its own shape, also for what it does not have.
fn project(uri: &Uri, error: Error) -> axum::response::Response {
    if uri.path().starts_with("/oauth2/") {
        OauthError::from(error).into_response()
    } else {
        Problem(error).into_response()
    }
}

/// Takes the request from its address's bucket before anything looks at it. One that waits for the database when that goes
/// away is answered then, not when it comes back.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> axum::response::Response {
    let uri = request.uri().clone();
    let address = trace::client(request.extensions());
    let left = match address.map(|address| app.rates.address(address)).transpose() {
        Ok(left) => left.flatten(),
        Err(error) => return project(&uri, error),
    };
    let _place = match app.admission.enter(uri.path()) {
        Ok(place) => place,
        Err(error) => return project(&uri, error),
    };
    let mut response = tokio::select! {
        biased;
        response = next.run(request) => response,
        () = app.gate.lost() => {
            let why = "the database does not answer at the moment; try again shortly";
            project(&uri, refuse(Kind::Unavailable, why))
        }
    };
    if let Some(left) = left {
        left.write(response.headers_mut());
    }
    response
}

/// A panic is our fault and costs one answer, not the server.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the value")]
fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    Problem(fault(&panic)).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the value")]
fn oauth_panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    OauthError::from(fault(&panic)).into_response()
}

fn fault(panic: &Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Error::Fault(anyhow::anyhow!("a handler panicked: {}", text.unwrap_or_default()))
}
