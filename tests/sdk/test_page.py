"""The walk of the user's page: register, get a token, check it three ways, take it back."""

import warnings

import pytest
from conftest import OWNER, unique
from highflame.zeroid.errors import ZeroIDError


def test_register_issue_check_and_revoke(open_server, connect, tenant, http):
    client = connect(open_server, **tenant.options())
    external_id = unique("data-fetcher")

    registered = client.agents.register(
        name="Data Fetcher",
        external_id=external_id,
        sub_type="tool_agent",
        trust_level="first_party",
        created_by=OWNER,
        allowed_scopes=["data:read", "tools:read"],
        capabilities=["bash"],
    )
    agent = registered.identity
    assert agent.wimse_uri.startswith("spiffe://")
    assert agent.wimse_uri.endswith(f"/{tenant.account_id}/{tenant.project_id}/agent/{external_id}")
    assert registered.api_key.startswith("zid_sk_") and len(registered.api_key) >= 39
    assert agent.api_key_prefix == registered.api_key[:16]

    token = client.tokens.issue_api_key(registered.api_key)
    assert (token.token_type, token.expires_in) == ("Bearer", 3600)
    assert set(token.scope.split()) == {"data:read", "tools:read"}
    assert (token.account_id, token.project_id) == (tenant.account_id, tenant.project_id)
    assert (token.external_id, token.user_id) == (external_id, OWNER)
    assert token.jti and token.iat

    check_introspection(client, token, agent)
    check_verification(client, token, agent)
    check_session(client, token, agent)

    raw = http(open_server)
    for _ in range(2):
        answer = raw.post("/oauth2/token/revoke", json={"token": token.access_token})
        assert (answer.status_code, answer.json()) == (200, {"revoked": True})

    assert client.tokens.introspect(token.access_token).active is False
    session = client.tokens.session(token.access_token)
    assert (session.active, session.sub, session.scopes) == (False, "", ())
    assert session.has_scope("data:read") is False
    with pytest.raises(ZeroIDError) as refused:
        session.require_scope("data:read")
    assert refused.value.code == "token_inactive"
    with pytest.raises(ZeroIDError) as refused:
        session.require_trust("unverified")
    assert refused.value.code == "insufficient_trust"
    assert client.tokens.verify(token.access_token).jti == token.jti
    again = client.tokens.issue_api_key(registered.api_key)
    assert client.tokens.introspect(again.access_token).active is True


def check_introspection(client, token, agent):
    info = client.tokens.introspect(token.access_token)
    assert info.active is True
    assert (info.sub, info.jti, info.iat) == (agent.wimse_uri, token.jti, token.iat)
    assert info.exp == token.iat + token.expires_in
    assert info.aud == [info.iss]
    assert set(info.scope.split()) == set(token.scope.split())
    assert (info.account_id, info.project_id) == (agent.account_id, agent.project_id)
    assert (info.external_id, info.name) == (agent.external_id, agent.name)
    assert (info.identity_type, info.sub_type) == ("agent", "tool_agent")
    assert (info.trust_level, info.status) == ("first_party", "active")
    assert (info.grant_type, info.owner_user_id) == ("api_key", OWNER)
    assert (info.delegation_depth, info.capabilities) == (0, ["bash"])
    assert info.mission_id


def check_verification(client, token, agent):
    identity = client.tokens.verify(token.access_token)
    assert client.tokens.verify_bearer(f"Bearer {token.access_token}") == identity
    assert (identity.sub, identity.jti) == (agent.wimse_uri, token.jti)
    assert (identity.iat, identity.exp) == (token.iat, token.iat + token.expires_in)
    assert identity.aud == (identity.iss,)
    assert (identity.account_id, identity.project_id) == (agent.account_id, agent.project_id)
    assert (identity.external_id, identity.name) == (agent.external_id, agent.name)
    assert (identity.identity_type, identity.sub_type) == ("agent", "tool_agent")
    assert (identity.status, identity.grant_type, identity.owner_user_id) == ("active", "api_key", OWNER)
    assert identity.has_tool("bash") and not identity.has_tool("rm")
    check_helpers(identity, agent)
    with pytest.raises(ZeroIDError) as refused:
        identity.require_trust("perfect")
    assert refused.value.code == "insufficient_trust"


def check_session(client, token, agent):
    session = client.tokens.session(token.access_token)
    assert session.active is True
    assert (session.sub, session.identity_type, session.grant_type) == (agent.wimse_uri, "agent", "api_key")
    assert (session.owner_user_id, session.delegation_depth) == (OWNER, 0)
    check_helpers(session, agent)
    for headers in (
        {"Authorization": f"Bearer {token.access_token}"},
        {"authorization": f"bearer {token.access_token}"},
        {"AUTHORIZATION": f"Bearer  {token.access_token} "},
    ):
        assert client.tokens.session_from_request(headers).raw == session.raw
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Basic eDp5"}):
        with pytest.raises(ZeroIDError) as refused:
            client.tokens.session_from_request(headers)
        assert refused.value.code == "missing_token"


def check_helpers(holder, agent):
    """What a verified identity and a session have in common."""
    assert holder.trust_level == "first_party"
    assert set(holder.scopes) == {"data:read", "tools:read"}
    assert holder.has_scope("data:read") and not holder.has_scope("data:write")
    holder.require_scope("data:read")
    holder.require_trust("unverified")
    holder.require_trust("first_party")
    with pytest.raises(ZeroIDError) as refused:
        holder.require_scope("data:write")
    assert refused.value.code == "insufficient_scope"
    assert holder.is_delegated() is False
    assert holder.is_legacy_profile() and holder.current_actor() == agent.wimse_uri
    assert holder.human() is None and holder.prior_actors() == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert holder.delegated_by() == OWNER
