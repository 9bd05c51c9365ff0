"""Credentials: issued by an administrator, read, revoked and rotated one by one."""

from datetime import datetime

import pytest
from conftest import accepted, new_tenant, refusal, register
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import APIError, ConflictError, NotFoundError, ValidationError

CREDENTIALS, MANAGE = AdminScope.CREDENTIALS_MANAGE, AdminScope.NHI_MANAGE
UNKNOWN = "0190b5a0-0000-7000-8000-000000000000"


@pytest.fixture
def boss(server, operator, tenant):
    """Who administers the test's tenant."""
    return operator(server, tenant)


@pytest.fixture
def agent(boss):
    """An agent with a ceiling."""
    return register(boss, allowed_scopes=["data:read", "data:write"]).agent


def test_a_credential_of_an_administrator(server, boss, agent, http):
    made = boss.credentials.issue(
        identity_id=agent.id, scopes=["data:read"], ttl_seconds=600, audience=["https://api.example"]
    )
    token, row = made.token, made.credential
    assert (token.token_type, token.expires_in, token.scope) == ("Bearer", 600, "data:read")
    assert (token.jti, token.external_id, token.account_id) == (row.jti, agent.external_id, agent.account_id)
    assert (row.id, row.subject, row.identity_id) == (row.jti, agent.wimse_uri, agent.id)
    assert (row.account_id, row.project_id, row.grant_type) == (agent.account_id, agent.project_id, "client_credentials")
    assert (row.scopes, row.ttl_seconds, row.delegation_depth) == (["data:read"], 600, 0)
    assert (row.is_revoked, row.revoked_at, row.revoke_reason, row.parent_jti) == (False, None, None, None)
    assert not row.delegated_by_wimse_uri
    times = [datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() for at in (row.issued_at, row.expires_at)]
    assert times == [token.iat, token.iat + 600]
    claims = boss.tokens.verify(token.access_token, audience="https://api.example")
    assert (claims.sub, claims.aud, claims.scopes) == (agent.wimse_uri, ("https://api.example",), ("data:read",))
    assert boss.credentials.get(row.id) == row
    assert boss.tokens.verify_active(token.access_token).jti == row.jti
    assert accepted(server, token.access_token, http)


