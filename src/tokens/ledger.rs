//! The ledger: what makes a token durable before its answer leaves. Single-use artefacts, credentials and audit rows are
//! written together, for one record or for many.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::refresh;
use crate::audit::Entry;

pub use super::record::{Artefact, CODE, Credential, Once, Outcome, Record};

/// Writes all records or none. A record may be written again after an unknown outcome: what is there already stays, and
/// an artefact that it used itself counts as its own.
pub async fn write(db: &mut PgConnection, records: &[Record]) -> sqlx::Result<Vec<Outcome>> {
    if !records.iter().any(|record| matches!(record, Record::IssueOnce(..) | Record::Reuse(..))) {
        let outcomes = vec![Outcome::Written; records.len()];
        insert(db, records, &outcomes).await?;
        return Ok(outcomes);
    }
    let mut tx = db.begin().await?;
    let wanted: Vec<_> = records.iter().map(|record| (record.user(), record.artefacts())).collect();
    let outcomes = use_up(&mut tx, &wanted).await?;
    insert(&mut tx, records, &outcomes).await?;
    let reused = records.iter().zip(&outcomes).filter_map(|(record, outcome)| record.reused(*outcome));
    end_first(&mut tx, &reused.collect::<Vec<_>>()).await?;
    let refreshed: Vec<_> =
        records.iter().zip(&outcomes).filter_map(|(record, outcome)| record.refreshed(*outcome)).collect();
    if !refreshed.is_empty() {
        refresh::write(&mut tx, &refreshed).await?;
    }
    tx.commit().await?;
    Ok(outcomes)
}

/// Uses artefacts up, each list for its user, and says who was first. Call it in a transaction: what is used must go back
/// when the work that used it fails.
pub async fn use_up(db: &mut PgConnection, wanted: &[(Uuid, &[Artefact])]) -> sqlx::Result<Vec<Outcome>> {
    let all: Vec<(Uuid, &Artefact)> =
        wanted.iter().flat_map(|(user, list)| list.iter().map(|artefact| (*user, artefact))).collect();
    let kinds: Vec<_> = all.iter().map(|(_, artefact)| artefact.kind).collect();
    let keys: Vec<_> = all.iter().map(|(_, artefact)| artefact.key.to_vec()).collect();
    // In the order of the key, so that two groups never wait for each other in a circle.
    sqlx::query(
        "insert into used_once (kind, key, used_by, expires_at)
         select * from unnest($1::text[], $2::bytea[], $3::uuid[], $4::timestamptz[]) as u (kind, key, used_by, until)
         order by kind, key
         on conflict do nothing",
    )
    .bind(&kinds)
    .bind(&keys)
    .bind(all.iter().map(|(user, _)| *user).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, artefact)| artefact.until).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    // A further statement: the one that met a row of another transaction can't see it.
    let first: Vec<(String, Vec<u8>, Uuid)> = sqlx::query_as(
        "select kind, key, used_by from used_once
         where (kind, key) in (select * from unnest($1::text[], $2::bytea[]))",
    )
    .bind(&kinds)
    .bind(&keys)
    .fetch_all(&mut *db)
    .await?;
    let first: HashMap<_, _> = first.into_iter().map(|(kind, key, user)| ((kind, key), user)).collect();
    let is_first = |user: Uuid, artefact: &Artefact| {
        first.get(&(artefact.kind.to_owned(), artefact.key.to_vec())) == Some(&user)
    };
    let outcome = |(user, list): &(Uuid, &[Artefact])| {
        let lost = list.iter().find(|artefact| !is_first(*user, artefact));
        lost.map_or(Outcome::Written, |artefact| Outcome::Used(artefact.kind))
    };
    let outcomes: Vec<Outcome> = wanted.iter().map(outcome).collect();
    give_back(db, wanted, &outcomes).await?;
    Ok(outcomes)
}

