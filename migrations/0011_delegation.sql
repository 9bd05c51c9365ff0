-- What works once: assertions and proofs of keys. The kind is part of the key, so nothing passes for something else.
create table used_once (
    kind text not null,
    key bytea not null,
    used_by uuid not null,
    expires_at timestamptz not null,
    primary key (kind, key)
);
create index used_once_by_expiry on used_once (expires_at);

-- Who may act for whom: from_id is the actor, to_id the principal he acts for. Both are an agent's id, URI or external
-- id, or a client_id.
create table may_act_grants (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    from_id text not null,
    to_id text not null,
    max_hops integer not null default 1 check (max_hops > 0),
    scopes text[] not null default '{}',
    expires_at timestamptz,
    revoked_at timestamptz,
    created_by text not null default '',
    created_at timestamptz not null
);
create index may_act_grants_newest on may_act_grants (account_id, project_id, created_at desc, id desc);

-- Every mark that ended credentials. Of an identity or client it ends one epoch. announced_at is set when each credential
-- that the mark ended has its event.
create table revocations (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    anchor text not null check (anchor in ('credential', 'api_key', 'identity', 'client')),
    anchor_id uuid not null,
    epoch integer,
    reason text not null,
    marked_by text not null default '',
    marked_at timestamptz not null,
    announced_at timestamptz,
    constraint revocations_epoch_key unique (anchor, anchor_id, epoch)
);
create index revocations_to_announce on revocations (id) where announced_at is null;

-- Events for whoever listens. Readers go by transaction_id, which follows the order of commits once every older
-- transaction has ended; ids do not.
create table outbox (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    event_type text not null,
    subject_id uuid not null,
    payload jsonb not null,
    occurred_at timestamptz not null,
    transaction_id xid8 not null default pg_current_xact_id()
);
create index outbox_by_position on outbox (transaction_id, id);
-- A credential ends once, however many marks meet on it.
create unique index outbox_credential_revoked_key on outbox (subject_id) where event_type = 'credential.revoked';

alter table credentials
    add column oauth_client_id uuid,
    add column client_id text not null default '',
    add column client_epoch integer not null default 0,
    add column delegated_by text not null default '',
    -- The profile of the token's claims, whom a delegated one is for, and its actors, newest first.
    add column token_profile text not null default 'zeroid',
    add column principal jsonb,
    add column actors jsonb,
    add column jkt text;
create index credentials_by_client on credentials (oauth_client_id, jti desc) where oauth_client_id is not null;

-- An identity as issuing reads it: with its tenant's state and its credential policy.
create view holders as
select i.id as identity_id, i.account_id, i.project_id, i.epoch, i.status, i.expires_at as identity_expires_at,
       i.allowed_scopes, i.wimse_uri, i.external_id, i.identity_type, i.sub_type, i.trust_level, i.owner_user_id,
       i.name as identity_name, i.framework, i.version, i.publisher, i.capabilities, i.public_key_pem,
       coalesce(t.state = 'active', false) as tenant_active,
       p.id as policy_id, p.max_ttl_seconds as policy_ttl, p.allowed_grant_types as policy_grants,
       p.allowed_scopes as policy_scopes, p.required_trust_level as policy_trust,
       p.required_attestation as policy_attestation, p.max_delegation_depth as policy_depth,
       p.is_active as policy_active, p.expires_at as policy_expires
from identities i
left join tenants t on t.account_id = i.account_id and t.project_id = i.project_id
left join credential_policies p on p.id = i.credential_policy_id;

drop view credential_activity;
drop view credential_standing;

-- Whether a credential's own row and what it rests on directly still stands. standing is '' while it does; the
-- question of time is left to stands_until, so that the reader brings the time. is_marked tells what is over for good
-- from what only sleeps, as under a suspended agent; mark_at and mark_reason are the mark's.
create view credential_standing as
select c.*,
       i.status as agent_status,
       least(c.expires_at, i.expires_at) as stands_until,
       case
           when c.revoked_at is not null then 'revoked'
           when s.kid is null or s.revoked_at is not null then 'signing_key_revoked'
           when c.api_key_id is not null and (k.id is null or k.revoked_at is not null) then 'api_key_revoked'
           when c.identity_id is not null and i.id is null then 'identity_unknown'
           when i.epoch <> c.agent_epoch then 'identity_tokens_revoked'
           when c.oauth_client_id is not null and o.id is null then 'client_unknown'
           when o.epoch <> c.client_epoch then 'client_tokens_revoked'
           when t.account_id is null or t.state <> 'active' then 'tenant_inactive'
           when i.status <> 'active' then 'identity_' || i.status
           when not o.is_active then 'client_inactive'
           else ''
       end as standing,
       c.revoked_at is not null
           or s.kid is null or s.revoked_at is not null
           or (c.api_key_id is not null and (k.id is null or k.revoked_at is not null))
           or (c.identity_id is not null and i.id is null)
           or coalesce(i.epoch <> c.agent_epoch, false)
           or (c.oauth_client_id is not null and o.id is null)
           or coalesce(o.epoch <> c.client_epoch, false) as is_marked,
       coalesce(c.revoked_at, s.revoked_at, k.revoked_at, im.marked_at, om.marked_at) as mark_at,
       case
           when c.revoked_at is not null then c.revoke_reason
           when s.revoked_at is not null then 'signing_key_revoked'
           when k.revoked_at is not null then coalesce(nullif(k.revoke_reason, ''), 'api_key_revoked')
           when im.id is not null then im.reason
           else coalesce(om.reason, '')
       end as mark_reason
from credentials c
left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
left join identities i on i.id = c.identity_id
left join api_keys k on k.id = c.api_key_id
left join oauth_clients o on o.id = c.oauth_client_id
left join signing_keys s on s.kid = c.kid
left join revocations im on im.anchor = 'identity' and im.anchor_id = c.identity_id and im.epoch = c.agent_epoch
left join revocations om on om.anchor = 'client' and om.anchor_id = c.oauth_client_id and om.epoch = c.client_epoch;

-- The one predicate of activity: a credential is active when revocation is '' and active_until lies ahead. It takes in
-- every ancestor; one that is missing counts against it.
create view credential_activity as
select s.*,
       least(s.stands_until, lineage.stands_until) as active_until,
       case
           when s.standing <> '' then s.standing
           when lineage.standing is not null then 'parent_' || lineage.standing
           when lineage.found <> cardinality(s.ancestors) then 'parent_unknown'
           else ''
       end as revocation
from credential_standing s
cross join lateral (
    select count(*) as found, min(a.stands_until) as stands_until, max(nullif(a.standing, '')) as standing
    from credential_standing a
    where a.jti = any(s.ancestors)
) lineage;

-- The same for reports: whether a mark ended the credential, its own or the nearest above it, when and why.
create view credential_history as
select a.*,
       a.is_marked or coalesce(lineage.is_marked, false) or a.revocation = 'parent_unknown' as is_revoked,
       case when a.is_marked then a.mark_at else lineage.mark_at end as ended_at,
       case when a.is_marked then a.mark_reason else coalesce(lineage.mark_reason, '') end as ended_reason
from credential_activity a
cross join lateral (
    select bool_or(p.is_marked) as is_marked,
           (array_agg(p.mark_at order by p.delegation_depth desc) filter (where p.is_marked))[1] as mark_at,
           (array_agg(p.mark_reason order by p.delegation_depth desc) filter (where p.is_marked))[1] as mark_reason
    from credential_standing p
    where p.jti = any(a.ancestors)
) lineage;
