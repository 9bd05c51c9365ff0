//! What one read finds for a token exchange: the subject's credential, the actor, and who may act for whom.
mod store;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use super::actor::{Hop, Parent, Principal};
use super::verify::{TokenId, digest_matches, id_of};
use crate::agents::Holding;
use crate::delegations::MayAct;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Profile;
use crate::kit::cx::Tenant;
use crate::kit::error::Result;

/// The credential that is to be exchanged.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Whose.
    pub tenant: Tenant,
    /// The digest of the token as issued.
    pub token_sha256: Vec<u8>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// Who holds it.
    pub identity_id: Option<Uuid>,
    /// The tenant's own id for the holder, "" without one.
    pub holder_external_id: String,
    /// The row of the client that obtained it.
    pub oauth_client_id: Option<Uuid>,
    /// That client's name, "" if none obtained it.
    pub client_id: String,
    /// The thumbprint of the key it is bound to.
    pub jkt: Option<String>,
    /// How its claims are written.
    pub profile: Profile,
    /// "" while it and all it rests on stand, else why not.
    pub revocation: String,
    /// As the parent of what it is exchanged for.
    pub parent: Parent,
}

/// The facts on which an exchange rests.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// `None` for what is not byte for byte a token of ours.
    pub subject: Option<Subject>,
    /// The identity of the actor's URI in the subject's tenant.
    pub actor: Option<Holding>,
    /// Live grants by which the actor may act for the subject, newest first.
    pub may_act: Vec<MayAct>,
}

/// Who wants to act: by the URI in his assertion, or as a client that has authenticated.
#[derive(Clone, Debug, Default)]
pub struct ActorNames {
    /// His URI, not to be believed yet.
    pub uri: String,
    /// Every other name by which a grant may call him.
    pub names: Vec<String>,
}

impl Subject {
    /// Every name of the one who would be acted for: the holder, and the principal of the chain it ends.
    pub fn names(&self) -> Vec<String> {
        let Parent { subject, holder_uri, principal, .. } = &self.parent;
        let ids = self.identity_id.iter().chain(&principal.identity_id);
        let mut names: Vec<String> = ids.map(Uuid::to_string).collect();
        for name in [
            subject,
            holder_uri,
            &self.holder_external_id,
            &self.client_id,
            &principal.sub,
            &principal.client_id,
            &principal.external_id,
        ] {
            names.extend(Some(name.clone()).filter(|name| !name.is_empty()));
        }
        names
    }

    /// Whether it stands at `now`.
    pub fn is_active(&self, now: Time) -> bool {
        self.revocation.is_empty() && self.parent.active_until > now
    }
}

/// What an exchange asks for: the credential of a subject token, and what lets the actor act for it at that time.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Read from the subject token, not to be believed yet.
    pub subject: TokenId,
    /// Who wants to act.
    pub actor: ActorNames,
    /// When.
    pub now: Time,
}

/// Everything an exchange rests on.
pub async fn evidence(app: &App, token: &str, actor: ActorNames, now: Time) -> Result<Option<Evidence>> {
    let Some(subject) = id_of(token, &app.config.limits) else { return Ok(None) };
    let mut found = app.find_exchange(Asked { subject, actor, now }).await?;
    found.subject = found.subject.filter(|subject| digest_matches(&subject.token_sha256, token));
    Ok(Some(found))
}

/// The same for many exchanges, each at its place. Subjects that say that they are roots are looked for among the roots; all
/// others, and who is not found there, among all.
pub async fn find(db: &mut PgConnection, asked: &[Asked]) -> sqlx::Result<Vec<PgRow>> {
    let roots: Vec<&Asked> = asked.iter().filter(|one| one.subject.is_root).collect();
    let mut of_roots = store::of_roots(db, &roots).await?.into_iter();
    let mut found = Vec::with_capacity(asked.len());
    for one in asked {
        let row = if one.subject.is_root { of_roots.next() } else { None };
        let jti = row.as_ref().map(|row| row.try_get::<Option<Uuid>, _>("subject_jti")).transpose()?;
        found.push(row.filter(|_| jti.flatten().is_some()));
    }
    let missing: Vec<&Asked> =
        asked.iter().zip(&found).filter(|(_, row)| row.is_none()).map(|(one, _)| one).collect();
    let mut others = store::exchanges(db, &missing).await?.into_iter();
    let whole = found.into_iter().map(|row| row.or_else(|| others.next()));
    whole.collect::<Option<_>>().ok_or(sqlx::Error::RowNotFound)
}

impl FromRow<'_, PgRow> for Evidence {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let subject = row.try_get::<Option<Uuid>, _>("subject_jti")?.map(|jti| subject(row, jti));
        let Json(may_act) = row.try_get("may_act")?;
        Ok(Self { subject: subject.transpose()?, actor: Holding::joined(row)?, may_act })
    }
}

fn subject(row: &PgRow, jti: Uuid) -> sqlx::Result<Subject> {
    let client_id: String = row.try_get("subject_client_id")?;
    let principal: Option<Json<Principal>> = row.try_get("subject_principal")?;
    let actors: Option<Json<Vec<Hop>>> = row.try_get("subject_actors")?;
    let holder = Principal {
        sub: row.try_get("subject_uri")?,
        person_id: None,
        identity_id: row.try_get("subject_identity_id")?,
        client_id: client_id.clone(),
        external_id: row.try_get("subject_external_id")?,
        identity_type: row.try_get("subject_identity_type")?,
        trust_level: row.try_get("subject_trust_level")?,
    };
    Ok(Subject {
        tenant: Tenant {
            account_id: row.try_get("subject_account_id")?,
            project_id: row.try_get("subject_project_id")?,
        },
        token_sha256: row.try_get("subject_token_sha256")?,
        scopes: row.try_get("subject_scopes")?,
        audience: row.try_get("subject_audience")?,
        identity_id: row.try_get("subject_identity_id")?,
        holder_external_id: holder.external_id.clone(),
        oauth_client_id: row.try_get("subject_oauth_client_id")?,
        client_id,
        jkt: row.try_get("subject_jkt")?,
        profile: Profile::of(row.try_get("subject_profile")?).unwrap_or_default(),
        revocation: row.try_get("subject_revocation")?,
        parent: Parent {
            jti,
            subject: row.try_get("subject_sub")?,
            holder_uri: holder.sub.clone(),
            ancestors: row.try_get("subject_ancestors")?,
            mission_id: row.try_get("subject_mission_id")?,
            depth: row.try_get("subject_depth")?,
            active_until: row.try_get("subject_active_until")?,
            principal: principal.map_or(holder, |Json(principal)| principal),
            actors: actors.map(|Json(actors)| actors).unwrap_or_default(),
        },
    })
}
