"""Agents that sign for themselves: a client with a private key, and how an agent enrols or replaces its key."""

import base64
import hashlib
import json

import pytest
from conftest import OWNER, new_tenant, refusal, register
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from highflame.zeroid import AdminScope
from highflame.zeroid.assertions import (
    JWT_BEARER_GRANT_TYPE,
    build_key_proof,
    generate_keypair,
    public_key_pem_from_private,
)
from highflame.zeroid.errors import APIError, AuthenticationError, ValidationError

METADATA = "/.well-known/oauth-authorization-server"
MANAGE = AdminScope.NHI_MANAGE


def with_key(connect, server, party, **options):
    """A client that authenticates with the party's private key."""
    options = {"private_key_pem": party.private_key_pem, **options}
    return connect(server, wimse_uri=party.agent.wimse_uri, **options)


def thumbprint(private_key_pem):
    """The RFC 7638 thumbprint of a P-256 key."""
    point = load_pem_private_key(private_key_pem.encode(), None).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
    canonical = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def proofs(agent, issuer, new, current=None, **changes):
    """The body of an enrolment; `changes` spoil single proofs."""
    public = public_key_pem_from_private(new)
    common = {"wimse_uri": agent.wimse_uri, "issuer": issuer}
    body = {
        "new_public_key_pem": public,
        "new_key_proof": build_key_proof(private_key_pem=new, **common),
    }
    if current:
        body["current_key_proof"] = build_key_proof(private_key_pem=current, new_public_key_pem=public, **common)
    return {**body, **changes}


def test_a_private_key_administers(server, connect, party):
    admin = party("admin", allowed_scopes=["data:read", MANAGE])
    client = with_key(connect, server, admin)
    mark = server.traffic.mark()
    assert client.agents.get(admin.agent.id) == admin.agent
    metadata, mint, call = server.traffic.since(mark)
    assert (metadata.path, mint.path, call.path) == (METADATA, "/oauth2/token", f"/agents/registry/{admin.agent.id}")
    assert mint.sent().keys() == {"grant_type", "assertion", "scope"}
    assert mint.sent()["grant_type"] == JWT_BEARER_GRANT_TYPE
    assert (mint.json()["scope"], mint.json()["external_id"]) == (MANAGE, admin.agent.external_id)
    mark = server.traffic.mark()
    me = client.whoami()
    assert [exchange.path for exchange in server.traffic.since(mark)] == ["/oauth2/token"], "the issuer is known by now"
    assert (me["subject"], me["issuer"], me["owner_user_id"]) == (admin.agent.wimse_uri, admin.issuer, None)
    assert (me["service_owner_user_id"], set(me["scopes"])) == (OWNER, {"data:read", MANAGE})

    with pytest.raises(ValidationError) as unknown:
        register(client, created_by=None)
    assert "created_by" in unknown.value.detail, "nobody made the key, so the SDK knows no owner"
    made = register(client).agent
    assert client.agents.deactivate(made.id).status == "deactivated"
    assert client.agents.list().total == 2
    assert client.tokens.verify_active(client.tokens.issue_jwt_bearer(admin.assertion()).access_token).jti


def test_an_issuer_that_is_given_is_not_looked_up(server, connect, party):
    agent = party()
    client = with_key(connect, server, agent, issuer=agent.issuer, scope="data:read")
    mark = server.traffic.mark()
    assert client.whoami()["scopes"] == ("data:read",)
    (mint,) = server.traffic.since(mark)
    assert mint.sent()["scope"] == "data:read"
    elsewhere = with_key(connect, server, agent, issuer=server.url)
    refusal(elsewhere.agents.list, code="invalid_grant", status=400)


def test_an_agent_that_does_not_administer_still_verifies(server, connect, party):
    agent, other = party(allowed_scopes=["data:read"]), party("other")
    client = with_key(connect, server, agent)
    refusal(client.agents.list, code="api_error", status=403)
    token = connect(server).tokens.issue_api_key(other.api_key, scope="data:write").access_token
    assert client.tokens.verify_active(token).sub == other.agent.wimse_uri
    assert client.health().status == "healthy" and client.jwks().keys


