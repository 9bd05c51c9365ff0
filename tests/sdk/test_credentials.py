"""Credentials and their chains: read, listed, revoked, and verified against what has become of them."""

import pytest
from conftest import new_tenant, register
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import (
    APIError,
    CredentialNotFoundError,
    InvalidRequestError,
    NotFoundError,
    TokenRevokedError,
    ValidationError,
    ZeroIDError,
)

UNKNOWN = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def client(open_server, connect, tenant):
    """A keyless client in a tenant of its own."""
    return connect(open_server, **tenant.options())


def held(client, **fields):
    """A new agent and a token of its."""
    registered = register(client, **fields)
    return registered.agent, client.tokens.issue_api_key(registered.api_key)


def dead(client, token):
    """Why the chain of the token is refused."""
    with pytest.raises(TokenRevokedError) as refused:
        client.tokens.verify_active(token.access_token)
    assert (refused.value.code, refused.value.jti) == ("token_revoked", token.jti)
    return refused.value


def test_a_credential_is_read_listed_and_revoked(server, operator, tenant):
    client = operator(server, tenant)
    agent, token = held(client, allowed_scopes=["data:read"])
    credential = client.credentials.get(token.jti)
    assert (credential.id, credential.jti, credential.identity_id) == (token.jti, token.jti, agent.id)
    assert (credential.account_id, credential.project_id) == (tenant.account_id, tenant.project_id)
    assert (credential.subject, credential.scopes) == (agent.wimse_uri, ["data:read"])
    assert (credential.grant_type, credential.ttl_seconds, credential.delegation_depth) == ("api_key", 3600, 0)
    assert credential.issued_at < credential.expires_at
    assert (credential.is_revoked, credential.revoked_at, credential.revoke_reason) == (False, None, None)
    assert (credential.parent_jti, credential.delegated_by_wimse_uri) == (None, None)
    listed = client.credentials.list(agent.id)
    assert (listed.credentials, listed.total) == ([credential], 1)

    answer = client.credentials.revoke(token.jti, reason="no longer needed")
    assert (answer.revoked, answer.id) == (True, token.jti)
    revoked = client.credentials.get(token.jti)
    assert (revoked.is_revoked, revoked.revoke_reason) == (True, "no longer needed")
    assert revoked.revoked_at
    assert client.credentials.list(agent.id).credentials == [revoked]
    with pytest.raises(NotFoundError):
        client.credentials.revoke(token.jti)


def test_a_revocation_without_a_reason_takes_one_credential(server, operator, tenant, http):
    client = operator(server, tenant)
    registered = register(client)
    gone, kept = (client.tokens.issue_api_key(registered.api_key) for _ in range(2))
    assert client.credentials.revoke(gone.jti).revoked is True
    assert client.credentials.get(gone.jti).revoke_reason == "manual_revocation"
    assert client.tokens.verify_active(kept.access_token).jti == kept.jti
    assert dead(client, gone).revoke_reason == "manual_revocation"
    listed = client.credentials.list(registered.agent.id)
    assert [found.jti for found in listed.credentials if not found.is_revoked] == [kept.jti]
    assert listed.total == 2


def test_lists_and_unknown_ids(open_server, connect, client):
    agent = register(client).agent
    empty = client.credentials.list(agent.id)
    assert (empty.credentials, empty.total) == ([], 0)
    with pytest.raises(ValidationError):
        client.credentials.list("")
    for call in (client.credentials.get, client.credentials.revoke, client.tokens.delegation_chain):
        with pytest.raises(NotFoundError):
            call(UNKNOWN)
        with pytest.raises(ValidationError):
            call("not-a-uuid")
    with pytest.raises(InvalidRequestError):
        client.tokens.delegation_chain("")
    agent, token = held(client)
    stranger = connect(open_server, **new_tenant().options())
    for call in (stranger.credentials.get, stranger.credentials.revoke, stranger.tokens.delegation_chain):
        with pytest.raises(NotFoundError):
            call(token.jti)
    assert stranger.credentials.list(agent.id).total == 0
    assert client.tokens.verify_active(token.access_token)


