-- A tenant is the pair (account_id, project_id). Every row of every other table belongs to one.
create table tenants (
    account_id text not null,
    project_id text not null,
    state text not null default 'active' check (state in ('active', 'suspended')),
    created_at timestamptz not null,
    primary key (account_id, project_id)
);
