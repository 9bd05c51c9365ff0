//! Who may administer: admin keys, our own tokens that carry an admin scope, and the open mode of development.
//! A handler that takes an [`Admin`] does not run unless its caller was let in.
mod admin_keys;
mod open;
pub mod scope;
mod store;
mod tenant;

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

pub use admin_keys::{AdminKey, NewAdminKey, create, list, revoke};

use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::{Authority, Caller, Cx, Origin, Tenant};
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::problem::Problem;
use crate::kit::http::trace::{RequestId, peer};
use crate::tokens;

/// A permission, named by the scopes of which the caller's credential must carry one.
pub trait Permission: Send {
    /// Any one of these is enough.
    const SCOPES: &'static [&'static str];
}

/// Administers agents, identities, keys, policies, clients and signals.
#[derive(Clone, Copy, Debug)]
pub struct ManageIdentities;

impl Permission for ManageIdentities {
    const SCOPES: &'static [&'static str] = &["nhi:manage"];
}

/// Proof that the caller may use an admin route, with the transaction in which he does.
#[derive(Debug)]
pub struct Admin<P> {
    /// The request's context.
    pub cx: Cx,
    permission: PhantomData<P>,
}

impl<P> Admin<P> {
    /// Ends a change: commits it together with its audit row. A refusal is committed too, as a row that says so.
    pub async fn finish<T>(mut self, event: Event, result: Result<T>) -> Result<T, Problem> {
        match &result {
            Ok(_) => audit::record(&mut self.cx, event).await?,
            Err(Error::Refused(refused)) => audit::record_refusal(&mut self.cx, event, refused).await?,
            Err(Error::Fault(_)) => return result.map_err(Problem),
        }
        self.cx.tx.commit().await.map_err(Error::from)?;
        result.map_err(Problem)
    }

    /// Ends a read.
    pub async fn read<T>(self, result: Result<T>) -> Result<T, Problem> {
        self.cx.tx.commit().await.map_err(Error::from)?;
        result.map_err(Problem)
    }
}

/// What a credential proves, before the tenant is chosen.
struct Authenticated {
    caller: Caller,
    /// The one tenant it belongs to; `None` when it works across tenants.
    tenant: Option<Tenant>,
}

impl<P: Permission> FromRequestParts<Arc<App>> for Admin<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let now = app.clock.now();
        let credential = bearer(&parts.headers)?;
        let mut tx = match &credential {
            None if !app.config.admin_open() => return Err(missing().into()),
            None => {
                open::check(parts)?;
                app.db.begin().await.map_err(Error::from)?
            }
            Some(_) => app.db.begin().await.map_err(Error::from)?,
        };
        let authenticated = match credential {
            None => open::authenticated(),
            Some(credential) => authenticate(app, &mut tx, credential, now).await?,
        };
        let chosen = tenant::select(&parts.headers, authenticated.tenant.as_ref());
        let (tenant, stray) = match (chosen, authenticated.tenant) {
            (Ok(tenant), _) => (tenant, None),
            (Err(stray), Some(own)) => (own, Some(stray)),
            (Err(error), None) => return Err(error.into()),
        };
        let cx = Cx { tx, tenant, now, caller: authenticated.caller, origin: origin(parts) };
        let admin = Self { cx, permission: PhantomData };
        let refusal = match stray {
            Some(stray) => stray,
            None if P::SCOPES.iter().any(|scope| admin.cx.caller.holds(scope)) => return Ok(admin),
            None => {
                let why = format!("this needs one of the scopes: {}", P::SCOPES.join(" "));
                refuse(Kind::Forbidden, why)
            }
        };
        // The caller is known, so the refusal leaves a row.
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let event = Event::new("admin.denied", "route", format!("{} {route}", parts.method));
        admin.finish(event, Err(refusal)).await
    }
}

async fn authenticate(
    app: &App,
    tx: &mut sqlx::PgConnection,
    credential: &str,
    now: Time,
) -> Result<Authenticated> {
    if credential.starts_with(admin_keys::PREFIX) {
        return admin_keys::authenticate(app, tx, credential, now).await;
    }
    let token = tokens::verify(tx, credential, now, &app.config.limits).await?;
    let token =
        token.ok_or_else(|| refuse(Kind::InvalidToken, "the token is unknown, expired or revoked"))?;
    let user = Some(token.user_id).filter(|user| !user.is_empty());
    Ok(Authenticated {
        caller: Caller {
            kind: "agent",
            id: token.subject,
            user,
            across_tenants: false,
            authority: Authority::Scopes(token.scopes),
        },
        tenant: Some(Tenant { account_id: token.account_id, project_id: token.project_id }),
    })
}

/// The bearer credential of a request (RFC 6750 section 2.1: in the header and nowhere else).
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(Kind::InvalidRequest, "more than one Authorization header"));
    }
    let malformed =
        || refuse(Kind::InvalidToken, "the Authorization header is not of the form: Bearer TOKEN");
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(Some(token))
}

/// Facts of the request for the audit log.
pub fn origin(parts: &Parts) -> Origin {
    Origin {
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        address: peer(&parts.extensions),
    }
}

fn missing() -> Error {
    refuse(
        Kind::MissingCredential,
        "present an admin key or a token that carries nhi:manage: Authorization: Bearer …; \
         `chancery admin create-key` makes a key",
    )
}
