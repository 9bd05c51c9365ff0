-- A link that an administrator makes for one person. It opens once; the browser that opened it is remembered for a while.
create table person_links (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    person_id uuid not null,
    person_epoch integer not null,
    purpose text not null check (purpose in ('authorize')),
    -- Where to, as a path of this server.
    target text not null,
    pepper_id uuid not null,
    link_hash bytea not null unique,
    created_by text not null default '',
    created_at timestamptz not null,
    expires_at timestamptz not null,
    opened_at timestamptz,
    cookie_hash bytea unique,
    cookie_until timestamptz
);
create index person_links_by_end on person_links (expires_at);

-- Codes, as they were asked for and agreed to. That one was used stands in used_once.
create table authorization_codes (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    pepper_id uuid not null,
    code_hash bytea not null unique,
    -- Null for a client that no registration knows.
    oauth_client_id uuid,
    client_id text not null,
    -- The epochs that the decision saw; a later one makes the code void.
    client_epoch integer not null,
    identity_id uuid,
    agent_epoch integer not null default 0,
    person_id uuid not null,
    person_epoch integer not null,
    consent_id uuid not null,
    redirect_uri text not null,
    code_challenge text not null,
    dpop_jkt text,
    scopes text[] not null,
    resources text[] not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null
);
create index authorization_codes_by_end on authorization_codes (expires_at);

-- Requests that clients pushed (RFC 9126). That one was used stands in used_once.
create table pushed_requests (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    pepper_id uuid not null,
    uri_hash bytea not null unique,
    client_id text not null,
    parameters text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index pushed_requests_by_end on pushed_requests (expires_at);
