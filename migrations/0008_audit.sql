-- Append-only: the application's role gets no right to update or delete here.
create table audit_events (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    occurred_at timestamptz not null,
    actor_type text not null,
    actor_id text not null,
    action text not null,
    target_type text not null,
    target_id text not null,
    outcome text not null check (outcome in ('success', 'refused')),
    reason text not null default '',
    address text not null default '',
    request_id text not null default '',
    metadata jsonb not null default '{}'
);
create index audit_events_newest on audit_events (account_id, project_id, id desc);
