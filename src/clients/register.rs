//! Registration by an administrator.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::grant_types::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS};
use super::types::{AuthMethod, Client, ClientType, Dpop, Secrets};
use super::{Created, lifecycle, rules, store};
use crate::access::scope::ScopeName;
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::members::{AudienceName, IdOrEmpty};
use crate::kit::ids;
use crate::kit::jwks::JwkSet;
use crate::policies::GrantTypeName;
use crate::tenancy;

/// A client to be registered. Members it does not know are ignored; an empty text or list counts as absent.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewOAuthClient)]
pub struct NewClient {
    /// By which it will name itself: `[A-Za-z0-9._:-]`.
    #[schema(pattern = "^[A-Za-z0-9._:-]+$", max_length = 255)]
    pub client_id: String,
    /// What people call it; not blank.
    #[schema(pattern = r"\S")]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether it can keep a secret; what the method says when absent.
    pub confidential: Option<bool>,
    /// How it will authenticate.
    #[serde(default)]
    #[schema(pattern = "^(none|client_secret_basic|client_secret_post|private_key_jwt)?$")]
    pub token_endpoint_auth_method: String,
    /// Short names or URNs of the grants it may use.
    #[schema(value_type = Option<Vec<GrantTypeName>>)]
    pub grant_types: Option<Vec<String>>,
    /// What it may obtain at the most.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scopes: Option<Vec<String>>,
    /// Where codes may be sent.
    pub redirect_uris: Option<Vec<String>>,
    /// How long its tokens live, in seconds; 0 leaves that to policies and the server.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub access_token_ttl: i32,
    /// The same of refresh tokens.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub refresh_token_ttl: i32,
    /// What becomes of a refresh token that comes again: `refuse`, `quiet` or `reissue`; "" means `quiet`.
    #[serde(default)]
    #[schema(pattern = "^(refuse|quiet|reissue)?$")]
    pub refresh_token_reuse: String,
    /// The identity of the tenant as which it acts.
    #[serde(default)]
    #[schema(value_type = IdOrEmpty)]
    pub identity_id: String,
    /// Its public keys.
    #[schema(value_type = Option<JwkSet>)]
    pub jwks: Option<Value>,
    /// Where its keys are.
    #[serde(default)]
    pub jwks_uri: String,
    /// Which software it is.
    #[serde(default)]
    pub software_id: String,
    /// Which version of it.
    #[serde(default)]
    pub software_version: String,
    /// Whom to ask about it.
    pub contacts: Option<Vec<String>>,
    /// Anything else.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// For whom its tokens may be meant.
    #[schema(value_type = Option<Vec<AudienceName>>)]
    pub allowed_audiences: Option<Vec<String>>,
    /// By which names it is itself what tokens are meant for.
    #[schema(value_type = Option<Vec<AudienceName>>)]
    pub resources: Option<Vec<String>>,
    /// The shape of its tokens' claims.
    #[schema(pattern = "^(zeroid|rfc8693|shark|rfc9068)?$")]
    pub token_profile: Option<String>,
    /// Whether it is to obtain only tokens that are bound to a key (RFC 9449 section 5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// Whether its proofs must repeat a nonce of the server.
    #[serde(default)]
    pub dpop_nonce_required: bool,
    /// How it hears of an approval (CIBA); only `poll` is there.
    #[serde(default)]
    #[schema(pattern = "^(poll)?$")]
    pub backchannel_token_delivery_mode: String,
    /// Where it would hear of it.
    #[serde(default)]
    #[schema(pattern = "^$")]
    pub client_notification_endpoint: String,
}

/// Registers a client and makes its secret, if it is to have one.
pub async fn create(app: &App, cx: &mut Cx, new: NewClient) -> Result<Created> {
    let mut client = rules::check(app, client(cx, new)?)?;
    rules::check_reach(cx, &client).await?;
    // Looked up before anything is written: a refusal is committed, and must not leave a tenant behind.
    let same = std::slice::from_ref(&client.client_id);
    if !store::evidence(&mut cx.tx, same).await?.is_empty() {
        return Err(taken(&client));
    }
    tenancy::ensure(cx).await?;
    let client_secret = if client.auth_method.has_secret() {
        Some(lifecycle::new_secret(app, &mut client.secrets)?)
    } else {
        None
    };
    if !store::insert(cx, &client).await? {
        return Err(taken(&client));
    }
    Ok(Created { client, client_secret })
}

