//! The ledger: what makes a token durable before its answer leaves. One statement writes credentials and audit rows
//! together, for one record or for many.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::access::scope::Scopes;
use crate::audit::Entry;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;

/// A row of `credentials`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The token's id and the row's key.
    pub jti: Uuid,
    /// Whose.
    pub tenant: Tenant,
    /// The digest of the token as issued, by which it is recognised.
    pub token_sha256: [u8; 32],
    /// The key that signed it.
    pub kid: String,
    /// Who holds it.
    pub identity_id: Uuid,
    /// The holder's epoch that the decision saw.
    pub agent_epoch: i32,
    /// The API key it rests on.
    pub api_key_id: Option<Uuid>,
    /// The root of its tree.
    pub mission_id: Uuid,
    /// Short name of the grant.
    pub grant_type: &'static str,
    /// Its `sub`.
    pub subject: String,
    /// The person behind it, "" if unknown.
    pub user_id: String,
    /// What it may do.
    pub scopes: Scopes,
    /// For whom it is meant; no member holds a space.
    pub audience: Vec<String>,
    /// When it was issued.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

/// What one token request leaves behind.
#[derive(Clone, Debug)]
pub enum Record {
    /// A token, with the audit row that tells of it.
    Issue(Box<Credential>, Entry),
    /// A refusal with a known principal.
    Refusal(Entry),
}

impl Record {
    fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Issue(credential, _) => Some(credential),
            Self::Refusal(_) => None,
        }
    }

    fn entry(&self) -> &Entry {
        match self {
            Self::Issue(_, entry) | Self::Refusal(entry) => entry,
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Written,
}

/// Writes all records or none. A record may be written again after an unknown outcome: what is there already stays.
pub async fn write(db: &mut PgConnection, records: &[Record]) -> sqlx::Result<Vec<Outcome>> {
    let query = sqlx::query(
        "with issued as (
             insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 api_key_id, mission_id, grant_type, subject, user_id, scopes, audience, issued_at, expires_at)
             select c.jti, c.account_id, c.project_id, c.token_sha256, c.kid, c.identity_id, c.agent_epoch,
                 c.api_key_id, c.mission_id, c.grant_type, c.subject, c.user_id, string_to_array(c.scopes, ' '),
                 string_to_array(c.audience, ' '), c.issued_at, c.expires_at
             from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::uuid[], $7::integer[],
                 $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                 $15::timestamptz[], $16::timestamptz[])
                 as c (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch, api_key_id,
                     mission_id, grant_type, subject, user_id, scopes, audience, issued_at, expires_at)
             on conflict do nothing
         )
         insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
             target_type, target_id, outcome, reason, address, request_id, metadata)
         select e.id, e.account_id, e.project_id, e.occurred_at, e.actor_type, e.actor_id, e.action, e.target_type,
             e.target_id, case when e.reason is null then 'success' else 'refused' end, coalesce(e.reason, ''),
             e.address, e.request_id, e.metadata
         from unnest($17::uuid[], $18::text[], $19::text[], $20::timestamptz[], $21::text[], $22::text[], $23::text[],
             $24::text[], $25::text[], $26::text[], $27::text[], $28::text[], $29::jsonb[])
             as e (id, account_id, project_id, occurred_at, actor_type, actor_id, action, target_type, target_id,
                 reason, address, request_id, metadata)
         on conflict do nothing",
    );
    let issued: Vec<&Credential> = records.iter().filter_map(Record::credential).collect();
    let entries: Vec<&Entry> = records.iter().map(Record::entry).collect();
    bind_entries(bind_credentials(query, &issued), &entries).execute(db).await?;
    Ok(vec![Outcome::Written; records.len()])
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn each<T, V>(rows: &[&T], column: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(|row| column(row)).collect()
}

fn bind_credentials<'q>(query: Query<'q>, rows: &[&Credential]) -> Query<'q> {
    query
        .bind(each(rows, |row| row.jti))
        .bind(each(rows, |row| row.tenant.account_id.clone()))
        .bind(each(rows, |row| row.tenant.project_id.clone()))
        .bind(each(rows, |row| row.token_sha256.to_vec()))
        .bind(each(rows, |row| row.kid.clone()))
        .bind(each(rows, |row| row.identity_id))
        .bind(each(rows, |row| row.agent_epoch))
        .bind(each(rows, |row| row.api_key_id))
        .bind(each(rows, |row| row.mission_id))
        .bind(each(rows, |row| row.grant_type))
        .bind(each(rows, |row| row.subject.clone()))
        .bind(each(rows, |row| row.user_id.clone()))
        .bind(each(rows, |row| row.scopes.joined()))
        .bind(each(rows, |row| row.audience.join(" ")))
        .bind(each(rows, |row| row.issued_at))
        .bind(each(rows, |row| row.expires_at))
}

fn bind_entries<'q>(query: Query<'q>, rows: &[&Entry]) -> Query<'q> {
    query
        .bind(each(rows, |row| row.id))
        .bind(each(rows, |row| row.tenant.account_id.clone()))
        .bind(each(rows, |row| row.tenant.project_id.clone()))
        .bind(each(rows, |row| row.occurred_at))
        .bind(each(rows, |row| row.actor.0))
        .bind(each(rows, |row| row.actor.1.clone()))
        .bind(each(rows, |row| row.event.action))
        .bind(each(rows, |row| row.event.target_type))
        .bind(each(rows, |row| row.event.target_id.clone()))
        .bind(each(rows, |row| row.refused.clone()))
        .bind(each(rows, |row| row.origin.address.map(|address| address.to_string()).unwrap_or_default()))
        .bind(each(rows, |row| row.origin.request_id.clone()))
        .bind(each(rows, |row| row.event.metadata.clone()))
}