def test_what_is_left_out_has_defaults(boss, agent):
    made = boss.credentials.issue(identity_id=agent.id)
    assert (set(made.credential.scopes), made.token.expires_in) == ({"data:read", "data:write"}, 3600)
    assert boss.tokens.verify(made.token.access_token).aud == (boss.tokens.verify(made.token.access_token).iss,)
    bearer = boss.credentials.issue(identity_id=agent.id, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer")
    assert bearer.credential.grant_type == "jwt_bearer"
    long = boss.credentials.issue(identity_id=agent.id, ttl_seconds=10**9)
    assert long.credential.ttl_seconds == 3600, "the policy clamps"


def test_what_is_refused_issues_nothing(server, boss, agent):
    for fields, kind, code, status in (
        ({"identity_id": UNKNOWN}, NotFoundError, "not_found", 404),
        ({"identity_id": "agent"}, ValidationError, "validation_error", 422),
        ({"scopes": ["data:drop"]}, ValidationError, "validation_error", 422),
        ({"scopes": ["two words"]}, ValidationError, "validation_error", 422),
        ({"ttl_seconds": -1}, ValidationError, "validation_error", 422),
        ({"grant_type": "password"}, ValidationError, "validation_error", 422),
        ({"grant_type": "refresh_token"}, APIError, "api_error", 403),
        ({"audience": ["with space"]}, ValidationError, "validation_error", 422),
    ):
        refusal(boss.credentials.issue, **{"identity_id": agent.id, **fields}, kind=kind, code=code, status=status)
        assert server.traffic.last().status in (400, 403, 404, 422)
    boss.agents.update(agent.id, status="suspended")
    refusal(boss.credentials.issue, identity_id=agent.id, kind=ValidationError, code="validation_error", status=422)
    assert boss.credentials.list(agent.id).total == 0


def test_a_list_has_all_of_an_agent_newest_first(boss, agent, party):
    assert (boss.credentials.list(agent.id).credentials, boss.credentials.list(agent.id).total) == ([], 0)
    made = [boss.credentials.issue(identity_id=agent.id).credential for _ in range(3)]
    register(boss, "other")
    boss.credentials.revoke(made[1].id)
    listed = boss.credentials.list(agent.id)
    assert ([row.id for row in listed.credentials], listed.total) == ([row.id for row in reversed(made)], 3)
    assert [row.is_revoked for row in listed.credentials] == [False, True, False]
    assert listed.credentials[0] == made[2]
    delegate = party("fetcher")
    subject = boss.credentials.issue(identity_id=agent.id, scopes=["data:read"])
    child = boss.tokens.issue_token_exchange(subject.token.access_token, delegate.assertion(), scope="data:read")
    (row,) = boss.credentials.list(delegate.agent.id).credentials
    assert (row.id, row.parent_jti, row.delegation_depth) == (child.jti, subject.credential.jti, 1)
    assert (row.delegated_by_wimse_uri, row.subject) == (agent.wimse_uri, delegate.agent.wimse_uri)
    assert (row.grant_type, row.scopes) == ("token_exchange", ["data:read"])
    refusal(boss.credentials.list, "", kind=ValidationError, code="validation_error", status=422)
    refusal(boss.credentials.list, "agent", kind=ValidationError, code="validation_error", status=422)
    assert boss.credentials.list(UNKNOWN).total == 0


def test_revocation_ends_one_with_what_hangs_below(server, boss, agent, party, http):
    fetcher = party("fetcher")
    kept, gone = (boss.credentials.issue(identity_id=agent.id, scopes=["data:read"]) for _ in range(2))
    child = boss.tokens.issue_token_exchange(gone.token.access_token, fetcher.assertion(), scope="data:read")
    answer = boss.credentials.revoke(gone.credential.id, reason="leaked")
    assert (answer.revoked, answer.id) == (True, gone.credential.id)
    row, below = boss.credentials.get(gone.credential.id), boss.credentials.get(child.jti)
    assert (row.is_revoked, row.revoke_reason, bool(row.revoked_at)) == (True, "leaked", True)
    assert (below.is_revoked, below.revoke_reason, below.revoked_at) == (True, "leaked", row.revoked_at)
    assert [accepted(server, token.access_token, http) for token in (kept.token, gone.token, child)] == [True, False, False]
    for dead in (gone.credential.id, child.jti, UNKNOWN):
        refusal(boss.credentials.revoke, dead, kind=NotFoundError, code="not_found", status=404)
    boss.credentials.revoke(kept.credential.id)
    assert boss.credentials.get(kept.credential.id).revoke_reason == "manual_revocation"


def test_rotation_replaces_one(server, boss, agent, http):
    old = boss.credentials.issue(
        identity_id=agent.id, scopes=["data:read"], ttl_seconds=600, audience=["https://api.example"]
    )
    new = boss.credentials.rotate(old.credential.id)
    assert server.traffic.last().status == 201
    same = ("identity_id", "subject", "scopes", "ttl_seconds", "grant_type", "delegation_depth", "parent_jti")
    assert {name: getattr(new.credential, name) for name in same} == {name: getattr(old.credential, name) for name in same}
    assert new.credential.id == new.token.jti != old.credential.id
    assert boss.tokens.verify(new.token.access_token).aud == ("https://api.example",)
    assert [accepted(server, made.token.access_token, http) for made in (old, new)] == [False, True]
    row = boss.credentials.get(old.credential.id)
    assert (row.is_revoked, row.revoke_reason) == (True, "rotated")
    error = refusal(boss.credentials.rotate, old.credential.id, kind=ConflictError, code="already_exists", status=409)
    assert "revoked" in error.detail
    refusal(boss.credentials.rotate, UNKNOWN, kind=NotFoundError, code="not_found", status=404)
    boss.agents.update(agent.id, status="suspended")
    refusal(boss.credentials.rotate, new.credential.id, kind=ConflictError, code="already_exists", status=409)
    boss.agents.activate(agent.id)
    assert accepted(server, new.token.access_token, http), "what was refused ended nothing"


def test_any_root_is_rotated_and_nothing_that_was_delegated(server, boss, agent, party, http):
    planner, fetcher = party("planner", allowed_scopes=["data:read"]), party("fetcher")
    root = boss.tokens.issue_api_key(planner.api_key)
    child = boss.tokens.issue_token_exchange(root.access_token, fetcher.assertion(), scope="data:read")
    error = refusal(boss.credentials.rotate, child.jti, kind=ConflictError, code="already_exists", status=409)
    assert "exchange" in error.detail and accepted(server, child.access_token, http)
    fresh = boss.credentials.rotate(root.jti)
    assert (fresh.credential.grant_type, fresh.credential.scopes) == ("api_key", ["data:read"])
    assert fresh.token.user_id == root.user_id, "the key's creator stays"
    assert [accepted(server, token.access_token, http) for token in (root, child, fresh.token)] == [False, False, True]
    narrowed = boss.credentials.issue(identity_id=agent.id)
    boss.agents.deactivate(agent.id)
    refusal(boss.credentials.rotate, narrowed.credential.id, kind=ConflictError, code="already_exists", status=409)


def test_who_may(server, boss, agent, connect, operator):
    made = boss.credentials.issue(identity_id=agent.id)
    id = made.credential.id
    reader = connect(server, api_key=register(boss, "reader", allowed_scopes=[CREDENTIALS]).api_key)
    assert (reader.credentials.get(id), reader.credentials.list(agent.id).total) == (made.credential, 1)
    for call in (lambda: reader.credentials.issue(identity_id=agent.id), lambda: reader.credentials.rotate(id)):
        refusal(call, kind=APIError, code="api_error", status=403)
    plain = connect(server, api_key=register(boss, "plain").api_key)
    for call in (plain.credentials.get, plain.credentials.list, plain.credentials.revoke, plain.credentials.rotate):
        refusal(call, id, kind=APIError, code="api_error", status=403)
    stranger = operator(server, new_tenant())
    for call in (stranger.credentials.get, stranger.credentials.revoke, stranger.credentials.rotate):
        refusal(call, id, kind=NotFoundError, code="not_found", status=404)
    assert stranger.credentials.list(agent.id).total == 0
    refusal(stranger.credentials.issue, identity_id=agent.id, kind=NotFoundError, code="not_found", status=404)
    assert boss.credentials.get(id) == made.credential
    assert reader.credentials.revoke(id).revoked is True


def test_reserved_scopes_are_passed_on_by_their_holders_only(server, boss, connect, operator, tenant):
    admin = register(boss, "admin", allowed_scopes=[MANAGE])
    target = register(boss, "target", allowed_scopes=[CREDENTIALS, MANAGE, "data:read"]).agent
    client = connect(server, api_key=admin.api_key)
    assert client.credentials.issue(identity_id=target.id, scopes=["data:read"]).credential.scopes == ["data:read"]
    error = refusal(client.credentials.issue, identity_id=target.id, kind=APIError, code="api_error", status=403)
    assert CREDENTIALS in error.detail
    full = boss.credentials.issue(identity_id=target.id).credential
    assert set(full.scopes) == {CREDENTIALS, MANAGE, "data:read"}
    refusal(client.credentials.rotate, full.id, kind=APIError, code="api_error", status=403)
    assert boss.credentials.get(full.id).is_revoked is False
