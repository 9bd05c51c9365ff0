"""Delegation by token exchange: what a chain's tokens say, how they shrink, and what is refused."""

import warnings

import pytest
from conftest import accepted, new_tenant, refusal
from highflame.zeroid.assertions import generate_keypair
from highflame.zeroid.errors import InvalidRequestError, ZeroIDError


def refused(call, *args, code="invalid_grant", **kwargs):
    return refusal(call, *args, code=code, status=400, **kwargs)


def test_two_hops_shrink_and_name_who_delegated(server, connect, party, http):
    planner = party("planner", allowed_scopes=["data:read", "data:write", "tools:read"], trust_level="first_party")
    fetcher, writer = party("fetcher", sub_type="autonomous"), party("writer", allowed_scopes=["data:read"])
    boss = connect(server, api_key=planner.api_key)
    first = boss.tokens.delegate_to(**fetcher.to(), scope="data:read data:write data:drop")
    root, hop, *more = server.traffic.since(0)[-2:]
    assert not more and (root.sent()["grant_type"], hop.sent()["scope"]) == ("api_key", "data:read data:write data:drop")
    assert hop.sent()["account_id"] == "default", "the body's tenant is the SDK's default and is passed over"
    second = boss.tokens.delegate_to(**writer.to(), scope="data:read tools:read", subject_token=first.access_token)

    assert (first.token_type, first.scope, first.external_id) == ("Bearer", "data:read data:write", fetcher.agent.external_id)
    assert (second.scope, second.external_id, second.user_id) == ("data:read", writer.agent.external_id, "")
    above = boss.tokens.verify(root.json()["access_token"])
    one, two = boss.tokens.verify(first.access_token), boss.tokens.verify(second.access_token)
    check_hop(one, fetcher.agent, planner.agent, 1)
    check_hop(two, writer.agent, fetcher.agent, 2)
    assert (set(one.scopes), two.scopes) == ({"data:read", "data:write"}, ("data:read",))
    assert two.exp <= one.exp <= above.exp and first.expires_in == one.exp - one.iat
    assert {claims.custom["mission_id"] for claims in (above, one, two)} == {above.jti}
    assert (one.sub_type, one.trust_level, one.owner_user_id) == ("autonomous", "unverified", planner.agent.created_by)
    assert (above.is_delegated(), above.aud) == (False, one.aud)
    assert accepted(server, first.access_token, http) and accepted(server, second.access_token, http)


def check_hop(claims, holder, above, depth):
    assert (claims.sub, claims.external_id, claims.name) == (holder.wimse_uri, holder.external_id, holder.name)
    assert (claims.act, claims.delegation_depth) == ({"sub": above.wimse_uri}, depth)
    assert (claims.grant_type, claims.is_delegated(), claims.has_scope("data:read")) == ("token_exchange", True, True)
    assert claims.is_legacy_profile() and claims.current_actor() == holder.wimse_uri and claims.prior_actors() == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert claims.delegated_by() == above.wimse_uri


def test_an_actor_that_signs_for_itself(server, connect, party):
    planner, fetcher = party("planner"), party("fetcher")
    boss = connect(server, api_key=planner.api_key, scope="data:read data:write")
    given = boss.tokens.delegate(actor_token=fetcher.assertion(), scope="data:read")
    assert boss.tokens.verify(given.access_token).sub == fetcher.agent.wimse_uri

    subject = boss.tokens.issue_api_key(planner.api_key, scope="data:write").access_token
    one = boss.tokens.delegate(actor_token=fetcher.assertion(), scope="data:write", subject_token=subject)
    keyless = connect(server)
    two = keyless.tokens.issue_token_exchange(subject, fetcher.assertion(), scope="data:read data:write")
    missions = {boss.tokens.verify(token.access_token).custom["mission_id"] for token in (one, two)}
    assert missions == {boss.tokens.verify(subject).jti}, "a subject of its own is a mission of its own"
    assert (one.scope, two.scope) == ("data:write", "data:write")


def test_the_last_agent_of_a_private_key_chain(server, connect, party):
    planner, fetcher = party("planner", allowed_scopes=["data:read"]), party("fetcher")
    boss = connect(server, private_key_pem=planner.private_key_pem, wimse_uri=planner.agent.wimse_uri)
    given = boss.tokens.delegate_to(**fetcher.to(), scope="data:read")
    claims = boss.tokens.verify(given.access_token)
    assert (claims.sub, claims.act) == (fetcher.agent.wimse_uri, {"sub": planner.agent.wimse_uri})


