//! What one request carries through every verb: its transaction, tenant, time and caller.

use std::net::IpAddr;

use serde::Serialize;
use sqlx::{Postgres, Transaction};
use utoipa::ToSchema;

use super::clock::Time;

/// The pair every row belongs to. Both parts are segments of a SPIFFE path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema, sqlx::FromRow)]
pub struct Tenant {
    /// The customer.
    pub account_id: String,
    /// One of the customer's projects.
    pub project_id: String,
}

/// Who acts, as the audit log names him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `admin_key`, `agent`, `person`, `open` (a caller without a credential), `command_line` or `system` (a worker); on the
    /// token path `api_key`.
    pub kind: &'static str,
    /// The key's or agent's id; "" for the open mode.
    pub id: String,
    /// The person behind the call, where the credential tells: the creator of the API key.
    pub user: Option<String>,
    /// Whether the credential works in every tenant: an operator's key, or the open mode.
    pub across_tenants: bool,
    /// What the credential may pass on.
    pub authority: Authority,
}

impl Cx {
    /// The context of a command: an operator on the machine itself. What belongs to no tenant is logged under "".
    pub fn command_line(tx: Transaction<'static, Postgres>, tenant: Option<Tenant>, now: Time) -> Self {
        let caller = Caller {
            kind: "command_line",
            id: String::new(),
            user: None,
            across_tenants: true,
            authority: Authority::Everything,
        };
        let tenant = tenant.unwrap_or(Tenant { account_id: String::new(), project_id: String::new() });
        Self { tx, tenant, now, caller, origin: Origin::default() }
    }
}

/// The scopes a caller holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The open mode of development counts as holding every scope.
    Everything,
    /// The scopes of a key or token.
    Scopes(Vec<String>),
}

impl Caller {
    /// Who made or ended something, for its row: the person behind the call, else the credential's id; "" for the open
    /// mode.
    pub fn name(&self) -> &str {
        self.user.as_deref().unwrap_or(&self.id)
    }

    /// Whether the caller holds `scope`.
    pub fn holds(&self, scope: &str) -> bool {
        match &self.authority {
            Authority::Everything => true,
            Authority::Scopes(scopes) => scopes.iter().any(|held| held == scope),
        }
    }
}

/// Facts of the request that the audit log keeps.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The id that `X-Request-ID` carries back.
    pub request_id: String,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// One admin request: an ordinary transaction and what its statements need.
#[derive(Debug)]
pub struct Cx {
    /// Committed on success and on refusal, rolled back on a fault.
    pub tx: Transaction<'static, Postgres>,
    /// Every statement is bound to it.
    pub tenant: Tenant,
    /// Read once, when the request came in.
    pub now: Time,
    /// Who acts.
    pub caller: Caller,
    /// From where.
    pub origin: Origin,
}
