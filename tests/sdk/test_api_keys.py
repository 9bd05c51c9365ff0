"""API keys: with and without an identity, in pages, revoked with and without a reason."""

from datetime import timedelta

import pytest
from conftest import OWNER, accepted, new_tenant, register
from highflame.zeroid.errors import APIError, AuthenticationError, NotFoundError, ValidationError

UNKNOWN = "0190b5a0-0000-7000-8000-000000000000"
FULL = {
    "description": "For the pipeline.",
    "scopes": ["data:read", "data:write"],
    "environment": "test",
    "metadata": {"team": ["data", None]},
}


def test_a_key_without_an_identity_gets_one_of_its_own(server, operator, connect, tenant):
    boss = operator(server, tenant)
    created = boss.api_keys.create(name="my-key")
    assert created.key.startswith("zid_sk_") and created.key_prefix == created.key[:16]
    assert (created.name, created.description, created.environment) == ("my-key", "", "live")
    assert (created.scopes, created.expires_at) == ([], None)
    key = boss.api_keys.get(created.id)
    assert (key.state, key.usage_count, key.revoked_at, key.last_used_at) == ("active", 0, None, None)
    agent = boss.agents.get(key.identity_id)
    assert (agent.identity_type, agent.name, agent.external_id) == ("service", "my-key", created.id)
    token = connect(server).tokens.issue_api_key(created.key)
    assert (token.external_id, token.account_id) == (created.id, tenant.account_id)


def test_a_key_of_an_agent(server, operator, connect, tenant):
    boss = operator(server, tenant)
    agent = register(boss).agent
    created = boss.api_keys.create(name="ci", identity_id=agent.id, expires_in_days=30, **FULL)
    assert created.expires_at - created.created_at == timedelta(days=30)
    key = boss.api_keys.get(created.id)
    for name, value in {**FULL, "identity_id": agent.id, "name": "ci"}.items():
        assert getattr(key, name) == value, name
    assert (key.expires_at, key.created_at) == (created.expires_at, created.created_at)
    token = connect(server).tokens.issue_api_key(created.key, scope="data:read data:drop")
    assert (token.external_id, token.scope) == (agent.external_id, "data:read")


def test_who_makes_a_key_is_known(server, operator, connect, tenant):
    admin = register(operator(server, tenant), "admin", allowed_scopes=["nhi:manage"])
    client = connect(server, api_key=admin.api_key)
    created = client.api_keys.create(name="mine")
    assert client.api_keys.get(created.id).created_by == OWNER
    assert connect(server).tokens.issue_api_key(created.key).user_id == OWNER
    client.api_keys.revoke(created.id)
    assert client.api_keys.get(created.id).revoked_by == OWNER


def test_a_list_has_pages(open_server, connect, tenant):
    client = connect(open_server, **tenant.options())
    assert client.api_keys.list() == []
    ids = [client.api_keys.create(name=f"key {number}").id for number in range(25)]
    assert [key.id for key in client.api_keys.list()] == ids[::-1][:20]
    assert [key.id for key in client.api_keys.list(offset=20)] == ids[::-1][20:]
    seen = [key.id for offset in range(0, 30, 10) for key in client.api_keys.list(limit=10, offset=offset)]
    assert seen == ids[::-1]
    assert len(client.api_keys.list(limit=100)) == 25
    assert open_server.traffic.last().json()["total"] == 25
    assert client.api_keys.list(offset=40) == []
    with pytest.raises(ValidationError):
        client.api_keys.list(limit=101)
    assert connect(open_server, **new_tenant().options()).api_keys.list() == []


@pytest.mark.parametrize("reason", ["", "leaked ✓"])
def test_revoking_ends_the_key_and_what_it_minted(server, operator, connect, tenant, http, reason):
    boss, tokens = operator(server, tenant), connect(server).tokens
    agent = register(boss)
    created = boss.api_keys.create(name="ci", identity_id=agent.agent.id)
    token, other = tokens.issue_api_key(created.key), tokens.issue_api_key(agent.api_key)
    assert boss.api_keys.revoke(created.id, **({"reason": reason} if reason else {})) is None
    assert (server.traffic.last().request_body == b"") is (reason == "")
    key = boss.api_keys.get(created.id)
    assert (key.state, key.revoke_reason) == ("revoked", reason or "api_key_revoked")
    assert key.revoked_at and key.revoked_by
    with pytest.raises(APIError) as refused:
        tokens.issue_api_key(created.key)
    assert (refused.value.code, refused.value.status) == ("invalid_grant", 400)
    assert not accepted(server, token.access_token, http)
    assert accepted(server, other.access_token, http)
    for id in (created.id, UNKNOWN):
        with pytest.raises(NotFoundError):
            boss.api_keys.revoke(id)


def test_an_admin_that_revokes_its_own_key_is_out(server, operator, connect, tenant):
    boss = operator(server, tenant)
    created = boss.api_keys.create(name="admin", scopes=["nhi:manage"])
    client = connect(server, api_key=created.key)
    assert client.api_keys.get(created.id).scopes == ["nhi:manage"]
    client.api_keys.revoke(created.id)
    with pytest.raises(AuthenticationError):
        client.api_keys.list()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 4097},
        {"identity_id": UNKNOWN},
        {"identity_id": "somebody"},
        {"scopes": ["two words"]},
        {"environment": "prod"},
        {"expires_in_days": 0},
        {"expires_in_days": 3651},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_bad_keys(open_server, connect, tenant, fields):
    client = connect(open_server, **tenant.options())
    with pytest.raises(ValidationError):
        client.api_keys.create(**{"name": "bad", **fields})
    assert client.api_keys.list() == []
    assert client.agents.list().total == 0


def test_reserved_scopes_and_mightier_agents_are_out_of_reach(server, operator, connect, tenant):
    boss = operator(server, tenant)
    admin = register(boss, "admin", allowed_scopes=["nhi:manage"])
    mighty = register(boss, "mighty", allowed_scopes=["credentials:manage", "data:read"]).agent
    client = connect(server, api_key=admin.api_key)
    for fields in ({"scopes": ["vault:read"]}, {"identity_id": mighty.id, "scopes": ["data:read"]}):
        with pytest.raises(APIError) as refused:
            client.api_keys.create(name="x", **fields)
        assert refused.value.status == 403
    assert len(boss.api_keys.list()) == 2


def test_another_tenants_key_is_an_unknown_one(server, operator, tenant):
    mine, theirs = operator(server, tenant), operator(server, new_tenant())
    foreign = theirs.api_keys.create(name="theirs")
    for call in (mine.api_keys.get, mine.api_keys.revoke):
        answers = []
        for id in (foreign.id, UNKNOWN):
            with pytest.raises(NotFoundError) as refused:
                call(id)
            answers.append(refused.value.detail)
        assert answers[0] == answers[1]
    with pytest.raises(ValidationError):
        mine.api_keys.create(name="x", identity_id=theirs.api_keys.get(foreign.id).identity_id)
    assert mine.api_keys.list() == []
    assert theirs.api_keys.get(foreign.id).state == "active"