/// The client as it was asked for, with the defaults of its kind.
fn client(cx: &Cx, new: NewClient) -> Result<Client> {
    check_client_id(&new.client_id)?;
    check_unsupported(&new)?;
    let auth_method = auth_method(&new)?;
    let (client_type, default_grant) = match auth_method {
        AuthMethod::None => (ClientType::Public, AUTHORIZATION_CODE),
        _ => (ClientType::Confidential, CLIENT_CREDENTIALS),
    };
    let identity_id = Some(new.identity_id.as_str()).filter(|id| !id.is_empty()).map(|id| {
        let malformed = |_| refuse_at(Kind::Invalid, "identity_id is not a UUID", "body.identity_id", "");
        uuid::Uuid::try_parse(id).map_err(malformed)
    });
    let grant_types = new.grant_types.filter(|grants| !grants.is_empty());
    Ok(Client {
        id: ids::new(cx.now)?,
        tenant: cx.tenant.clone(),
        client_id: new.client_id,
        name: new.name,
        description: new.description,
        client_type,
        auth_method,
        secrets: Secrets::default(),
        jwks: new.jwks,
        jwks_uri: Some(new.jwks_uri),
        grant_types: grant_types.unwrap_or_else(|| vec![default_grant.to_owned()]),
        scopes: new.scopes.unwrap_or_default(),
        redirect_uris: new.redirect_uris.unwrap_or_default(),
        access_token_ttl: new.access_token_ttl,
        refresh_token_ttl: new.refresh_token_ttl,
        allowed_audiences: new.allowed_audiences.unwrap_or_default(),
        resources: new.resources.unwrap_or_default(),
        refresh_token_reuse: rules::reuse(&new.refresh_token_reuse)?,
        token_profile: new.token_profile,
        dpop: Dpop {
            dpop_bound_access_tokens: new.dpop_bound_access_tokens,
            dpop_nonce_required: new.dpop_nonce_required,
        },
        identity_id: identity_id.transpose()?,
        registration_source: "internal".to_owned(),
        software_id: new.software_id,
        software_version: new.software_version,
        contacts: new.contacts.unwrap_or_default(),
        metadata: Value::Object(new.metadata),
        is_active: true,
        epoch: 0,
        tenant_active: true,
        created_by: cx.caller.user.clone().unwrap_or_else(|| cx.caller.id.clone()),
        created_at: cx.now,
        updated_at: cx.now,
    })
}

fn check_client_id(client_id: &str) -> Result<()> {
    if client_id.is_empty() {
        return Err(refuse_at(Kind::Invalid, "client_id must not be empty", "body.client_id", ""));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if client_id.len() > 255 || !client_id.bytes().all(plain) {
        let why = "client_id holds 1 to 255 of the characters A-Z a-z 0-9 . _ : -";
        let shown = client_id.chars().take(64).collect::<String>();
        return Err(refuse_at(Kind::InvalidRequest, why, "body.client_id", shown));
    }
    Ok(())
}

/// What others that speak this wire have and we have not yet.
fn check_unsupported(new: &NewClient) -> Result<()> {
    let unsupported = |why: &'static str, at: &'static str| Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    if !matches!(new.backchannel_token_delivery_mode.as_str(), "" | "poll") {
        let why = "backchannel_token_delivery_mode is poll: ping and push are not supported yet";
        return unsupported(why, "body.backchannel_token_delivery_mode");
    }
    if !new.client_notification_endpoint.is_empty() {
        let why = "client_notification_endpoint is not supported yet: clients poll";
        return unsupported(why, "body.client_notification_endpoint");
    }
    Ok(())
}

/// A client is public exactly when it has no way to authenticate.
fn auth_method(new: &NewClient) -> Result<AuthMethod> {
    let at = "body.token_endpoint_auth_method";
    let named = Some(new.token_endpoint_auth_method.as_str()).filter(|method| !method.is_empty());
    let method = match named {
        Some(text) => text.parse().map_err(|()| {
            let known = "client_secret_basic, client_secret_post, private_key_jwt and none";
            refuse_at(Kind::Invalid, format!("token_endpoint_auth_method is one of {known}"), at, "")
        })?,
        None if new.confidential == Some(true) => AuthMethod::ClientSecretBasic,
        None => AuthMethod::None,
    };
    if new.confidential.is_some_and(|confidential| confidential == (method == AuthMethod::None)) {
        let why = "token_endpoint_auth_method and confidential contradict each other: none goes with a public \
                   client, every other method with a confidential one";
        return Err(refuse_at(Kind::InvalidRequest, why, at, method.as_str()));
    }
    Ok(method)
}

/// Says nothing of whose it is: it may be another tenant's.
fn taken(client: &Client) -> Error {
    refuse_at(Kind::Conflict, "client_id is taken", "body.client_id", client.client_id.as_str())
}
