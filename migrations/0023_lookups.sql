-- The name comes first, so that nothing else than a look-up by it is found useful.
drop index may_act_grants_by_principal;
create index may_act_grants_by_principal on may_act_grants (to_id, account_id, project_id) where revoked_at is null;
drop index identities_by_owner;
create index identities_by_owner on identities (owner_user_id, account_id);
