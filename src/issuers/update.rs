//! Changes by an administrator. What is absent stays; issuer and audience are what an entry is, so they stay too.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::TrustedIssuer;
use super::{lock, rules, store, subjects};
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::jwk::AlgorithmName;
use crate::kit::jwks::JwkSet;

/// The members of a PATCH.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = TrustedIssuerPatch)]
#[serde(default)]
pub struct IssuerPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Where its keys are; takes inline keys away.
    pub jwks_uri: Option<String>,
    /// Its keys; take the address away.
    #[schema(value_type = Option<JwkSet>)]
    pub jwks: Option<Value>,
    /// With what they may sign.
    #[schema(value_type = Option<Vec<AlgorithmName>>, min_items = 1)]
    pub algorithms: Option<Vec<String>>,
    /// The longest life of a token, in seconds.
    #[schema(minimum = 60, maximum = 86_400)]
    pub max_lifetime_seconds: Option<i32>,
    /// How long ago it may have been issued, in seconds.
    #[schema(minimum = 60, maximum = 86_400)]
    pub max_age_seconds: Option<i32>,
    /// A glob that every subject must match; "" lets all pass.
    pub subject_pattern: Option<String>,
    /// Claims that every token must have.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub required_claims: Option<Map<String, Value>>,
    /// Whether its tokens are accepted.
    pub is_active: Option<bool>,
}

impl IssuerPatch {
    /// The names of the members that are there, for the audit log.
    pub fn members(&self) -> Value {
        let present = [
            ("name", self.name.is_some()),
            ("jwks_uri", self.jwks_uri.is_some()),
            ("jwks", self.jwks.is_some()),
            ("algorithms", self.algorithms.is_some()),
            ("max_lifetime_seconds", self.max_lifetime_seconds.is_some()),
            ("max_age_seconds", self.max_age_seconds.is_some()),
            ("subject_pattern", self.subject_pattern.is_some()),
            ("required_claims", self.required_claims.is_some()),
            ("is_active", self.is_active.is_some()),
        ];
        let members: Vec<_> = present.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
        json!({ "members": members, "is_active": self.is_active })
    }

    /// Whether it may let somebody in who was not before.
    fn widens(&self) -> bool {
        let harmless = Self { name: self.name.clone(), is_active: self.is_active, ..Self::default() };
        self.members() != harmless.members() || self.is_active == Some(true)
    }

    fn onto(self, issuer: TrustedIssuer) -> TrustedIssuer {
        let (jwks_uri, jwks) = match (self.jwks_uri, self.jwks) {
            (None, None) => (issuer.jwks_uri, issuer.jwks),
            sent => sent,
        };
        TrustedIssuer {
            name: self.name.unwrap_or(issuer.name),
            jwks_uri,
            jwks,
            algorithms: self.algorithms.unwrap_or(issuer.algorithms),
            max_lifetime_seconds: self.max_lifetime_seconds.unwrap_or(issuer.max_lifetime_seconds),
            max_age_seconds: self.max_age_seconds.unwrap_or(issuer.max_age_seconds),
            subject_pattern: self.subject_pattern.unwrap_or(issuer.subject_pattern),
            required_claims: self.required_claims.map_or(issuer.required_claims, Value::Object),
            is_active: self.is_active.unwrap_or(issuer.is_active),
            ..issuer
        }
    }
}

/// Changes an issuer. What comes of it is checked as a new one would be. Where it is stopped, what its subjects obtained
/// so far ends, and stays ended when it is trusted again.
pub async fn update(app: &App, cx: &mut Cx, id: Uuid, patch: IssuerPatch) -> Result<TrustedIssuer> {
    let issuer = lock(cx, id).await?;
    let widens = patch.widens();
    let stops = issuer.is_active && patch.is_active == Some(false);
    let mut issuer = rules::check(app, patch.onto(issuer))?;
    if widens {
        rules::check_reach(cx, &issuer, "path.id").await?;
    }
    if stops {
        subjects::note_all(cx, id, "trusted_issuer_stopped").await?;
        store::end_epochs(cx, id).await?;
    }
    issuer.updated_at = cx.now;
    store::save(cx, &issuer).await?;
    Ok(issuer)
}

/// Forgets an issuer with the links of its subjects, which ends what they obtained.
pub async fn delete(cx: &mut Cx, id: Uuid) -> Result<TrustedIssuer> {
    let issuer = lock(cx, id).await?;
    subjects::note_all(cx, id, "trusted_issuer_deleted").await?;
    store::delete(cx, id).await?;
    Ok(issuer)
}
