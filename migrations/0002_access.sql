-- Admin keys (sk_live_…). A key without a tenant is an operator's and works across tenants.
create table admin_keys (
    id uuid primary key,
    account_id text,
    project_id text,
    name text not null,
    key_prefix text not null,
    pepper_id uuid not null,
    key_hash bytea not null unique,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    check ((account_id is null) = (project_id is null))
);
