"""Every endpoint's raw answer against the SDK's models, for the barest agent and for the fullest."""

import pytest
from conftest import OWNER, unique
from highflame.zeroid.assertions import build_key_proof, generate_keypair
from highflame.zeroid.types import Agent, AgentRegistered, IssuedCredential
from rules import MODELS, check_model, model_of, refused_nulls

BARE = {}
FULL = {
    "identity_type": "agent",
    "sub_type": "orchestrator",
    "trust_level": "first_party",
    "framework": "langgraph",
    "version": "1",
    "publisher": "Example",
    "description": "Plans.",
    "capabilities": ["bash"],
    "labels": {"team": "data"},
    "metadata": {"note": None},
    "allowed_scopes": ["data:read"],
    "expires_at": "2999-01-01T00:00:00.123456789+02:00",
}
POLICY = {
    "description": "For the field.",
    "max_ttl_seconds": 60,
    "allowed_grant_types": ["api_key"],
    "allowed_scopes": ["data:read"],
    "required_trust_level": "first_party",
    "required_attestation": "software",
    "max_delegation_depth": 3,
    "source": "tests",
    "source_key": "field",
    "expires_at": "2999-01-01T00:00:00Z",
}
KEY = {
    "description": "For the pipeline.",
    "scopes": ["data:read"],
    "environment": "test",
    "expires_in_days": 7,
    "metadata": {"note": None},
    "ip_allowlist": ["10.0.0.0/8"],
    "product": "search",
}


def test_the_rules_find_nulls():
    assert refused_nulls(Agent, {"framework": None, "labels": None, "unknown": None}) == ["framework"]
    assert refused_nulls(AgentRegistered, {"identity": {"id": None}, "api_key": None}) == ["identity.id", "api_key"]
    assert refused_nulls(IssuedCredential, {"scopes": None, "revoked_at": None}) == ["scopes"]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("fields", [BARE, FULL], ids=["bare", "full"])
def test_every_endpoint_answers_what_the_models_take(open_server, http, tenant, fields, prefix):
    raw = http(open_server)
    tenant_of = {"X-Account-ID": tenant.account_id, "X-Project-ID": tenant.project_id}
    mark = open_server.traffic.mark()

    def admin(method, path, **options):
        answer = raw.request(method, prefix + path, headers=tenant_of, **options)
        assert answer.is_success, answer.text
        return answer.json()

    body = {"name": "Planner", "external_id": unique("planner"), "created_by": OWNER, **fields}
    made = admin("POST", "/agents/register", json=body)
    agent = f"/agents/registry/{made['identity']['id']}"
    assert admin("GET", agent) == made["identity"]
    assert admin("GET", "/agents/registry")["agents"] == [made["identity"]]
    assert admin("GET", "/agents/registry", params={"limit": 1, "offset": 1})["agents"] == []
    admin("PATCH", agent, json={})
    key = admin("POST", agent + "/rotate-key")["api_key"]
    issued = raw.post("/oauth2/token", json={"grant_type": "api_key", "api_key": key}).json()
    token, credential = issued["access_token"], f"/credentials/{issued['jti']}"
    assert raw.post("/oauth2/token/introspect", json={"token": token}).json()["active"] is True
    of_agent = {"identity_id": made["identity"]["id"]}
    assert admin("GET", "/credentials", params=of_agent)["credentials"] == [admin("GET", credential)]
    assert len(admin("GET", f"/delegations/by-jti/{issued['jti']}")["edges"]) == 1
    second = raw.post("/oauth2/token", json={"grant_type": "api_key", "api_key": key}).json()["jti"]
    admin("POST", f"/credentials/{second}/revoke")
    assert admin("GET", f"/delegations/by-jti/{second}")["edges"][0]["is_revoked"] is True
    rotate(admin, made["identity"]["id"])
    enrol(raw, made["identity"], token)
    for action in ("/deactivate", "/activate", "/rotate-key"):
        admin("POST", agent + action, json={})
    assert raw.post("/oauth2/token/introspect", json={"token": token}).json() == {"active": False}
    admin("DELETE", agent)
    identities(admin, fields)
    signal = {"signal_type": "ip_change", "source": "tests", **({"payload": {"note": None}} if fields else {})}
    signal = admin("POST", "/signals/ingest", json=signal)
    assert signal in admin("GET", "/signals")["signals"]
    body = {"client_id": unique("client"), "name": "Client", "confidential": True}
    made = admin("POST", "/oauth/clients", json=body)
    client = f"/oauth/clients/{made['client']['id']}"
    assert admin("GET", client) == made["client"]
    assert admin("GET", "/oauth/clients") == {"clients": [made["client"]], "total": 1}
    admin("PATCH", client, json={})
    assert admin("POST", client + "/rotate-secret")["client_secret"] != made["client_secret"]
    assert admin("DELETE", client) == {"deleted": True, "id": made["client"]["id"]}
    more = POLICY if fields else {}
    policy = f"/credential-policies/{admin('POST', '/credential-policies', json={'name': 'field', **more})['id']}"
    admin("PATCH", policy, json={})
    assert admin("GET", "/credential-policies")["credential_policies"][0] == admin("GET", policy)
    key = f"/api-keys/{admin('POST', '/api-keys', json={'name': 'ci', **(KEY if fields else {})})['id']}"
    assert admin("GET", "/api-keys")["keys"][0] == admin("GET", key)
    admin("POST", key + "/revoke")
    assert admin("GET", key)["state"] == "revoked"
    raw.get("/health")
    raw.get("/.well-known/jwks.json")

    met = set()
    for exchange in open_server.traffic.since(mark):
        if model := model_of(exchange):
            check_model(model, exchange.json(), exchange)
            met.add(model)
    assert met == {model for *_, model in MODELS}


def rotate(admin, agent):
    """An administrator issues a credential and replaces it."""
    first = admin("POST", "/credentials/issue", json={"identity_id": agent})["credential"]
    second = admin("POST", f"/credentials/{first['id']}/rotate", json={})["credential"]
    assert admin("GET", f"/credentials/{first['id']}")["revoke_reason"] == "rotated"
    assert admin("GET", f"/credentials/{second['id']}") == second


def enrol(raw, agent, token):
    """The agent registers a key of its own; this stands at the root only."""
    private, public = generate_keypair()
    issuer = raw.get("/.well-known/oauth-authorization-server").json()["issuer"]
    proof = build_key_proof(wimse_uri=agent["wimse_uri"], private_key_pem=private, issuer=issuer)
    body = {"new_public_key_pem": public, "new_key_proof": proof}
    answer = raw.post("/agents/self/public-key", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text


def identities(admin, fields):
    """An identity without a key, and one that a source reported."""
    body = {"external_id": unique("identity"), "owner_user_id": OWNER, **fields}
    made = admin("POST", "/identities", json=body)
    path = f"/identities/{made['id']}"
    assert admin("GET", path) == made
    assert made in admin("GET", "/identities")["identities"]
    assert admin("GET", "/identities/by-wimse", params={"uri": made["wimse_uri"]}) == made
    assert admin("PATCH", path, json={}) == {**made, "updated_at": admin("GET", path)["updated_at"]}
    admin("DELETE", path)
    found = {"origin": "aws", "external_id": unique("found"), "name": "Found"}
    found = admin("POST", "/identities/discovered", json=found)["identity"]
    admin("POST", f"/identities/{found['id']}/adopt", json={"owner_user_id": OWNER})
    assert admin("POST", f"/identities/{found['id']}/dismiss")["status"] == "discovered"
    assert admin("POST", f"/identities/{found['id']}/dismiss")["status"] == "deactivated"
