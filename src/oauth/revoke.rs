//! Revocation (RFC 7009): after the answer no replica reports the token, or anything below it, as active.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::client_auth::{Authenticated, inspector};
use super::error::OauthError;
use super::params::Params;
use super::requests::PresentedToken;
use crate::access::origin;
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx, Tenant};
use crate::kit::error::{Error, Result};
use crate::tokens::{self, Anchor, Found, Tried, refresh};

/// The reason that stands with what is ended here.
const REASON: &str = "oauth2_revocation";

/// That a token is dead.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenRevoked {
    /// Always true.
    revoked: bool,
}

/// Ends a token with everything below it; a refresh token with its whole family.
///
/// Always 200 once the client is accepted, also for a token that is unknown or dead (section 2.2). With `dry_run=true` it
/// answers what would end, and nothing does.
#[utoipa::path(post, path = "/oauth2/token/revoke",
    request_body(content(
        (PresentedToken = "application/x-www-form-urlencoded"),
        (PresentedToken = "application/json"),
    )),
    responses((status = 200, body = Tried<TokenRevoked>)), security((), ("client" = [])))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<axum::Json<Tried<TokenRevoked>>, OauthError> {
    let (from, now) = (origin(&parts), app.clock.now());
    let inspector = inspector(&app, &parts.headers, &params, &from, now).await?;
    let token = params.required("token")?;
    let dry_run = params.get("dry_run") == Some("true");
    let mut ended = Vec::new();
    if let Some((tenant, anchor)) = anchor(&app, token, inspector.as_ref()).await? {
        let caller = caller(inspector.as_ref());
        let mut cx = Cx { tx: app.begin_reserved().await?, tenant, now, caller, origin: from };
        if dry_run {
            ended = tokens::changed_by(&mut cx, &[anchor]).await?;
        }
        match anchor {
            Anchor::Family(id) => refresh::end_family(&mut cx, id, REASON).await?,
            Anchor::Credential(jti) => tokens::revoke(&mut cx, jti, REASON).await?,
            _ => {}
        }
        let done = if dry_run { cx.tx.rollback().await } else { cx.tx.commit().await };
        done.map_err(Error::from)?;
    }
    if dry_run {
        return Ok(axum::Json(Tried::not(ended)));
    }
    Ok(axum::Json(Tried::Done(TokenRevoked { revoked: true })))
}

/// What a token's revocation is a mark on, if whoever asks may end it. An access token takes along what hangs below it; a
/// refresh token its whole family (section 2.1).
async fn anchor(
    app: &App,
    token: &str,
    inspector: Option<&Authenticated>,
) -> Result<Option<(Tenant, Anchor)>> {
    if let Some(found) = refresh::find(app, token).await? {
        let owns = inspector.is_none_or(|known| known.owns(&found.family));
        return Ok(owns.then_some((found.family.tenant, Anchor::Family(found.family.id))));
    }
    let sees = |found: &Found| inspector.is_none_or(|known| known.sees(found, app.config.issuer()));
    let found = tokens::find(app, token).await?.filter(sees);
    Ok(found.map(|found| {
        let tenant = Tenant { account_id: found.account_id, project_id: found.project_id };
        (tenant, Anchor::Credential(found.jti))
    }))
}

/// The client or, where the mode is open, whoever holds the token.
fn caller(inspector: Option<&Authenticated>) -> Caller {
    let (kind, id) = match inspector {
        Some(known) => ("client", known.client.client_id.clone()),
        None => ("open", String::new()),
    };
    Caller { kind, id, user: None, across_tenants: false, authority: Authority::Scopes(Vec::new()) }
}
