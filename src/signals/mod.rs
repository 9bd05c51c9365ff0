//! Signals: what was noticed about identities, by others or by the server itself, and what follows from it. Those of
//! others may end tokens at once; all of them can be listed and followed as a stream.
mod lifecycle;
mod store;
mod stream;

pub mod routes;
pub mod worker;

pub use lifecycle::{Lifecycle, tell, tell_all};
pub use stream::Streams;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::agents;
use crate::kit::clock::Time;
use crate::kit::config::{Config, Reaction};
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::http::members;
use crate::kit::http::members::IdOrEmpty;
use crate::kit::ids;

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SignalType {
    /// A key or secret was replaced.
    CredentialChange,
    /// Tokens were ended.
    SessionRevoked,
    /// It calls from elsewhere.
    IpChange,
    /// It does what it does not do otherwise.
    AnomalousBehavior,
    /// It tried what it may not.
    PolicyViolation,
    /// It was deactivated.
    Retirement,
    /// Somebody else answers for it.
    OwnerChange,
    /// Its end came.
    IdentityExpired,
}

impl FromStr for SignalType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        serde_json::from_value(Value::from(text)).map_err(|_| ())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = SignalSeverity)]
pub enum Severity {
    /// Good to know.
    #[default]
    Low,
    /// Worth a look.
    Medium,
    /// What the identity holds is not to be trusted.
    High,
    /// The identity itself is not.
    Critical,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// What the configuration says of it.
    fn reaction(self, config: &Config) -> Reaction {
        let signals = &config.signals;
        match self {
            Self::Low => signals.low,
            Self::Medium => signals.medium,
            Self::High => signals.high,
            Self::Critical => signals.critical,
        }
    }
}

/// A signal as the API shows it. No member is ever null.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Signal {
    /// A UUID of version 7.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// About which identity; "" for none.
    pub identity_id: String,
    /// In which tree of credentials, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mission_id: Option<Uuid>,
    /// What was noticed.
    pub signal_type: SignalType,
    /// How bad it is.
    pub severity: Severity,
    /// Who noticed.
    pub source: String,
    /// Facts.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it had its effect; absent while it has none.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub processed_at: Option<Time>,
}

/// A signal from outside.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewSignal {
    /// What was noticed.
    #[schema(value_type = SignalType)]
    pub signal_type: String,
    /// Who noticed.
    #[schema(min_length = 1)]
    pub source: String,
    /// About which identity.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub identity_id: Option<String>,
    /// In which tree of credentials.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub mission_id: Option<String>,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// Facts.
    pub payload: Option<Map<String, Value>>,
}

/// Which signals a list shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Those of one tree of credentials.
    pub mission_id: Option<Uuid>,
    /// Those about one identity.
    pub identity_id: Option<Uuid>,
}

/// Takes a signal from outside, does to the identity that it names what the configuration says of its severity, and
/// answers what was done. An identity of another tenant is none.
pub async fn ingest(config: &Config, cx: &mut Cx, new: NewSignal) -> Result<(Signal, Reaction)> {
    let row = check(config, cx, new)?;
    let reaction = row.severity.reaction(config);
    let mut done = Reaction::None;
    if let (Some(identity), true) = (row.identity_id, reaction != Reaction::None) {
        let reason = format!("auto-revoked by CAE signal {} (severity: {})", row.id, row.severity.as_str());
        if agents::contain(cx, identity, reaction == Reaction::Suspend, &reason).await? {
            done = reaction;
        }
    }
    let row = store::Row { processed_at: (done != Reaction::None).then_some(cx.now), ..row };
    store::insert(cx, std::slice::from_ref(&row)).await?;
    Ok((store::get(cx, row.id).await?, done))
}

/// The newest signals of the tenant.
pub async fn list(cx: &mut Cx, filter: Filter, limit: i64) -> Result<Vec<Signal>> {
    Ok(store::list(cx, filter, limit).await?)
}

fn check(config: &Config, cx: &Cx, new: NewSignal) -> Result<store::Row> {
    let signal_type = new.signal_type.parse().map_err(|()| {
        let why = "signal_type is one of: credential_change, session_revoked, ip_change, anomalous_behavior, \
                   policy_violation, retirement, owner_change, identity_expired";
        refuse_at(Kind::InvalidRequest, why, "body.signal_type", "")
    })?;
    if new.source.trim().is_empty() {
        return Err(refuse_at(Kind::Invalid, "source must not be empty", "body.source", ""));
    }
    check_text("source", &new.source, &config.limits)?;
    Ok(store::Row {
        id: ids::new(cx.now)?,
        identity_id: members::id("body.identity_id", new.identity_id.as_deref())?,
        mission_id: members::id("body.mission_id", new.mission_id.as_deref())?,
        signal_type,
        severity: new.severity,
        source: new.source,
        payload: Value::Object(new.payload.unwrap_or_default()),
        processed_at: None,
    })
}
