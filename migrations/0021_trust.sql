-- What a subject of a trusted issuer obtained rests on its link. Where the link goes, or the issuer is stopped, it ends.
-- And a subject may be a person's: then a client acts in their name.
alter table linked_subjects
    alter column identity_id drop not null,
    add column person_id uuid,
    -- Credentials of an earlier epoch are dead.
    add column epoch integer not null default 0,
    add constraint linked_subjects_of_one check ((identity_id is null) <> (person_id is null));

alter table credentials
    add column linked_subject_id uuid,
    add column linked_subject_epoch integer not null default 0;
create index credentials_by_linked_subject on credentials (linked_subject_id) where linked_subject_id is not null;

alter table revocations drop constraint revocations_anchor_check;
alter table revocations add constraint revocations_anchor_check
    check (anchor in ('credential', 'api_key', 'identity', 'client', 'person', 'family', 'consent', 'linked_subject'));

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
           when c.linked_subject_id is not null and l.id is null then 'subject_unlinked'
           when l.epoch <> c.linked_subject_epoch then 'trusted_issuer_stopped'
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
           or coalesce(u.epoch <> c.person_epoch, false)
           or (c.linked_subject_id is not null and l.id is null)
           or coalesce(l.epoch <> c.linked_subject_epoch, false) as is_marked,
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
           when lm.marked_at then lm.reason
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
left join linked_subjects l on l.id = c.linked_subject_id
left join signing_keys s on s.kid = c.kid
left join revocations im on im.anchor = 'identity' and im.anchor_id = c.identity_id and im.epoch = c.agent_epoch
left join revocations om on om.anchor = 'client' and om.anchor_id = c.oauth_client_id and om.epoch = c.client_epoch
left join revocations um on um.anchor = 'person' and um.anchor_id = c.person_id and um.epoch = c.person_epoch
left join revocations lm on lm.anchor = 'linked_subject' and lm.anchor_id = c.linked_subject_id
    and lm.epoch = c.linked_subject_epoch
cross join lateral (
    select least(c.revoked_at, s.revoked_at, k.revoked_at, f.revoked_at, n.revoked_at, im.marked_at, om.marked_at,
        um.marked_at, lm.marked_at) as at
) mark;

-- The one predicate of activity: a credential is active when revocation is '' and active_until lies ahead. It takes in
-- every ancestor; one that is missing counts against it. A root, which has none, looks into no partition for them.
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
      and a.jti > case when s.ancestors <> '{}' then '00000000-0000-0000-0000-000000000000'::uuid end
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
