//! Who may administer: admin keys, our own tokens that carry an admin scope, and the open mode of development.
//! A handler that takes an [`Admin`] does not run unless its caller was let in.
mod admin_keys;
mod bearer;
mod lockout;
mod open;
mod own_token;
pub mod possession;
pub mod scope;
mod store;
mod tenant;

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use uuid::Uuid;

pub use lockout::{Lockouts, check_lockout, count_failure, refresh as refresh_lockouts};

pub use bearer::{Presented, Scheme, presented};
pub use own_token::OwnToken;

pub use admin_keys::{AdminKey, NewAdminKey, create, list, revoke};

use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Networks;
use crate::kit::cx::{Authority, Caller, Cx, Origin, Tenant};
use crate::kit::error::{Error, Kind, Refused, Result, refuse};
use crate::kit::http::problem::Problem;
use crate::kit::http::trace::{RequestId, client};
use crate::kit::secret::Secret;
use crate::tokens::Found;
use crate::{tenancy, tokens};

/// A permission, named by the scopes of which the caller's credential must carry one.
pub trait Permission: Send + Sync {
    /// Any one of these is enough; where none is named, none is needed.
    const SCOPES: &'static [&'static str];
}

/// Administers agents, identities, keys, policies, clients and signals.
#[derive(Clone, Copy, Debug)]
pub struct ManageIdentities;

impl Permission for ManageIdentities {
    const SCOPES: &'static [&'static str] = &["nhi:manage"];
}

/// Lists and revokes credentials.
#[derive(Clone, Copy, Debug)]
pub struct ManageCredentials;

impl Permission for ManageCredentials {
    const SCOPES: &'static [&'static str] = &["nhi:manage", "credentials:manage"];
}

/// Reads the audit log.
#[derive(Clone, Copy, Debug)]
pub struct ReadAudit;

impl Permission for ReadAudit {
    const SCOPES: &'static [&'static str] = &["nhi:manage", "audit:read"];
}

/// Reads what every holder of a credential of the tenant may know.
#[derive(Clone, Copy, Debug)]
pub struct AnyCredential;

impl Permission for AnyCredential {
    const SCOPES: &'static [&'static str] = &[];
}

/// Proof that the caller may use an admin route. It holds no connection, so that a caller who sends his body slowly
/// keeps none from others.
#[derive(Debug)]
pub struct Admin<P> {
    app: Arc<App>,
    tenant: Tenant,
    now: Time,
    caller: Caller,
    origin: Origin,
    /// Kept for answers that go on for long; `None` in the open mode.
    credential: Option<Secret>,
    permission: PhantomData<P>,
}

impl<P> Admin<P> {
    /// Begins the work in a transaction of its own.
    pub async fn begin(self) -> Result<Work> {
        let tx = self.app.begin().await?;
        Ok(Work {
            cx: Cx { tx, tenant: self.tenant, now: self.now, caller: self.caller, origin: self.origin },
        })
    }

    /// Where the caller works.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// An admin request at work.
#[derive(Debug)]
pub struct Work {
    /// The request's context.
    pub cx: Cx,
}

impl Work {
    /// Ends a change: commits it together with its audit row. A refusal is committed too, as a row that says so.
    pub async fn finish<T>(self, event: Event, result: Result<T>) -> Result<T, Problem> {
        Ok(self.finish_recorded(event, result).await?.0)
    }

    /// The same for answers that name their audit row: its id stands beside the result.
    pub async fn finish_recorded<T>(mut self, event: Event, result: Result<T>) -> Result<(T, Uuid), Problem> {
        let row = match &result {
            Ok(_) => audit::record(&mut self.cx, event).await?,
            Err(Error::Refused(refused)) if refused.is_decision() => {
                audit::record_refusal(&mut self.cx, event, refused).await?
            }
            Err(_) => return result.map(|value| (value, Uuid::nil())).map_err(Problem),
        };
        self.cx.tx.commit().await.map_err(Error::from)?;
        Ok((result.map_err(Problem)?, row))
    }

    /// Ends a change that was only tried: nothing of it stays, and no audit row tells of it.
    pub async fn undo<T>(self, result: Result<T>) -> Result<T, Problem> {
        self.cx.tx.rollback().await.map_err(Error::from)?;
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
    /// From where it may be used, if not from everywhere.
    networks: Networks,
}

impl<P: Permission> FromRequestParts<Arc<App>> for Admin<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let now = app.clock.now();
        let Authenticated { caller, tenant: own, networks } = admit(app, parts, now).await?;
        let (tenant, chosen) = match (tenant::select(&parts.headers, own.as_ref()), own) {
            (Ok(tenant), _) => (tenant, Ok(())),
            // The refusal is logged where the caller belongs.
            (Err(error), Some(own)) => (own, Err(error)),
            (Err(error), None) => return Err(error.into()),
        };
        let credential = presented(&parts.headers)?.map(|shown| Secret::new(shown.token.to_owned()));
        let origin = origin(parts);
        let admin =
            Self { app: app.clone(), tenant, now, caller, origin, credential, permission: PhantomData };
        let permitted = match chosen {
            Ok(()) => admin.permit(&networks).await,
            refused => refused,
        };
        let Err(error) = permitted else { return Ok(admin) };
        // The caller is known, so the refusal leaves a row.
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let event = Event::new("admin.denied", "route", format!("{} {route}", parts.method));
        admin.begin().await?.finish(event, Err(error)).await
    }
}

