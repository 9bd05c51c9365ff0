//! Every SQL statement in the sources: it fits the migrated database, and it binds the tenant whose rows it touches.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "sql/plans.rs"]
mod plans;
mod support;
#[path = "sql/tenant.rs"]
mod tenant;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};

use support::sources::{Source, rust_files};
use support::sql::is_statement;

/// The statements that may do without their tenant, since what they look up names one row of the whole table:
/// a fragment that only this statement holds, and the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("from (select u.id, u.count, u.at, u.address", "by ids of keys that were found by their secret"),
    (
        "where expires_at <= $1 and status in ('active', 'suspended')",
        "by expiry; the worker acts in each one's tenant",
    ),
    ("delete from idempotent_answers where expires_at <= $1", "by expiry; what has expired is nobody's"),
    (
        "select exists (select from revocations where announced_at is null)",
        "whether there is work for the worker",
    ),
    (
        "from revocations where announced_at is null order by id limit $1",
        "by their place in the queue; the worker acts in each one's tenant",
    ),
    ("delete from revocations where id in (", "by age; no row of what the mark ended is left"),
    ("delete from outbox where id in (", "by age; what is past its retention is nobody's"),
    ("delete from signals where id in (", "by age; what is past its retention is nobody's"),
    ("select distinct project_id from identities", "an operator's, in the account that he names"),
    ("k.revoked_at is not null or k.replaced_at is not null as key_ended", "by the key's keyed hash"),
    (
        "revocation, active_until from credential_activity where jti = any($1)",
        "by jti; the caller compares the digest",
    ),
    ("where l.link_hash = any($1)", "by a link's keyed hash"),
    ("where l.cookie_hash = any($1) and l.cookie_until > $2", "by a cookie's keyed hash"),
    ("delete from person_links where id in (", "by age; no browser and no person can use it"),
    ("where c.code_hash = any($1)", "by a code's keyed hash, and all else is of the same tenant"),
    ("where p.uri_hash = any($1) and p.expires_at > $2", "by a pushed request's keyed hash"),
    ("delete from authorization_codes where id in (", "by age; it is redeemed no more"),
    ("delete from pushed_requests where id in (", "by age; it is answered no more"),
    ("select * from holders where wimse_uri = any($1)", "by a URI that names its tenant"),
    (
        "with subjects as materialized (",
        "by jti; the caller compares the digest, and all else is of the same tenant",
    ),
    ("where t.token_hash = any($1)", "by the refresh token's keyed hash"),
    (
        "select id from refresh_tokens where sealed is not null and issued_at <= $1",
        "by age; the answer is not given again",
    ),
    ("delete from refresh_tokens where id in (", "by expiry; what has expired is refused in any case"),
    ("delete from refresh_families where id in (", "by age; no row of what came of them is left"),
    (
        "where c.client_id = any($1) and c.deleted_at is null",
        "by a client_id that is unique among all tenants",
    ),
];

struct Statement {
    /// File and line.
    place: String,
    sql: String,
}

/// Every SQL literal below the folder.
fn sql_literals(folder: &str) -> Vec<Statement> {
    let statements = |source: Source| {
        let found = source.literals.into_iter().filter(|literal| is_statement(&literal.text));
        let path = source.path;
        found.map(move |literal| Statement { place: format!("{path}:{}", literal.line), sql: literal.text })
    };
    rust_files(folder).into_iter().flat_map(statements).collect()
}

async fn prepare_all(db: &mut PgConnection) -> Vec<String> {
    let mut faults = Vec::new();
    for Statement { place, sql } in sql_literals("src") {
        if let Err(error) = (&mut *db).prepare(AssertSqlSafe(sql).into_sql_str()).await {
            faults.push(format!("{place}: the database refuses the statement: {error}"));
        }
    }
    faults
}

fn unbound(statements: &[Statement], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for Statement { place, sql } in statements {
        let excused = allowed.iter().any(|(fragment, _)| tenant::holds(sql, fragment));
        if let Some(fault) = tenant::check(sql).filter(|_| !excused) {
            faults.push(format!("{place}: {fault}; bind it, or add a look-up by secret or jti to ALLOWED"));
        }
    }
    for (fragment, _) in allowed {
        let count = statements
            .iter()
            .filter(|statement| {
                tenant::holds(&statement.sql, fragment) && tenant::check(&statement.sql).is_some()
            })
            .count();
        if count != 1 {
            faults.push(format!(
                "tests/sql.rs: {fragment:?} in ALLOWED excuses {count} statements; it must excuse one"
            ));
        }
    }
    faults
}

#[tokio::test]
async fn the_database_takes_every_statement() {
    let mut db = PgConnection::connect_with(&cluster::database().await).await.expect("a migrated database");
    let faults = prepare_all(&mut db).await;
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn no_statement_without_its_tenant() {
    let faults = unbound(&sql_literals("src"), ALLOWED);
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn an_excuse_holds_for_one_statement_that_needs_it() {
    let statement = |sql: &str| Statement { place: "src/x/store.rs:1".into(), sql: sql.into() };
    let statements = [
        statement("select 1 from api_keys where key_hash = $1"),
        statement("select 1 from api_keys where id = $1"),
        statement("select 1 from signing_keys where kid = $1"),
    ];
    let excuse = |fragment: &'static str| unbound(&statements, &[(fragment, "a secret")]);
    assert_eq!(unbound(&statements, &[]).len(), 2);
    assert!(excuse("where key_hash = $1")[..].iter().all(|fault| fault.contains("`api_keys`")));
    assert_eq!(excuse("where key_hash = $1").len(), 1);
    for (fragment, count) in [("where sub = $1", 0), ("where kid = $1", 0), ("from api_keys", 2)] {
        let expected = format!("excuses {count} statements");
        assert!(excuse(fragment).iter().any(|fault| fault.contains(&expected)), "{fragment}");
    }
}
