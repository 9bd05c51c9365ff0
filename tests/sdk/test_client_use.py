"""What an OAuth client is for: tokens of its own, introspection and revocation, in the open and the strict mode."""

import pytest
from conftest import accepted, new_tenant, refusal, register, unique
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import APIError, AuthenticationError, ConflictError, ZeroIDError

HINT = "pass client_id and client_secret"
MANAGE = AdminScope.NHI_MANAGE


@pytest.fixture
def chain(server, connect, party):
    """The tokens of a planner and of the fetcher it delegated to."""
    planner, fetcher = party("planner", trust_level="first_party"), party("fetcher", trust_level="verified_third_party")
    tokens = connect(server, api_key=planner.api_key, scope="data:read data:write").tokens
    root = tokens.issue_api_key(planner.api_key, scope="data:read data:write").access_token
    child = tokens.delegate_to(**fetcher.to(), scope="data:read", subject_token=root).access_token
    return planner, fetcher, root, child


def test_a_client_introspects_its_tenants_tokens(server, connect, oauth_client, chain):
    planner, fetcher, root, child = chain
    tokens, client = connect(server).tokens, oauth_client()
    info = tokens.introspect(child, **client)
    assert (info.active, info.sub, info.act) == (True, fetcher.agent.wimse_uri, {"sub": planner.agent.wimse_uri})
    assert (info.scope, info.grant_type, info.delegation_depth) == ("data:read", "token_exchange", 1)
    assert (info.external_id, info.status) == (fetcher.agent.external_id, "active")
    assert (info.trust_level, info.iss) == ("verified_third_party", planner.issuer)
    above = tokens.introspect(root, **client)
    assert (above.mission_id, above.jti, above.aud) == (info.mission_id, info.mission_id, [planner.issuer])
    assert (info.account_id, info.project_id) == (planner.agent.account_id, planner.agent.project_id)
    for dead in ("garbage", child[:-4] + "AAAA", planner.api_key):
        assert tokens.introspect(dead, **client).active is False


def test_a_client_opens_sessions(server, connect, oauth_client, chain):
    planner, fetcher, root, child = chain
    tokens, client = connect(server).tokens, oauth_client()
    session = tokens.session(child, **client)
    assert (session.active, session.sub, session.is_delegated()) == (True, fetcher.agent.wimse_uri, True)
    assert (session.scopes, session.grant_type, session.delegation_depth) == (("data:read",), "token_exchange", 1)
    session.require_scope("data:read")
    session.require_trust("verified_third_party")
    refusal(session.require_scope, "data:write", code="insufficient_scope", status=None)
    refusal(session.require_trust, "first_party", code="insufficient_trust", status=None)
    headers = {"Authorization": f"Bearer {root}"}
    root_session = tokens.session_from_request(headers, **client)
    root_session.require_scope("data:write")
    root_session.require_trust("first_party")
    assert (root_session.is_delegated(), root_session.owner_user_id) == (False, planner.agent.created_by)
    tokens.revoke(root, **client)
    for token in (root, child):
        session = tokens.session(token, **client)
        assert (session.active, session.scopes) == (False, ())
        refusal(session.require_scope, "data:read", code="token_inactive", status=None)


def test_anonymous_introspection_follows_the_mode(open_server, strict_server, connect, operator, tenant):
    for server in (open_server, strict_server):
        boss = operator(server, tenant)
        token = boss.tokens.issue_api_key(register(boss).api_key).access_token
        anonymous = connect(server).tokens
        if server is open_server:
            assert anonymous.introspect(token).active is True
            continue
        for call in (anonymous.introspect, anonymous.session):
            error = refusal(call, token, kind=AuthenticationError, code="invalid_client", status=401)
            assert HINT in error.detail and "verify_active" in error.detail


