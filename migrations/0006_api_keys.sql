-- A key replaced by rotation mints no more, while what it minted lives on; revoking a key ends what it minted.
create table api_keys (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    identity_id uuid,
    name text not null,
    description text not null default '',
    key_prefix text not null,
    pepper_id uuid not null,
    key_hash bytea not null,
    key_version integer not null default 1,
    environment text not null default 'live' check (environment in ('live', 'test')),
    scopes text[],
    credential_policy_id uuid not null,
    expires_at timestamptz,
    replaced_at timestamptz,
    replaced_by uuid,
    revoked_at timestamptz,
    revoked_by text not null default '',
    revoke_reason text not null default '',
    metadata jsonb not null default '{}',
    ip_allowlist text[],
    rate_limit_rps integer not null default 0,
    created_by text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    last_used_at timestamptz,
    last_used_ip text not null default '',
    usage_count bigint not null default 0,
    constraint api_keys_key_hash_key unique (key_hash)
);
create index api_keys_by_identity on api_keys (identity_id, created_at desc);
create index api_keys_newest on api_keys (account_id, project_id, created_at desc, id desc);

-- An agent as the API shows it: its identity with the first characters of a live key.
create view agents as
select i.*,
       coalesce(
           (select k.key_prefix from api_keys k
            where k.identity_id = i.id and k.revoked_at is null and k.replaced_at is null
            order by k.created_at desc, k.id desc limit 1),
           '') as api_key_prefix,
       0 as delegation_depth
from identities i;
