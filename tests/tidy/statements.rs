//! Where SQL stands: in the store of the capability that owns the tables it writes.
use crate::strata::{CAPABILITIES, home};
use crate::support::sources::Source;
use crate::support::sql::{TABLES, is_statement, tokens};

/// The one place that writes the tables of several capabilities: all of an issuance, in one transaction.
const LEDGER: &str = "src/tokens/ledger.rs";

const KEYWORDS: &str = "SELECT INSERT UPDATE DELETE WITH FROM WHERE INTO VALUES SET JOIN ON AND OR NOT NULL IS IN AS \
    ORDER GROUP BY LIMIT RETURNING CONFLICT UNION ALL ANY CASE WHEN THEN ELSE END";

const ADD_TABLE: &str = "is not in TABLES; add it there (tests/support/sql.rs) with its owner";

pub(crate) fn check(source: &Source) -> Vec<String> {
    let home = home(&source.path);
    let file = source.path.rsplit('/').next().unwrap_or_default();
    let store = file == "store.rs" && CAPABILITIES.contains(&home);
    let ledger = source.path == LEDGER;
    let mut faults = Vec::new();
    for literal in source.literals.iter().filter(|literal| is_statement(&literal.text)) {
        let mut fault = |what: String| faults.push(format!("{}:{}: {what}", source.path, literal.line));
        if !store && !ledger && !source.path.starts_with("src/kit/db/") {
            fault("SQL outside a store; move the statement to the store.rs of the capability that owns the table".into());
        }
        if let Some(word) =
            tokens(&literal.text).iter().find(|word| KEYWORDS.split(' ').any(|key| key == **word))
        {
            fault(format!("`{word}` in SQL; write keywords in lower case"));
        }
        for table in written(&literal.text) {
            match TABLES.iter().find(|(name, ..)| *name == table) {
                None => fault(format!("the table `{table}` {ADD_TABLE}")),
                Some((_, owner, _)) if !(ledger || store && home == *owner) => {
                    fault(format!(
                        "writes `{table}`, which only src/{owner}/store.rs may; call a verb of {owner}"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

/// Holds TABLES against the migrations, given as (path, text).
pub(crate) fn check_tables(migrations: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut created = Vec::new();
    for (path, text) in migrations {
        for table in made(text) {
            if TABLES.iter().all(|(name, ..)| *name != table) {
                faults.push(format!("{path}: the table `{table}` {ADD_TABLE}"));
            }
            created.push(table);
        }
    }
    let stale = TABLES.iter().filter(|(name, ..)| !created.iter().any(|table| table == name));
    faults.extend(
        stale.map(|(name, ..)| format!("tests/support/sql.rs: no migration creates `{name}`; take it out")),
    );
    faults
}

fn written(sql: &str) -> Vec<String> {
    let lower = sql.to_lowercase();
    let words = tokens(&lower);
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let target = |at: usize| match word(at) {
        "only" => name_at(&words, at + 1),
        _ => name_at(&words, at),
    };
    let tables = (0..words.len()).filter_map(|at| match (word(at), word(at + 1)) {
        ("insert" | "merge", "into") | ("delete", "from") => target(at + 2),
        ("update", "set") => None,
        ("update", _) if !(at > 0 && ["for", "key"].contains(&word(at - 1))) => target(at + 1),
        _ => None,
    });
    tables.collect()
}

fn made(sql: &str) -> Vec<String> {
    let lower = sql.to_lowercase();
    let words = tokens(&lower);
    let starts = (0..words.len()).filter(|at| words[*at] == "create").map(|at| at + 1);
    let names = starts.filter_map(|start| {
        let between = [
            "or",
            "replace",
            "temporary",
            "unlogged",
            "materialized",
            "table",
            "view",
            "if",
            "not",
            "exists",
        ];
        let length = words[start..].iter().take_while(|word| between.contains(word)).count();
        let kind = words[start..start + length].iter().any(|word| ["table", "view"].contains(word));
        let partition = words.get(start + length + 1).is_some_and(|word| *word == "partition");
        name_at(&words, start + length).filter(|_| kind && !partition)
    });
    names.collect()
}

/// The name that stands at `at`, without its schema.
fn name_at(words: &[&str], at: usize) -> Option<String> {
    let schema = words.get(at + 1) == Some(&".");
    words.get(if schema { at + 2 } else { at }).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, sql: &str) -> Vec<String> {
        check(&Source::new(path, &format!("fn f() {{\n    query(\"{sql}\") }}")))
    }

    #[track_caller]
    fn refuses(path: &str, sql: &str, what: &str) {
        let faults = faults(path, sql);
        assert_eq!(faults.len(), 1, "{sql}: {faults:?}");
        assert!(faults[0].starts_with(&format!("{path}:2: ")) && faults[0].contains(what), "{faults:?}");
    }

    #[test]
    fn sql_stands_in_a_store() {
        for path in
            ["src/agents/mod.rs", "src/oauth/store.rs", "src/compat/zeroid/routes.rs", "src/kit/clock.rs"]
        {
            refuses(path, "select id from identities", "SQL outside a store");
        }
        for path in ["src/agents/store.rs", "src/tokens/chain/store.rs", LEDGER, "src/kit/db/mod.rs"] {
            assert_eq!(faults(path, "select id from identities"), Vec::<String>::new());
        }
        assert_eq!(faults("src/agents/mod.rs", "update failed"), Vec::<String>::new());
    }

    #[test]
    fn a_table_is_written_by_its_owner_only() {
        for sql in [
            "insert into identities (id) values ($1)",
            "update identities set epoch = epoch + 1",
            "update only public.identities set epoch = 1",
            "with gone as (delete from identities returning id) select count(*) from gone",
        ] {
            refuses("src/api_keys/store.rs", sql, "writes `identities`, which only src/agents/store.rs may");
            refuses("src/kit/db/mod.rs", sql, "writes `identities`");
            assert_eq!(faults("src/agents/store.rs", sql), Vec::<String>::new());
            assert_eq!(faults(LEDGER, sql), Vec::<String>::new());
        }
        for reading in [
            "select i.id from identities i join api_keys k on k.identity_id = i.id for update of i",
            "select 1 from identities for no key update skip locked",
            "insert into api_keys (id) values ($1) on conflict (id) do update set name = $2",
        ] {
            assert_eq!(faults("src/api_keys/store.rs", reading), Vec::<String>::new());
        }
    }

    #[test]
    fn an_unknown_table_is_refused() {
        refuses("src/agents/store.rs", "delete from badges", "`badges` is not in TABLES");
        refuses(LEDGER, "insert into badges (id) values ($1)", "`badges` is not in TABLES");
    }

    #[test]
    fn keywords_are_lower_case() {
        refuses("src/agents/store.rs", "SELECT id from identities", "`SELECT` in SQL");
        refuses("src/agents/store.rs", "select id FROM identities", "`FROM` in SQL");
        assert_eq!(faults("src/agents/store.rs", "select 'AND' from identities"), Vec::<String>::new());
    }

    #[test]
    fn the_tables_are_those_of_the_migrations() {
        let all = TABLES
            .iter()
            .map(|(name, ..)| format!("create table {name} (id uuid);\n"))
            .collect::<Vec<_>>()
            .concat();
        let migration = |more: &str| [("migrations/1.sql".to_owned(), format!("{all}{more}"))];
        let fine =
            "create table credentials_default partition of credentials default; create index on badges (id);";
        assert_eq!(check_tables(&migration(fine)), Vec::<String>::new());
        let unknown = check_tables(&migration("create table if not exists badges (id uuid);"));
        assert!(unknown.len() == 1 && unknown[0].contains("`badges` is not in TABLES"), "{unknown:?}");
        let view = check_tables(&migration("create or replace view badge_names as select 1;"));
        assert!(view.len() == 1 && view[0].contains("`badge_names`"), "{view:?}");
        let stale = check_tables(&[("migrations/1.sql".to_owned(), all.replace("tenants", "tenants_old"))]);
        assert!(stale.iter().any(|fault| fault.contains("no migration creates `tenants`")), "{stale:?}");
    }
}
