"""Workloads with the token of their platform, and people with the ID token of their provider: no secret of ours is needed."""

import base64
import json
import time
import uuid

import jwt
import pytest
from conftest import accepted, new_tenant, refusal, register, unique
from cryptography.hazmat.primitives.asymmetric import ec
from highflame.zeroid.errors import APIError, AuthenticationError

SHAPES = {
    "kubernetes": {
        "sub": "system:serviceaccount:shop:worker",
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "worker", "uid": "u"}},
    },
    "github": {"sub": "repo:acme/shop:ref:refs/heads/main", "repository_owner_id": "1234567", "run_id": "1"},
    "aws": {"sub": "arn:aws:iam::123456789012:role/worker", "https://sts.amazonaws.com/": {"org_id": "o-1"}},
}


class Platform:
    """An issuer of workload tokens with one key."""

    def __init__(self):
        self.url = f"https://{uuid.uuid4().hex}.issuer.example"
        self._key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self):
        """The key as others see it."""
        point = self._key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
        return {"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k1"}]}

    def token(self, audience, **claims):
        """A fresh token; a claim of None is left out."""
        now = int(time.time())
        base = {"iss": self.url, "aud": audience, "iat": now, "nbf": now, "exp": now + 300, "jti": uuid.uuid4().hex}
        claims = {name: value for name, value in {**base, **claims}.items() if value is not None}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "k1"})


@pytest.fixture
def trust(server, http, operator, tenant):
    """Register a platform for the test's tenant and link a subject to a new agent."""

    def make(platform, subject):
        headers = {
            "Authorization": f"Bearer {server.admin_key}",
            "X-Account-ID": tenant.account_id,
            "X-Project-ID": tenant.project_id,
        }
        agent = register(operator(server, tenant), "workload").agent
        api = http(server)
        made = api.post("/trusted-issuers", headers=headers, json={"issuer": platform.url, "jwks": platform.jwks()})
        assert made.status_code == 201, made.text
        linked = api.post(
            f"/trusted-issuers/{made.json()['id']}/subjects",
            headers=headers,
            json={"subject": subject, "identity_id": agent.id},
        )
        assert linked.status_code == 201, linked.text
        return agent, made.json()["audience"]

    return make


@pytest.mark.parametrize("shape", SHAPES)
def test_a_platform_token_becomes_the_token_of_the_linked_agent(server, connect, http, trust, shape, tenant):
    platform, claims = Platform(), SHAPES[shape]
    agent, audience = trust(platform, claims["sub"])
    client = connect(server)
    mark = server.traffic.mark()
    token = client.tokens.issue_federated(platform.token(audience, **claims), scope="data:read")
    (call,) = server.traffic.since(mark)
    assert call.sent().keys() == {"grant_type", "client_assertion_type", "client_assertion", "scope"}
    assert (token.scope, token.external_id) == ("data:read", agent.external_id)
    assert (token.account_id, token.project_id) == (tenant.account_id, tenant.project_id)
    said = json.loads(base64.urlsafe_b64decode(token.access_token.split(".")[1] + "=="))
    assert (said["sub"], said["grant_type"]) == (agent.wimse_uri, "client_credentials")
    assert accepted(server, token.access_token, http)


def test_a_platform_token_works_once_and_only_for_this_server(server, connect, trust):
    platform = Platform()
    subject = SHAPES["github"]["sub"]
    _, audience = trust(platform, subject)
    client = connect(server, **new_tenant().options())
    issue = client.tokens.issue_federated
    once = platform.token(audience, sub=subject)
    issue(once)
    refusal(issue, once, code="invalid_grant", status=400, kind=APIError)
    for spoilt in (
        {"aud": "https://neighbour.example"},
        {"sub": "repo:evil/shop:ref:refs/heads/main"},
        {"sub": None},
        {"exp": int(time.time()) - 60, "iat": int(time.time()) - 120},
        {"exp": int(time.time()) + 7200},
        {"iss": "https://evil.example"},
    ):
        token = platform.token(**{"audience": audience, "sub": subject, **spoilt})
        refusal(issue, token, code="invalid_client", status=401, kind=AuthenticationError)
    other = Platform()
    other.url = platform.url
    refusal(issue, other.token(audience, sub=subject), code="invalid_client", status=401, kind=AuthenticationError)


@pytest.fixture
def signed_in(server, http, party, tenant):
    """A provider of the test's tenant, an agent with an app there, and a person who lets that app act."""
    provider, agent, app = Platform(), party("assistant", allowed_scopes=["data:read", "data:write"]), unique("0oa")
    headers = {
        "Authorization": f"Bearer {server.admin_key}",
        "X-Account-ID": tenant.account_id,
        "X-Project-ID": tenant.project_id,
    }

    def call(path, body):
        answer = http(server).post(path, headers=headers, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    client = {"client_id": app, "name": "App", "identity_id": agent.agent.id, "scopes": ["data:read", "data:write"]}
    call("/oauth/clients", {**client, "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["token_exchange"]})
    person = call("/users", {"user_id": unique("person")})
    entry = call("/trusted-issuers", {"issuer": provider.url, "jwks": provider.jwks(), "audience": app})
    call(f"/trusted-issuers/{entry['id']}/subjects", {"subject": "00u1", "user_id": person["id"]})
    call("/admin/consents", {"user_id": person["id"], "client_id": app, "scopes": ["data:read"]})
    return provider, agent, app, person


def test_a_persons_id_token_becomes_a_token_in_their_name(server, connect, http, signed_in, tenant):
    provider, agent, app, person = signed_in
    client = connect(server)
    options = {"client_id": app, "private_key_pem": agent.private_key_pem}
    exchange = client.tokens.exchange_id_token
    for scope in ("data:read data:write", ""):
        token = exchange(provider.token(app, sub="00u1", azp=app, nonce="n"), scope=scope, **options)
        assert (token.scope, token.account_id) == ("data:read", tenant.account_id)
        said = json.loads(base64.urlsafe_b64decode(token.access_token.split(".")[1] + "=="))
        assert (said["sub"], said["principal_type"]) == (person["user_id"], "user")
        assert said["act"]["sub"] == agent.agent.wimse_uri
        assert accepted(server, token.access_token, http)
    once = provider.token(app, sub="00u1")
    exchange(once, **options)
    refusal(exchange, once, code="invalid_grant", status=400, kind=APIError, **options)
    for spoilt in ({"aud": "other"}, {"azp": "other"}, {"sub": "00u2"}, {"exp": int(time.time()) - 60}):
        spoilt = provider.token(**{"audience": app, "sub": "00u1", **spoilt})
        refusal(exchange, spoilt, code="invalid_grant", status=400, kind=APIError, **options)
