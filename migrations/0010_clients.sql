-- OAuth clients. A deleted client keeps its row: what it obtained still has to say why it ended.
create table oauth_clients (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    client_id text not null,
    name text not null,
    description text not null default '',
    client_type text not null check (client_type in ('public', 'confidential')),
    token_endpoint_auth_method text not null
        check (token_endpoint_auth_method in ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')),
    pepper_id uuid,
    secret_hash bytea,
    -- The secret before the last rotation works until old_secret_until.
    old_secret_hash bytea,
    old_secret_until timestamptz,
    jwks jsonb,
    grant_types text[] not null,
    scopes text[] not null default '{}',
    redirect_uris text[] not null default '{}',
    access_token_ttl integer not null default 0 check (access_token_ttl >= 0),
    refresh_token_ttl integer not null default 0 check (refresh_token_ttl >= 0),
    token_profile text check (token_profile in ('zeroid', 'rfc8693', 'shark')),
    identity_id uuid,
    registration_source text not null default 'internal' check (registration_source in ('internal', 'dynamic')),
    software_id text not null default '',
    software_version text not null default '',
    contacts text[] not null default '{}',
    metadata jsonb not null default '{}',
    is_active boolean not null default true,
    epoch integer not null default 0,
    created_by text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
);
-- Callers name a client before any tenant is known, so its client_id is unique everywhere.
create unique index oauth_clients_client_id_key on oauth_clients (client_id) where deleted_at is null;
create index oauth_clients_newest on oauth_clients (account_id, project_id, created_at desc, id desc);

create unique index credential_policies_source_key on credential_policies (account_id, project_id, source, source_key)
    where source_key <> '';
create index identities_by_policy on identities (credential_policy_id);
create index api_keys_by_policy on api_keys (credential_policy_id);
