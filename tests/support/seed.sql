-- Fills a migrated database: so many agents of so many tenants with a key each, and so many credentials of the last days, of
-- which every tenth comes from the one issued before it. Nobody can use them: no token has such a digest. Run it once, on a
-- database that the server has migrated:
--   psql "$DATABASE_URL" -v agents=100000 -v tenants=100 -v credentials=10000000 -v days=90 -f tests/support/seed.sql
create or replace function pg_temp.seed_id(kind text, number bigint, at timestamptz) returns uuid language sql stable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(d, 1, 3) || '8' || substr(d, 5, 15))::uuid
    from md5(kind || number) d
$$;

create or replace function pg_temp.seed_bound(month bigint) returns uuid language sql stable as $$
    select (lpad(to_hex(month * 2592000000), 12, '0') || '70008000000000000000')::uuid
$$;

-- As the server makes them, for the past too.
select make_credentials_partition('credentials_p' || month, pg_temp.seed_bound(month), pg_temp.seed_bound(month + 1))
from (select floor(extract(epoch from now()) / 2592000)::bigint as present) p,
    generate_series(present - :days / 30 - 1, present + 2) month;

insert into tenants (account_id, project_id, created_at)
select 'seed', 'p' || n, now() from generate_series(0, :tenants - 1) n
on conflict do nothing;

insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds, allowed_grant_types, max_delegation_depth,
    created_at, updated_at)
select pg_temp.seed_id('policy', n, now() - interval '365 days'), 'seed', 'p' || n, 'seed', 3600,
    '{api_key,client_credentials,jwt_bearer,token_exchange}', 3, now(), now()
from generate_series(0, :tenants - 1) n
on conflict do nothing;

insert into identities (id, account_id, project_id, external_id, wimse_uri, name, identity_type, trust_level, status,
    credential_policy_id, created_at, updated_at)
select pg_temp.seed_id('agent', n, '2025-01-01Z'), 'seed', 'p' || n % :tenants, 'seed-' || n,
    'spiffe://seed.example/seed/p' || n % :tenants || '/agent/seed-' || n, 'Agent ' || n, 'agent', 'unverified', 'active',
    p.id, now(), now()
from generate_series(0, :agents - 1) n
join credential_policies p on p.account_id = 'seed' and p.project_id = 'p' || n % :tenants
on conflict do nothing;

insert into api_keys (id, account_id, project_id, identity_id, name, key_prefix, pepper_id, key_hash, credential_policy_id,
    created_at, updated_at)
select pg_temp.seed_id('key', n, '2025-01-01Z'), i.account_id, i.project_id, i.id, 'seed', 'zid_sk_seed', gen_random_uuid(),
    sha256(('seed' || n)::bytea), i.credential_policy_id, now(), now()
from generate_series(0, :agents - 1) n
join identities i on i.id = pg_temp.seed_id('agent', n, '2025-01-01Z')
on conflict do nothing;

insert into signing_keys (kid, issuer, algorithm, public_jwk, sealed_private, created_at, activate_at, retire_at)
values ('seed', 'https://seed.example', 'ES256', '{}', '', now(), now(), now())
on conflict do nothing;

insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch, api_key_id, parent_jti,
    ancestors, mission_id, delegation_depth, grant_type, subject, scopes, audience, issued_at, expires_at)
select c.jti, 'seed', 'p' || c.n % :agents % :tenants, sha256(('token' || c.n)::bytea), 'seed',
    pg_temp.seed_id('agent', c.n % :agents, '2025-01-01Z'), 0, pg_temp.seed_id('key', c.n % :agents, '2025-01-01Z'),
    case when c.child then c.parent end, case when c.child then array[c.parent] else '{}' end,
    case when c.child then c.parent else c.jti end, c.child::integer,
    case when c.child then 'token_exchange' else 'api_key' end,
    'spiffe://seed.example/seed/p' || c.n % :agents % :tenants || '/agent/seed-' || c.n % :agents,
    '{data:read,data:write}', '{https://seed.example}', c.at, c.at + interval '1 hour'
from (
    select n, at, n % 10 = 0 as child, pg_temp.seed_id('token', n, at) as jti,
        pg_temp.seed_id('token', n + 1, now() - (n + 1) * interval '1 second' * (86400.0 * :days / nullif(:credentials, 0))) as parent
    from generate_series(0, :credentials - 1) n,
        lateral (select now() - n * interval '1 second' * (86400.0 * :days / nullif(:credentials, 0)) as at) t
) c
on conflict do nothing;

analyze tenants, credential_policies, identities, api_keys, signing_keys, credentials;