def test_an_assertion_is_exchanged_once(server, connect, party):
    agent = party(allowed_scopes=["data:read", "data:write"])
    tokens = connect(server).tokens
    assertion = agent.assertion()
    refusal(tokens.issue_jwt_bearer, assertion, scope="data:drop", code="invalid_scope", status=400)
    token = tokens.issue_jwt_bearer(assertion, scope="data:read data:drop")
    assert server.traffic.last().sent()["assertion"] == assertion
    assert (token.scope, token.external_id, token.user_id) == ("data:read", agent.agent.external_id, "")
    refusal(tokens.issue_jwt_bearer, assertion, scope="data:read", code="invalid_grant", status=400)
    claims = tokens.verify(token.access_token)
    assert (claims.sub, claims.grant_type, claims.act) == (agent.agent.wimse_uri, "jwt_bearer", None)
    assert set(tokens.issue_jwt_bearer(agent.assertion()).scope.split()) == {"data:read", "data:write"}


def test_who_has_no_key_or_another_one_is_one_answer(server, connect, operator, tenant, party):
    agent, keyless = party(), register(operator(server, tenant)).agent
    details = set()
    for uri, key in (
        (agent.agent.wimse_uri, generate_keypair()[0]),
        (keyless.wimse_uri, agent.private_key_pem),
        (agent.agent.wimse_uri + "x", agent.private_key_pem),
    ):
        client = connect(server, private_key_pem=key, wimse_uri=uri)
        mark = server.traffic.mark()
        details.add(refusal(client.agents.list, kind=APIError, code="invalid_grant", status=400).detail)
        assert [x.path for x in server.traffic.since(mark)] == [METADATA, "/oauth2/token"], "once, and no further"
    assert len(details) == 1


def test_an_agent_enrols_its_first_key(server, connect, operator, tenant, party):
    registered = register(operator(server, tenant), allowed_scopes=["data:read"])
    client = connect(server, api_key=registered.api_key)
    key, _ = generate_keypair()
    mark = server.traffic.mark()
    agent = client.agents.enroll_key(key)
    mint, sent = server.traffic.since(mark)
    assert "scope" not in mint.sent(), "its own token, not the administering one"
    assert not {"x-account-id", "x-project-id"} & sent.request_headers.keys()
    assert (agent.id, agent.wimse_uri, agent.status) == (registered.agent.id, registered.agent.wimse_uri, "active")
    assert sent.json()["public_key_thumbprint"] == thumbprint(key)
    assert agent.updated_at > registered.agent.updated_at
    assert operator(server, tenant).agents.get(agent.id) == agent

    signing = connect(server, private_key_pem=key, wimse_uri=agent.wimse_uri)
    assert signing.whoami()["scopes"] == ("data:read",)
    actor = party("planner", allowed_scopes=["data:read"])
    boss = connect(server, api_key=actor.api_key)
    boss.tokens.delegate_to(wimse_uri=agent.wimse_uri, private_key_pem=key, scope="data:read")
    assert client.tokens.verify_active(client.tokens.issue_api_key(registered.api_key).access_token).jti


def test_a_narrowed_token_enrols_no_key_that_administers(server, connect, operator, tenant):
    registered = register(operator(server, tenant), allowed_scopes=["data:read", MANAGE])
    key, _ = generate_keypair()
    narrow = connect(server, api_key=registered.api_key, scope="data:read")
    error = refusal(narrow.agents.enroll_key, key, code="api_error", status=403)
    assert MANAGE in error.detail
    assert connect(server, api_key=registered.api_key).agents.enroll_key(key).id == registered.agent.id


def test_a_client_that_replaces_its_key_goes_on_with_the_new_one(server, connect, party):
    agent = party("admin", allowed_scopes=[MANAGE])
    client, left_behind = with_key(connect, server, agent), with_key(connect, server, agent)
    before = connect(server).tokens.issue_jwt_bearer(agent.assertion()).access_token
    new, _ = generate_keypair()
    mark = server.traffic.mark()
    changed = client.agents.enroll_key(new, current_private_key_pem=agent.private_key_pem)
    assert server.traffic.since(mark)[-1].json()["public_key_thumbprint"] == thumbprint(new)
    assert changed.id == agent.agent.id
    assert client.agents.list().total == 1, "it signs with the new key"
    refusal(left_behind.agents.list, code="invalid_grant", status=400)
    refusal(connect(server).tokens.issue_jwt_bearer, agent.assertion(), code="invalid_grant", status=400)
    assert client.tokens.verify_active(before).jti, "what the old key obtained lives on"
    third, _ = generate_keypair()
    client.agents.enroll_key(third, current_private_key_pem=new)
    assert client.agents.list().total == 1


