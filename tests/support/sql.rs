//! The tables of the database, and what can be told about a statement from its words.

/// Whether the rows of a table belong to one tenant, so that a statement on it binds `account_id` and `project_id`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rows {
    OfTenant,
    Shared,
}

/// Every table and view: the capability whose store alone writes it, and whose rows it holds. A new table gets a line here.
pub(crate) const TABLES: &[(&str, &str, Rows)] = &[
    ("tenants", "tenancy", Rows::OfTenant),
    ("admin_keys", "access", Rows::Shared),
    ("identities", "agents", Rows::OfTenant),
    ("agents", "agents", Rows::OfTenant),
    ("credential_policies", "policies", Rows::OfTenant),
    ("api_keys", "api_keys", Rows::OfTenant),
    ("credentials", "tokens", Rows::OfTenant),
    ("credential_standing", "tokens", Rows::OfTenant),
    ("credential_activity", "tokens", Rows::OfTenant),
    ("credential_roots", "tokens", Rows::OfTenant),
    ("credential_history", "tokens", Rows::OfTenant),
    ("revocations", "tokens", Rows::OfTenant),
    ("used_once", "tokens", Rows::Shared),
    ("holders", "agents", Rows::OfTenant),
    ("oauth_clients", "clients", Rows::OfTenant),
    ("trusted_issuers", "issuers", Rows::OfTenant),
    ("linked_subjects", "issuers", Rows::OfTenant),
    ("users", "users", Rows::OfTenant),
    ("consents", "authorizations", Rows::OfTenant),
    ("authorization_codes", "authorizations", Rows::OfTenant),
    ("pushed_requests", "authorizations", Rows::OfTenant),
    ("person_links", "users", Rows::OfTenant),
    ("refresh_families", "tokens", Rows::OfTenant),
    ("refresh_tokens", "tokens", Rows::OfTenant),
    ("may_act_grants", "delegations", Rows::OfTenant),
    ("outbox", "outbox", Rows::OfTenant),
    ("signals", "signals", Rows::OfTenant),
    ("signing_keys", "keys", Rows::Shared),
    ("peppers", "keys", Rows::Shared),
    ("server_state", "keys", Rows::Shared),
    ("lockouts", "access", Rows::Shared),
    ("idempotent_answers", "idempotency", Rows::OfTenant),
    ("audit_events", "audit", Rows::OfTenant),
];

/// Words, `$n` and single symbols as they are written; quoted text becomes one `'`, comments are left out.
pub(crate) fn tokens(sql: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => 2 + rest[1..].find('\'').unwrap_or(rest.len().saturating_sub(2)),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '$' => 1 + rest[1..].find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len() - 1),
            _ if in_word(first) => rest.find(|char| !in_word(char)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, tail) = rest.split_at(length.min(rest.len()));
        match first {
            '"' => {}
            '\'' => tokens.push("'"),
            '-' | '/' if length > 1 => {}
            _ => tokens.push(token),
        }
        rest = tail.trim_start();
    }
    tokens
}

fn in_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Whether a string literal is a statement: it begins like one and goes on like one. A sentence that begins with
/// "update" or "with" does not.
pub(crate) fn is_statement(text: &str) -> bool {
    let begins = text.trim_start().chars().take_while(|char| in_word(*char)).collect::<String>();
    if begins != begins.to_lowercase() && begins != begins.to_uppercase() {
        return false;
    }
    let lower = text.to_lowercase();
    let tokens = tokens(&lower);
    let second = tokens.get(1).copied().unwrap_or_default();
    let has = |word: &str| tokens.contains(&word);
    match begins.to_lowercase().as_str() {
        "select" => has("from") || has("(") || second.starts_with(|char: char| "$'0123456789".contains(char)),
        "insert" => second == "into",
        "update" => has("set"),
        "delete" => second == "from",
        "with" => has("as") && has("("),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_from_sentences() {
        for sql in [
            "select id from identities",
            "\n   SELECT 1",
            "select now()",
            "insert into api_keys (id) values ($1)",
            "update identities set epoch = epoch + 1",
            "delete from used_once",
            "with gone as (delete from used_once returning 1) select count(*) from gone",
        ] {
            assert!(is_statement(sql), "{sql}");
        }
        for prose in [
            "select a tenant first",
            "Select one from the list",
            "update failed",
            "delete",
            "with a policy as strict as this",
            "insert coin",
        ] {
            assert!(!is_statement(prose), "{prose}");
        }
    }

    #[test]
    fn tokens_leave_out_quoted_text_and_comments() {
        let sql = "select \"a\".b -- from x\n/* from y */ from c where d='from e, it''s' and f=$12";
        let expected = "select a . b from c where d = ' ' and f = $12";
        assert_eq!(tokens(sql).join(" "), expected);
    }
}
