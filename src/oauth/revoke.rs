//! Revocation (RFC 7009): after the answer no replica reports the token, or anything below it, as active.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::client_auth::check_inspector;
use super::error::OauthError;
use super::params::Params;
use crate::access::origin;
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx, Tenant};
use crate::kit::error::Error;
use crate::tokens;

/// Always 200 once the client is accepted, also for a token that is unknown or dead (section 2.2).
pub async fn revoke(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<axum::Json<Value>, OauthError> {
    check_inspector(&app, &parts.headers, &params)?;
    let token = params.required("token")?;
    let mut tx = app.begin_reserved().await?;
    if let Some(found) = tokens::find(&mut tx, token, &app.config.limits).await? {
        let mut cx = Cx {
            tx,
            tenant: Tenant { account_id: found.account_id, project_id: found.project_id },
            now: app.clock.now(),
            caller: anonymous(),
            origin: origin(&parts),
        };
        tokens::revoke(&mut cx, found.jti, "oauth2_revocation").await?;
        cx.tx.commit().await.map_err(Error::from)?;
    }
    Ok(axum::Json(json!({ "revoked": true })))
}

/// Whoever holds a token may end it where the mode is open.
fn anonymous() -> Caller {
    Caller {
        kind: "open",
        id: String::new(),
        user: None,
        across_tenants: false,
        authority: Authority::Scopes(Vec::new()),
    }
}
