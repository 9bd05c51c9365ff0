//! The plans of the hot statements, on connections set as those of the groups: which indexes they use and how many
//! partitions they enter, on empty tables as on filled ones.

use std::collections::BTreeSet;

use chancery::kit::config::Config;
use chancery::kit::db;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::sql_literals;

/// A statement by a fragment of it, its arguments, and the indexes that it must use on filled tables.
struct Hot {
    fragment: &'static str,
    arguments: &'static [&'static str],
    indexes: &'static [&'static str],
}

const ALL: &str = "(select array_agg(jti) from sample)";
const FIRST: &str = "(select jti from sample order by jti limit 1)";
const LAST: &str = "(select jti from sample order by jti desc limit 1)";
const URIS: &str = "(select array_agg(subject) from sample)";

const HOT: &[Hot] = &[
    Hot {
        fragment: "revocation, active_until\n     from credential_activity where jti = any($1)",
        arguments: &[ALL, FIRST, LAST],
        indexes: &[
            "api_keys_pkey",
            "credentials_pkey",
            "identities_pkey",
            "signing_keys_pkey",
            "tenants_pkey",
        ],
    },
    Hot {
        fragment: "with subjects as materialized",
        arguments: &[
            ALL,
            FIRST,
            LAST,
            URIS,
            "(select array_agg(now()) from sample)",
            "(select array_agg('[\"somebody\"]'::jsonb) from sample)",
        ],
        indexes: &[
            "api_keys_pkey",
            "credential_policies_pkey",
            "credentials_pkey",
            "identities_pkey",
            "identities_wimse_uri_key",
            "may_act_grants_by_principal",
            "signing_keys_pkey",
            "tenants_pkey",
        ],
    },
    Hot {
        fragment: "k.revoked_at is not null or k.replaced_at is not null as key_ended",
        arguments: &["(select array_agg(sha256(('seed' || n)::bytea)) from generate_series(1, 20) n)"],
        indexes: &["api_keys_key_hash_key", "credential_policies_pkey", "identities_pkey", "tenants_pkey"],
    },
    Hot {
        fragment: "select * from holders where wimse_uri = any($1)",
        arguments: &[URIS],
        indexes: &["credential_policies_pkey", "identities_wimse_uri_key", "tenants_pkey"],
    },
    Hot {
        fragment: "where c.client_id = any($1) and c.deleted_at is null",
        arguments: &["'{a,b,c}'"],
        indexes: &["oauth_clients_client_id_key"],
    },
    Hot {
        fragment: "select kind, key, used_by from used_once",
        arguments: &["'{assertion,proof}'", "array['a'::bytea, 'b'::bytea]"],
        indexes: &["used_once_pkey"],
    },
];

#[tokio::test]
async fn hot_statements_keep_to_their_indexes_on_empty_and_on_filled_tables() {
    let options = db::grouped(crate::cluster::database().await, &Config::default().database);
    let mut db = PgConnection::connect_with(&options).await.unwrap();
    run(&mut db, "create temp table sample (jti uuid, subject text)").await;
    run(
        &mut db,
        "insert into sample values ('00000000-0000-7000-8000-000000000000', ''),
        ('ffffffff-ffff-7fff-bfff-ffffffffffff', '')",
    )
    .await;
    let hot = prepare(&mut db).await;
    // As after a first start, then with partitions that were analysed while they were empty: a plan that is made now may
    // stay for as long as the connection does.
    for (number, hot) in hot.iter().enumerate() {
        let plan = explain(&mut db, (number, hot), "costs off").await;
        check(&plan);
        // An agent by its own name: the plan is made anew once its tenant has more than a few.
        let loose = loose(hot, &used(&plan)).filter(|name| *name != "identities_newest");
        assert_eq!(loose, None, "{plan}");
    }
    seed(&mut db, 0, 0).await;
    for (number, hot) in hot.iter().enumerate() {
        check(&explain(&mut db, (number, hot), "costs off").await);
    }
    seed(&mut db, 2000, 20_000).await;
    run(&mut db, "delete from sample").await;
    run(&mut db, "insert into sample select jti, subject from credentials order by jti desc limit 30").await;
    for (number, hot) in hot.iter().enumerate() {
        let plan = explain(&mut db, (number, hot), "analyze, costs off, timing off, summary off").await;
        check(&plan);
        let used = used(&plan);
        // What else a credential comes to rest on is found by its own key.
        let is_missing = |name: &&&str| !used.contains(**name);
        assert_eq!(hot.indexes.iter().find(is_missing), None, "{plan}");
        assert_eq!(loose(hot, &used), None, "{plan}");
        // The ancestors are looked for in every partition, but only those of the credentials that have some.
        let own =
            plan.lines().filter(|line| line.contains(" on credentials_p") && line.ends_with("loops=1)"));
        assert!(own.count() <= 1, "enters further partitions\n{plan}");
    }
}

