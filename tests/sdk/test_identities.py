"""Identities by themselves, through every kind of caller, and lists of them that are longer than a page."""

import pytest
from conftest import OWNER, new_tenant, refusal, register, unique
from highflame.zeroid.errors import APIError, ConflictError, NotFoundError, ValidationError

FULL = {
    "name": "Billing",
    "identity_type": "service",
    "sub_type": "llm_provider",
    "trust_level": "first_party",
    "allowed_scopes": ["data:read"],
    "framework": "f",
    "version": "1",
    "publisher": "Example",
    "description": "Bills.",
    "capabilities": ["pay"],
    "labels": {"team": "money"},
}


@pytest.fixture(params=["operator key", "admin agent"])
def identities(request, server, operator, connect, tenant):
    """The identities of the test's tenant, as an operator or as an agent that administers."""
    boss = operator(server, tenant)
    if request.param == "operator key":
        return boss.identities
    admin = register(boss, "admin", allowed_scopes=["nhi:manage"])
    return connect(server, api_key=admin.api_key).identities


def test_life_of_an_identity(identities, tenant):
    external_id = unique("billing")
    made = identities.create(external_id=external_id, owner_user_id=OWNER, **FULL)
    for name, value in {"external_id": external_id, "owner_user_id": OWNER, "status": "active", **FULL}.items():
        assert getattr(made, name) == value, name
    assert (made.account_id, made.project_id) == (tenant.account_id, tenant.project_id)
    assert made.wimse_uri.endswith(f"/{tenant.account_id}/{tenant.project_id}/service/{external_id}")
    assert identities.get(made.id) == made
    assert made in identities.list()

    changed = identities.update(
        made.id, name="Other", owner_user_id="new@company.com", allowed_scopes=[], labels={}, status="suspended"
    )
    assert (changed.name, changed.owner_user_id, changed.status) == ("Other", "new@company.com", "suspended")
    assert not changed.allowed_scopes and changed.labels == {}
    assert (changed.wimse_uri, changed.created_at) == (made.wimse_uri, made.created_at)
    assert identities.update(made.id, identity_type="service").name == "Other"
    for _ in range(2):
        assert identities.delete(made.id).status == "deactivated"
    assert identities.get(made.id).status == "deactivated"


def test_the_least_is_an_id_and_an_owner(identities):
    made = identities.create(external_id=unique("least"), owner_user_id=OWNER)
    assert (made.name, made.identity_type, made.sub_type) == ("", "agent", "tool_agent")
    assert (made.trust_level, made.capabilities, made.labels, made.metadata) == ("unverified", [], {}, {})


def test_refusals(identities, server, operator):
    made = identities.create(external_id=unique("taken"), owner_user_id=OWNER)
    create = identities.create
    refusal(create, external_id=made.external_id, owner_user_id=OWNER, code="already_exists", status=409, kind=ConflictError)
    refusal(create, external_id="a/b", owner_user_id=OWNER, code="validation_error", status=422, kind=ValidationError)
    refusal(identities.update, made.id, identity_type="service", code="validation_error", status=422)
    with pytest.raises(ValidationError):
        identities.update(made.id, status="expired")
    refusal(identities.update, made.id, allowed_scopes=["vault:read"], code="api_error", status=403, kind=APIError)
    unknown = "0190b5a0-0000-7000-8000-000000000000"
    stranger = operator(server, new_tenant()).identities
    for of, id in ((identities, unknown), (stranger, made.id)):
        for method in (of.get, of.update, of.delete):
            refusal(method, id, code="not_found", status=404, kind=NotFoundError)
    assert identities.get(made.id) == made


def test_iter_all_yields_each_identity_once_newest_first(open_server, connect):
    client = connect(open_server, **new_tenant().options())
    ids = [client.identities.create(external_id=unique(f"i-{n}"), owner_user_id=OWNER).id for n in range(103)]
    mark = open_server.traffic.mark()
    assert [identity.id for identity in client.identities.iter_all()] == ids[::-1]
    assert len(open_server.traffic.since(mark)) == 2
    page = client.identities.list(limit=10, offset=100)
    assert (len(page), page.total, page.has_more) == (3, 103, False)
