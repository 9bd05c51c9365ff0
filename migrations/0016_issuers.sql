-- Issuers outside whose tokens a tenant accepts for its workloads. A token names no tenant: its issuer and one of its
-- audiences do, so that pair belongs to one.
create table trusted_issuers (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    issuer text not null,
    audience text not null,
    name text not null default '',
    -- Where its keys are, or the keys themselves.
    jwks_uri text,
    jwks jsonb,
    algorithms text[] not null,
    max_lifetime_seconds integer not null check (max_lifetime_seconds > 0),
    max_age_seconds integer not null check (max_age_seconds > 0),
    subject_pattern text not null default '',
    required_claims jsonb not null default '{}',
    is_active boolean not null default true,
    created_by text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((jwks_uri is null) <> (jwks is null)),
    constraint trusted_issuers_of_tenant unique (account_id, project_id, issuer),
    constraint trusted_issuers_audience unique (issuer, audience)
);

-- Where a client's keys are, in the place of keys that were sent.
alter table oauth_clients add column jwks_uri text;

-- As which agent a subject of an issuer acts: exactly one.
create table linked_subjects (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    issuer_id uuid not null references trusted_issuers (id) on delete cascade,
    subject text not null,
    identity_id uuid not null,
    created_by text not null default '',
    created_at timestamptz not null,
    constraint linked_subjects_of_issuer unique (issuer_id, subject)
);