/// An index that the statement has no business with.
fn loose<'a>(hot: &Hot, used: &BTreeSet<&'a str>) -> Option<&'a str> {
    used.iter().find(|name| !(hot.indexes.contains(*name) || name.ends_with("_pkey"))).copied()
}

/// Nothing is read from one end to the other.
fn check(plan: &str) {
    assert!(!plan.contains("Seq Scan"), "{plan}");
    // Its second column alone can be found by walking through all of it only.
    assert!(!plan.contains("identity_id_jti_idx"), "{plan}");
}

/// Prepares each statement, and what the store makes of it for credentials that were not delegated; answers in their order
/// what is known of them.
async fn prepare(db: &mut PgConnection) -> Vec<&'static Hot> {
    let literals = sql_literals("src");
    let mut prepared = Vec::new();
    for hot in HOT {
        let mut found = literals.iter().filter(|statement| statement.sql.contains(hot.fragment));
        let (Some(statement), None) = (found.next(), found.next()) else {
            panic!("not one statement holds {:?}", hot.fragment)
        };
        let of_roots = statement.sql.replace("credential_activity", "credential_roots");
        let also = Some(&of_roots).filter(|of_roots| **of_roots != statement.sql);
        for sql in [Some(&statement.sql), also].into_iter().flatten() {
            run(db, &format!("prepare hot_{} as {sql}", prepared.len())).await;
            prepared.push(hot);
        }
    }
    prepared
}

async fn explain(db: &mut PgConnection, (number, hot): (usize, &Hot), options: &str) -> String {
    let mut arguments = Vec::new();
    for argument in hot.arguments {
        // The arguments of "execute" can't hold subqueries.
        let sql = format!("select quote_nullable(({argument})::text)");
        let literal: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *db).await.unwrap();
        arguments.push(literal);
    }
    let sql = format!("explain ({options}) execute hot_{number} ({})", arguments.join(", "));
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(db).await.unwrap();
    lines.join("\n")
}

/// The indexes that were really used, those of partitions under the name of the whole.
fn used(plan: &str) -> BTreeSet<&str> {
    let executed = plan.lines().filter(|line| !line.contains("never executed"));
    let scans = executed.filter_map(|line| {
        let name = line.split_once(" using ").or_else(|| line.split_once("Bitmap Index Scan on "))?.1;
        name.split(' ').next()
    });
    scans.map(|name| if name.starts_with("credentials_") { "credentials_pkey" } else { name }).collect()
}

/// The same statements that fill a database for measurements.
async fn seed(db: &mut PgConnection, agents: u32, credentials: u32) {
    let values =
        [(":agents", agents), (":tenants", agents.min(10)), (":credentials", credentials), (":days", 50)];
    let seed = include_str!("../support/seed.sql");
    let seed =
        values.iter().fold(seed.to_owned(), |sql, (name, value)| sql.replace(name, &value.to_string()));
    run(db, &seed).await;
}

async fn run(db: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap();
}
