"""Tokens: scopes, offline verification, and when a token stops being good."""

import base64
import json
from datetime import datetime, timedelta, timezone

import jwt
import pytest
from conftest import accepted, register, wait_until
from cryptography.hazmat.primitives.asymmetric import ec
from highflame.zeroid.errors import APIError, ValidationError, ZeroIDError


@pytest.fixture
def client(open_server, connect, tenant):
    """A keyless client in a tenant of its own."""
    return connect(open_server, **tenant.options())


def code_of(call, *args, **kwargs):
    """The code of the error the call must raise."""
    with pytest.raises(ZeroIDError) as refused:
        call(*args, **kwargs)
    return refused.value.code


def forged(token, key, **headers):
    """The token's claims under a signature that is not the server's."""
    header = {**jwt.get_unverified_header(token), **headers}
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, key, algorithm=header["alg"], headers=header)


def unsigned(token):
    """The token's claims with the algorithm `none`."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def test_scopes_only_narrow(client):
    key = register(client, allowed_scopes=["data:read", "tools:read"]).api_key
    assert set(client.tokens.issue_api_key(key).scope.split()) == {"data:read", "tools:read"}
    assert client.tokens.issue_api_key(key, scope="data:read").scope == "data:read"
    assert client.tokens.issue_api_key(key, scope="data:read data:write").scope == "data:read"
    assert client.tokens.issue_api_key(key, scope="nhi:manage credentials:manage").scope == ""
    for scope in ("data:write", "data:write nhi:manage", "DATA:READ", "data:*"):
        assert code_of(client.tokens.issue_api_key, key, scope=scope) == "invalid_scope", scope


def test_an_open_ceiling_grants_what_is_asked_except_reserved_scopes(client):
    key = register(client).api_key
    token = client.tokens.issue_api_key(key)
    assert token.scope == "" and client.tokens.verify(token.access_token).scopes == ()
    assert client.tokens.session(token.access_token).scopes == ()
    token = client.tokens.issue_api_key(key, scope="data:read tools:execute nhi:manage client:register")
    assert set(token.scope.split()) == {"data:read", "tools:execute"}
    assert set(client.tokens.verify(token.access_token).scopes) == {"data:read", "tools:execute"}


def test_the_tenant_in_the_body_is_ignored(open_server, connect, client, tenant):
    key = register(client).api_key
    token = connect(open_server).tokens.issue_api_key(key)
    assert open_server.traffic.last().sent()["account_id"] == "default"
    assert (token.account_id, token.project_id) == (tenant.account_id, tenant.project_id)


def test_the_audience_is_the_issuer(client):
    token = client.tokens.issue_api_key(register(client).api_key).access_token
    issuer = client.tokens.verify(token).iss
    assert client.tokens.verify(token, audience=issuer).aud == (issuer,)
    assert client.tokens.verify(token, audience=["https://other.example", issuer]).iss == issuer
    assert client.tokens.verify_bearer(f"bearer {token}", audience=issuer).iss == issuer
    for audience in ("https://other.example", issuer + "/"):
        assert code_of(client.tokens.verify, token, audience=audience) == "invalid_signature"


def test_verification_needs_the_keys_once(open_server, client):
    key = register(client).api_key
    tokens = [client.tokens.issue_api_key(key).access_token for _ in range(5)]
    mark = open_server.traffic.mark()
    assert len({client.tokens.verify(token).jti for token in tokens}) == 5
    assert [exchange.path for exchange in open_server.traffic.since(mark)] == ["/.well-known/jwks.json"]
    assert open_server.traffic.last().headers["cache-control"]


def test_keys_are_not_sent_again_when_unchanged(open_server, http):
    raw = http(open_server)
    first = raw.get("/.well-known/jwks.json")
    again = raw.get("/.well-known/jwks.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_header_without_a_bearer_is_refused_locally(open_server, client):
    mark = open_server.traffic.mark()
    for header in ("", "Basic eDp5", "Bearer"):
        assert code_of(client.tokens.verify_bearer, header) == "missing_token"
    assert code_of(client.tokens.verify, "") == "missing_token"
    assert open_server.traffic.since(mark) == []


def test_forgeries_verify_nowhere(open_server, client, http):
    token = client.tokens.issue_api_key(register(client).api_key).access_token
    head, body, signature = token.split(".")
    foreign = ec.generate_private_key(ec.SECP256R1())
    bad = [
        unsigned(token),
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        f"{head}.{body[:-4]}AAAA.{signature}",
        f"{head}.{body}",
        token[:-40],
        forged(token, foreign),
        forged(token, foreign, kid="unknown"),
        forged(token, "x" * 64, alg="HS256"),
        "not a token",
    ]
    for forgery in bad:
        assert code_of(client.tokens.verify, forgery) == "invalid_signature", forgery
        assert client.tokens.introspect(forgery).active is False, forgery
        assert not accepted(open_server, forgery, http), forgery
    assert client.tokens.introspect(token).active is True
    assert accepted(open_server, token, http)


def test_expiry_bounds_the_token_the_key_and_the_agent(open_server, client, http):
    end = datetime.now(timezone.utc) + timedelta(seconds=5)
    registered = register(client, expires_at=end.isoformat())
    token = client.tokens.issue_api_key(registered.api_key)
    assert 0 < token.expires_in <= 5
    identity = client.tokens.verify(token.access_token)
    assert identity.exp <= end.timestamp()
    assert client.tokens.introspect(token.access_token).active is True
    wait_until(end.timestamp())
    assert code_of(client.tokens.verify, token.access_token) == "token_expired"
    assert code_of(client.tokens.verify_bearer, f"Bearer {token.access_token}") == "token_expired"
    assert client.tokens.introspect(token.access_token).active is False
    assert not accepted(open_server, token.access_token, http)
    assert code_of(client.tokens.issue_api_key, registered.api_key) == "invalid_grant"
    with pytest.raises(ValidationError):
        client.agents.rotate_key(registered.agent.id)


def test_deactivation_is_for_good(server, operator, tenant, http):
    client = operator(server, tenant)
    registered = register(client)
    id = registered.agent.id
    old = client.tokens.issue_api_key(registered.api_key).access_token
    assert accepted(server, old, http)
    client.agents.deactivate(id)
    assert not accepted(server, old, http)
    client.agents.activate(id)
    assert not accepted(server, old, http)
    fresh = client.tokens.issue_api_key(client.agents.rotate_key(id).api_key).access_token
    assert accepted(server, fresh, http) and not accepted(server, old, http)
    client.agents.delete(id)
    assert not accepted(server, fresh, http)


def test_introspection_follows_deactivation(client):
    registered = register(client)
    old = client.tokens.issue_api_key(registered.api_key).access_token
    assert client.tokens.introspect(old).active is True
    client.agents.deactivate(registered.agent.id)
    assert client.tokens.introspect(old).active is False
    revived = client.agents.reactivate(registered.agent.id)
    fresh = client.tokens.issue_api_key(revived.api_key).access_token
    assert client.tokens.introspect(fresh).active is True
    assert client.tokens.session(fresh).active is True
    assert client.tokens.introspect(old).active is False
    assert code_of(client.tokens.issue_api_key, registered.api_key) == "invalid_grant"


@pytest.mark.parametrize("resume", ["update", "activate"])
def test_suspension_sleeps_and_wakes(open_server, client, http, resume):
    registered = register(client)
    id = registered.agent.id
    token = client.tokens.issue_api_key(registered.api_key).access_token
    assert client.agents.update(id, status="suspended").status == "suspended"
    assert client.tokens.introspect(token).active is False
    assert client.tokens.session(token).active is False
    assert not accepted(open_server, token, http)
    assert code_of(client.tokens.issue_api_key, registered.api_key) == "invalid_grant"
    woken = client.agents.activate(id) if resume == "activate" else client.agents.update(id, status="active")
    assert woken.status == "active"
    assert client.tokens.introspect(token).active is True
    assert accepted(open_server, token, http)
    assert client.tokens.issue_api_key(registered.api_key).jti


def test_introspection_shows_the_live_status_and_the_token_its_own(client):
    registered = register(client, trust_level="first_party")
    token = client.tokens.issue_api_key(registered.api_key).access_token
    client.agents.update(registered.agent.id, trust_level="unverified")
    assert client.tokens.verify(token).trust_level == "first_party"
    assert client.tokens.introspect(token).status == "active"


def test_a_rotated_key_ends_and_its_tokens_live_out(client):
    registered = register(client)
    token = client.tokens.issue_api_key(registered.api_key).access_token
    rotated = client.agents.rotate_key(registered.agent.id)
    assert client.tokens.introspect(token).active is True
    assert code_of(client.tokens.issue_api_key, registered.api_key) == "invalid_grant"
    assert client.tokens.issue_api_key(rotated.api_key).external_id == registered.agent.external_id


def test_revocation_takes_one_token(open_server, client, http):
    key = register(client).api_key
    first, second, third = (client.tokens.issue_api_key(key).access_token for _ in range(3))
    raw = http(open_server)
    assert raw.post("/oauth2/token/revoke", data={"token": first}).json() == {"revoked": True}
    assert raw.post("/oauth2/token/revoke", json={"token": second}).json() == {"revoked": True}
    assert raw.post("/oauth2/token/revoke", json={"token": "garbage"}).json() == {"revoked": True}
    assert [client.tokens.introspect(token).active for token in (first, second, third)] == [False, False, True]
    assert not accepted(open_server, first, http)


def test_a_form_is_as_good_as_json(open_server, client, http):
    key = register(client, allowed_scopes=["data:read"]).api_key
    raw = http(open_server)
    form = {"grant_type": "api_key", "api_key": key, "scope": "data:read"}
    token = raw.post("/oauth2/token", data=form)
    assert token.status_code == 200 and token.json()["scope"] == "data:read"
    info = raw.post("/oauth2/token/introspect", data={"token": token.json()["access_token"]})
    assert info.json()["active"] is True


def test_the_sdk_revokes_only_with_a_client(open_server, client):
    token = client.tokens.issue_api_key(register(client).api_key).access_token
    mark = open_server.traffic.mark()
    assert code_of(client.tokens.revoke, token) == "invalid_request"
    assert open_server.traffic.since(mark) == []
    with pytest.raises(APIError) as refused:
        client.tokens.revoke(token, client_id="nobody", client_secret="wrong-secret")
    assert (refused.value.status, refused.value.code) == (401, "invalid_client")
    assert client.tokens.introspect(token).active is True
