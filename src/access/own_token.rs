//! An agent that calls for itself: with a token that it obtained itself, not one that was delegated to it or that a
//! person obtained.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;

use super::{Work, authenticate_token, check_lockout, count_wrong, origin, presented};
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Origin};
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::http::problem::Problem;
use crate::kit::http::trace::client;
use crate::tokens::Found;

/// Grants by which a token is not the agent's own.
const NOT_OWN: [&str; 3] = ["token_exchange", "authorization_code", "refresh_token"];

/// Proof that an agent calls for itself. It holds no connection.
#[derive(Debug)]
pub struct OwnToken {
    /// The agent.
    pub identity_id: Uuid,
    app: Arc<App>,
    found: Found,
    now: Time,
    origin: Origin,
}

impl OwnToken {
    /// Begins the work in a transaction of its own.
    pub async fn begin(self) -> Result<Work> {
        let (caller, tenant) = authenticate_token(self.found);
        let tx = self.app.begin().await?;
        Ok(Work { cx: Cx { tx, tenant, now: self.now, caller, origin: self.origin } })
    }
}

impl FromRequestParts<Arc<App>> for OwnToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let now = app.clock.now();
        let address = client(&parts.extensions);
        check_lockout(app, address, now)?;
        let why = "present a token of your own: Authorization: Bearer …";
        let token = presented(&parts.headers)?.ok_or_else(|| refuse(Kind::MissingCredential, why))?;
        let found = super::live_token(app, Some(&*parts), &token, now).await;
        if let Err(error) = &found {
            count_wrong(app, address, error, now).await?;
        }
        let found = found?;
        let own = found.delegation_depth == 0 && !NOT_OWN.contains(&found.grant_type.as_str());
        let identity_id = found.identity_id.unwrap_or_default();
        let token = Self { identity_id, app: app.clone(), found, now, origin: origin(parts) };
        if own && !identity_id.is_nil() {
            return Ok(token);
        }
        let why = "this needs a token that the agent obtained for itself, not one that was delegated to it";
        let event = Event::new("agent.denied", "agent", identity_id);
        token.begin().await?.finish(event, Err(refuse(Kind::InvalidToken, why))).await
    }
}