def test_a_wrong_client_learns_and_ends_nothing(server, connect, operator, tenant, oauth_client, chain, http):
    _, _, root, _ = chain
    tokens, client = connect(server).tokens, oauth_client()
    boss = operator(server, tenant)
    gone = boss.oauth_clients.create(client_id=unique("gone"), name="Gone", confidential=True)
    boss.oauth_clients.delete(gone.client.id)
    deleted = {"client_id": gone.client.client_id, "client_secret": gone.client_secret}
    wrong = [
        {**client, "client_secret": client["client_secret"][:-1]},
        {**client, "client_secret": ""},
        {"client_id": unique("nobody"), "client_secret": client["client_secret"]},
        {"client_id": "", "client_secret": client["client_secret"]},
        deleted,
    ]
    details = set()
    for pair in wrong:
        error = refusal(tokens.introspect, root, **pair, kind=AuthenticationError, code="invalid_client", status=401)
        assert HINT not in error.detail
        details.add(error.detail)
        if all(pair.values()):
            refusal(tokens.revoke, root, **pair, code="invalid_client", status=401)
        else:
            refusal(tokens.revoke, root, **pair, code="invalid_request", status=None)
    assert len(details) == 1 and accepted(server, root, http)
    raw = http(server)
    two = {"token": root, **client}
    basic = tuple(client.values())
    answer = raw.post("/oauth2/token/introspect", data=two, auth=basic)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert raw.post("/oauth2/token/introspect", data={"token": root}, auth=basic).json()["active"] is True


def test_a_rotated_secret_takes_over(server, connect, operator, tenant, chain, http):
    boss, tokens = operator(server, tenant), connect(server).tokens
    made = boss.oauth_clients.create(client_id=unique("client"), name="Client", confidential=True)
    fresh = boss.oauth_clients.rotate_secret(made.client.id)
    for secret in (made.client_secret, fresh.client_secret):
        pair = {"client_id": made.client.client_id, "client_secret": secret}
        assert tokens.introspect(chain[2], **pair).active is True, "the old secret works on for a while"


def test_another_tenants_client_sees_nothing(server, connect, oauth_client, chain, http):
    _, _, root, child = chain
    tokens, stranger = connect(server).tokens, oauth_client(within=new_tenant())
    for token in (root, child):
        assert tokens.introspect(token, **stranger).active is False
        assert tokens.revoke(token, **stranger) is None
        assert accepted(server, token, http)


def test_a_public_client_sees_nothing_of_others(server, connect, operator, tenant, chain):
    boss = operator(server, tenant)
    public = boss.oauth_clients.create(client_id=unique("app"), name="App").client
    assert connect(server).tokens.introspect(chain[2], client_id=public.client_id).active is False


def test_revocation_ends_the_token_and_what_hangs_below(server, connect, oauth_client, chain, http):
    planner, fetcher, root, child = chain
    tokens, client = connect(server).tokens, oauth_client()
    other = tokens.issue_api_key(planner.api_key, scope="data:read").access_token
    for _ in range(2):
        assert tokens.revoke(child, **client) is None
        assert server.traffic.last().json() == {"revoked": True}
    assert [tokens.introspect(token, **client).active for token in (root, child, other)] == [True, False, True]
    tokens.revoke(root, **client)
    for token in (root, child):
        assert tokens.introspect(token, **client).active is False
        assert not accepted(server, token, http)
    assert accepted(server, other, http)
    for nothing in ("garbage", "a.b.c", child[:-4] + "AAAA", planner.api_key, "zid_rt_x"):
        assert tokens.revoke(nothing, **client) is None
    assert accepted(server, other, http)
    refusal(tokens.delegate, actor_token=fetcher.assertion(), scope="data:read", subject_token=root, code="invalid_grant", status=400)


