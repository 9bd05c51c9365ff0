-- One row for each refresh token, spent or not: one that was spent is still recognised when it comes again.
create table refresh_tokens (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    family_id uuid not null,
    -- The token that was spent for this one; the first of a family has none.
    predecessor_id uuid,
    pepper_id uuid not null,
    token_hash bytea not null,
    -- The token itself, for a client to which the answer may be given again, and only for as long.
    sealed bytea,
    issued_at timestamptz not null,
    expires_at timestamptz not null
);
create unique index refresh_tokens_token_hash_key on refresh_tokens (token_hash);
-- One token has one successor.
create unique index refresh_tokens_predecessor_key on refresh_tokens (predecessor_id) where predecessor_id is not null;
create index refresh_tokens_by_end on refresh_tokens (expires_at);
create index refresh_tokens_sealed on refresh_tokens (issued_at) where sealed is not null;
create index refresh_families_by_end on refresh_families (expires_at);

alter table oauth_clients
    add column refresh_token_reuse text not null default 'quiet'
        check (refresh_token_reuse in ('refuse', 'quiet', 'reissue'));
