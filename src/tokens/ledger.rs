//! The ledger: what makes a token durable before its answer leaves. Single-use artefacts, credentials and audit rows are
//! written together, for one record or for many.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::refresh;
use super::rows::{AuditRow, CredentialRow};
use crate::audit::Entry;

pub use super::record::{Artefact, CODE, Credential, Once, Outcome, Record};

/// Writes all records or none. A record may be written again after an unknown outcome: what is there already stays, and
/// an artefact that it used itself counts as its own.
pub async fn write(db: &mut PgConnection, records: &[Record]) -> sqlx::Result<Vec<Outcome>> {
    match attempt(db, records, INSERT).await {
        // Only what was written before meets itself. To look for that each time costs a fifth of the write.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            attempt(db, records, &INSERT_MISSING).await
        }
        outcome => outcome,
    }
}

async fn attempt(db: &mut PgConnection, records: &[Record], sql: &'static str) -> sqlx::Result<Vec<Outcome>> {
    let written = vec![Outcome::Written; records.len()];
    if !records.iter().any(|record| matches!(record, Record::IssueOnce(..) | Record::Reuse(..))) {
        insert(db, records, &written, sql).await?;
        return Ok(written);
    }
    if sql == INSERT && records.iter().all(Record::is_repeatable) && insert_once(db, records).await? {
        return Ok(written);
    }
    let mut tx = db.begin().await?;
    let wanted: Vec<_> = records.iter().map(|record| (record.user(), record.artefacts())).collect();
    let outcomes = use_up(&mut tx, &wanted).await?;
    insert(&mut tx, records, &outcomes, sql).await?;
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

/// Uses up and writes in one statement, where all artefacts are new, and says whether they were. Where they were not it wrote
/// nothing but that the new ones are used, each by its own record, to which it then counts as its own.
async fn insert_once<'r>(db: &mut PgConnection, records: &'r [Record]) -> sqlx::Result<bool> {
    let of = |record: &'r Record| record.artefacts().iter().map(|artefact| (record.user(), artefact));
    let artefacts: Vec<_> = records.iter().flat_map(of).collect();
    let (issued, entries) = rows(records, &vec![Outcome::Written; records.len()]);
    let wanted = entries.len();
    let query = bind_artefacts(sqlx::query(AssertSqlSafe(INSERT_ONCE.as_str())), &artefacts);
    let done = query.bind(issued).bind(entries).execute(db).await?;
    Ok(usize::try_from(done.rows_affected()) == Ok(wanted))
}

/// Uses artefacts up, each list for its user, and says who was first. Call it in a transaction: what is used must go back
/// when the work that used it fails.
pub async fn use_up(db: &mut PgConnection, wanted: &[(Uuid, &[Artefact])]) -> sqlx::Result<Vec<Outcome>> {
    let all: Vec<(Uuid, &Artefact)> =
        wanted.iter().flat_map(|(user, list)| list.iter().map(|artefact| (*user, artefact))).collect();
    let done = bind_artefacts(sqlx::query(USE_UP), &all).execute(&mut *db).await?;
    if usize::try_from(done.rows_affected()) == Ok(all.len()) {
        // The usual case: all were new, and none stood twice among them.
        return Ok(vec![Outcome::Written; wanted.len()]);
    }
    // A further statement: the one that met a row of another transaction can't see it.
    let first: Vec<(String, Vec<u8>, Uuid)> = sqlx::query_as(
        "select kind, key, used_by from used_once
         where (kind, key) in (select * from unnest($1::text[], $2::bytea[]))",
    )
    .bind(all.iter().map(|(_, artefact)| artefact.kind).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, artefact)| &artefact.key[..]).collect::<Vec<_>>())
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

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// `$1` to `$4`.
fn bind_artefacts<'q>(query: Query<'q>, artefacts: &[(Uuid, &'q Artefact)]) -> Query<'q> {
    query
        .bind(artefacts.iter().map(|(_, artefact)| artefact.kind).collect::<Vec<_>>())
        .bind(artefacts.iter().map(|(_, artefact)| &artefact.key[..]).collect::<Vec<_>>())
        .bind(artefacts.iter().map(|(user, _)| *user).collect::<Vec<_>>())
        .bind(artefacts.iter().map(|(_, artefact)| artefact.until).collect::<Vec<_>>())
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

/// The columns stand in the order of the types.
const INSERT: &str = "with issued as (
         insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
             api_key_id, oauth_client_id, client_id, client_epoch, parent_jti, ancestors, mission_id,
             delegation_depth, delegated_by, token_profile, grant_type, subject, user_id, scopes, audience,
             issued_at, expires_at, principal, actors, person_id, person_epoch, family_id, jkt, consent_id,
             linked_subject_id, linked_subject_epoch)
         select * from unnest($1::credential_record[])
     )
     insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
         target_type, target_id, outcome, reason, address, request_id, metadata)
     select * from unnest($2::audit_record[])";

/// The same, leaving as it is what was written before.
static INSERT_MISSING: LazyLock<String> = LazyLock::new(|| {
    let rows = ["unnest($1::credential_record[])", "unnest($2::audit_record[])"];
    rows.iter()
        .fold(INSERT.to_owned(), |sql, rows| sql.replace(rows, &format!("{rows} on conflict do nothing")))
});

/// The same, once artefacts are used up and only if all of them are new.
static INSERT_ONCE: LazyLock<String> = LazyLock::new(|| {
    let all_new = "(select count(*) from used) = cardinality($3::uuid[])";
    let rows = [("$1::credential_record[]", 5), ("$2::audit_record[]", 6)];
    let insert = rows.iter().fold(INSERT.to_owned(), |sql, (rows, at)| {
        let moved = format!("${at}{}", &rows[2..]);
        sql.replace(&format!("unnest({rows})"), &format!("unnest({moved}) where {all_new}"))
    });
    insert.replacen("issued as", &["used as (", USE_UP, " returning used_by), issued as"].concat(), 1)
});

/// In the order of the key, so that two groups never wait for each other in a circle.
const USE_UP: &str = "insert into used_once (kind, key, used_by, expires_at)
     select * from unnest($1::text[], $2::bytea[], $3::uuid[], $4::timestamptz[]) as u (kind, key, used_by, until)
     order by kind, key
     on conflict do nothing";

async fn insert(
    db: &mut PgConnection,
    records: &[Record],
    outcomes: &[Outcome],
    sql: &'static str,
) -> sqlx::Result<()> {
    let (issued, entries) = rows(records, outcomes);
    sqlx::query(AssertSqlSafe(sql)).bind(issued).bind(entries).execute(db).await?;
    Ok(())
}

fn rows<'a>(records: &'a [Record], outcomes: &[Outcome]) -> (Vec<CredentialRow<'a>>, Vec<AuditRow<'a>>) {
    let rows = records.iter().zip(outcomes).map(|(record, outcome)| record.rows(*outcome));
    let (issued, entries): (Vec<_>, Vec<_>) = rows.unzip();
    let issued = issued.into_iter().flatten().map(CredentialRow::from).collect();
    (issued, entries.into_iter().flatten().map(AuditRow::from).collect())
}
