//! How people come to be and change. Whoever is deactivated takes all along that was issued in their name.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{User, get, store, unknown};
use crate::kit::config::Limits;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::ids;
use crate::{tenancy, tokens};

/// A person to be made. Members it does not know are ignored.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewUser {
    /// What tokens are to call them; the row's id where nothing is said.
    pub user_id: Option<String>,
    /// Their address.
    #[schema(pattern = r"^([^\s@]+@[^\s@]+)?$")]
    pub email: String,
    /// Whether somebody made sure that it is theirs.
    pub email_verified: bool,
    /// What people call them.
    pub name: Option<String>,
    /// Anything else.
    pub metadata: Map<String, Value>,
}

/// The members of a PATCH. What is absent stays; an empty text clears.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct UserPatch {
    /// Their address.
    #[schema(pattern = r"^([^\s@]+@[^\s@]+)?$")]
    pub email: Option<String>,
    /// Whether somebody made sure that it is theirs.
    pub email_verified: Option<bool>,
    /// What people call them.
    pub name: Option<String>,
    /// Anything else.
    pub metadata: Option<Map<String, Value>>,
    /// Whether anything may be issued in their name.
    pub is_active: Option<bool>,
}

impl UserPatch {
    /// The names of the members that are there, for the audit log.
    pub fn members(&self) -> Value {
        let present = [
            ("email", self.email.is_some()),
            ("email_verified", self.email_verified.is_some()),
            ("name", self.name.is_some()),
            ("metadata", self.metadata.is_some()),
            ("is_active", self.is_active.is_some()),
        ];
        let names: Vec<_> = present.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
        json!({ "members": names })
    }
}

/// Makes a person, and the tenant on first use.
pub async fn create(cx: &mut Cx, new: NewUser, limits: &Limits) -> Result<User> {
    let id = ids::new(cx.now)?;
    let user = User {
        id,
        account_id: cx.tenant.account_id.clone(),
        project_id: cx.tenant.project_id.clone(),
        user_id: new.user_id.filter(|named| !named.is_empty()).unwrap_or_else(|| id.to_string()),
        email: new.email,
        email_verified: new.email_verified,
        name: new.name.unwrap_or_default(),
        metadata: Value::Object(new.metadata),
        is_active: true,
        epoch: 0,
        created_by: cx.caller.name().to_owned(),
        created_at: cx.now,
        updated_at: cx.now,
    };
    check_user_id(&user.user_id)?;
    check(&user, limits)?;
    tenancy::ensure(cx).await?;
    store::lock_email(cx, &user.email).await?;
    if !store::insert(cx, &user).await? {
        return Err(taken());
    }
    get(cx, id).await
}

/// Changes a person.
pub async fn update(cx: &mut Cx, id: Uuid, patch: UserPatch, limits: &Limits) -> Result<User> {
    let mut user = lock(cx, id).await?;
    user.email = patch.email.unwrap_or(user.email);
    user.email_verified = patch.email_verified.unwrap_or(user.email_verified);
    user.name = patch.name.unwrap_or(user.name);
    user.metadata = patch.metadata.map_or(user.metadata, Value::Object);
    check(&user, limits)?;
    let is_active = patch.is_active.unwrap_or(user.is_active);
    set_active(cx, &mut user, is_active).await?;
    save(cx, user).await
}

/// Ends what was issued in a person's name. The row stays: other rows name it. Doing it again changes nothing.
pub async fn deactivate(cx: &mut Cx, id: Uuid) -> Result<User> {
    let mut user = lock(cx, id).await?;
    set_active(cx, &mut user, false).await?;
    save(cx, user).await
}

/// Makes a person usable again. What ended stays ended.
pub async fn activate(cx: &mut Cx, id: Uuid) -> Result<User> {
    let mut user = lock(cx, id).await?;
    set_active(cx, &mut user, true).await?;
    save(cx, user).await
}

async fn set_active(cx: &mut Cx, user: &mut User, is_active: bool) -> Result<()> {
    if user.is_active && !is_active {
        tokens::note(cx, user.anchor(), "person_deactivated").await?;
        user.epoch += 1;
    }
    user.is_active = is_active;
    Ok(())
}

/// Locks the person's row until the transaction ends, so that changes of one person come one after the other.
async fn lock(cx: &mut Cx, id: Uuid) -> Result<User> {
    store::lock(cx, id).await?.ok_or_else(unknown)
}

async fn save(cx: &mut Cx, user: User) -> Result<User> {
    store::lock_email(cx, &user.email).await?;
    if !store::save(cx, &user).await? {
        return Err(taken());
    }
    get(cx, user.id).await
}

fn taken() -> Error {
    refuse_at(Kind::Conflict, "the tenant has a user with this user_id or email", "body", "")
}

/// The name is a token's `sub` beside those of agents, which it must not look like.
fn check_user_id(user_id: &str) -> Result<()> {
    let plain = (1..=255).contains(&user_id.len()) && user_id.bytes().all(|byte| byte.is_ascii_graphic());
    let lower = user_id.to_ascii_lowercase();
    if plain && !lower.starts_with("spiffe:") && !lower.starts_with("system:") {
        return Ok(());
    }
    let why = "user_id holds 1 to 255 printable ASCII characters without space, and begins neither with \"spiffe:\" \
               nor with \"system:\"";
    Err(refuse_at(Kind::InvalidRequest, why, "body.user_id", ""))
}

fn check(user: &User, limits: &Limits) -> Result<()> {
    check_text("name", &user.name, limits)?;
    let email = &user.email;
    let address =
        email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if email.is_empty() || (address && email.len() <= 254 && email.chars().all(is_plain)) {
        return Ok(());
    }
    let why = "email is an address with an @, of at most 254 bytes, without spaces";
    Err(refuse_at(Kind::InvalidRequest, why, "body.email", ""))
}

fn is_plain(char: char) -> bool {
    !char.is_whitespace() && !char.is_control()
}
