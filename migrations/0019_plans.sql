-- What keeps the hot statements on the index that is meant for them, whatever a table looked like when they were planned.

-- On a table without statistics the planner may walk through all of this index to find some ids. It can't where the index
-- leaves rows out.
drop index credentials_by_identity;
create index credentials_by_identity on credentials (identity_id, jti desc) where identity_id is not null;

create index may_act_grants_by_principal on may_act_grants (account_id, project_id, to_id) where revoked_at is null;

-- As before, save that a root, which has no ancestors, looks into no partition for them: a comparison with null holds for
-- no row, and the executor leaves out every partition when it knows that.
create or replace view credential_activity as
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