def test_proofs_work_once_and_must_fit(server, connect, operator, tenant, party):
    agent, other = party(), party("other")
    client = connect(server, api_key=agent.api_key)
    enrol = client.agents.set_own_public_key
    new, (foreign, _) = generate_keypair()[0], generate_keypair()
    fit = (agent.agent, agent.issuer)
    old = agent.private_key_pem
    wrong_audience = proofs(agent.agent, agent.issuer + "/", new, old)
    for body in (
        proofs(*fit, new),
        proofs(*fit, new, current_key_proof=""),
        proofs(*fit, new, foreign),
        proofs(*fit, new, new),
        proofs(other.agent, agent.issuer, new, old),
        wrong_audience,
        proofs(*fit, new, old, new_key_proof=proofs(*fit, foreign)["new_key_proof"]),
        proofs(*fit, new, old, current_key_proof=proofs(*fit, foreign, old)["current_key_proof"]),
        proofs(*fit, new, old, current_key_proof=proofs(*fit, old)["new_key_proof"]),
        proofs(*fit, new, old, new_key_proof="garbage"),
        proofs(*fit, new, old, new_key_proof=agent.assertion()),
    ):
        refusal(enrol, **body, code="api_error", status=403)
    good = proofs(*fit, new, old)
    enrol(**good)
    refusal(enrol, **good, code="api_error", status=403)
    again = proofs(*fit, foreign, new, new_key_proof=good["new_key_proof"])
    refusal(enrol, **{**again, "new_public_key_pem": good["new_public_key_pem"]}, code="api_error", status=403)
    enrol(**proofs(*fit, foreign, new))


def test_only_a_p256_key_is_enrolled(server, connect, party):
    agent = party()
    client = connect(server, api_key=agent.api_key)
    good = proofs(agent.agent, agent.issuer, generate_keypair()[0], agent.private_key_pem)
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    other = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for pem in (other, "", "key", agent.private_key_pem):
        with pytest.raises(ValidationError):
            client.agents.set_own_public_key(**{**good, "new_public_key_pem": pem})
        assert server.traffic.last().status == 400
    assert client.agents.set_own_public_key(**good).id == agent.agent.id, "what was refused used nothing up"


def test_a_token_that_is_not_the_agents_own_enrols_nothing(server, connect, operator, tenant, party):
    planner, agent = party("planner"), party()
    boss = connect(server, api_key=planner.api_key, scope="data:read")
    delegated = boss.tokens.delegate_to(**agent.to(), scope="data:read").access_token
    new, _ = generate_keypair()
    body = proofs(agent.agent, agent.issuer, new, agent.private_key_pem)
    for token in (delegated, server.admin_key, agent.api_key, "garbage"):
        client = connect(server, default_headers={"Authorization": f"Bearer {token}"})
        with pytest.raises(ValidationError):
            client.agents.enroll_key(new, current_private_key_pem=agent.private_key_pem)
        refusal(client.agents.set_own_public_key, **body, kind=AuthenticationError, code="unauthorized", status=401)
        assert server.traffic.last().headers["www-authenticate"].startswith("Bearer ")
    refusal(connect(server).agents.set_own_public_key, **body, code="unauthorized", status=401)
    own = connect(server, api_key=agent.api_key)
    operator(server, tenant).agents.deactivate(agent.agent.id)
    refusal(own.agents.set_own_public_key, **body, code="invalid_grant", status=400)


def test_a_key_of_another_agent_is_set_by_nobody_else(server, connect, party):
    agent, other, stranger = party(), party("other"), party("stranger", within=new_tenant())
    new, _ = generate_keypair()
    for caller in (other, stranger):
        client = connect(server, api_key=caller.api_key)
        body = proofs(agent.agent, agent.issuer, new, agent.private_key_pem)
        refusal(client.agents.set_own_public_key, **body, code="api_error", status=403)
    assert connect(server).tokens.issue_jwt_bearer(agent.assertion()).jti, "its key is the old one"
