//! People: who answers for agents, and in whose name a client acts once they have agreed. They have no password here.
mod change;
mod cookie;
mod link_routes;
mod links;
mod person;
mod store;

pub mod routes;
pub mod worker;

pub use change::{NewUser, UserPatch, activate, create, deactivate, update};
pub use cookie::presented as presented_cookie;
pub use links::{Link, NewLink, Opened, Session, link_owner, make_link, open_link, session};
pub use person::{Person, caller, usable};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::page::Page;
use crate::tokens::Anchor;

/// A person as the API shows them. No member is ever null: clients refuse that.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct User {
    /// The row's id, by which they are administered.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// What tokens and other rows call the person; never changes.
    pub user_id: String,
    /// "" where none is known; in no other case is it anybody else's of the tenant.
    pub email: String,
    /// Whether somebody made sure that it is theirs.
    pub email_verified: bool,
    /// What people call them.
    pub name: String,
    /// Anything else; never in a token.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Nothing is issued in the name of an inactive one.
    pub is_active: bool,
    /// Credentials of an earlier epoch are dead.
    #[serde(skip)]
    pub epoch: i32,
    /// Who made the row.
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

impl User {
    /// What a mark stands on that ends all that was issued in their name.
    fn anchor(&self) -> Anchor {
        Anchor::Person(self.id, self.epoch)
    }
}

/// Which people a list shows. An absent filter lets all through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This address, in any case.
    pub email: Option<String>,
    /// This name.
    pub user_id: Option<String>,
    /// Active, or not active.
    pub is_active: Option<bool>,
}

/// One person of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<User> {
    store::get(cx, id).await?.ok_or_else(unknown)
}

/// A page of the tenant's people, newest first, and the number of all that match.
pub async fn list(cx: &mut Cx, filter: &Filter, page: Page) -> Result<(Vec<User>, i64)> {
    Ok(store::list(cx, filter, page).await?)
}

/// Another tenant's person and none at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no user with this id")
}