@pytest.mark.parametrize("scope", [AdminScope.NHI_MANAGE, AdminScope.CREDENTIALS_MANAGE])
def test_either_admin_scope_lets_an_agent_manage_credentials(server, operator, connect, tenant, scope):
    admin = register(operator(server, tenant), "admin", allowed_scopes=[scope])
    client = connect(server, api_key=admin.api_key)
    agent, token = held(operator(server, tenant))
    assert client.credentials.get(token.jti).identity_id == agent.id
    assert client.credentials.list(agent.id).total == 1
    assert client.credentials.revoke(token.jti, reason="x").revoked is True
    assert dead(client, token).revoke_reason == "x"


def test_the_chain_of_a_root_token(server, operator, tenant):
    client = operator(server, tenant)
    agent, token = held(client, allowed_scopes=["a", "b"], trust_level="first_party")
    chain = client.tokens.delegation_chain(token.jti)
    (node,), (edge,) = chain.nodes, chain.edges
    assert (node.id, node.wimse_uri, node.name) == (agent.id, agent.wimse_uri, agent.name)
    assert (node.identity_type, node.trust_level, node.status) == ("agent", "first_party", "active")
    assert (edge.jti, edge.parent_jti, edge.mission_id) == (token.jti, "", token.jti)
    assert (edge.from_, edge.to, edge.grant_type, edge.delegation_depth) == ("", agent.id, "api_key", 0)
    assert set(edge.scopes_in) == set(edge.scopes_out) == {"a", "b"}
    assert (edge.attenuated, edge.is_revoked, edge.revoked_at, edge.revoke_reason) == ([], False, None, "")
    assert (edge.expires_at - edge.issued_at).total_seconds() == token.expires_in
    assert chain.is_revoked() is False and chain.revoked_edges() == []


def test_an_agent_without_admin_scopes_verifies_tokens_of_its_tenant(server, operator, connect, tenant):
    client = operator(server, tenant)
    verifier = connect(server, api_key=register(client, "verifier").api_key)
    agent, token = held(client)
    identity = verifier.tokens.verify_active(token.access_token)
    assert (identity.jti, identity.sub) == (token.jti, agent.wimse_uri)
    assert verifier.tokens.verify_active_bearer(f"Bearer {token.access_token}") == identity
    with pytest.raises(APIError) as refused:
        verifier.credentials.get(token.jti)
    assert refused.value.status == 403
    client.credentials.revoke(token.jti, reason="stolen")
    error = dead(verifier, token)
    assert (error.revoked_jti, error.revoke_reason) == (token.jti, "stolen")
    assert error.revoked_at and error.chain.is_revoked()
    assert verifier.tokens.verify(token.access_token).jti == token.jti, "offline it still looks good"


def test_a_verifier_of_another_tenant_does_not_find_the_credential(server, operator, connect):
    ours, theirs = new_tenant(), new_tenant()
    _, token = held(operator(server, ours))
    stranger = connect(server, api_key=register(operator(server, theirs)).api_key)
    with pytest.raises(CredentialNotFoundError) as refused:
        stranger.tokens.verify_active(token.access_token)
    assert (refused.value.code, refused.value.jti) == ("credential_not_found", token.jti)


def test_suspension_and_deactivation_are_seen_at_once(server, operator, tenant):
    client = operator(server, tenant)
    agent, token = held(client)
    client.agents.update(agent.id, status="suspended")
    error = dead(client, token)
    assert (error.dead_identity, error.identity_status) == (agent.wimse_uri, "suspended")
    client.agents.activate(agent.id)
    assert client.tokens.verify_active(token.access_token).jti == token.jti
    client.agents.deactivate(agent.id)
    assert dead(client, token).revoked_jti == token.jti
    client.agents.activate(agent.id)
    assert dead(client, token).revoked_jti == token.jti, "reactivation brings nothing back"
    with pytest.raises(NotFoundError):
        client.credentials.revoke(token.jti)


def test_a_keyless_client_of_a_strict_server_verifies_nothing(strict_server, operator, connect, tenant):
    _, token = held(operator(strict_server, tenant))
    keyless = connect(strict_server, **tenant.options())
    with pytest.raises(ZeroIDError) as refused:
        keyless.tokens.verify_active(token.access_token)
    assert refused.value.status == 401
