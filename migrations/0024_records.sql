-- What the ledger writes travels as one array of each of these: an array of its own for every column costs the database more
-- than the rows do. A server goes on with the types it knows, so one that writes more columns brings types of its own.
create type credential_record as (
    jti uuid,
    account_id text,
    project_id text,
    token_sha256 bytea,
    kid text,
    identity_id uuid,
    agent_epoch integer,
    api_key_id uuid,
    oauth_client_id uuid,
    client_id text,
    client_epoch integer,
    parent_jti uuid,
    ancestors uuid[],
    mission_id uuid,
    delegation_depth integer,
    delegated_by text,
    token_profile text,
    grant_type text,
    subject text,
    user_id text,
    scopes text[],
    audience text[],
    issued_at timestamptz,
    expires_at timestamptz,
    principal jsonb,
    actors jsonb,
    person_id uuid,
    person_epoch integer,
    family_id uuid,
    jkt text,
    consent_id uuid,
    linked_subject_id uuid,
    linked_subject_epoch integer
);

create type audit_record as (
    id uuid,
    account_id text,
    project_id text,
    occurred_at timestamptz,
    actor_type text,
    actor_id text,
    action text,
    target_type text,
    target_id text,
    outcome text,
    reason text,
    address text,
    request_id text,
    metadata jsonb
);

-- What `credential_activity` says of credentials that were not delegated, without looking for ancestors.
create view credential_roots as
select s.*, s.stands_until as active_until, s.standing as revocation
from credential_standing s
where s.ancestors = '{}';