/// Gives back what a refused user was the first to use: a request that is told no for one artefact must not cost
/// another one, as a replayed proof the refresh token beside it.
async fn give_back(
    db: &mut PgConnection,
    wanted: &[(Uuid, &[Artefact])],
    outcomes: &[Outcome],
) -> sqlx::Result<()> {
    let refused = wanted.iter().zip(outcomes).filter(|(_, outcome)| **outcome != Outcome::Written);
    let taken: Vec<(Uuid, &Artefact)> =
        refused.flat_map(|((user, list), _)| list.iter().map(|artefact| (*user, artefact))).collect();
    if taken.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from used_once u using unnest($1::text[], $2::bytea[], $3::uuid[]) as t (kind, key, used_by)
         where u.kind = t.kind and u.key = t.key and u.used_by = t.used_by",
    )
    .bind(taken.iter().map(|(_, artefact)| artefact.kind).collect::<Vec<_>>())
    .bind(taken.iter().map(|(_, artefact)| artefact.key.to_vec()).collect::<Vec<_>>())
    .bind(taken.iter().map(|(user, _)| *user).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Ends what the first users of these codes obtained: the family, or the credential where there is none. Only codes of the
/// tenant that is told of it count.
async fn end_first(db: &mut PgConnection, reused: &[(&Artefact, &Entry)]) -> sqlx::Result<()> {
    if reused.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with reused as (
             select distinct on (u.used_by) u.used_by, r.id, r.account_id, r.project_id, r.at
             from unnest($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
                 as r (key, id, account_id, project_id, at)
             join used_once u on u.kind = 'authorization_code' and u.key = r.key
             order by u.used_by, r.at, r.id
         ), obtained as (
             select c.jti, c.family_id, c.account_id, c.project_id, r.id, r.at
             from reused r
             join credentials c
               on c.jti = r.used_by and c.account_id = r.account_id and c.project_id = r.project_id
         ), alone as (
             update credentials c
             set revoked_at = o.at, revoked_by = 'system:code_replayed', revoke_reason = 'code_replayed'
             from obtained o
             where c.jti = o.jti and c.account_id = o.account_id and c.project_id = o.project_id
               and c.revoked_at is null and o.family_id is null
             returning c.jti
         ), families as (
             update refresh_families f set revoked_at = o.at, revoke_reason = 'code_replayed'
             from obtained o
             where f.id = o.family_id and f.account_id = o.account_id and f.project_id = o.project_id
               and f.revoked_at is null
             returning f.id
         )
         insert into revocations (id, account_id, project_id, anchor, anchor_id, reason, marked_by, marked_at)
         select o.id, o.account_id, o.project_id, case when o.family_id is null then 'credential' else 'family' end,
             coalesce(o.family_id, o.jti), 'code_replayed', 'system:code_replayed', o.at
         from obtained o
         where o.jti in (select jti from alone) or o.family_id in (select id from families)
         on conflict do nothing",
    )
    .bind(reused.iter().map(|(code, _)| code.key.to_vec()).collect::<Vec<_>>())
    .bind(reused.iter().map(|(_, entry)| entry.id).collect::<Vec<_>>())
    .bind(reused.iter().map(|(_, entry)| entry.tenant.account_id.clone()).collect::<Vec<_>>())
    .bind(reused.iter().map(|(_, entry)| entry.tenant.project_id.clone()).collect::<Vec<_>>())
    .bind(reused.iter().map(|(_, entry)| entry.occurred_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

async fn insert(db: &mut PgConnection, records: &[Record], outcomes: &[Outcome]) -> sqlx::Result<()> {
    let query = sqlx::query(
        "with issued as (
             insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 api_key_id, oauth_client_id, client_id, client_epoch, parent_jti, ancestors, mission_id,
                 delegation_depth, delegated_by, token_profile, grant_type, subject, user_id, scopes, audience,
                 issued_at, expires_at, principal, actors, person_id, person_epoch, family_id, jkt, consent_id,
                 linked_subject_id, linked_subject_epoch)
             select c.jti, c.account_id, c.project_id, c.token_sha256, c.kid, c.identity_id, c.agent_epoch,
                 c.api_key_id, c.oauth_client_id, c.client_id, c.client_epoch, c.parent_jti, c.ancestors::uuid[],
                 c.mission_id, c.delegation_depth, c.delegated_by, c.token_profile, c.grant_type, c.subject, c.user_id,
                 string_to_array(c.scopes, ' '), string_to_array(c.audience, ' '), c.issued_at, c.expires_at,
                 c.principal, c.actors, c.person_id, c.person_epoch, c.family_id, c.jkt, c.consent_id,
                 c.linked_subject_id, c.linked_subject_epoch
             from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::uuid[], $7::integer[],
                 $8::uuid[], $9::uuid[], $10::text[], $11::integer[], $12::uuid[], $13::text[], $14::uuid[],
                 $15::integer[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[],
                 $22::text[], $23::timestamptz[], $24::timestamptz[], $25::jsonb[], $26::jsonb[], $27::uuid[],
                 $28::integer[], $29::uuid[], $30::text[], $31::uuid[], $32::uuid[], $33::integer[])
                 as c (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch, api_key_id,
                     oauth_client_id, client_id, client_epoch, parent_jti, ancestors, mission_id, delegation_depth,
                     delegated_by, token_profile, grant_type, subject, user_id, scopes, audience, issued_at,
                     expires_at, principal, actors, person_id, person_epoch, family_id, jkt, consent_id,
                     linked_subject_id, linked_subject_epoch)
             on conflict do nothing
         )
         insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
             target_type, target_id, outcome, reason, address, request_id, metadata)
         select e.id, e.account_id, e.project_id, e.occurred_at, e.actor_type, e.actor_id, e.action, e.target_type,
             e.target_id, case when e.reason is null then 'success' else 'refused' end, coalesce(e.reason, ''),
             e.address, e.request_id, e.metadata
         from unnest($34::uuid[], $35::text[], $36::text[], $37::timestamptz[], $38::text[], $39::text[], $40::text[],
             $41::text[], $42::text[], $43::text[], $44::text[], $45::text[], $46::jsonb[])
             as e (id, account_id, project_id, occurred_at, actor_type, actor_id, action, target_type, target_id,
                 reason, address, request_id, metadata)
         on conflict do nothing",
    );
    let rows = records.iter().zip(outcomes).map(|(record, outcome)| record.rows(*outcome));
    let (issued, entries): (Vec<_>, Vec<_>) = rows.unzip();
    let issued: Vec<&Credential> = issued.into_iter().flatten().collect();
    let entries: Vec<&Entry> = entries.into_iter().flatten().collect();
    bind_entries(bind_facts(bind_credentials(query, &issued), &issued), &entries).execute(db).await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn each<T, V>(rows: &[&T], column: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(|row| column(row)).collect()
}

/// What a credential rests on: `$1` to `$16`.
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
        .bind(each(rows, |row| row.client.as_ref().and_then(|client| client.id)))
        .bind(each(rows, |row| {
            row.client.as_ref().map(|client| client.client_id.clone()).unwrap_or_default()
        }))
        .bind(each(rows, |row| row.client.as_ref().map_or(0, |client| client.epoch)))
        .bind(each(rows, |row| row.parent_jti))
        .bind(each(rows, |row| array_literal(&row.ancestors)))
        .bind(each(rows, |row| row.mission_id))
        .bind(each(rows, |row| row.depth))
        .bind(each(rows, |row| row.delegated_by.clone()))
}

/// What a credential says: `$17` to `$33`.
fn bind_facts<'q>(query: Query<'q>, rows: &[&Credential]) -> Query<'q> {
    query
        .bind(each(rows, |row| row.profile.as_str()))
        .bind(each(rows, |row| row.grant_type))
        .bind(each(rows, |row| row.subject.clone()))
        .bind(each(rows, |row| row.user_id.clone()))
        .bind(each(rows, |row| row.scopes.joined()))
        .bind(each(rows, |row| row.audience.join(" ")))
        .bind(each(rows, |row| row.issued_at))
        .bind(each(rows, |row| row.expires_at))
        .bind(each(rows, |row| row.principal.as_ref().map(json)))
        .bind(each(rows, |row| (!row.actors.is_empty()).then(|| json(&row.actors))))
        .bind(each(rows, |row| row.person.map(|(id, _)| id)))
        .bind(each(rows, |row| row.person.map_or(0, |(_, epoch)| epoch)))
        .bind(each(rows, |row| row.family_id))
        .bind(each(rows, |row| row.jkt.clone()))
        .bind(each(rows, |row| row.consent_id))
        .bind(each(rows, |row| row.linked_subject.map(|(id, _)| id)))
        .bind(each(rows, |row| row.linked_subject.map_or(0, |(_, epoch)| epoch)))
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

/// An array within an array: Postgres unnests nested arrays to the ground, so the inner one travels as text.
fn array_literal(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