def test_a_client_obtains_tokens_for_its_agent(server, connect, oauth_client, operator, tenant):
    agent = register(operator(server, tenant), "worker", trust_level="first_party").agent
    client = oauth_client(identity_id=agent.id, scopes=["data:read", "data:write"], access_token_ttl=600)
    tokens = connect(server).tokens
    token = tokens.issue_client_credentials(*client.values())
    assert server.traffic.last().sent()["account_id"] == "default", "whatever tenant it is, the SDK says default"
    assert (token.account_id, token.project_id) == (tenant.account_id, tenant.project_id)
    assert (token.token_type, token.expires_in, token.external_id) == ("Bearer", 600, agent.external_id)
    assert (set(token.scope.split()), token.user_id) == ({"data:read", "data:write"}, "")
    claims = tokens.verify(token.access_token)
    assert (claims.sub, claims.grant_type, claims.act) == (agent.wimse_uri, "client_credentials", None)
    assert (claims.custom["client_id"], claims.trust_level) == (client["client_id"], "first_party")
    info = tokens.introspect(token.access_token, **client)
    assert (info.active, info.client_id, info.grant_type) == (True, client["client_id"], "client_credentials")
    assert tokens.issue_client_credentials(*client.values(), scope="data:read data:drop").scope == "data:read"
    own = connect(server, **tenant.options()).tokens
    assert own.issue_client_credentials(*client.values(), **tenant.options()).jti


def test_a_client_that_is_named_like_its_agent_stands_for_it(server, connect, oauth_client, operator, tenant):
    agent = register(operator(server, tenant)).agent
    client = oauth_client(client_id=agent.external_id, scopes=["data:read"])
    assert connect(server).tokens.issue_client_credentials(*client.values()).external_id == agent.external_id


def test_what_a_client_does_not_get(server, connect, oauth_client, operator, tenant):
    boss = operator(server, tenant)
    agent = register(boss, allowed_scopes=["data:read"]).agent
    tokens = connect(server).tokens
    bound = {"identity_id": agent.id, "scopes": ["data:read", "data:write"]}
    client = oauth_client(**bound)
    id, secret = client.values()
    for options, code in (
        ({"scope": "data:write"}, "invalid_scope"),
        ({"scope": MANAGE + " data:drop"}, "invalid_scope"),
        (new_tenant().options(), "invalid_client"),
    ):
        kind = AuthenticationError if code == "invalid_client" else APIError
        status = 401 if code == "invalid_client" else 400
        refusal(tokens.issue_client_credentials, id, secret, **options, kind=kind, code=code, status=status)
    for pair in ((id, secret[:-1]), (id, "x"), (unique("nobody"), secret)):
        refusal(tokens.issue_client_credentials, *pair, code="invalid_client", status=401)
    none = oauth_client(identity_id=agent.id)
    refusal(tokens.issue_client_credentials, *none.values(), code="invalid_scope", status=400)
    nobody = oauth_client(scopes=["data:read"])
    refusal(tokens.issue_client_credentials, *nobody.values(), code="invalid_client", status=401)
    other = oauth_client(**bound, grant_types=["urn:ietf:params:oauth:grant-type:token-exchange"])
    refusal(tokens.issue_client_credentials, *other.values(), code="unauthorized_client", status=400)
    token = tokens.issue_client_credentials(id, secret).access_token
    boss.agents.update(agent.id, status="suspended")
    refusal(tokens.issue_client_credentials, id, secret, code="invalid_grant", status=400)
    assert tokens.introspect(token, **oauth_client()).active is False
    boss.agents.activate(agent.id)
    assert tokens.introspect(token, **client).active is True
    row = next(found for found in boss.oauth_clients.list() if found.client_id == id)
    boss.oauth_clients.delete(row.id)
    refusal(tokens.issue_client_credentials, id, secret, code="invalid_client", status=401)
    assert tokens.introspect(token, **oauth_client()).active is False


def test_a_client_administers_when_its_agent_may(server, connect, oauth_client, operator, tenant):
    boss = operator(server, tenant)
    admin = register(boss, "admin", allowed_scopes=[MANAGE]).agent
    client = oauth_client(identity_id=admin.id, scopes=[MANAGE])
    token = connect(server).tokens.issue_client_credentials(*client.values(), scope=MANAGE)
    caller = connect(server, default_headers={"Authorization": f"Bearer {token.access_token}"})
    assert caller.agents.list().total == 1
    with pytest.raises(ZeroIDError) as unknown:
        register(caller, created_by=None)
    assert unknown.value.code == "validation_error", "the SDK knows no owner"
    assert register(caller).agent.status == "active"
    with pytest.raises(ConflictError):
        caller.oauth_clients.create(client_id=client["client_id"], name="Again")
