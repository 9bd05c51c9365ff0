"""An agent's own key as the admin credential: scopes, tenant and creator come from it."""

import pytest
from conftest import OWNER, new_tenant, register
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import APIError

MANAGE, CREDENTIALS = AdminScope.NHI_MANAGE, AdminScope.CREDENTIALS_MANAGE


def admin_of(server, operator, connect, tenant, scopes, **options):
    registered = register(operator(server, tenant), "service", allowed_scopes=scopes)
    return registered, connect(server, api_key=registered.api_key, **options)


def test_whoami_reads_the_work_token(server, operator, connect, tenant, http):
    scopes = ["data:read", MANAGE]
    registered, client = admin_of(server, operator, connect, tenant, scopes)
    mark = server.traffic.mark()
    me = client.whoami()
    assert client.whoami() == me
    assert len(server.traffic.since(mark)) == 1
    assert me["subject"] == registered.agent.wimse_uri
    assert me["external_id"] == registered.agent.external_id
    assert (me["account_id"], me["project_id"]) == (tenant.account_id, tenant.project_id)
    assert (me["owner_user_id"], me["service_owner_user_id"]) == (OWNER, OWNER)
    assert set(me["scopes"]) == set(scopes)
    assert me["principal_type"] == ""
    metadata = http(server).get("/.well-known/oauth-authorization-server").json()
    assert me["issuer"] == metadata["issuer"] and not me["issuer"].endswith("/")
    admin = client.whoami(admin=True)
    assert admin["scopes"] == (MANAGE,)
    assert {**admin, "scopes": None} == {**me, "scopes": None}


def test_whoami_of_a_keyless_client_asks_nobody(open_server, connect):
    mark = open_server.traffic.mark()
    assert connect(open_server).whoami() == {}
    assert open_server.traffic.since(mark) == []


@pytest.mark.parametrize("scopes", [[MANAGE, CREDENTIALS], [MANAGE]])
def test_an_admin_agent_administers_its_own_tenant(server, operator, connect, tenant, scopes):
    admin, client = admin_of(server, operator, connect, tenant, scopes)
    mark = server.traffic.mark()
    made = register(client, created_by=None).agent
    mint, sent = server.traffic.since(mark)
    assert mint.sent()["scope"] == f"{MANAGE} {CREDENTIALS}"
    assert set(mint.json()["scope"].split()) == set(scopes)
    assert sent.sent()["created_by"] == mint.json()["user_id"] == OWNER
    assert sent.request_headers["x-account-id"] == "default"
    assert (made.account_id, made.project_id, made.created_by) == (*tenant_of(admin), OWNER)
    assert {agent.id for agent in client.agents.list()} == {admin.agent.id, made.id}
    assert client.agents.deactivate(made.id).status == "deactivated"


def tenant_of(registered):
    return registered.agent.account_id, registered.agent.project_id


def test_its_own_tenant_may_be_named_and_no_other(server, operator, connect, tenant):
    admin, named = admin_of(server, operator, connect, tenant, [MANAGE], **tenant.options())
    assert named.agents.get(admin.agent.id).id == admin.agent.id
    other = new_tenant().options()
    for call in (named.agents.list, lambda **where: register(named, **where)):
        with pytest.raises(APIError) as refused:
            call(**other)
        assert (refused.value.status, refused.value.code) == (403, "api_error")
        assert refused.value.request_id
    assert named.agents.list().total == 1


@pytest.mark.parametrize("scopes", [None, ["data:read"], [CREDENTIALS]])
def test_without_nhi_manage_an_agent_administers_nothing(server, operator, connect, tenant, scopes):
    registered, client = admin_of(server, operator, connect, tenant, scopes)
    calls = [
        client.agents.list,
        lambda: client.agents.get(registered.agent.id),
        lambda: client.agents.update(registered.agent.id, trust_level="first_party"),
        lambda: client.agents.deactivate(registered.agent.id),
        lambda: register(client),
    ]
    mark = server.traffic.mark()
    for call in calls:
        with pytest.raises(APIError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (403, "api_error")
        assert refused.value.request_id
    mint, *refusals = server.traffic.since(mark)
    assert len(refusals) == len(calls)
    assert mint.json().get("scope", "") == (CREDENTIALS if scopes == [CREDENTIALS] else "")
    assert client.whoami(admin=True)["scopes"] == ((CREDENTIALS,) if scopes == [CREDENTIALS] else ())
    now = operator(server, tenant).agents.get(registered.agent.id)
    assert (now.status, now.trust_level) == ("active", "unverified")


def test_health_and_keys_need_no_admin_scope(server, operator, connect, tenant):
    _, client = admin_of(server, operator, connect, tenant, ["data:read"])
    assert client.health().status == "healthy"
    assert client.jwks().keys


def test_nobody_hands_out_a_reserved_scope_he_lacks(server, operator, connect, tenant):
    _, client = admin_of(server, operator, connect, tenant, [MANAGE])
    with pytest.raises(APIError) as refused:
        register(client, allowed_scopes=["data:read", CREDENTIALS])
    assert refused.value.status == 403
    assert client.agents.list().total == 1
    assert register(client, allowed_scopes=[MANAGE]).agent.status == "active"


def test_losing_its_standing_ends_an_admin_at_once(server, operator, connect, tenant):
    admin, client = admin_of(server, operator, connect, tenant, [MANAGE])
    assert client.agents.list().total == 1
    boss = operator(server, tenant)
    boss.agents.update(admin.agent.id, status="suspended")
    with pytest.raises(APIError) as refused:
        client.agents.list()
    assert refused.value.status == 401
    boss.agents.update(admin.agent.id, status="active")
    assert client.agents.list().total == 1
