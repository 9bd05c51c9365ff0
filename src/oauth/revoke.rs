//! Revocation (RFC 7009): after the answer no replica reports the token, or anything below it, as active.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::client_auth::{Authenticated, inspector};
use super::error::OauthError;
use super::params::Params;
use crate::access::origin;
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx, Tenant};
use crate::kit::error::Error;
use crate::tokens::{self, Found};

/// Always 200 once the client is accepted, also for a token that is unknown or dead (section 2.2).
pub async fn revoke(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<axum::Json<Value>, OauthError> {
    let (from, now) = (origin(&parts), app.clock.now());
    let inspector = inspector(&app, &parts.headers, &params, &from, now).await?;
    let token = params.required("token")?;
    let found = tokens::find(&app, token).await?;
    let sees = |found: &Found| inspector.as_ref().is_none_or(|known| known.sees(found, app.config.issuer()));
    if let Some(found) = found.filter(sees) {
        let mut cx = Cx {
            tx: app.begin_reserved().await?,
            tenant: Tenant { account_id: found.account_id, project_id: found.project_id },
            now,
            caller: caller(inspector.as_ref()),
            origin: from,
        };
        tokens::revoke(&mut cx, found.jti, "oauth2_revocation").await?;
        cx.tx.commit().await.map_err(Error::from)?;
    }
    Ok(axum::Json(json!({ "revoked": true })))
}

/// The client or, where the mode is open, whoever holds the token.
fn caller(inspector: Option<&Authenticated>) -> Caller {
    let (kind, id) = match inspector {
        Some(known) => ("client", known.client.client_id.clone()),
        None => ("open", String::new()),
    };
    Caller { kind, id, user: None, across_tenants: false, authority: Authority::Scopes(Vec::new()) }
}
