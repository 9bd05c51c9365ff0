//! SQL of identities.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::holder::Holding;
use super::identity::{Identity, Tiers};
use super::public_key::RegisteredKey;
use super::register::NewAgent;
use super::types::{Agent, Status};
use super::update::AgentPatch;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::http::page::Page;

/// What a row of the view `agents` is read as.
pub trait Shape: for<'row> FromRow<'row, PgRow> + Send + Unpin {}

impl Shape for Agent {}
impl Shape for Identity {}

/// What a registration writes.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub wimse_uri: String,
    pub status: Status,
    pub origin: String,
    pub source_id: String,
    pub seen_at: Option<Time>,
    pub tiers: Tiers,
    pub allowed_scopes: Option<Vec<String>>,
    pub owner: String,
    pub created_by: String,
    pub policy_id: Uuid,
    pub expires_at: Option<Time>,
    pub key: Option<RegisteredKey>,
    pub dpop_jkt: Option<String>,
    pub new: NewAgent,
}

/// Which agents a list shows. An absent filter lets all through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these types.
    pub identity_types: Vec<String>,
    /// Any of these states; none named means all but `discovered`.
    pub statuses: Vec<String>,
    /// Any of these trust levels.
    pub trust_levels: Vec<String>,
    /// A label with its value, as a JSON object that the labels must contain.
    pub label: Option<serde_json::Value>,
    /// A product, which is the label of that name.
    pub product: Option<serde_json::Value>,
    /// A member of the metadata that must be there.
    pub metadata_key: Option<String>,
    /// A member of the metadata with its value, as a JSON object.
    pub metadata: Option<serde_json::Value>,
    /// Active, or not active.
    pub is_active: Option<bool>,
    /// An id, or a part of the name or external id in any case.
    pub search: Option<String>,
    /// Whether the metadata tell what created it.
    pub code_agent: Option<bool>,
    /// How it came to be known; `external` is anything but `native`.
    pub origin: Option<String>,
    /// Who answers for it.
    pub owner_user_id: Option<String>,
    /// Only those for which nobody answers.
    pub ownerless: bool,
}

/// Whether the row was new: false when the tenant has the external id already. The URI is unique too and follows from the
/// external id, so no constraint is named: of two that meet, the later might trip over the one left out.
pub async fn insert(cx: &mut Cx, row: &Row) -> Result<bool> {
    let new = &row.new;
    let sub_type = new.sub_type.as_deref().unwrap_or(new.identity_type.default_sub_type());
    let done = sqlx::query(
        "insert into identities (id, account_id, project_id, external_id, wimse_uri, name, identity_type, sub_type,
             trust_level, owner_user_id, allowed_scopes, public_key_pem, public_key_thumbprint, framework, version,
             publisher, description, capabilities, labels, metadata, credential_policy_id, expires_at,
             created_by, created_at, updated_at, status, origin, source_id, seen_at, capability_tier, risk_tier, ial,
             dpop_jkt)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $24, $25, $26, $27, $28, $29, $30, $31, $32)
         on conflict do nothing",
    )
    .bind(row.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&new.external_id)
    .bind(&row.wimse_uri)
    .bind(&new.name)
    .bind(new.identity_type)
    .bind(sub_type)
    .bind(new.trust_level)
    .bind(&row.owner)
    .bind(&row.allowed_scopes)
    .bind(row.key.as_ref().map(|key| &key.pem))
    .bind(row.key.as_ref().map(|key| &key.thumbprint))
    .bind(&new.framework)
    .bind(&new.version)
    .bind(&new.publisher)
    .bind(&new.description)
    .bind(sqlx::types::Json(&new.capabilities))
    .bind(sqlx::types::Json(&new.labels))
    .bind(sqlx::types::Json(&new.metadata))
    .bind(row.policy_id)
    .bind(row.expires_at)
    .bind(&row.created_by)
    .bind(cx.now)
    .bind(row.status)
    .bind(&row.origin)
    .bind(&row.source_id)
    .bind(row.seen_at)
    .bind(&row.tiers.capability_tier)
    .bind(&row.tiers.risk_tier)
    .bind(&row.tiers.ial)
    .bind(&row.dpop_jkt)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The agent that holds an external id.
