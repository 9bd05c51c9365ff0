-- The key to which all tokens of an agent must be bound, by its thumbprint (RFC 7638); without one, any key will do, or none.
alter table identities add column dpop_jkt text;

alter table oauth_clients
    add column dpop_bound_access_tokens boolean not null default false,
    -- Clients ask for it: a client that does not know nonces would not try again.
    add column dpop_nonce_required boolean not null default false;

create or replace view holders as
select i.id as identity_id, i.account_id, i.project_id, i.epoch, i.status, i.expires_at as identity_expires_at,
       i.allowed_scopes, i.wimse_uri, i.external_id, i.identity_type, i.sub_type, i.trust_level, i.owner_user_id,
       i.name as identity_name, i.framework, i.version, i.publisher, i.capabilities, i.public_key_pem,
       coalesce(t.state = 'active', false) as tenant_active,
       p.id as policy_id, p.max_ttl_seconds as policy_ttl, p.allowed_grant_types as policy_grants,
       p.allowed_scopes as policy_scopes, p.required_trust_level as policy_trust,
       p.required_attestation as policy_attestation, p.max_delegation_depth as policy_depth,
       p.is_active as policy_active, p.expires_at as policy_expires, i.dpop_jkt
from identities i
left join tenants t on t.account_id = i.account_id and t.project_id = i.project_id
left join credential_policies p on p.id = i.credential_policy_id;

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
