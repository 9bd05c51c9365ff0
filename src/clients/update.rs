//! Changes by an administrator. What is absent stays.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::{Client, Dpop};
use super::{lifecycle, lock, rules};
use crate::access::scope::ScopeName;
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::http::members::AudienceName;
use crate::kit::jwks::JwkSet;
use crate::policies::GrantTypeName;

/// The members of a PATCH.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = OAuthClientPatch)]
pub struct ClientPatch {
    /// What people call it.
    #[schema(pattern = r"\S")]
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Short names or URNs of the grants it may use.
    #[schema(value_type = Option<Vec<GrantTypeName>>)]
    pub grant_types: Option<Vec<String>>,
    /// What it may obtain at the most.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scopes: Option<Vec<String>>,
    /// Where codes may be sent.
    pub redirect_uris: Option<Vec<String>>,
    /// How long its tokens live, in seconds.
    #[schema(minimum = 0)]
    pub access_token_ttl: Option<i32>,
    /// How long its refresh tokens live, in seconds.
    #[schema(minimum = 0)]
    pub refresh_token_ttl: Option<i32>,
    /// What becomes of a refresh token that comes again.
    #[schema(pattern = "^(refuse|quiet|reissue)?$")]
    pub refresh_token_reuse: Option<String>,
    /// Its public keys, in the place of where they are; a set without keys takes them away.
    #[schema(value_type = Option<JwkSet>)]
    pub jwks: Option<Value>,
    /// Where they are, in their place; "" takes that away.
    pub jwks_uri: Option<String>,
    /// For whom its tokens may be meant; an empty list lifts the limit.
    #[schema(value_type = Option<Vec<AudienceName>>)]
    pub allowed_audiences: Option<Vec<String>>,
    /// By which names it is itself what tokens are meant for.
    #[schema(value_type = Option<Vec<AudienceName>>)]
    pub resources: Option<Vec<String>>,
    /// The shape of its tokens' claims; "" leaves that to the server.
    #[schema(pattern = "^(zeroid|rfc8693|shark|rfc9068)?$")]
    pub token_profile: Option<String>,
    /// Whether it obtains only tokens that are bound to a key.
    pub dpop_bound_access_tokens: Option<bool>,
    /// Whether its proofs must repeat a nonce of the server.
    pub dpop_nonce_required: Option<bool>,
    /// Whether it may authenticate. One that may not loses its tokens for good.
    pub is_active: Option<bool>,
    /// Anything else.
    pub metadata: Option<Map<String, Value>>,
}

impl ClientPatch {
    /// The names of the members that are there, for the audit log.
    pub fn members(&self) -> Value {
        let present = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("grant_types", self.grant_types.is_some()),
            ("scopes", self.scopes.is_some()),
            ("redirect_uris", self.redirect_uris.is_some()),
            ("access_token_ttl", self.access_token_ttl.is_some()),
            ("refresh_token_ttl", self.refresh_token_ttl.is_some()),
            ("refresh_token_reuse", self.refresh_token_reuse.is_some()),
            ("jwks", self.jwks.is_some()),
            ("jwks_uri", self.jwks_uri.is_some()),
            ("allowed_audiences", self.allowed_audiences.is_some()),
            ("resources", self.resources.is_some()),
            ("token_profile", self.token_profile.is_some()),
            ("dpop_bound_access_tokens", self.dpop_bound_access_tokens.is_some()),
            ("dpop_nonce_required", self.dpop_nonce_required.is_some()),
            ("is_active", self.is_active.is_some()),
            ("metadata", self.metadata.is_some()),
        ];
        let members: Vec<_> = present.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
        json!({ "members": members, "is_active": self.is_active })
    }

    /// Whether it may let somebody act as the client who could not before, or let the client do more.
    fn widens(&self) -> bool {
        self.grant_types.is_some()
            || self.scopes.is_some()
            || self.redirect_uris.is_some()
            || self.allowed_audiences.is_some()
            || self.jwks.is_some()
            || self.jwks_uri.is_some()
            || self.is_active == Some(true)
    }

    fn onto(self, client: Client) -> Result<Client> {
        let (jwks, jwks_uri) = match (self.jwks, self.jwks_uri) {
            (None, None) => (client.jwks, client.jwks_uri),
            sent => sent,
        };
        let reuse = self.refresh_token_reuse.map(|reuse| rules::reuse(&reuse)).transpose()?;
        Ok(Client {
            name: self.name.unwrap_or(client.name),
            description: self.description.unwrap_or(client.description),
            grant_types: self.grant_types.unwrap_or(client.grant_types),
            scopes: self.scopes.unwrap_or(client.scopes),
            redirect_uris: self.redirect_uris.unwrap_or(client.redirect_uris),
            access_token_ttl: self.access_token_ttl.unwrap_or(client.access_token_ttl),
            refresh_token_ttl: self.refresh_token_ttl.unwrap_or(client.refresh_token_ttl),
            refresh_token_reuse: reuse.unwrap_or(client.refresh_token_reuse),
            jwks,
            jwks_uri,
            allowed_audiences: self.allowed_audiences.unwrap_or(client.allowed_audiences),
            resources: self.resources.unwrap_or(client.resources),
            token_profile: self.token_profile.or(client.token_profile),
            dpop: Dpop {
                dpop_bound_access_tokens: self
                    .dpop_bound_access_tokens
                    .unwrap_or(client.dpop.dpop_bound_access_tokens),
                dpop_nonce_required: self.dpop_nonce_required.unwrap_or(client.dpop.dpop_nonce_required),
            },
            is_active: self.is_active.unwrap_or(client.is_active),
            metadata: self.metadata.map_or(client.metadata, Value::Object),
            ..client
        })
    }
}

/// Changes a client. What comes of it is checked as a new client would be.
pub async fn update(app: &App, cx: &mut Cx, id: Uuid, patch: ClientPatch) -> Result<Client> {
    let client = lock(cx, id).await?;
    let (was_active, widens) = (client.is_active, patch.widens());
    let mut client = rules::check(app, patch.onto(client)?)?;
    if widens {
        rules::check_reach(cx, &client).await?;
    }
    if was_active && !client.is_active {
        lifecycle::end_epoch(cx, &mut client, "client_deactivated").await?;
    }
    lifecycle::save(cx, client).await
}
