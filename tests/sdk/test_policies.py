"""Credential policies: made, changed and deleted by every kind of caller, and what they do to tokens."""

import pytest
from conftest import new_tenant, register, unique
from highflame.zeroid.errors import APIError, ConflictError, NotFoundError, ValidationError

UNKNOWN = "0190b5a0-0000-7000-8000-000000000000"
FULL = {
    "name": "field",
    "description": "For agents in the field.",
    "max_ttl_seconds": 600,
    "allowed_grant_types": ["api_key", "token_exchange"],
    "allowed_scopes": ["data:read", "data:write"],
    "required_trust_level": "first_party",
    "required_attestation": "software",
    "max_delegation_depth": 2,
}
ZEROS = {
    "description": "",
    "allowed_grant_types": [],
    "allowed_scopes": [],
    "required_trust_level": "",
    "required_attestation": "",
    "max_delegation_depth": 0,
    "is_active": False,
}


@pytest.fixture(params=["operator key", "admin agent"])
def policies(request, server, operator, connect, tenant):
    """The policies of the test's tenant, as an operator or as an agent that administers."""
    boss = operator(server, tenant)
    if request.param == "operator key":
        return boss.credential_policies
    admin = register(boss, "admin", allowed_scopes=["nhi:manage"])
    return connect(server, api_key=admin.api_key).credential_policies


def test_life_of_a_policy(policies, tenant):
    policy = policies.create(**FULL)
    assert {name: getattr(policy, name) for name in FULL} == FULL
    assert (policy.account_id, policy.project_id, policy.is_active) == (*tenant.options().values(), True)
    assert policies.get(policy.id) == policy
    assert policies.list()[0] == policy
    changed = policies.update(policy.id, **ZEROS)
    assert {name: getattr(changed, name) for name in ZEROS} == ZEROS
    assert (changed.name, changed.max_ttl_seconds, changed.created_at) == ("field", 600, policy.created_at)
    assert policies.update(policy.id, name="renamed", max_ttl_seconds=1).max_ttl_seconds == 1
    assert policies.get(policy.id).name == "renamed"
    assert policies.update(policy.id).allowed_grant_types == []
    assert policies.delete(policy.id) is None
    for call in (policies.get, policies.delete, policies.update):
        with pytest.raises(NotFoundError):
            call(policy.id)
    assert policy.id not in {found.id for found in policies.list()}


def test_what_is_not_named_has_a_default(policies):
    policy = policies.create(name="bare", max_ttl_seconds=0, max_delegation_depth=0)
    assert (policy.description, policy.max_ttl_seconds, policy.max_delegation_depth) == ("", 3600, 0)
    assert (policy.allowed_grant_types, policy.allowed_scopes) == (["client_credentials"], [])
    assert (policy.required_trust_level, policy.required_attestation, policy.is_active) == ("", "", True)
    assert policies.create(name="none", allowed_grant_types=[]).allowed_grant_types == []


def test_a_name_is_taken_once(policies):
    one, two = policies.create(name="one"), policies.create(name="two")
    for call in (lambda: policies.create(name="one"), lambda: policies.update(two.id, name="one")):
        with pytest.raises(ConflictError) as refused:
            call()
        assert refused.value.code == "already_exists"
    assert policies.update(two.id, name="two").id == two.id
    assert policies.get(one.id).name == "one"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"max_ttl_seconds": -1},
        {"max_delegation_depth": -1},
        {"max_delegation_depth": 65},
        {"allowed_grant_types": ["password"]},
        {"allowed_scopes": ["two words"]},
        {"required_trust_level": "total"},
        {"required_attestation": "claimed"},
    ],
    ids=str,
)
def test_bad_policies(open_server, connect, tenant, fields):
    policies = connect(open_server, **tenant.options()).credential_policies
    with pytest.raises(ValidationError):
        policies.create(**{"name": "bad", **fields})
    assert policies.list() == []
    policy = policies.create(name="good")
    if fields != {"name": ""}:
        with pytest.raises(ValidationError):
            policies.update(policy.id, **fields)
    with pytest.raises(ValidationError):
        policies.update(policy.id, max_ttl_seconds=0)
    assert policies.get(policy.id) == policy


def test_a_policy_in_use_is_not_deleted(server, operator, tenant):
    boss = operator(server, tenant)
    make = boss.credential_policies.create
    agents, keys = (make(name=name, allowed_grant_types=["api_key"]) for name in ("agents", "keys"))
    agent = register(boss, credential_policy_id=agents.id, api_key_credential_policy_id=keys.id).agent
    boss.agents.delete(agent.id)
    assert "default" not in {policy.name for policy in boss.credential_policies.list()}, "nobody needed it yet"
    register(boss)
    default = next(found for found in boss.credential_policies.list() if found.name == "default")
    for policy in (agents, keys, default):
        with pytest.raises(ConflictError):
            boss.credential_policies.delete(policy.id)
        assert boss.credential_policies.get(policy.id) == policy


def test_tightening_is_felt_by_the_next_token(server, operator, connect, tenant):
    boss, tokens = operator(server, tenant), connect(server).tokens
    policies = boss.credential_policies
    policy = policies.create(name="field", allowed_grant_types=["api_key"], max_ttl_seconds=900)
    key = register(boss, credential_policy_id=policy.id).api_key
    assert tokens.issue_api_key(key, scope="a b").expires_in == 900
    policies.update(policy.id, max_ttl_seconds=60, allowed_scopes=["a"])
    token = tokens.issue_api_key(key, scope="a b")
    assert (token.expires_in, token.scope) == (60, "a")
    for tight, loose in (
        ({"is_active": False}, {"is_active": True}),
        ({"allowed_grant_types": []}, {"allowed_grant_types": ["api_key"]}),
        ({"required_trust_level": "first_party"}, {"required_trust_level": ""}),
        ({"required_attestation": "hardware"}, {"required_attestation": ""}),
    ):
        policies.update(policy.id, **tight)
        with pytest.raises(APIError) as refused:
            tokens.issue_api_key(key)
        assert (refused.value.code, refused.value.status) == ("policy_violation", 400)
        policies.update(policy.id, **loose)
        assert tokens.issue_api_key(key).expires_in == 60


def test_reserved_scopes_are_passed_on_by_their_holders_only(server, operator, connect, tenant):
    boss = operator(server, tenant)
    admin = register(boss, "admin", allowed_scopes=["nhi:manage"])
    policies = connect(server, api_key=admin.api_key).credential_policies
    policy = policies.create(name="own", allowed_scopes=["nhi:manage"])
    for call in (
        lambda: policies.create(name="rich", allowed_scopes=["credentials:manage"]),
        lambda: policies.update(policy.id, allowed_scopes=["vault:read"]),
    ):
        with pytest.raises(APIError) as refused:
            call()
        assert refused.value.status == 403
    assert policies.get(policy.id).allowed_scopes == ["nhi:manage"]


def test_another_tenants_policy_is_an_unknown_one(server, operator, tenant):
    mine, theirs = operator(server, tenant), operator(server, new_tenant())
    foreign = theirs.credential_policies.create(name=unique("theirs"))
    policies = mine.credential_policies
    calls = [policies.get, policies.delete, lambda id: policies.update(id, name="stolen")]
    for call in calls:
        answers = []
        for id in (foreign.id, UNKNOWN):
            with pytest.raises(NotFoundError) as refused:
                call(id)
            answers.append(refused.value.detail)
        assert answers[0] == answers[1]
    with pytest.raises(ValidationError):
        register(mine, credential_policy_id=foreign.id)
    assert policies.list() == []
    assert theirs.credential_policies.get(foreign.id) == foreign
