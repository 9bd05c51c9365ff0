"""Three agents in a row, with the calls of the user's page: delegated, checked in every way, and ended from the root."""

import warnings

import pytest
from conftest import OWNER, accepted, refusal, unique
from highflame.zeroid.assertions import build_actor_assertion, generate_keypair
from highflame.zeroid.errors import TokenRevokedError

TENANT_HEADERS = {"account_id": "X-Account-ID", "project_id": "X-Project-ID"}


def agent(client, name, **fields):
    """An agent as the page registers one, with a key to sign with."""
    private, public = generate_keypair()
    fields = {"name": name, "external_id": unique("agent"), "created_by": OWNER, **fields}
    registered = client.agents.register(public_key_pem=public, **fields)
    assert registered.identity.id and registered.identity.wimse_uri and registered.api_key
    return registered, private


@pytest.fixture
def three(operator, server, tenant):
    """An orchestrator, a fetcher and a summariser."""
    client = operator(server, tenant)
    orchestrator = agent(
        client,
        "Orchestrator",
        sub_type="orchestrator",
        trust_level="first_party",
        allowed_scopes=["data:read", "data:write", "tools:read"],
    )
    fetcher = agent(client, "Data Fetcher", sub_type="tool_agent", trust_level="first_party", capabilities=["bash"])
    return orchestrator, fetcher, agent(client, "Summariser", sub_type="tool_agent")


def delegate(client, actor, scope, **options):
    """Lets an actor act, by an assertion that it signed itself."""
    registered, private = actor
    uri, issuer = registered.identity.wimse_uri, client.whoami()["issuer"]
    actor_token = build_actor_assertion(wimse_uri=uri, private_key_pem=private, audience=issuer)
    return client.tokens.delegate(actor_token=actor_token, scope=scope, **options)


