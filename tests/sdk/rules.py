"""What holds for every answer, whichever test caused it."""

import re

from highflame.zeroid.types import (
    AccessToken,
    Agent,
    AgentRegistered,
    CAESignal,
    CredentialListResponse,
    CredentialRevokeResponse,
    DelegationChain,
    APIKey,
    APIKeyCreated,
    CredentialPolicy,
    DelegationChainEdge,
    DelegationChainNode,
    HealthResponse,
    Identity,
    IssueCredentialResponse,
    IssuedCredential,
    JWKSResponse,
    OAuthClient,
    OAuthClientCreated,
    TokenIntrospection,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

PRIVATE_KEY_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
SECRETS = (
    *("api_key", "client_secret", "client_assertion", "token", "refresh_token", "assertion"),
    *("subject_token", "actor_token", "new_key_proof", "current_key_proof"),
)
AGENT = r"/agents/registry/[^/]+"
IDENTITY = r"/identities/[0-9a-f-]{36}"
CLIENT = r"/oauth/clients/[^/]+"
CREDENTIAL = r"/credentials/[^/]+"
MODELS = [
    ("POST", "/agents/register", 201, AgentRegistered),
    ("POST", AGENT + "/rotate-key", 200, AgentRegistered),
    ("POST", AGENT + "/(activate|deactivate)", 200, Agent),
    ("(GET|PATCH|DELETE)", AGENT, 200, Agent),
    ("POST", "/identities", 201, Identity),
    ("(GET|PATCH|DELETE)", IDENTITY, 200, Identity),
    ("POST", IDENTITY + "/(adopt|dismiss|expire)", 200, Identity),
    ("GET", "/identities/by-wimse", 200, Identity),
    ("POST", "/signals/ingest", 201, CAESignal),
    ("POST", "/oauth/clients", 201, OAuthClientCreated),
    ("POST", CLIENT + "/rotate-secret", 200, OAuthClientCreated),
    ("(GET|PATCH)", CLIENT, 200, OAuthClient),
    ("GET", "/credentials", 200, CredentialListResponse),
    ("GET", CREDENTIAL, 200, IssuedCredential),
    ("POST", CREDENTIAL + "/revoke", 200, CredentialRevokeResponse),
    ("POST", "/credentials/issue|" + CREDENTIAL + "/rotate", 201, IssueCredentialResponse),
    ("GET", r"/delegations/by-jti/[^/]+", 200, DelegationChain),
    ("POST", "/agents/self/public-key", 200, Agent),
    ("POST", "/credential-policies", 201, CredentialPolicy),
    ("(GET|PATCH)", "/credential-policies/[^/]+", 200, CredentialPolicy),
    ("POST", "/api-keys", 201, APIKeyCreated),
    ("GET", "/api-keys/[^/]+", 200, APIKey),
    ("POST", "/oauth2/token", 200, AccessToken),
    ("POST", "/oauth2/token/introspect", 200, TokenIntrospection),
    ("GET", "/health", 200, HealthResponse),
    ("GET", r"/\.well-known/jwks\.json", 200, JWKSResponse),
]


# The lists: their path, the member that holds the items, the items' model and the numbers beside them.
LISTS = {
    "/agents/registry": ("agents", Agent, ("total", "limit", "offset")),
    "/identities": ("identities", Identity, ("total", "limit", "offset")),
    "/signals": ("signals", CAESignal, ("total",)),
    "/credential-policies": ("credential_policies", CredentialPolicy, ("total",)),
    "/api-keys": ("keys", APIKey, ("total", "page", "limit")),
}


def check(exchange):
    """Fail when an answer breaks a rule."""
    assert exchange.status < 500, f"a fault: {exchange}"
    assert exchange.headers.get("x-request-id"), f"no request id: {exchange}"
    assert "x-idempotency-key" not in exchange.request_headers, f"sent twice: {exchange}"
    if exchange.status >= 400:
        check_refusal(exchange)
    elif exchange.method == "GET" and exchange.path in LISTS:
        check_page(exchange)
    elif exchange.method == "GET" and exchange.path == "/oauth/clients":
        check_clients(exchange)
    elif exchange.status == 204:
        assert exchange.body == b"", f"a body: {exchange}"
    elif exchange.status != 304 and (found := model_of(exchange)):
        check_model(found, exchange.json(), exchange)
    if exchange.path == "/oauth2/token":
        assert "no-store" in exchange.headers.get("cache-control", ""), f"may be cached: {exchange}"


def check_refusal(exchange):
    """An OAuth error on protocol routes, a problem document elsewhere; never a secret of the request."""
    body = exchange.json()
    assert isinstance(body, dict), f"not an object: {exchange}"
    if exchange.path.startswith("/oauth2/"):
        assert isinstance(body.get("error"), str), f"no OAuth code: {exchange}"
        assert isinstance(body.get("error_description", ""), str), f"no text: {exchange}"
    else:
        kind = exchange.headers.get("content-type", "")
        assert kind.startswith("application/problem+json"), f"{kind}: {exchange}"
        assert body["status"] == exchange.status, f"two statuses: {exchange}"
        assert body["title"] and isinstance(body["title"], str), f"no title: {exchange}"
        assert body["detail"] and isinstance(body["detail"], str), f"no detail: {exchange}"
        assert all(isinstance(error["message"], str) for error in body.get("errors", [])), f"{exchange}"
    for name in SECRETS:
        secret = exchange.sent().get(name)
        assert not secret or len(secret) < 8 or secret not in exchange.body.decode(), f"echo: {exchange}"


def check_page(exchange):
    """A list, with how many there are in all."""
    member, model, numbers = LISTS[exchange.path]
    body = exchange.json()
    assert isinstance(body[member], list), f"no list: {exchange}"
    for name in numbers:
        assert type(body[name]) is int, f"{name} is no integer: {exchange}"
    for item in body[member]:
        check_model(model, item, exchange)


def check_clients(exchange):
    """A list of clients, with how many there are."""
    body = exchange.json()
    assert type(body["total"]) is int and body["total"] == len(body["clients"]), f"total: {exchange}"
    for client in body["clients"]:
        check_model(OAuthClient, client, exchange)


def check_model(model, raw, exchange):
    """The SDK's model takes the answer, and no null stands where it takes none."""
    model.model_validate(raw)
    assert not (found := refused_nulls(model, raw)), f"null in {found}: {exchange}"
    if model is AgentRegistered:
        check_agent(raw["identity"], exchange)
    elif model in (Agent, Identity):
        check_agent(raw, exchange)
    elif model in (OAuthClient, OAuthClientCreated):
        check_client(raw.get("client", raw), exchange)
    elif model is AccessToken:
        assert None not in raw.values(), f"null in a token answer: {exchange}"
    elif model is IssueCredentialResponse:
        check_model(AccessToken, raw["token"], exchange)
        check_model(IssuedCredential, raw["credential"], exchange)
    elif model is CredentialListResponse:
        assert type(raw["total"]) is int, f"total is no integer: {exchange}"
        for credential in raw["credentials"]:
            check_model(IssuedCredential, credential, exchange)
    elif model is DelegationChain:
        check_chain(raw, exchange)
    elif model is TokenIntrospection and not raw["active"]:
        assert raw == {"active": False}, f"says more than inactive: {exchange}"
    elif model is APIKey:
        assert not {"key", "key_hash", "secret"} & raw.keys(), f"a secret: {exchange}"
    elif model is JWKSResponse:
        check_keys(raw["keys"], exchange)


def check_agent(raw, exchange):
    """Collections are never null, optional strings are sent, and no secret is among the fields."""
    assert isinstance(raw["capabilities"], list), f"capabilities: {exchange}"
    assert isinstance(raw["labels"], dict) and isinstance(raw["metadata"], dict), f"labels, metadata: {exchange}"
    assert raw["wimse_uri"].startswith("spiffe://"), f"wimse_uri: {exchange}"
    assert not {"api_key", "key_hash", "secret"} & raw.keys(), f"a secret: {exchange}"


def check_chain(raw, exchange):
    """The root first, each credential below the one before it, and every holder a node."""
    assert raw["edges"], f"an empty chain: {exchange}"
    above = {"jti": "", "to": "", "scopes_out": raw["edges"][0]["scopes_out"]}
    for depth, edge in enumerate(raw["edges"]):
        check_model(DelegationChainEdge, edge, exchange)
        assert (edge["parent_jti"], edge["from"]) == (above["jti"], above["to"]), f"order: {exchange}"
        assert (edge["delegation_depth"], edge["scopes_in"]) == (depth, above["scopes_out"]), f"hop: {exchange}"
        assert set(edge["attenuated"]) == set(edge["scopes_in"]) - set(edge["scopes_out"]), f"scopes: {exchange}"
        assert edge["is_revoked"] or not {"revoked_at", "revoke_reason"} & edge.keys(), f"a live one: {exchange}"
        above = edge
    for node in raw["nodes"]:
        check_model(DelegationChainNode, node, exchange)
    ids = [node["id"] for node in raw["nodes"]]
    assert len(ids) == len(set(ids)) and set(ids) >= {edge["to"] for edge in raw["edges"]}, f"nodes: {exchange}"


def check_client(raw, exchange):
    """Lists are never null, and no secret is among the fields."""
    for name in ("grant_types", "redirect_uris", "scopes"):
        assert isinstance(raw[name], list), f"{name}: {exchange}"
    assert None not in raw.values(), f"null in a client: {exchange}"
    assert not {"client_secret", "secret_hash", "old_secret_hash", "pepper_id"} & raw.keys(), f"a secret: {exchange}"


def check_keys(keys, exchange):
    """Public signing keys only, each with the members a verifier needs."""
    assert keys, f"no key: {exchange}"
    for key in keys:
        assert key["kid"] and key["use"] == "sig" and key["alg"] in {"ES256", "RS256"}, f"{exchange}"
        assert not PRIVATE_KEY_MEMBERS & key.keys(), f"a private member: {exchange}"
        if key["alg"] == "ES256":
            assert key["kty"] == "EC" and key["crv"] == "P-256" and key["x"] and key["y"], f"{exchange}"


def refused_nulls(model, raw, path=""):
    """Where `raw` holds a null that `model` would refuse."""
    found = []
    for name, field in model.model_fields.items():
        key, here = field.alias or name, f"{path}{field.alias or name}"
        kind = field.annotation
        if key not in raw:
            continue
        if raw[key] is None and not takes_null(kind):
            found.append(here)
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(raw[key], dict):
            found += refused_nulls(kind, raw[key], here + ".")
    return found


def takes_null(kind):
    """Whether the SDK accepts null for this type."""
    try:
        TypeAdapter(kind).validate_python(None)
    except ValidationError:
        return False
    return True


def model_of(exchange):
    """The SDK's model for the answer, or nothing when the SDK never reads that route."""
    for method, path, status, model in MODELS:
        if re.fullmatch(method, exchange.method) and re.fullmatch(path, exchange.path):
            assert exchange.status == status, f"expected {status}: {exchange}"
            return model
    return None
