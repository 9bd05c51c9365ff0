"""Introspection, revocation and admin access: who may ask, on an open and on a strict server."""

import pytest
from conftest import accepted, register
from highflame.zeroid.errors import AuthenticationError

HINT = "pass client_id and client_secret"


def one_refusal(server, call):
    """The error of one refused call, which must have made one request."""
    mark = server.traffic.mark()
    with pytest.raises(AuthenticationError) as refused:
        call()
    assert len(server.traffic.since(mark)) == 1
    assert refused.value.request_id == server.traffic.last().headers["x-request-id"]
    return refused.value


def test_strict_introspection_wants_a_client_and_says_so(strict_server, operator, connect, tenant):
    boss = operator(strict_server, tenant)
    token = boss.tokens.issue_api_key(register(boss).api_key).access_token
    anonymous = connect(strict_server)
    headers = {"Authorization": f"Bearer {token}"}
    for tokens in (anonymous.tokens, boss.tokens):
        for call in (
            lambda tokens=tokens: tokens.introspect(token),
            lambda tokens=tokens: tokens.introspect("garbage"),
            lambda tokens=tokens: tokens.session(token),
            lambda tokens=tokens: tokens.session_from_request(headers),
        ):
            error = one_refusal(strict_server, call)
            assert (error.code, error.status) == ("invalid_client", 401)
            assert HINT in error.detail and "verify_active" in error.detail


def test_open_introspection_wants_nothing(open_server, operator, connect, tenant):
    boss = operator(open_server, tenant)
    token = boss.tokens.issue_api_key(register(boss).api_key).access_token
    assert connect(open_server).tokens.introspect(token).active is True
    assert boss.tokens.introspect(token).active is True
    assert connect(open_server).tokens.introspect("garbage").active is False


def test_a_client_that_does_not_exist_is_refused(server, operator, connect, tenant, http):
    boss = operator(server, tenant)
    token = boss.tokens.issue_api_key(register(boss).api_key).access_token
    tokens = connect(server).tokens
    for client in (
        {"client_id": "nobody", "client_secret": "wrong-secret"},
        {"client_id": "nobody"},
        {"client_secret": "wrong-secret"},
    ):
        error = one_refusal(server, lambda client=client: tokens.introspect(token, **client))
        assert (error.code, error.status) == ("invalid_client", 401)
        assert HINT not in error.detail
    pair = {"client_id": "nobody", "client_secret": "wrong-secret"}
    assert one_refusal(server, lambda: tokens.revoke(token, **pair)).code == "invalid_client"
    basic = http(server).post("/oauth2/token/introspect", json={"token": token}, auth=("nobody", "wrong-secret"))
    assert (basic.status_code, basic.json()["error"]) == (401, "invalid_client")
    assert basic.headers["www-authenticate"].startswith("Basic ")
    assert accepted(server, token, http)


def test_strict_revocation_wants_a_client(strict_server, operator, tenant, http):
    boss = operator(strict_server, tenant)
    token = boss.tokens.issue_api_key(register(boss).api_key).access_token
    answer = http(strict_server).post("/oauth2/token/revoke", json={"token": token})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert accepted(strict_server, token, http)


def test_strict_admin_routes_want_a_credential(strict_server, connect, operator, tenant):
    boss = operator(strict_server, tenant)
    agent = register(boss).agent
    keyless = connect(strict_server, **tenant.options())
    for call in (
        keyless.agents.list,
        lambda: register(keyless),
        lambda: keyless.agents.get(agent.id),
        lambda: keyless.agents.update(agent.id, name="x"),
        lambda: keyless.agents.activate(agent.id),
        lambda: keyless.agents.deactivate(agent.id),
        lambda: keyless.agents.rotate_key(agent.id),
        lambda: keyless.agents.delete(agent.id),
    ):
        error = one_refusal(strict_server, call)
        assert (error.code, error.status) == ("unauthorized", 401)
        challenge = strict_server.traffic.last().headers["www-authenticate"]
        assert "resource_metadata=" in challenge and "error=" not in challenge
    assert boss.agents.get(agent.id) == agent


def test_public_routes_need_nothing(server, connect, http):
    client = connect(server)
    health = client.health()
    assert health.status == "healthy" and health.service and health.uptime_ms >= 0
    assert client.jwks().keys
    raw = http(server)
    assert raw.get("/ready").status_code == 200
    metadata = raw.get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] and not metadata["issuer"].endswith("/")
    assert "api_key" in metadata["grant_types_supported"]


def test_an_agents_token_is_no_key_and_a_key_no_token(server, operator, connect, tenant):
    boss = operator(server, tenant)
    registered = register(boss, allowed_scopes=["data:read"])
    token = boss.tokens.issue_api_key(registered.api_key).access_token
    as_bearer = connect(server, default_headers={"Authorization": f"Bearer {registered.api_key}"})
    assert one_refusal(server, as_bearer.agents.list).code == "unauthorized"
    with_token = connect(server, api_key=token)
    mark = server.traffic.mark()
    with pytest.raises(Exception) as refused:
        with_token.agents.list()
    assert (refused.value.code, refused.value.status) == ("invalid_grant", 400)
    assert [exchange.path for exchange in server.traffic.since(mark)] == ["/oauth2/token"]