def test_the_chain_of_the_page(server, connect, operator, tenant, oauth_client, three, http):
    orchestrator, fetcher, summariser = three
    client = connect(server, api_key=orchestrator[0].api_key)
    mark = server.traffic.mark()
    first = delegate(client, fetcher, "data:read data:write")
    minted, exchange = server.traffic.since(mark)
    assert minted.json()["access_token"] == exchange.sent()["subject_token"], "its own token is the subject"
    second = delegate(client, summariser, "data:read tools:read", subject_token=first.access_token)
    root = minted.json()["access_token"]
    tokens, credentials = [root, first.access_token, second.access_token], oauth_client()

    identities = [client.tokens.verify(token) for token in tokens]
    assert [set(identity.scopes) for identity in identities] == [
        {"data:read", "data:write", "tools:read"},
        {"data:read", "data:write"},
        {"data:read"},
    ]
    assert [identity.delegation_depth for identity in identities] == [0, 1, 2]
    uris = [registered.identity.wimse_uri for registered, _ in three]
    assert [identity.sub for identity in identities] == uris
    assert [identity.act["sub"] for identity in identities] == [OWNER, *uris[:2]]
    assert [identity.is_delegated() for identity in identities] == [False, True, True]
    assert [identity.has_tool("bash") for identity in identities] == [False, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert [identity.delegated_by() for identity in identities] == [OWNER, *uris[:2]]
        for token, identity in zip(tokens, identities):
            check_session(client, credentials, token, identity)

    end(server, client, operator, tenant, credentials, tokens)
    for token in tokens:
        assert not accepted(server, token, http)


def check_session(client, credentials, token, identity):
    """Online and offline say the same of a token that stands."""
    header = f"Bearer {token}"
    assert client.tokens.verify_bearer(header) == client.tokens.verify_active_bearer(header) == identity
    session = client.tokens.session_from_request({"Authorization": header}, **credentials)
    assert session.active and client.tokens.introspect(token, **credentials).active
    assert (session.sub, set(session.scopes), session.act) == (identity.sub, set(identity.scopes), identity.act)
    assert (session.is_delegated(), session.delegated_by()) == (identity.is_delegated(), identity.delegated_by())
    assert session.trust_level == identity.trust_level
    session.require_scope("data:read")
    session.require_trust(identity.trust_level)


def end(server, client, operator, tenant, credentials, tokens):
    """The root is revoked; from then on all three are refused, and nothing more is delegated."""
    guard = operator(server, tenant)
    client.tokens.revoke(tokens[0], **credentials)
    revoked = client.tokens.verify(tokens[0]).jti
    for token in tokens:
        assert client.tokens.verify(token).sub, "offline nobody can know"
        assert client.tokens.introspect(token, **credentials).active is False
        session = client.tokens.session(token, **credentials)
        assert not session.active
        refusal(session.require_scope, "data:read", code="token_inactive", status=None)
        error = refusal(
            guard.tokens.verify_active, token, kind=TokenRevokedError, code="token_revoked", status=401
        )
        assert (error.revoked_jti, error.revoke_reason) == (revoked, "oauth2_revocation")


def test_the_ended_root_delegates_nothing_more(server, connect, oauth_client, three):
    orchestrator, fetcher, summariser = three
    client, credentials = connect(server, api_key=orchestrator[0].api_key), oauth_client()
    mark = server.traffic.mark()
    first = delegate(client, fetcher, "data:read")
    root = server.traffic.since(mark)[0].json()["access_token"]
    client.tokens.revoke(root, **credentials)
    for subject in (root, first.access_token, None):
        for actor in (fetcher, summariser):
            refusal(delegate, client, actor, "data:read", subject_token=subject, code="invalid_grant", status=400)
    fresh = connect(server, api_key=orchestrator[0].api_key)
    again = delegate(fresh, fetcher, "data:read")
    assert fresh.tokens.introspect(again.access_token, **credentials).active is True


def test_deactivating_the_orchestrator_ends_everything_below(server, connect, operator, tenant, three):
    orchestrator, fetcher, summariser = three
    client, boss = connect(server, api_key=orchestrator[0].api_key), operator(server, tenant)
    first = delegate(client, fetcher, "data:read")
    second = delegate(client, summariser, "data:read", subject_token=first.access_token)
    own = boss.tokens.issue_api_key(summariser[0].api_key, scope="data:read")
    boss.agents.deactivate(orchestrator[0].identity.id)
    for token in (first, second):
        refusal(boss.tokens.verify_active, token.access_token, code="token_revoked", status=401)
    assert boss.tokens.verify_active(own.access_token).sub == summariser[0].identity.wimse_uri


@pytest.fixture
def rfc8693_client(server, http, tenant):
    """Register a client whose tokens tell the whole chain; the SDK cannot ask for that itself."""

    def make(identity):
        headers = {TENANT_HEADERS[name]: value for name, value in tenant.options().items()}
        headers["Authorization"] = f"Bearer {server.admin_key}"
        body = {"client_id": unique("client"), "name": "Chain", "confidential": True, "identity_id": identity.id}
        body |= {"scopes": ["data:read", "data:write"], "token_profile": "rfc8693"}
        made = http(server).post("/oauth/clients", json=body, headers=headers)
        assert made.status_code == 201, made.text
        return {"client_id": body["client_id"], "client_secret": made.json()["client_secret"]}

    return make


def test_a_chain_that_keeps_its_principal(server, connect, rfc8693_client, three):
    (first, _), (second, second_key), (third, third_key) = three
    client, credentials = connect(server, api_key=first.api_key), rfc8693_client(first.identity)
    uris = [registered.identity.wimse_uri for registered, _ in three]
    root = client.tokens.issue_client_credentials(*credentials.values()).access_token
    one = client.tokens.delegate_to(
        wimse_uri=uris[1], private_key_pem=second_key, scope="data:read data:write", subject_token=root
    ).access_token
    two = client.tokens.delegate_to(
        wimse_uri=uris[2], private_key_pem=third_key, scope="data:read", subject_token=one
    ).access_token
    for token, actors, holder in ((root, (), first), (one, uris[1:2], second), (two, [uris[2], uris[1]], third)):
        for seen in (client.tokens.verify_active(token), client.tokens.session(token, **credentials)):
            assert (seen.sub, seen.subject(), seen.principal_type()) == (uris[0], uris[0], "workload")
            assert not seen.is_legacy_profile() and seen.human() is None
            assert (seen.current_actor(), seen.prior_actors()) == (holder.identity.wimse_uri, tuple(actors[1:]))
            assert seen.delegation_depth == len(actors) and seen.is_delegated() is bool(actors)
            assert (seen.trust_level, seen.identity_type) == (holder.identity.trust_level, "agent")
        assert client.tokens.verify(token).external_id == holder.identity.external_id
    client.tokens.revoke(root, **credentials)
    refusal(client.tokens.verify_active, two, code="token_revoked", status=401)
