"""An agent's life through every kind of caller: keyless, operator key, an admin agent's own key."""

import pytest
from conftest import OWNER, Tenant, new_tenant, register, unique
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import APIError, ConflictError, NotFoundError, ValidationError

DEFAULT = Tenant("default", "default")
CALLERS = [
    "keyless, default tenant",
    "keyless, own tenant",
    "keyless, versioned path",
    "operator key, open",
    "operator key, strict",
    "admin agent, open",
    "admin agent, strict",
]


@pytest.fixture(params=CALLERS)
def caller(request, connect, operator):
    """A client that may administer, the tenant it works in, its server and the owner it registers for."""
    kind = request.param
    server = request.getfixturevalue("strict_server" if "strict" in kind else "open_server")
    tenant = DEFAULT if "default" in kind else new_tenant()
    if kind == "keyless, default tenant":
        return connect(server), tenant, server, OWNER
    if kind == "keyless, versioned path":
        return connect(server, prefix="/api/v1", **tenant.options()), tenant, server, OWNER
    if kind.startswith("keyless"):
        return connect(server, **tenant.options()), tenant, server, OWNER
    if kind.startswith("operator"):
        return operator(server, tenant), tenant, server, OWNER
    scopes = [AdminScope.NHI_MANAGE, AdminScope.CREDENTIALS_MANAGE]
    admin = register(operator(server, tenant), "admin", created_by="boss@company.com", allowed_scopes=scopes)
    return connect(server, api_key=admin.api_key), tenant, server, None


def test_life_of_an_agent(caller, connect):
    client, tenant, server, owner = caller
    registered = register(client, "fetcher", created_by=owner, labels={"team": "data"}, version="1.0")
    agent = registered.agent
    assert (agent.account_id, agent.project_id) == (tenant.account_id, tenant.project_id)
    assert agent.created_by == (owner or "boss@company.com")
    assert (agent.identity_type, agent.sub_type) == ("agent", "tool_agent")
    assert (agent.trust_level, agent.status, agent.delegation_depth) == ("unverified", "active", 0)
    assert client.agents.get(agent.id) == agent
    listed = {found.external_id: found for found in client.agents.list()}
    assert listed[agent.external_id] == agent

    updated = client.agents.update(
        agent.id, name="Fetcher 2", trust_level="first_party", sub_type="autonomous", labels={}, version=""
    )
    assert (updated.name, updated.trust_level, updated.sub_type) == ("Fetcher 2", "first_party", "autonomous")
    assert (updated.labels, updated.version) == ({}, "")
    assert (updated.wimse_uri, updated.created_at) == (agent.wimse_uri, agent.created_at)
    assert updated.updated_at >= agent.updated_at
    assert client.agents.update(agent.id, name="").name == "Fetcher 2"

    tokens = connect(server).tokens
    rotated = client.agents.rotate_key(agent.id)
    assert rotated.agent.id == agent.id
    assert rotated.agent.api_key_prefix == rotated.api_key[:16] != agent.api_key_prefix
    refuses_key(tokens, registered.api_key)
    assert tokens.issue_api_key(rotated.api_key).user_id == agent.created_by

    for _ in range(2):
        assert client.agents.deactivate(agent.id).status == "deactivated"
    assert client.agents.get(agent.id).api_key_prefix == ""
    refuses_key(tokens, rotated.api_key)
    with pytest.raises(ValidationError):
        client.agents.rotate_key(agent.id)

    for _ in range(2):
        assert client.agents.activate(agent.id).status == "active"
    refuses_key(tokens, rotated.api_key)
    assert client.agents.deactivate(agent.id).status == "deactivated"
    revived = client.agents.reactivate(agent.id)
    assert revived.agent.status == "active"
    assert tokens.issue_api_key(revived.api_key).external_id == agent.external_id

    for _ in range(2):
        assert client.agents.delete(agent.id).status == "deactivated"
    assert client.agents.get(agent.id).status == "deactivated"
    assert agent.id in {found.id for found in client.agents.list()}
    refuses_key(tokens, revived.api_key)


