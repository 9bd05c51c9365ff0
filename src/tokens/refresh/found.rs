//! What one read finds of a presented refresh token: the token, what became of it, and the family with what it rests on.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::{PREFIX, store};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Tenant;
use crate::kit::error::Result;
use crate::kit::secret::{self, Secret};
use crate::tokens::ledger::Artefact;
use crate::users::Person;

use super::REFRESH_TOKEN;

/// A refresh token that we issued, live or not.
#[derive(Clone, Debug)]
pub struct Found {
    /// The row's id.
    pub id: Uuid,
    /// When the token itself ends.
    pub expires_at: Time,
    /// What it was spent for, if it was.
    pub spent: Option<Spent>,
    /// What it belongs to.
    pub family: Family,
}

/// The successor of a spent token.
#[derive(Clone, Debug)]
pub struct Spent {
    /// When it was made.
    pub at: Time,
    /// The successor itself, for as long as the answer may be given again.
    pub sealed: Option<Vec<u8>>,
    /// Whether that was used in its turn.
    pub successor_used: bool,
}

/// What a grant decided, for all that is refreshed after it.
#[derive(Clone, Debug)]
pub struct Family {
    /// The row's id.
    pub id: Uuid,
    /// Whose.
    pub tenant: Tenant,
    /// The row of the client to which it was given; none for one that no registration knows.
    pub oauth_client_id: Option<Uuid>,
    /// By which that client names itself.
    pub client_id: String,
    /// The client's epoch that the grant saw.
    pub client_epoch: i32,
    /// The identity that holds its tokens, with the epoch that the grant saw.
    pub identity: Option<(Uuid, i32)>,
    /// The epoch of the person that the grant saw; none where there is no person.
    pub person_epoch: Option<i32>,
    /// The person as they are now; none when they are gone.
    pub person: Option<Person>,
    /// The consent on which it rests.
    pub consent_id: Option<Uuid>,
    /// The mission of everything obtained with it.
    pub mission_id: Uuid,
    /// How claims are written.
    pub profile: Profile,
    /// What may be obtained at the most.
    pub scopes: Vec<String>,
    /// For whom tokens may be meant at the most.
    pub audience: Vec<String>,
    /// The key that must be proved.
    pub jkt: Option<String>,
    /// When refreshing ends.
    pub expires_at: Time,
    /// Whether a mark ended it, or the consent on which it rests.
    pub is_revoked: bool,
}

/// What we know of a presented text; `None` for what is no refresh token of ours.
pub async fn find(app: &App, text: &str) -> Result<Option<Found>> {
    if !text.starts_with(PREFIX) {
        return Ok(None);
    }
    let mut db = app.connection().await?;
    Ok(store::find(&mut db, &app.keys.hashes(text)).await?)
}

impl Found {
    /// Whether the token can still be refreshed with, as far as it and its family say.
    pub fn is_live(&self, now: Time) -> bool {
        let family = &self.family;
        let person_stands = match (family.person_epoch, &family.person) {
            (Some(epoch), Some(person)) => person.epoch == epoch,
            (Some(_), None) => false,
            (None, _) => true,
        };
        !family.is_revoked && person_stands && self.expires_at > now && family.expires_at > now
    }

    /// The token, to be spent.
    pub fn artefact(&self) -> Artefact {
        Artefact { kind: REFRESH_TOKEN, key: secret::sha256(self.id.as_bytes()), until: self.expires_at }
    }

    /// The successor that was made for it, if it may still be shown.
    pub fn successor(&self, app: &App) -> Result<Option<Secret>> {
        let Some(sealed) = self.spent.as_ref().and_then(|spent| spent.sealed.as_deref()) else {
            return Ok(None);
        };
        let plain = app.keys.open_sealed(&seal_context(self.id), sealed)?;
        Ok(Some(Secret::new(String::from_utf8(plain.to_vec())?)))
    }
}

/// For what a successor is sealed: it opens as that of no other token.
pub(super) fn seal_context(spent: Uuid) -> String {
    format!("refresh token after {spent}")
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let spent = |at| -> sqlx::Result<Spent> {
            Ok(Spent { at, sealed: row.try_get("sealed")?, successor_used: row.try_get("successor_used")? })
        };
        let spent_at: Option<Time> = row.try_get("spent_at")?;
        Ok(Self {
            id: row.try_get("id")?,
            expires_at: row.try_get("expires_at")?,
            spent: spent_at.map(spent).transpose()?,
            family: Family::from_row(row)?,
        })
    }
}

impl FromRow<'_, PgRow> for Family {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let identity: Option<Uuid> = row.try_get("identity_id")?;
        let has_person: bool = row.try_get("has_person")?;
        let person: Option<Uuid> = row.try_get("person_id")?;
        let person_epoch = row.try_get("family_person_epoch")?;
        Ok(Self {
            id: row.try_get("family_id")?,
            tenant: Tenant { account_id: row.try_get("account_id")?, project_id: row.try_get("project_id")? },
            oauth_client_id: row.try_get("oauth_client_id")?,
            client_id: row.try_get("client_id")?,
            client_epoch: row.try_get("client_epoch")?,
            identity: identity.zip(row.try_get("agent_epoch")?),
            person_epoch: has_person.then_some(person_epoch),
            person: person.map(|_| Person::from_row(row)).transpose()?,
            consent_id: row.try_get("consent_id")?,
            mission_id: row.try_get("mission_id")?,
            profile: Profile::of(row.try_get("token_profile")?).unwrap_or_default(),
            scopes: row.try_get("scopes")?,
            audience: row.try_get("audience")?,
            jkt: row.try_get("jkt")?,
            expires_at: row.try_get("family_expires_at")?,
            is_revoked: row.try_get("is_revoked")?,
        })
    }
}
