//! A key that an administrator asks for: for an identity that is there, or with one of its own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::{ApiKey, Environment, NewApiKey, Settings};
use super::{create, get};
use crate::access::scope::ScopeName;
use crate::access::scope::{self, Ceiling, Scopes};
use crate::agents::{self, Agent};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::{Limits, Networks};
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::http::members;
use crate::kit::http::members::IdOrEmpty;
use crate::kit::ids;
use crate::policies::Policy;
use crate::{policies, tenancy};

/// The longest life that may be asked for.
const LONGEST_DAYS: i64 = 3650;

/// A key as it is asked for. Members it does not know are ignored.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = NewApiKey)]
pub struct KeyRequest {
    /// For whom or what; not empty.
    #[schema(required = true, pattern = r"\S")]
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whose tokens it obtains; without one a service is registered for it.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub identity_id: Option<String>,
    /// Scopes it is limited to; an empty list does not limit.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scopes: Option<Vec<String>>,
    /// `live` or `test`; "" is `live`.
    #[schema(pattern = "^(live|test)?$")]
    pub environment: Option<String>,
    /// 1 to 3650; without it the key lives as long as its identity.
    #[schema(minimum = 1, maximum = 3650)]
    pub expires_in_days: Option<i64>,
    /// Anything else.
    pub metadata: Option<Value>,
    /// A policy within the identity's; without it the identity's own.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub credential_policy_id: Option<String>,
    /// The networks it works from; an empty list does not limit.
    pub ip_allowlist: Option<Vec<String>>,
    /// The label `product` of the service that is registered for it.
    pub product: Option<String>,
}

/// A new key with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyWithSecret)]
pub struct Shown {
    /// The key.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// The secret.
    pub key: String,
}

/// What could be read of a request before anything else is known.
struct Parsed {
    scopes: Ceiling,
    environment: Environment,
    networks: Networks,
    life: Option<Duration>,
    identity_id: Option<Uuid>,
}

/// Makes the key, and its identity where none is named: both or neither.
pub async fn issue(app: &App, cx: &mut Cx, request: KeyRequest) -> Result<Shown> {
    let parsed = parse(&request, &app.config.limits)?;
    // The key's own limit outlives the layers that may mask a part of it today, so it is checked by itself as well.
    scope::check_held(&cx.caller, parsed.scopes.clone(), "body.scopes")?;
    let agent = match parsed.identity_id {
        Some(id) => Some(agents::for_further_key(cx, id).await?),
        None => None,
    };
    let (at, named) = ("body.credential_policy_id", request.credential_policy_id.as_deref());
    let named = policies::named(cx, at, named).await?;
    // Only now is anything written: a refusal is committed, and must not leave a tenant behind.
    tenancy::ensure(cx).await?;
    let over = match &agent {
        Some(agent) => policies::by_id(cx, agent.credential_policy_id, "body.identity_id").await?,
        None => policies::default(cx).await?,
    };
    let policy = named.unwrap_or_else(|| over.clone());
    policies::check_subset(&policy, &over)?;
    let own = agent.as_ref().and_then(|agent| Scopes::ceiling(agent.allowed_scopes.clone()));
    let own = scope::intersect([own, over.ceiling()]);
    let key = scope::intersect([parsed.scopes.clone(), policy.ceiling()]);
    agents::check_takeover(cx, "body.identity_id", own, key)?;
    let new = NewApiKey {
        id: ids::new(cx.now)?,
        identity_id: agent.as_ref().map_or_else(|| ids::new(cx.now), |agent| Ok(agent.id))?,
        expires_at: end(cx.now, parsed.life, agent.as_ref()),
        settings: settings(&request, parsed, &policy, cx.caller.name()),
        name: request.name,
    };
    if agent.is_none() {
        agents::register_for_key(app, cx, &over, &new, product(request.product.as_deref())).await?;
    }
    let id = new.id;
    let secret = create(app, cx, new).await?;
    Ok(Shown { api_key: get(cx, id).await?, key: secret.expose().to_owned() })
}

fn settings(request: &KeyRequest, parsed: Parsed, policy: &Policy, creator: &str) -> Settings {
    let networks = parsed.networks.items();
    Settings {
        scopes: parsed.scopes.map(|scopes| scopes.as_slice().to_vec()),
        description: request.description.clone().unwrap_or_default(),
        environment: parsed.environment,
        metadata: request.metadata.clone().unwrap_or_else(|| json!({})),
        ip_allowlist: Some(networks).filter(|networks| !networks.is_empty()),
        ..Settings::plain(policy.id, creator.to_owned())
    }
}

fn parse(request: &KeyRequest, limits: &Limits) -> Result<Parsed> {
    check(request, limits)?;
    let scopes = request.scopes.as_deref().unwrap_or_default();
    let networks = request.ip_allowlist.as_deref().unwrap_or_default();
    let networks = Networks::of(networks).map_err(|why| {
        refuse_at(Kind::InvalidRequest, format!("ip_allowlist: {why}"), "body.ip_allowlist", "")
    })?;
    Ok(Parsed {
        scopes: Some(Scopes::of(scopes.iter().map(String::as_str), limits.scopes)?)
            .filter(|scopes| !scopes.is_empty()),
        environment: environment(request.environment.as_deref().unwrap_or_default())?,
        networks,
        life: life(request.expires_in_days)?,
        identity_id: members::id("body.identity_id", request.identity_id.as_deref())?,
    })
}

fn check(request: &KeyRequest, limits: &Limits) -> Result<()> {
    if request.name.trim().is_empty() {
        return Err(refuse_at(Kind::Invalid, "name must not be empty", "body.name", ""));
    }
    check_text("name", &request.name, limits)?;
    check_text("description", request.description.as_deref().unwrap_or_default(), limits)?;
    let product = product(request.product.as_deref());
    check_text("product", product.unwrap_or_default(), limits)?;
    let named = request.identity_id.as_deref().is_some_and(|id| !id.is_empty());
    if named && product.is_some() {
        let why = "product is a label of the identity: leave it out where identity_id names one";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.product", ""));
    }
    Ok(())
}

fn product(named: Option<&str>) -> Option<&str> {
    named.filter(|product| !product.is_empty())
}

fn environment(text: &str) -> Result<Environment> {
    match text {
        "" | "live" => Ok(Environment::Live),
        "test" => Ok(Environment::Test),
        _ => {
            let value = text.chars().take(64).collect::<String>();
            let why = "environment is live or test";
            Err(refuse_at(Kind::InvalidRequest, why, "body.environment", value))
        }
    }
}

fn life(days: Option<i64>) -> Result<Option<Duration>> {
    match days {
        None => Ok(None),
        Some(days) if (1..=LONGEST_DAYS).contains(&days) => Ok(Some(Duration::days(days))),
        Some(days) => {
            let why = format!("expires_in_days is a whole number from 1 to {LONGEST_DAYS}");
            Err(refuse_at(Kind::InvalidRequest, why, "body.expires_in_days", days.to_string()))
        }
    }
}

/// A key ends when it is asked to, and no later than its identity.
fn end(now: Time, life: Option<Duration>, agent: Option<&Agent>) -> Option<Time> {
    let asked = life.map(|life| now + life);
    asked.into_iter().chain(agent.and_then(|agent| agent.expires_at)).min()
}
