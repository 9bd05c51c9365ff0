//! Registration by an administrator.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::types::TrustedIssuer;
use super::{rules, store};
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::ids;
use crate::kit::jwk::AlgorithmName;
use crate::kit::jwks::JwkSet;
use crate::tenancy;

/// How long a token may live, and how old it may be, where nothing else is said, in seconds.
const LIFETIME: i32 = 3600;

/// What platforms sign with, where nothing else is said.
const USUAL: [&str; 2] = ["ES256", "RS256"];

/// An issuer to be trusted. Members it does not know are ignored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewTrustedIssuer)]
pub struct NewIssuer {
    /// What its tokens say in `iss`.
    #[schema(pattern = "^https?://")]
    pub issuer: String,
    /// What they must say in `aud`.
    #[serde(default)]
    pub audience: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// Its keys, in place of that.
    #[schema(value_type = Option<JwkSet>)]
    pub jwks: Option<Value>,
    /// With what they may sign.
    #[schema(value_type = Option<Vec<AlgorithmName>>, min_items = 1)]
    pub algorithms: Option<Vec<String>>,
    /// The longest life of a token, in seconds.
    #[schema(minimum = 60, maximum = 86_400)]
    pub max_lifetime_seconds: Option<i32>,
    /// How long ago it may have been issued, in seconds; as long as it may live, when absent.
    #[schema(minimum = 60, maximum = 86_400)]
    pub max_age_seconds: Option<i32>,
    /// A glob that every subject must match.
    #[serde(default)]
    pub subject_pattern: String,
    /// Claims that every token must have.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub required_claims: Map<String, Value>,
}

/// Registers an issuer.
pub async fn create(app: &App, cx: &mut Cx, new: NewIssuer) -> Result<TrustedIssuer> {
    rules::check_issuer(app, &new.issuer)?;
    let audience = rules::audience(app, cx, &new.audience)?;
    let lifetime = new.max_lifetime_seconds.unwrap_or(LIFETIME);
    let algorithms = new.algorithms.unwrap_or_else(|| USUAL.map(str::to_owned).to_vec());
    let issuer = TrustedIssuer {
        id: ids::new(cx.now)?,
        account_id: cx.tenant.account_id.clone(),
        project_id: cx.tenant.project_id.clone(),
        issuer: new.issuer,
        audience,
        name: new.name,
        jwks_uri: new.jwks_uri,
        jwks: new.jwks,
        algorithms,
        max_lifetime_seconds: lifetime,
        max_age_seconds: new.max_age_seconds.unwrap_or(lifetime),
        subject_pattern: new.subject_pattern,
        required_claims: Value::Object(new.required_claims),
        is_active: true,
        created_by: cx.caller.name().to_owned(),
        created_at: cx.now,
        updated_at: cx.now,
    };
    let issuer = rules::check(app, issuer)?;
    let conflict = |why, at| Err(refuse_at(Kind::Conflict, why, at, issuer.issuer.as_str()));
    // Looked up before anything is written: a refusal is committed, and must not leave a tenant behind.
    match store::taken(cx, &issuer).await? {
        Some(true) => {
            return conflict("the tenant trusts this issuer already; change that entry", "body.issuer");
        }
        Some(false) => {
            let why = "another tenant takes this issuer's tokens with this audience; choose another audience";
            return conflict(why, "body.audience");
        }
        None => {}
    }
    tenancy::ensure(cx).await?;
    if !store::insert(cx, &issuer).await? {
        return conflict("the issuer was registered by somebody else just now", "body.issuer");
    }
    Ok(issuer)
}
