//! Authorization codes: opaque, for one minute, once. What was decided at the authorization endpoint stands in the row.

use sqlx::FromRow;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::Duration;
use uuid::Uuid;

use super::store;
use crate::access::scope::Scopes;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::kit::secret::{Secret, SecretHash};
use crate::tokens::ledger::{self, Artefact};
use crate::users::Person;

/// The kind under which codes are used up.
pub const CODE: &str = ledger::CODE;

/// How long a code may be redeemed (RFC 9700 section 2.1.1 wants it short).
const LIFETIME: Duration = Duration::minutes(1);

/// How long after that a second use is still recognised as one, and ends what the first one obtained.
pub(super) const REMEMBERED: Duration = Duration::days(1);

/// What the authorization endpoint decided, before a person or a code comes to it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The client's row, if one registered it.
    pub oauth_client_id: Option<Uuid>,
    /// As it names itself.
    pub client_id: String,
    /// The client's epoch.
    pub client_epoch: i32,
    /// The identity as which the client acts, and its epoch.
    pub identity: Option<(Uuid, i32)>,
    /// Where the code goes.
    pub redirect_uri: String,
    /// What the verifier must hash to (RFC 7636 section 4.6).
    pub code_challenge: String,
    /// The key whose proof must come with it (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// What is granted.
    pub scopes: Scopes,
    /// For which resources; none means this server.
    pub resources: Vec<String>,
}

/// A code as it is redeemed.
#[derive(Clone, Debug)]
pub struct Code {
    /// What was decided.
    pub decided: Decided,
    /// In whose name, as that person is now.
    pub person: Person,
    /// The person's epoch when they agreed.
    pub person_epoch: i32,
    /// By which consent.
    pub consent_id: Uuid,
    /// Whether that still stands.
    pub consent_stands: bool,
    /// Its end.
    pub expires_at: Time,
    /// Whether it was redeemed.
    pub is_used: bool,
    /// What is used up by redeeming it.
    pub artefact: Artefact,
}

/// What is stored of a new code.
#[derive(Debug)]
pub(super) struct NewCode<'a> {
    pub id: Uuid,
    pub hash: SecretHash,
    pub decided: &'a Decided,
    pub person: &'a Person,
    pub consent_id: Uuid,
    pub expires_at: Time,
}

/// A new code for what was decided, in the transaction in which the person agreed.
pub async fn issue_code(
    app: &App,
    cx: &mut Cx,
    decided: &Decided,
    person: &Person,
    consent_id: Uuid,
) -> Result<(Uuid, Secret)> {
    let (id, code) = (ids::new(cx.now)?, Secret::generate::<32>("")?);
    let hash = app.keys.hash(code.expose())?;
    let new = NewCode { id, hash, decided, person, consent_id, expires_at: cx.now + LIFETIME };
    store::insert_code(cx, &new).await?;
    Ok((id, code))
}

/// What stands behind a presented code, used, expired or not.
pub async fn code(app: &App, presented: &str) -> Result<Option<Code>> {
    let mut db = app.connection().await?;
    Ok(store::code(&mut db, &app.keys.hashes(presented)).await?)
}

impl FromRow<'_, PgRow> for Code {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let hash: Vec<u8> = row.try_get("code_hash")?;
        let key = <[u8; 32]>::try_from(hash)
            .map_err(|_| sqlx::Error::Decode("a code's hash has 32 bytes".into()))?;
        let expires_at: Time = row.try_get("expires_at")?;
        let identity: Option<Uuid> = row.try_get("identity_id")?;
        Ok(Self {
            decided: Decided {
                oauth_client_id: row.try_get("oauth_client_id")?,
                client_id: row.try_get("client_id")?,
                client_epoch: row.try_get("client_epoch")?,
                identity: identity.zip(row.try_get("agent_epoch")?),
                redirect_uri: row.try_get("redirect_uri")?,
                code_challenge: row.try_get("code_challenge")?,
                dpop_jkt: row.try_get("dpop_jkt")?,
                scopes: Scopes::stored(row.try_get("scopes")?),
                resources: row.try_get("resources")?,
            },
            person: Person::from_row(row)?,
            person_epoch: row.try_get("agreed_epoch")?,
            consent_id: row.try_get("consent_id")?,
            consent_stands: row.try_get("consent_stands")?,
            expires_at,
            is_used: row.try_get("is_used")?,
            artefact: Artefact { kind: CODE, key, until: expires_at + REMEMBERED },
        })
    }
}
