-- What was noticed about identities: told from outside, or by the server of their lives. Readers of the stream go by
-- transaction_id, which follows the order of commits once every older transaction has ended; ids do not.
create table signals (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    -- May be nobody's, or name an identity that the tenant does not have.
    identity_id uuid,
    mission_id uuid,
    signal_type text not null,
    severity text not null check (severity in ('low', 'medium', 'high', 'critical')),
    source text not null,
    payload jsonb not null default '{}',
    created_at timestamptz not null,
    -- When the signal had its effect; null while it has none.
    processed_at timestamptz,
    transaction_id xid8 not null default pg_current_xact_id()
);
create index signals_newest on signals (account_id, project_id, created_at desc, id desc);
create index signals_by_position on signals (account_id, project_id, transaction_id, id);

-- Identities that a source reported: which one, and when it saw them last. The rest is what the tenant says of them.
alter table identities
    add column source_id text not null default '',
    add column seen_at timestamptz,
    add column capability_tier text not null default '',
    add column risk_tier text not null default '',
    add column ial text not null default '';
create index identities_by_source on identities (account_id, project_id, origin, source_id) where origin <> 'native';
create index identities_ending on identities (account_id, project_id, expires_at) where expires_at is not null;

-- Again, with the new columns.
drop view agents;
create view agents as
select i.*,
       coalesce(
           (select k.key_prefix from api_keys k
            where k.identity_id = i.id and k.revoked_at is null and k.replaced_at is null
            order by k.created_at desc, k.id desc limit 1),
           '') as api_key_prefix,
       0 as delegation_depth
from identities i;