pub async fn by_external_id(cx: &mut Cx, external_id: &str) -> sqlx::Result<(Uuid, Status)> {
    sqlx::query_as(
        "select id, status from identities where account_id = $1 and project_id = $2 and external_id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(external_id)
    .fetch_one(&mut *cx.tx)
    .await
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Agent>> {
    find(cx, id).await
}

/// An identity as an agent or in full.
pub async fn find<T: Shape>(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<T>> {
    sqlx::query_as("select * from agents where account_id = $1 and project_id = $2 and id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .fetch_optional(&mut *cx.tx)
        .await
}

pub async fn lock(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Agent>> {
    sqlx::query("select id from identities where account_id = $1 and project_id = $2 and id = $3 for update")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .execute(&mut *cx.tx)
        .await?;
    get(cx, id).await
}

pub async fn holding(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Holding>> {
    sqlx::query_as("select * from holders where account_id = $1 and project_id = $2 and identity_id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .fetch_optional(&mut *cx.tx)
        .await
}

/// By URI alone, which names its tenant.
pub async fn by_uris(db: &mut PgConnection, uris: &[String]) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query("select * from holders where wimse_uri = any($1)").bind(uris).fetch_all(db).await
}

/// A page of the agents that match, newest first, and how many match.
pub async fn list<T: Shape>(cx: &mut Cx, filter: &Filter, page: Page) -> sqlx::Result<(Vec<T>, i64)> {
    let exact = filter.search.as_deref().and_then(|text| Uuid::try_parse(text).ok());
    let pattern = filter.search.as_deref().map(|text| format!("%{}%", escape_like(text)));
    let rows = sqlx::query(
        "with matching as (
             select id, created_at from identities
             where account_id = $1 and project_id = $2
               and ($3::text[] = '{}' or identity_type = any($3))
               and (case when $4::text[] = '{}' then status <> 'discovered' else status = any($4) end)
               and ($5::text[] = '{}' or trust_level = any($5))
               and ($6::jsonb is null or labels @> $6)
               and ($7::jsonb is null or labels @> $7)
               and ($8::text is null or metadata ? $8)
               and ($9::jsonb is null or metadata @> $9)
               and ($10::boolean is null or (status = 'active') = $10)
               and ($11::text is null or external_id = $11 or id = $12
                    or ($12 is null and (name ilike $13 or external_id ilike $13)))
               and ($14::boolean is null or (metadata ? 'created_via') = $14)
               and ($15::text is null or (case when $15 = 'external' then origin <> 'native' else origin = $15 end))
               and ($16::text is null or owner_user_id = $16)
               and (not $17 or owner_user_id = '')
         )
         select (select count(*) from matching) as total, a.*
         from (select 1) as always
         left join agents a
           on a.id in (select id from matching order by created_at desc, id desc limit $18 offset $19)
         order by a.created_at desc, a.id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&filter.identity_types)
    .bind(&filter.statuses)
    .bind(&filter.trust_levels)
    .bind(&filter.label)
    .bind(&filter.product)
    .bind(&filter.metadata_key)
    .bind(&filter.metadata)
    .bind(filter.is_active)
    .bind(&filter.search)
    .bind(exact)
    .bind(pattern)
    .bind(filter.code_agent)
    .bind(&filter.origin)
    .bind(&filter.owner_user_id)
    .bind(filter.ownerless)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&mut *cx.tx)
    .await?;
    let total = rows.first().map(|row| row.try_get("total")).transpose()?.unwrap_or(0);
    // The row that carries the total of an empty page has no agent.
    let present = |row: &&PgRow| matches!(row.try_get::<Option<Uuid>, _>("id"), Ok(Some(_)));
    let agents = rows.iter().filter(present).map(T::from_row).collect::<sqlx::Result<_>>()?;
    Ok((agents, total))
}

/// The agents with these external ids.
pub async fn by_external_ids(cx: &mut Cx, external_ids: &[String]) -> sqlx::Result<Vec<Agent>> {
    sqlx::query_as(
        "select * from agents where account_id = $1 and project_id = $2 and external_id = any($3) order by id",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(external_ids)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn update(
    cx: &mut Cx,
    id: Uuid,
    patch: &AgentPatch,
    key: Option<&RegisteredKey>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set
             name = coalesce(nullif($4, ''), name),
             sub_type = coalesce($5, sub_type),
             trust_level = coalesce($6, trust_level),
             framework = coalesce($7, framework),
             version = coalesce($8, version),
             publisher = coalesce($9, publisher),
             description = coalesce($10, description),
             capabilities = coalesce($11, capabilities),
             labels = coalesce($12, labels),
             metadata = coalesce($13, metadata),
             public_key_pem = coalesce($14, public_key_pem),
             public_key_thumbprint = coalesce($15, public_key_thumbprint),
             updated_by = coalesce($16, updated_by),
             updated_at = $17
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(&patch.name)
    .bind(&patch.sub_type)
    .bind(patch.trust_level)
    .bind(&patch.framework)
    .bind(&patch.version)
    .bind(&patch.publisher)
    .bind(&patch.description)
    .bind(patch.capabilities.as_ref().map(sqlx::types::Json))
    .bind(patch.labels.as_ref().map(sqlx::types::Json))
    .bind(patch.metadata.as_ref().map(sqlx::types::Json))
    .bind(key.map(|key| &key.pem))
    .bind(key.map(|key| &key.thumbprint))
    .bind(patch.updated_by())
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// The registered key of an agent.
pub async fn public_key(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select public_key_pem from identities where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_one(&mut *cx.tx)
    .await
}

pub async fn set_public_key(cx: &mut Cx, id: Uuid, key: &RegisteredKey) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set public_key_pem = $4, public_key_thumbprint = $5, updated_at = $6
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(&key.pem)
    .bind(&key.thumbprint)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// With a new epoch: what was issued before was bound to another key or to none.
pub async fn set_dpop_jkt(cx: &mut Cx, id: Uuid, jkt: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set dpop_jkt = $4, epoch = epoch + 1, updated_at = $5
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(jkt)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// A state that ends credentials begins a new epoch: what was issued before is dead, whatever comes later.
pub async fn set_status(cx: &mut Cx, ids: &[Uuid], next: Status) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set status = $4, epoch = epoch + (case when $5 then 1 else 0 end), updated_at = $6
         where account_id = $1 and project_id = $2 and id = any($3)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(next)
    .bind(next.ends_credentials())
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// The same for the tokens alone: the state stays.
pub async fn begin_epoch(cx: &mut Cx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update identities set epoch = epoch + 1, updated_at = $4
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// `%` and `_` of a search mean themselves.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Across tenants: identities whose end has come, for the worker that acts on each in its own tenant.
pub async fn past_their_end(db: &PgPool, now: Time, most: i64) -> sqlx::Result<Vec<(Uuid, String, String)>> {
    sqlx::query_as(
        "select id, account_id, project_id from identities
         where expires_at <= $1 and status in ('active', 'suspended') order by expires_at limit $2",
    )
    .bind(now)
    .bind(most)
    .fetch_all(db)
    .await
}
