//! What a client is, as a row and on the wire.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::kit::secret::{self, SecretHash};
use crate::tokens::Reuse;

/// Whether a client can keep a secret (RFC 6749 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = OAuthClientType)]
pub enum ClientType {
    /// It can't, and does not authenticate.
    Public,
    /// It can.
    Confidential,
}

/// The one way in which a client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = OAuthClientAuthMethod)]
pub enum AuthMethod {
    /// A secret in the `Authorization` header.
    ClientSecretBasic,
    /// A secret in the body.
    ClientSecretPost,
    /// A JWT that the client's key signed.
    PrivateKeyJwt,
    /// None: the client is public.
    None,
}

impl AuthMethod {
    /// Every method.
    const ALL: [Self; 4] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::None];

    /// As it stands on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }

    /// Whether it is by a secret that we make.
    pub fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

impl FromStr for AuthMethod {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|method| method.as_str() == text).ok_or(())
    }
}

/// The keyed hashes of what a client may present. `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Of the secret that was made last.
    pub current: Option<SecretHash>,
    /// Of the one before it, which works until the time beside it.
    pub old: Option<(Vec<u8>, Time)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// What is asked of the proofs of possession of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = OAuthClientDpop)]
pub struct Dpop {
    /// Whether it obtains only tokens that are bound to a key (RFC 9449 section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// Whether its proofs must repeat a nonce of the server.
    pub dpop_nonce_required: bool,
}

/// A client. No member is ever null on the wire: programs refuse that.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = OAuthClientMembers)]
pub struct Client {
    /// The row's id, by which it is administered.
    pub id: Uuid,
    /// Whose it is.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// By which it names itself; unique among all tenants.
    pub client_id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whether it can keep a secret.
    pub client_type: ClientType,
    /// How it authenticates.
    #[serde(rename = "token_endpoint_auth_method")]
    pub auth_method: AuthMethod,
    /// What its secrets are compared with.
    #[serde(skip)]
    pub secrets: Secrets,
    /// Its public keys, as a JWK set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub jwks: Option<Value>,
    /// Short names of the grants it may use.
    pub grant_types: Vec<String>,
    /// What it may obtain at the most; none means nothing.
    pub scopes: Vec<String>,
    /// Where codes may be sent, compared as they are.
    pub redirect_uris: Vec<String>,
    /// How long its tokens live, in seconds; 0 leaves that to policies and the server.
    pub access_token_ttl: i32,
    /// How long its refresh tokens live, in seconds; 0 leaves that to the server.
    pub refresh_token_ttl: i32,
    /// For whom its tokens may be meant; nothing means anybody.
    pub allowed_audiences: Vec<String>,
    /// By which names it is itself what tokens are meant for, beside its `client_id`.
    pub resources: Vec<String>,
    /// What becomes of a refresh token that comes again.
    pub refresh_token_reuse: Reuse,
    /// The shape of its tokens' claims, where it is not the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_profile: Option<String>,
    /// What is asked of its proofs of possession.
    #[serde(flatten)]
    pub dpop: Dpop,
    /// The identity it was bound to, shown as "" where there is none.
    #[serde(skip)]
    pub identity_id: Option<Uuid>,
    /// `internal`, or `dynamic` where it registered itself.
    pub registration_source: String,
    /// Which software it is, as it says.
    pub software_id: String,
    /// Which version of it.
    pub software_version: String,
    /// Whom to ask about it.
    pub contacts: Vec<String>,
    /// Anything else; never in a token.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// An inactive one does not authenticate.
    pub is_active: bool,
    /// Credentials of an earlier epoch are dead.
    #[serde(skip)]
    pub epoch: i32,
    /// Whether its tenant is active.
    #[serde(skip)]
    pub tenant_active: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub updated_at: Time,
}

/// What stands in the view of identities under the same name has `client_` before it, so that both fit into one row.
impl FromRow<'_, PgRow> for Client {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let old: Option<Vec<u8>> = row.try_get("old_secret_hash")?;
        let pepper: Option<Uuid> = row.try_get("pepper_id")?;
        let current = pepper.zip(row.try_get("secret_hash")?);
        Ok(Self {
            id: row.try_get("id")?,
            tenant: Tenant {
                account_id: row.try_get("client_account_id")?,
                project_id: row.try_get("client_project_id")?,
            },
            client_id: row.try_get("client_id")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            client_type: row.try_get("client_type")?,
            auth_method: row.try_get("token_endpoint_auth_method")?,
            secrets: Secrets {
                current: current.map(|(pepper_id, mac)| SecretHash { pepper_id, mac }),
                old: old.zip(row.try_get("old_secret_until")?),
            },
            jwks: row.try_get("jwks")?,
            grant_types: row.try_get("grant_types")?,
            scopes: row.try_get("scopes")?,
            redirect_uris: row.try_get("redirect_uris")?,
            access_token_ttl: row.try_get("access_token_ttl")?,
            refresh_token_ttl: row.try_get("refresh_token_ttl")?,
            allowed_audiences: row.try_get("allowed_audiences")?,
            resources: row.try_get("resources")?,
            refresh_token_reuse: row.try_get("refresh_token_reuse")?,
            token_profile: row.try_get("token_profile")?,
            dpop: Dpop::from_row(row)?,
            identity_id: row.try_get("client_identity_id")?,
            registration_source: row.try_get("registration_source")?,
            software_id: row.try_get("software_id")?,
            software_version: row.try_get("software_version")?,
            contacts: row.try_get("contacts")?,
            metadata: row.try_get("metadata")?,
            is_active: row.try_get("is_active")?,
            epoch: row.try_get("client_epoch")?,
            tenant_active: row.try_get("client_tenant_active")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Client {
    /// Whether it may go without authenticating. A row that carries a secret is confidential, whatever its type says.
    pub fn is_public(&self) -> bool {
        self.client_type == ClientType::Public && self.secrets.current.is_none()
    }

    /// Whether a presented secret is the client's, by its hashes under every pepper. What is compared, and how long it
    /// takes, does not depend on where they differ.
    pub fn accepts_secret(&self, hashes: &[Vec<u8>], now: Time) -> bool {
        let old = self.secrets.old.as_ref().filter(|(_, until)| *until > now).map(|(hash, _)| hash);
        let known = self.secrets.current.as_ref().map(|current| &current.mac).into_iter().chain(old);
        known.fold(false, |accepted, known| {
            hashes.iter().fold(accepted, |accepted, hash| secret::same(known, hash) | accepted)
        })
    }
}
