-- People: who answers for agents, and in whose name a client acts once they have agreed. No passwords: a person comes by a
-- link that an administrator makes.
create table users (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    -- What tokens and other rows call the person.
    user_id text not null,
    email text not null default '',
    email_verified boolean not null default false,
    name text not null default '',
    metadata jsonb not null default '{}',
    is_active boolean not null default true,
    -- Credentials of an earlier epoch are dead.
    epoch integer not null default 0,
    created_by text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (account_id, project_id, user_id)
);
create unique index users_email_key on users (account_id, project_id, lower(email)) where email <> '';

-- What a person lets a client do in their name. A later agreement widens it; one that was taken back stays as a row.
create table consents (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    person_id uuid not null,
    -- Null for a client that no registration knows: its client_id is the address of its document.
    oauth_client_id uuid,
    client_id text not null,
    scopes text[] not null,
    -- For which resources (RFC 8707); none means this server.
    resources text[] not null,
    granted_at timestamptz not null,
    updated_at timestamptz not null,
    revoked_at timestamptz,
    revoke_reason text not null default ''
);
-- A client_id that is taken again belongs to another client, which inherits nothing.
create unique index consents_live_key on consents
    (account_id, project_id, person_id, client_id, coalesce(oauth_client_id, '00000000-0000-0000-0000-000000000000'))
    where revoked_at is null;

-- All refresh tokens that came of one grant, and all access tokens obtained with them. It keeps what the grant decided:
-- what is refreshed is never more.
create table refresh_families (
    id uuid primary key,
    account_id text not null,
    project_id text not null,
    -- Null for a client that no registration knows.
    oauth_client_id uuid,
    client_id text not null,
    client_epoch integer not null default 0,
    identity_id uuid,
    agent_epoch integer not null default 0,
    person_id uuid,
    person_epoch integer not null default 0,
    consent_id uuid,
    -- The mission of everything obtained with it.
    mission_id uuid not null,
    token_profile text not null,
    scopes text[] not null,
    audience text[] not null,
    -- The key that whoever refreshes must prove (RFC 9449 section 5).
    jkt text,
    created_at timestamptz not null,
    -- No rotation reaches beyond.
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoke_reason text not null default ''
);

alter table credentials
    add column person_id uuid,
    add column person_epoch integer not null default 0,
    add column family_id uuid,
    add column consent_id uuid;
create index credentials_by_person on credentials (person_id, jti desc) where person_id is not null;
create index credentials_by_family on credentials (family_id) where family_id is not null;
create index credentials_by_consent on credentials (consent_id) where consent_id is not null;

alter table revocations drop constraint revocations_anchor_check;
alter table revocations add constraint revocations_anchor_check
    check (anchor in ('credential', 'api_key', 'identity', 'client', 'person', 'family', 'consent'));

drop view credential_history;
drop view credential_activity;
drop view credential_standing;

-- Whether a credential's own row and what it rests on directly still stands. standing is '' while it does; the
-- question of time is left to stands_until, so that the reader brings the time. is_marked tells what is over for good
-- from what only sleeps, as under a suspended agent; mark_at and mark_reason are the earliest mark's.
create view credential_standing as
select c.*,
       i.status as agent_status,
       least(c.expires_at, i.expires_at) as stands_until,
       case
           when c.revoked_at is not null then 'revoked'
           when s.kid is null or s.revoked_at is not null then 'signing_key_revoked'
           when c.api_key_id is not null and (k.id is null or k.revoked_at is not null) then 'api_key_revoked'
           when c.family_id is not null and (f.id is null or f.revoked_at is not null) then 'family_revoked'
           when c.consent_id is not null and (n.id is null or n.revoked_at is not null) then 'consent_revoked'
           when c.identity_id is not null and i.id is null then 'identity_unknown'
           when i.epoch <> c.agent_epoch then 'identity_tokens_revoked'
           when c.oauth_client_id is not null and o.id is null then 'client_unknown'
           when o.epoch <> c.client_epoch then 'client_tokens_revoked'
           when c.person_id is not null and u.id is null then 'person_unknown'
           when u.epoch <> c.person_epoch then 'person_tokens_revoked'
           when t.account_id is null or t.state <> 'active' then 'tenant_inactive'
           when i.status <> 'active' then 'identity_' || i.status
           when not o.is_active then 'client_inactive'
           when not u.is_active then 'person_inactive'
           else ''
       end as standing,
       c.revoked_at is not null
           or s.kid is null or s.revoked_at is not null
           or (c.api_key_id is not null and (k.id is null or k.revoked_at is not null))
           or (c.family_id is not null and (f.id is null or f.revoked_at is not null))
           or (c.consent_id is not null and (n.id is null or n.revoked_at is not null))
           or (c.identity_id is not null and i.id is null)
           or coalesce(i.epoch <> c.agent_epoch, false)
           or (c.oauth_client_id is not null and o.id is null)
           or coalesce(o.epoch <> c.client_epoch, false)
           or (c.person_id is not null and u.id is null)
           or coalesce(u.epoch <> c.person_epoch, false) as is_marked,
       mark.at as mark_at,
       case mark.at
           when c.revoked_at then c.revoke_reason
           when s.revoked_at then 'signing_key_revoked'
           when k.revoked_at then coalesce(nullif(k.revoke_reason, ''), 'api_key_revoked')
           when f.revoked_at then coalesce(nullif(f.revoke_reason, ''), 'family_revoked')
           when n.revoked_at then coalesce(nullif(n.revoke_reason, ''), 'consent_revoked')
           when im.marked_at then im.reason
           when om.marked_at then om.reason
           when um.marked_at then um.reason
           else ''
       end as mark_reason
from credentials c
left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
left join identities i on i.id = c.identity_id
left join api_keys k on k.id = c.api_key_id
left join oauth_clients o on o.id = c.oauth_client_id
left join users u on u.id = c.person_id
left join refresh_families f on f.id = c.family_id
left join consents n on n.id = c.consent_id
left join signing_keys s on s.kid = c.kid
left join revocations im on im.anchor = 'identity' and im.anchor_id = c.identity_id and im.epoch = c.agent_epoch
left join revocations om on om.anchor = 'client' and om.anchor_id = c.oauth_client_id and om.epoch = c.client_epoch
left join revocations um on um.anchor = 'person' and um.anchor_id = c.person_id and um.epoch = c.person_epoch
cross join lateral (
    select least(c.revoked_at, s.revoked_at, k.revoked_at, f.revoked_at, n.revoked_at, im.marked_at, om.marked_at, um.marked_at) as at
) mark;

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
