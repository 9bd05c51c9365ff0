//! Refresh tokens: their rotation and reuse, what narrows them, whose they are, and what ends them.
mod bound;
mod coded;
mod cut;
mod ending;
mod history;
mod hostile;
mod reuse;
mod rotation;
mod whose;

use crate::refresher::{Refresher, Tokens};
use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims};

/// Requires that the token is refused as one that is unknown, expired or revoked.
#[track_caller]
fn assert_dead(answer: &Answer) {
    assert_error(answer, 400, "invalid_grant");
    assert!(answer.text_of("error_description").contains("unknown, expired or revoked"), "{}", answer.text);
}

/// The family of an access token.
async fn family(server: &Server, access: &str) -> String {
    let jti = claims(access)["jti"].as_str().unwrap().to_owned();
    server.text_from_sql(format!("select family_id::text from credentials where jti = '{jti}'")).await
}

/// Requires that the family has ended, with one row and one event that say so, and took everything along.
async fn assert_family_ended(server: &Server, who: &Refresher, tokens: &[&Tokens], reason: &str) {
    for tokens in tokens {
        assert!(!server.is_active(&tokens.access).await);
        assert!(!server.refreshes(who, &tokens.refresh).await);
    }
    let family = family(server, &tokens[0].access).await;
    let marks = format!(
        "select count(*)::text || ' ' || coalesce(max(revoke_reason), '') from refresh_families
         where id = '{family}' and revoked_at is not null"
    );
    assert_eq!(server.text_from_sql(marks).await, format!("1 {reason}"));
    for (table, condition) in [
        ("audit_events", "action = 'refresh_family.revoked' and target_id"),
        ("outbox", "event_type = 'refresh_family.revoked' and subject_id::text"),
        ("revocations", "anchor = 'family' and anchor_id::text"),
    ] {
        let count = format!("select count(*)::text from {table} where {condition} = '{family}'");
        assert_eq!(server.text_from_sql(count).await, "1", "{table}");
    }
}