impl<P: Permission> Admin<P> {
    /// Whether the caller would still be let in, for an answer that goes on for long. A key that its credential is bound
    /// to was proved when the request came.
    pub async fn check_again(&mut self) -> Result<()> {
        let Some(credential) = &self.credential else { return Ok(()) };
        let presented = Presented { scheme: Scheme::Bearer, token: credential.expose() };
        let found = authenticate(&self.app, None, &presented, self.app.clock.now()).await?;
        self.caller = found.caller;
        self.permit(&found.networks).await
    }

    /// An address that the key may be used from, the scope that the route asks for, and a tenant that stands. Operators
    /// may look after a suspended one.
    async fn permit(&self, networks: &Networks) -> Result<()> {
        if !networks.is_empty() && !self.origin.address.is_some_and(|address| networks.contains(address)) {
            return Err(refuse(Kind::Forbidden, "the admin key may not be used from this address"));
        }
        if !P::SCOPES.is_empty() && !P::SCOPES.iter().any(|scope| self.caller.holds(scope)) {
            let why = format!("this needs one of the scopes: {}", P::SCOPES.join(" "));
            return Err(refuse(Kind::InsufficientScope, why));
        }
        if self.caller.across_tenants {
            return Ok(());
        }
        let mut db = self.app.connection().await?;
        tenancy::check(&mut db, &self.tenant).await
    }
}

/// Finds out who calls, by his credential or, where the mode is open, by where he calls from.
async fn admit(app: &App, parts: &Parts, now: Time) -> Result<Authenticated> {
    let address = client(&parts.extensions);
    check_lockout(app, address, now)?;
    let Some(credential) = presented(&parts.headers)? else {
        if !app.config.admin_open() {
            return Err(missing());
        }
        open::check(parts)?;
        return Ok(open::authenticated());
    };
    match authenticate(app, Some(parts), &credential, now).await {
        Ok(authenticated) => {
            app.rates.key(&authenticated.caller.id)?;
            Ok(authenticated)
        }
        Err(error) => {
            count_wrong(app, address, &error, now).await?;
            Err(error)
        }
    }
}

/// A wrong credential counts, and so does a token without the proof of its key.
async fn count_wrong(app: &App, address: Option<IpAddr>, error: &Error, now: Time) -> Result<()> {
    match error {
        Error::Refused(Refused { kind: Kind::InvalidToken | Kind::InvalidDpopProof, .. }) => {
            count_failure(app, address, now).await
        }
        _ => Ok(()),
    }
}

/// What a credential proves. Where it is bound to a key, that is proved by the request of these parts.
async fn authenticate(
    app: &App,
    parts: Option<&Parts>,
    presented: &Presented<'_>,
    now: Time,
) -> Result<Authenticated> {
    if presented.token.starts_with(admin_keys::PREFIX) {
        if presented.scheme != Scheme::Bearer {
            let why = "an admin key is bound to no key pair; present it as Authorization: Bearer KEY";
            return Err(refuse(Kind::InvalidToken, why));
        }
        let mut db = app.connection().await?;
        return admin_keys::authenticate(app, &mut db, presented.token, now).await;
    }
    let (caller, tenant) = authenticate_token(live_token(app, parts, presented, now).await?);
    Ok(Authenticated { caller, tenant: Some(tenant), networks: Networks::default() })
}

/// A token of ours that stands, is meant for this server and presented by whoever it is bound to: who was given one for
/// himself must not administer with it (RFC 8725 section 3.9).
async fn live_token(app: &App, parts: Option<&Parts>, presented: &Presented<'_>, now: Time) -> Result<Found> {
    let why = "the token is unknown, expired, revoked or meant for somebody else";
    let found = tokens::verify(app, presented.token, now).await?;
    let found = found.filter(|found| found.audience.iter().any(|name| name == app.config.issuer()));
    let found = found.ok_or_else(|| refuse(Kind::InvalidToken, why))?;
    if let Some(parts) = parts {
        let target = possession::Target::of(app, parts);
        let shown = possession::Shown { presented, found: &found };
        possession::check(app, parts, Some(&target), shown, now).await?;
    }
    Ok(found)
}

/// Who presents a token, and in which tenant.
fn authenticate_token(token: Found) -> (Caller, Tenant) {
    let caller = Caller {
        // In a person's name and without an agent, there is only the person.
        kind: if token.identity_id.is_some() { "agent" } else { "person" },
        id: token.presenter,
        user: Some(token.user_id).filter(|user| !user.is_empty()),
        across_tenants: false,
        authority: Authority::Scopes(token.scopes),
    };
    (caller, Tenant { account_id: token.account_id, project_id: token.project_id })
}

/// Facts of the request for the audit log.
pub fn origin(parts: &Parts) -> Origin {
    Origin {
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        address: client(&parts.extensions),
    }
}

fn missing() -> Error {
    refuse(
        Kind::MissingCredential,
        "present an admin key or a token that carries nhi:manage: Authorization: Bearer …; \
         `chancery admin create-key` makes a key",
    )
}
