//! The rows of the ledger as the database's own types `credential_record` and `audit_record`, member for member.

use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::types::Json;
use sqlx::{Postgres, Type};
use uuid::Uuid;

use super::actor::{Hop, Principal};
use super::record::Credential;
use crate::audit::Entry;
use crate::kit::clock::Time;

/// A row of `credentials`.
#[derive(sqlx::Encode)]
pub(super) struct CredentialRow<'a> {
    jti: Uuid,
    account_id: &'a str,
    project_id: &'a str,
    token_sha256: &'a [u8],
    kid: &'a str,
    identity_id: Option<Uuid>,
    agent_epoch: i32,
    api_key_id: Option<Uuid>,
    oauth_client_id: Option<Uuid>,
    client_id: &'a str,
    client_epoch: i32,
    parent_jti: Option<Uuid>,
    ancestors: &'a [Uuid],
    mission_id: Uuid,
    delegation_depth: i32,
    delegated_by: &'a str,
    token_profile: &'a str,
    grant_type: &'a str,
    subject: &'a str,
    user_id: &'a str,
    scopes: &'a [String],
    audience: &'a [String],
    issued_at: Time,
    expires_at: Time,
    principal: Option<Json<&'a Principal>>,
    actors: Option<Json<&'a [Hop]>>,
    person_id: Option<Uuid>,
    person_epoch: i32,
    family_id: Option<Uuid>,
    jkt: Option<&'a str>,
    consent_id: Option<Uuid>,
    linked_subject_id: Option<Uuid>,
    linked_subject_epoch: i32,
}

/// A row of `audit_events`.
#[derive(sqlx::Encode)]
pub(super) struct AuditRow<'a> {
    id: Uuid,
    account_id: &'a str,
    project_id: &'a str,
    occurred_at: Time,
    actor_type: &'a str,
    actor_id: &'a str,
    action: &'a str,
    target_type: &'a str,
    target_id: &'a str,
    outcome: &'a str,
    reason: &'a str,
    address: String,
    request_id: &'a str,
    metadata: Json<&'a serde_json::Value>,
}

impl<'a> From<&'a Credential> for CredentialRow<'a> {
    fn from(row: &'a Credential) -> Self {
        let client = row.client.as_ref();
        Self {
            jti: row.jti,
            account_id: &row.tenant.account_id,
            project_id: &row.tenant.project_id,
            token_sha256: &row.token_sha256,
            kid: &row.kid,
            identity_id: row.identity_id,
            agent_epoch: row.agent_epoch,
            api_key_id: row.api_key_id,
            oauth_client_id: client.and_then(|client| client.id),
            client_id: client.map_or("", |client| &client.client_id),
            client_epoch: client.map_or(0, |client| client.epoch),
            parent_jti: row.parent_jti,
            ancestors: &row.ancestors,
            mission_id: row.mission_id,
            delegation_depth: row.depth,
            delegated_by: &row.delegated_by,
            token_profile: row.profile.as_str(),
            grant_type: row.grant_type,
            subject: &row.subject,
            user_id: &row.user_id,
            scopes: row.scopes.as_slice(),
            audience: &row.audience,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            principal: row.principal.as_ref().map(Json),
            actors: Some(&row.actors[..]).filter(|actors| !actors.is_empty()).map(Json),
            person_id: row.person.map(|(id, _)| id),
            person_epoch: row.person.map_or(0, |(_, epoch)| epoch),
            family_id: row.family_id,
            jkt: row.jkt.as_deref(),
            consent_id: row.consent_id,
            linked_subject_id: row.linked_subject.map(|(id, _)| id),
            linked_subject_epoch: row.linked_subject.map_or(0, |(_, epoch)| epoch),
        }
    }
}

impl<'a> From<&'a Entry> for AuditRow<'a> {
    fn from(row: &'a Entry) -> Self {
        Self {
            id: row.id,
            account_id: &row.tenant.account_id,
            project_id: &row.tenant.project_id,
            occurred_at: row.occurred_at,
            actor_type: row.actor.0,
            actor_id: &row.actor.1,
            action: row.event.action,
            target_type: row.event.target_type,
            target_id: &row.event.target_id,
            outcome: if row.refused.is_none() { "success" } else { "refused" },
            reason: row.refused.as_deref().unwrap_or_default(),
            address: row.origin.address.map(|address| address.to_string()).unwrap_or_default(),
            request_id: &row.origin.request_id,
            metadata: Json(&row.event.metadata),
        }
    }
}

impl Type<Postgres> for CredentialRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("credential_record")
    }
}

impl PgHasArrayType for CredentialRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("credential_record")
    }
}

impl Type<Postgres> for AuditRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("audit_record")
    }
}

impl PgHasArrayType for AuditRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("audit_record")
    }
}
