-- Peppers key the hashes of stored secrets; signing keys sign tokens. Both are sealed under the master key.
create table peppers (
    id uuid primary key,
    sealed bytea not null,
    created_at timestamptz not null
);

-- The state is derived from times: published until activate_at, then active until a later key's activate_at,
-- then retiring until retire_at, then retired; revoked from revoked_at.
create table signing_keys (
    kid text primary key,
    issuer text not null,
    algorithm text not null,
    public_jwk jsonb not null,
    sealed_private bytea not null,
    created_at timestamptz not null,
    activate_at timestamptz not null,
    retire_at timestamptz,
    revoked_at timestamptz,
    revoke_reason text
);
create index signing_keys_by_issuer on signing_keys (issuer, activate_at);

-- What a server must agree with before it may work on this database. One row.
create table server_state (
    only_row boolean primary key default true check (only_row),
    mode text not null check (mode in ('development', 'production')),
    issuer text not null,
    master_key_id text not null,
    created_at timestamptz not null
);
