-- Wrong credentials by address, and until when an address is locked out.
create table lockouts (
    address text primary key,
    window_began timestamptz not null,
    failures integer not null,
    locked_until timestamptz
);
create index lockouts_locked on lockouts (locked_until) where locked_until is not null;

-- Answers of creating requests, kept for a minute so that a repeated request gets the same one. They may hold secrets,
-- so the body is sealed.
create table idempotent_answers (
    account_id text not null,
    project_id text not null,
    caller text not null,
    route text not null,
    body_sha256 bytea not null,
    idempotency_key text,
    status smallint not null,
    sealed_body bytea not null,
    expires_at timestamptz not null,
    primary key (account_id, project_id, caller, route, body_sha256)
);
create index idempotent_answers_by_key on idempotent_answers (account_id, project_id, caller, route, idempotency_key);
create index idempotent_answers_by_expiry on idempotent_answers (expires_at);

alter table admin_keys add column ip_allowlist text not null default '';

create index identities_by_expiry on identities (expires_at) where expires_at is not null;

-- Partitions of credentials are made and dropped by these functions, which run as the schema's owner: the application
-- itself has no right to define tables.
create function make_credentials_partition(partition_name text, lower_bound uuid, upper_bound uuid) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if partition_name !~ '^credentials_p[0-9]+$' then
        raise exception 'not the name of a partition: %', partition_name;
    end if;
    if to_regclass(partition_name) is null then
        execute format('create table %I partition of credentials for values from (%L) to (%L)',
            partition_name, lower_bound, upper_bound);
    end if;
end $$;

create function drop_credentials_partition(partition_name text) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if partition_name !~ '^credentials_p[0-9]+$' then
        raise exception 'not the name of a partition: %', partition_name;
    end if;
    execute format('drop table if exists %I', partition_name);
end $$;
