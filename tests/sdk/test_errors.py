"""A caller's mistake: the right exception, one request, never a server fault, nothing changed."""

import pytest
from conftest import OWNER, register, unique
from highflame.zeroid.errors import APIError, AuthenticationError, NotFoundError, ValidationError, ZeroIDError

UNKNOWN = "0190b5a0-0000-7000-8000-000000000000"
REGISTRATIONS = [
    {"name": ""},
    {"external_id": ""},
    {"external_id": "has space"},
    {"external_id": "a/b"},
    {"external_id": ".."},
    {"external_id": "ümlaut"},
    {"external_id": "nul\0byte"},
    {"external_id": "x" * 3000},
    {"name": "nul\0byte"},
    {"identity_type": "robot"},
    {"sub_type": "chatbot"},
    {"identity_type": "mcp_server", "sub_type": "tool_agent"},
    {"trust_level": "perfect"},
    {"capabilities": "bash"},
    {"capabilities": {"bash": True}},
    {"labels": ["team"]},
    {"metadata": "text"},
    {"allowed_scopes": ["two words"]},
    {"allowed_scopes": [""]},
    {"public_key_pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
    {"public_key_pem": "key"},
    {"credential_policy_id": UNKNOWN},
    {"credential_policy_id": "policy"},
    {"api_key_credential_policy_id": UNKNOWN},
    {"expires_at": "2020-01-01T00:00:00Z"},
    {"expires_at": "tomorrow"},
    {"expires_at": "2999-01-01T00:00:00"},
    {"account_id": "has space"},
    {"project_id": ".."},
]
UPDATES = [
    {"status": "asleep"},
    {"status": "expired"},
    {"status": "discovered"},
    {"trust_level": "perfect"},
    {"sub_type": "chatbot"},
    {"name": "nul\0byte"},
    {"capabilities": "bash"},
    {"labels": ["team"]},
    {"metadata": 7},
    {"public_key_pem": "key"},
]
CREDENTIALS = ["nonsense", "sk_live_wrong", "zid_sk_wrong", "e30.e30.", "a.b.c"]


@pytest.fixture
def client(open_server, connect, tenant):
    """A keyless client in a tenant of its own."""
    return connect(open_server, **tenant.options())


def refusal(traffic, kind, call):
    """The error of one call that makes exactly one request, with that request's id."""
    mark = traffic.mark()
    with pytest.raises(kind) as refused:
        call()
    made = traffic.since(mark)
    assert len(made) == 1, made
    assert refused.value.request_id == made[0].headers["x-request-id"]
    return refused.value


@pytest.mark.parametrize("fields", REGISTRATIONS, ids=lambda fields: str(fields)[:50])
def test_bad_registrations(open_server, client, fields):
    refusal(open_server.traffic, ValidationError, lambda: register(client, **fields))
    assert open_server.traffic.last().status in (400, 422)
    assert client.agents.list().total == 0


@pytest.mark.parametrize("fields", UPDATES, ids=str)
def test_bad_updates(open_server, client, fields):
    agent = register(client).agent
    refusal(open_server.traffic, ValidationError, lambda: client.agents.update(agent.id, **fields))
    assert open_server.traffic.last().status in (400, 422)
    assert client.agents.get(agent.id) == agent


def test_transitions_that_do_not_exist(open_server, client):
    id = register(client).agent.id
    client.agents.deactivate(id)
    for status in ("suspended", "pending", "expired"):
        refusal(open_server.traffic, ValidationError, lambda to=status: client.agents.update(id, status=to))
        assert client.agents.get(id).status == "deactivated"
    assert client.agents.update(id, status="active").status == "active"
    assert client.agents.update(id, status="active").status == "active"


def test_unknown_and_malformed_ids(open_server, client):
    agents = client.agents
    for id in (UNKNOWN, "not-a-uuid", "%00", "..%2f..%2fhealth", "x" * 4000):
        kind = NotFoundError if id == UNKNOWN else (NotFoundError, ValidationError)
        refusal(open_server.traffic, kind, lambda id=id: agents.get(id))
        refusal(open_server.traffic, kind, lambda id=id: agents.update(id, name="x"))
        refusal(open_server.traffic, kind, lambda id=id: agents.activate(id))
        refusal(open_server.traffic, kind, lambda id=id: agents.deactivate(id))
        refusal(open_server.traffic, kind, lambda id=id: agents.rotate_key(id))
        refusal(open_server.traffic, kind, lambda id=id: agents.delete(id))


def test_an_owner_is_needed(open_server, client, http, tenant):
    mark = open_server.traffic.mark()
    with pytest.raises(ValidationError):
        register(client, created_by=None)
    assert open_server.traffic.since(mark) == []
    headers = {"X-Account-ID": tenant.account_id, "X-Project-ID": tenant.project_id}
    body = {"name": "x", "external_id": unique("x")}
    assert http(open_server).post("/agents/register", json=body, headers=headers).status_code == 400
    assert client.agents.list().total == 0


def test_an_open_admin_api_still_wants_a_tenant(open_server, connect):
    client = connect(open_server, account_id="", project_id="")
    refusal(open_server.traffic, AuthenticationError, client.agents.list)
    refusal(open_server.traffic, AuthenticationError, lambda: register(client))


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_bad_credential_is_refused_even_where_none_is_needed(server, connect, tenant, credential):
    headers = {"Authorization": f"Bearer {credential}"}
    client = connect(server, default_headers=headers, **tenant.options())
    for call in (client.agents.list, lambda: register(client), lambda: client.agents.get(UNKNOWN)):
        error = refusal(server.traffic, AuthenticationError, call)
        assert error.status == 401
        challenge = server.traffic.last().headers["www-authenticate"]
        assert challenge.startswith("Bearer ") and "resource_metadata=" in challenge
    assert client.health().status == "healthy"
    assert client.jwks().keys


@pytest.mark.parametrize("damage", [lambda key: key[:-1], lambda key: key + "A", lambda key: key.swapcase()])
def test_a_damaged_key_is_refused_once(open_server, connect, client, damage):
    key = damage(register(client).api_key)
    error = refusal(open_server.traffic, APIError, lambda: client.tokens.issue_api_key(key))
    assert (error.status, error.code) == (400, "invalid_grant")
    admin = connect(open_server, api_key=key)
    error = refusal(open_server.traffic, APIError, admin.agents.list)
    assert (error.status, error.code) == (400, "invalid_grant")


def test_token_requests_that_cannot_succeed(open_server, client):
    tokens = client.tokens
    calls = [
        (lambda: tokens.issue_api_key(""), {"invalid_request"}),
        (lambda: tokens.issue_api_key("zid_sk_nul\0byte"), {"invalid_grant", "invalid_request"}),
        (lambda: tokens.issue_api_key("x" * 5000), {"invalid_grant", "invalid_request"}),
        (lambda: tokens.issue_jwt_bearer("a.b.c"), {"invalid_grant"}),
        (lambda: tokens.issue_client_credentials("nobody", "x"), {"invalid_client"}),
        (lambda: tokens.issue_refresh_token("zid_rt_x"), {"invalid_grant", "unsupported_grant_type"}),
        (lambda: tokens.issue_token_exchange("a.b.c", "d.e.f", scope="data:read"), {"invalid_grant"}),
        (
            lambda: tokens.issue_authorization_code("c", "http://127.0.0.1/", "nobody", code_verifier="v" * 43),
            {"invalid_grant", "invalid_client", "unsupported_grant_type"},
        ),
    ]
    for call, codes in calls:
        error = refusal(open_server.traffic, APIError, call)
        assert error.code in codes
        assert error.status == (401 if error.code == "invalid_client" else 400)


def test_bodies_the_sdk_never_sends(open_server, http, tenant):
    raw = http(open_server)
    admin = {"X-Account-ID": tenant.account_id, "X-Project-ID": tenant.project_id}
    bodies = [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 5000, b'{"name":1,"external_id":[]}']
    for body in bodies:
        for path in ("/agents/register", "/oauth2/token", "/oauth2/token/introspect", "/oauth2/token/revoke"):
            headers = {"Content-Type": "application/json", **admin}
            answer = raw.post(path, content=body, headers=headers)
            assert answer.status_code in (400, 422), (path, body[:20], answer.text)
    twice = "grant_type=api_key&api_key=a&api_key=b"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = raw.post("/oauth2/token", content=twice, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = raw.post("/oauth2/token", json={"grant_type": "password"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_sdk_errors_share_one_base(open_server, client):
    with pytest.raises(ZeroIDError) as refused:
        client.agents.get(UNKNOWN)
    error = refused.value
    assert (error.status, error.code) == (404, "not_found")
    assert error.detail == open_server.traffic.last().json()["detail"]
    assert OWNER not in error.detail