def test_a_chain_goes_as_deep_as_the_actors_policy(server, connect, party):
    agent = party()
    tokens = connect(server, api_key=agent.api_key, scope="data:read").tokens
    token = tokens.delegate_to(**agent.to(), scope="data:read").access_token
    for depth in range(2, 6):
        token = tokens.delegate_to(**agent.to(), scope="data:read", subject_token=token).access_token
        assert tokens.verify(token).delegation_depth == depth
    refused(tokens.delegate_to, **agent.to(), scope="data:read", subject_token=token, code="policy_violation")


def test_an_assertion_works_once_and_for_its_signer_only(server, connect, party):
    planner, fetcher = party("planner"), party("fetcher")
    tokens = connect(server, api_key=planner.api_key, scope="data:read").tokens
    used = fetcher.assertion()
    own = tokens.delegate(actor_token=used, scope="data:read").access_token
    for actor in (
        used,
        fetcher.assertion(private_key_pem=planner.private_key_pem),
        fetcher.assertion(private_key_pem=generate_keypair()[0]),
        fetcher.assertion(audience=server.url),
        fetcher.assertion(audience=fetcher.issuer + "/oauth2/token"),
        own,
        tokens.issue_api_key(planner.api_key).access_token,
        "garbage",
        "",
    ):
        code = "invalid_grant" if actor else "invalid_request"
        refused(tokens.delegate, actor_token=actor, scope="data:read", code=code)
    refused(tokens.issue_jwt_bearer, used)


def test_scopes_must_be_named_and_held(server, connect, party):
    planner = party("planner", allowed_scopes=["data:read", "nhi:manage"])
    fetcher, narrow = party("fetcher"), party("narrow", allowed_scopes=["data:write"])
    tokens = connect(server, api_key=planner.api_key).tokens
    mark = server.traffic.mark()
    pair = {"subject_token": "x", "actor_token": "y"}
    for scope in ("", "  "):
        for call, given in ((tokens.delegate_to, fetcher.to()), (tokens.delegate, pair), (tokens.issue_token_exchange, pair)):
            with pytest.raises(InvalidRequestError):
                call(scope=scope, **given)
    assert server.traffic.since(mark) == [], "the SDK refuses these itself"
    for actor, scope in ((fetcher, "data:drop"), (narrow, "data:read data:write"), (fetcher, "nhi:manage")):
        refused(tokens.delegate_to, **actor.to(), scope=scope, code="invalid_scope")
    assert tokens.delegate_to(**fetcher.to(), scope="nhi:manage data:read").scope == "data:read"


def test_a_subject_must_stand_and_belong_to_the_actors_tenant(server, connect, operator, tenant, party):
    planner, fetcher = party("planner"), party("fetcher")
    stranger = party("stranger", within=new_tenant())
    boss, admin = connect(server, api_key=planner.api_key, scope="data:read"), operator(server, tenant)
    tokens = boss.tokens
    subject = tokens.issue_api_key(planner.api_key, scope="data:read").access_token
    refused(tokens.delegate_to, **stranger.to(), scope="data:read", subject_token=subject)
    for bad in ("garbage", subject[:-4] + "AAAA", planner.api_key):
        refused(tokens.delegate_to, **fetcher.to(), scope="data:read", subject_token=bad)
    for status in ("suspended", "active"):
        admin.agents.update(fetcher.agent.id, status=status)
        if status == "suspended":
            refused(tokens.delegate_to, **fetcher.to(), scope="data:read", subject_token=subject)
    admin.agents.update(planner.agent.id, status="suspended")
    refused(tokens.delegate_to, **fetcher.to(), scope="data:read", subject_token=subject, audience=planner.issuer)
    admin.agents.update(planner.agent.id, status="active")
    child = tokens.delegate_to(**fetcher.to(), scope="data:read", subject_token=subject).access_token
    admin.credentials.revoke(tokens.verify(subject).jti)
    for dead in (subject, child):
        refused(tokens.delegate_to, **fetcher.to(), scope="data:read", subject_token=dead)


def test_a_client_without_a_credential_needs_a_subject(server, connect, party):
    fetcher = party("fetcher")
    mark = server.traffic.mark()
    with pytest.raises(ZeroIDError) as lacking:
        connect(server).tokens.delegate(actor_token=fetcher.assertion(), scope="data:read")
    assert lacking.value.code == "missing_api_key" and server.traffic.since(mark) == []