def refuses_key(tokens, api_key):
    with pytest.raises(APIError) as refused:
        tokens.issue_api_key(api_key)
    assert (refused.value.code, refused.value.status) == ("invalid_grant", 400)


def test_every_field_comes_back(open_server, connect, tenant):
    client = connect(open_server, **tenant.options())
    fields = {
        "name": "Größe ✓",
        "external_id": unique("A.b_c-9"),
        "identity_type": "application",
        "sub_type": "chatbot",
        "trust_level": "verified_third_party",
        "framework": "langgraph",
        "version": "2.1",
        "publisher": "Example",
        "description": "Answers.",
        "capabilities": ["search", "bash"],
        "labels": {"team": "data", "product": "p1"},
        "metadata": {"nested": {"list": [1, 2.5, True, "x"]}},
        "created_by": OWNER,
    }
    agent = register(client, **fields).agent
    assert {name: getattr(agent, name) for name in fields} == fields
    assert agent.wimse_uri.endswith(f"/application/{fields['external_id']}")
    assert client.agents.get(agent.id) == agent
    changes = {
        "name": "Other",
        "sub_type": "assistant",
        "trust_level": "unverified",
        "framework": "",
        "version": "3",
        "publisher": "",
        "description": "",
        "capabilities": [],
        "labels": {},
        "metadata": {"a": 1},
    }
    changed = client.agents.update(agent.id, updated_by="somebody", **changes)
    assert {name: getattr(changed, name) for name in changes} == changes
    assert changed.created_by == OWNER
    assert client.agents.update(agent.id).model_copy(update={"updated_at": None}) == changed.model_copy(
        update={"updated_at": None}
    )


def test_an_external_id_is_taken_for_ever(open_server, connect, tenant):
    client = connect(open_server, **tenant.options())
    first = register(client).agent
    for deactivated in (False, True):
        if deactivated:
            client.agents.delete(first.id)
        with pytest.raises(ConflictError) as refused:
            register(client, external_id=first.external_id)
        problem = open_server.traffic.last().json()
        assert problem["errors"][0]["value"] == first.id
        assert refused.value.request_id == open_server.traffic.last().headers["x-request-id"]
        assert ("deactivated" in refused.value.detail) is deactivated
    assert client.agents.list().total == 1
    elsewhere = connect(open_server, **new_tenant().options())
    assert register(elsewhere, external_id=first.external_id).agent.id != first.id


def test_another_tenants_agent_is_an_unknown_one(server, operator, tenant):
    mine, theirs = operator(server, tenant), operator(server, new_tenant())
    foreign = register(theirs).agent
    calls = [
        lambda id: mine.agents.get(id),
        lambda id: mine.agents.update(id, name="stolen"),
        lambda id: mine.agents.activate(id),
        lambda id: mine.agents.deactivate(id),
        lambda id: mine.agents.rotate_key(id),
        lambda id: mine.agents.delete(id),
    ]
    for call in calls:
        answers = []
        for id in (foreign.id, "0190b5a0-0000-7000-8000-000000000000"):
            with pytest.raises(NotFoundError) as refused:
                call(id)
            answers.append(refused.value.detail.replace(id, "…"))
        assert answers[0] == answers[1]
    assert mine.agents.list().total == 0
    assert theirs.agents.get(foreign.id) == foreign


def test_a_call_can_name_another_tenant_of_the_operator(server, operator, tenant):
    client, other = operator(server, tenant), new_tenant()
    agent = register(client, **other.options()).agent
    assert (agent.account_id, agent.project_id) == (other.account_id, other.project_id)
    assert client.agents.get(agent.id, **other.options()) == agent
    with pytest.raises(NotFoundError):
        client.agents.get(agent.id)
