//! No statement without its tenant: whoever touches a tenant's rows says whose they are.
use crate::support::sql::{Rows, TABLES, tokens};

const COLUMNS: [&str; 2] = ["account_id", "project_id"];

/// What is wrong with a statement, if anything.
pub(crate) fn check(sql: &str) -> Option<String> {
    let lower = sql.to_lowercase();
    let words = tokens(&lower);
    let table = touched(&words)?;
    let unbound = COLUMNS.into_iter().find(|column| !binds(&words, column))?;
    Some(format!("touches `{table}` without binding `{unbound}`"))
}

/// Whether the statement holds the fragment; white space and letter case do not matter.
pub(crate) fn holds(sql: &str, fragment: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    plain(sql).contains(&plain(fragment))
}

/// The first tenant's table that stands where a statement names its tables.
fn touched(words: &[&str]) -> Option<&'static str> {
    (1..words.len()).find_map(|at| {
        let (table, ..) =
            TABLES.iter().find(|(name, _, rows)| *name == words[at] && *rows == Rows::OfTenant)?;
        let before = if words[at - 1] == "." { at.checked_sub(3)? } else { at - 1 };
        ["from", "join", "into", "update", "using", "only", ",", "("]
            .contains(&words[before])
            .then_some(*table)
    })
}

/// Whether the statement ties the column to a parameter: it compares the two, or inserts into the column.
fn binds(words: &[&str], column: &str) -> bool {
    let given = given(words, column);
    (0..words.len()).any(|at| {
        words[at] == "insert" && inserts(&words[at..], column)
            || words[at] == column && (compared(words, at) || in_row(words, at) || given && joined(words, at))
    })
}

/// `insert into t (…, column, …)`
fn inserts(words: &[&str], column: &str) -> bool {
    let list = words.iter().skip_while(|word| **word != "(").take_while(|word| **word != ")");
    list.into_iter().any(|word| *word == column)
}

/// `column = $1`, `$1 = column`
fn compared(words: &[&str], at: usize) -> bool {
    let start = if at >= 2 && words[at - 1] == "." { at - 2 } else { at };
    let turned = start >= 2 && words[start - 1] == "=" && words[start - 2].starts_with('$');
    turned || is_parameter(&words[at + 1..])
}

/// `(column, other) = ($1, $2)`
fn in_row(words: &[&str], at: usize) -> bool {
    let outside = |word: &&str| matches!(*word, "(" | ")" | "=" | "where" | "and" | "select");
    let open = words[..at].iter().rposition(outside).is_some_and(|open| words[open] == "(");
    let close = words[at..].iter().position(outside).map(|length| at + length);
    open && close.is_some_and(|close| words[close] == ")" && is_parameter(&words[close + 1..]))
}

/// Whether rows made of parameters have the column: `unnest($1, …) as given (…, column, …)`
fn given(words: &[&str], column: &str) -> bool {
    let unnested = words.windows(3).any(|three| three[..2] == ["unnest", "("] && three[2].starts_with('$'));
    let mut lists = (0..words.len()).filter(|at| words[*at..].starts_with(&[")", "as"]));
    unnested && lists.any(|at| words.get(at + 3) == Some(&"(") && inserts(&words[at + 3..], column))
}

/// `column = given.column`
fn joined(words: &[&str], at: usize) -> bool {
    matches!(words[at + 1..], ["=", _, ".", other, ..] if other == words[at])
}

fn is_parameter(words: &[&str]) -> bool {
    let (["=" | "in", right @ ..] | ["is", "not", "distinct", "from", right @ ..]) = words else {
        return false;
    };
    let first = right.iter().find(|word| !["(", "any", "row"].contains(word));
    first.is_some_and(|word| word.starts_with('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_binds_its_tenant_passes() {
        for sql in [
            "select * from identities where account_id = $1 and project_id = $2 and id = $3",
            "select i.id from public.identities i where $1 = i.account_id and $2 = i.project_id",
            "select 1 from api_keys k where (k.account_id, k.project_id) = ($1, $2)",
            "select 1 from tenants where (account_id, project_id) in (($1, $2))",
            "insert into audit_events (id, account_id, project_id) values ($1, $2, $3)",
            "insert into credentials (jti, account_id, project_id) select * from unnest($1::uuid[], $2::text[], $3::text[])",
            "update credentials c set revoked_at = $4 from unnest($1::uuid[], $2::text[], $3::text[])
                as given (jti, account_id, project_id)
                where c.jti = given.jti and c.account_id = given.account_id and c.project_id = given.project_id",
            "select kid from signing_keys where issuer = $1",
            "select 'from identities'",
        ] {
            assert_eq!(check(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_statement_without_its_tenant_is_refused() {
        for (sql, table, column) in [
            ("select * from identities where id = $1", "identities", "account_id"),
            ("select * from identities where account_id = $1", "identities", "project_id"),
            ("select account_id, project_id from api_keys where key_hash = $1", "api_keys", "account_id"),
            ("update credentials set revoked_at = $1 where jti = $2", "credentials", "account_id"),
            ("delete from audit_events using tenants t where true", "audit_events", "account_id"),
            ("insert into audit_events (id) values ($1)", "audit_events", "account_id"),
            ("insert into audit_events (id, account_id) values ($1, $2)", "audit_events", "project_id"),
            ("select 1 from used_once u, identities i", "identities", "account_id"),
            (
                "with x as (select 1 from public.credential_policies) select * from x",
                "credential_policies",
                "account_id",
            ),
            (
                "select 1 from identities i join tenants t on t.account_id = i.account_id and t.project_id = i.project_id",
                "identities",
                "account_id",
            ),
        ] {
            assert_eq!(check(sql), Some(format!("touches `{table}` without binding `{column}`")), "{sql}");
        }
    }

    #[test]
    fn a_fragment_is_found_whatever_its_line_breaks() {
        assert!(holds("select a\n   from b", "A from b"));
        assert!(!holds("select a from b", "from c"));
    }
}
