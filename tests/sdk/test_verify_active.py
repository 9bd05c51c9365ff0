"""`verify_active` on chains: every reason for which a token below must be refused, and who may ask."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from conftest import Party, accepted, new_tenant, refusal, wait_until
from highflame.zeroid.errors import APIError, CredentialNotFoundError, NotFoundError, TokenRevokedError
from highflame.zeroid.types import AccessToken

SCOPES = ("a b c", "a b", "a")
ENDED = {"identity_deactivated", "identity_tokens_revoked"}


@dataclass(frozen=True)
class Chain:
    """Three agents, and their tokens from the root down."""

    agents: list[Party]
    tokens: list[AccessToken]

    def ids(self):
        """The agents' ids."""
        return [party.agent.id for party in self.agents]

    def jtis(self):
        """The tokens' ids."""
        return [token.jti for token in self.tokens]


@pytest.fixture
def chain(server, connect, party):
    """Make a chain of three agents."""

    def make(**fields):
        agents = [party(name, **fields) for name in ("planner", "fetcher", "writer")]
        tokens = connect(server).tokens
        made = [tokens.issue_api_key(agents[0].api_key, scope=SCOPES[0])]
        for agent, scope in zip(agents[1:], SCOPES[1:]):
            made.append(tokens.issue_token_exchange(made[-1].access_token, agent.assertion(), scope=scope))
        return Chain(agents, made)

    return make


@pytest.fixture
def guard(server, connect, party):
    """A service of the tenant that checks tokens with nothing but its own key."""
    return connect(server, api_key=party("guard").api_key)


def check(server, http, guard, chain, expected):
    """Who of the chain passes; the strict call, the proxy's question and the exchange agree."""
    for token, passes in zip(chain.tokens, expected):
        assert accepted(server, token.access_token, http) is passes
        if passes:
            assert guard.tokens.verify_active(token.access_token).jti == token.jti
        else:
            dead(guard, token)
        assert guard.tokens.verify(token.access_token).jti == token.jti, "offline nobody sees it"


def dead(guard, token):
    """The refusal of a token that its signature and its end would let pass."""
    return refusal(guard.tokens.verify_active, token.access_token, kind=TokenRevokedError, code="token_revoked", status=401)


def test_a_live_chain_tells_all(server, http, guard, chain):
    made = chain(allowed_scopes=["a", "b", "c"], trust_level="first_party")
    check(server, http, guard, made, [True, True, True])
    leaf = made.tokens[-1]
    claims = guard.tokens.verify_active_bearer(f"Bearer {leaf.access_token}", audience=made.agents[0].issuer)
    assert (claims.sub, claims.delegation_depth) == (made.agents[2].agent.wimse_uri, 2)
    walk = guard.tokens.delegation_chain(leaf.jti)
    assert [edge.jti for edge in walk.edges] == made.jtis()
    assert [edge.parent_jti for edge in walk.edges] == ["", *made.jtis()[:-1]]
    assert [(edge.from_, edge.to) for edge in walk.edges] == list(zip(["", *made.ids()], made.ids()))
    assert [edge.grant_type for edge in walk.edges] == ["api_key", "token_exchange", "token_exchange"]
    assert [sorted(edge.scopes_out) for edge in walk.edges] == [scope.split() for scope in SCOPES]
    assert [sorted(edge.attenuated) for edge in walk.edges] == [[], ["c"], ["b"]]
    assert {edge.mission_id for edge in walk.edges} == {made.jtis()[0]}
    for edge, token in zip(walk.edges, made.tokens):
        assert edge.issued_at.timestamp() == token.iat
        assert edge.expires_at.timestamp() == token.iat + token.expires_in
        assert (edge.is_revoked, edge.revoked_at, edge.revoke_reason) == (False, None, "")
    assert [node.id for node in walk.nodes] == made.ids()
    assert {(node.status, node.trust_level, node.identity_type) for node in walk.nodes} == {
        ("active", "first_party", "agent")
    }
    assert [edge.jti for edge in guard.tokens.delegation_chain(made.jtis()[1]).edges] == made.jtis()[:2]


def test_a_revoked_root_ends_the_chain(server, http, guard, chain, operator, tenant):
    made = chain()
    operator(server, tenant).credentials.revoke(made.jtis()[0], reason="leaked")
    check(server, http, guard, made, [False, False, False])
    for token in made.tokens:
        error = dead(guard, token)
        assert (error.revoked_jti, error.revoke_reason, error.jti) == (made.jtis()[0], "leaked", token.jti)
        assert error.revoked_at and error.chain.is_revoked()
    walk = guard.tokens.delegation_chain(made.jtis()[2])
    assert [edge.jti for edge in walk.revoked_edges()] == made.jtis()
    assert {edge.revoke_reason for edge in walk.edges} == {"leaked"}


def test_a_revoked_link_ends_what_hangs_below_only(server, http, guard, chain, operator, tenant):
    made = chain()
    operator(server, tenant).credentials.revoke(made.jtis()[1])
    check(server, http, guard, made, [True, False, False])
    for token in made.tokens[1:]:
        error = dead(guard, token)
        assert (error.revoked_jti, error.revoke_reason) == (made.jtis()[1], "manual_revocation")
    assert [edge.is_revoked for edge in guard.tokens.delegation_chain(made.jtis()[2]).edges] == [False, True, True]


@pytest.mark.parametrize(("place", "expected"), [(0, [False] * 3), (1, [True, False, False]), (2, [True, True, False])])
def test_a_deactivated_agent_ends_what_it_holds_for_good(server, http, guard, chain, operator, tenant, place, expected):
    made, admin = chain(), operator(server, tenant)
    admin.agents.deactivate(made.ids()[place])
    check(server, http, guard, made, expected)
    error = dead(guard, made.tokens[-1])
    assert error.revoked_jti == made.jtis()[place]
    assert error.revoke_reason in ENDED, "the mark's own reason, where a mark of the epoch was written down"
    assert {node.id: node.status for node in error.chain.nodes}[made.ids()[place]] == "deactivated"
    admin.agents.activate(made.ids()[place])
    check(server, http, guard, made, expected)
    assert dead(guard, made.tokens[-1]).revoked_jti == made.jtis()[place]


@pytest.mark.parametrize(("place", "expected"), [(0, [False] * 3), (1, [True, False, False])])
def test_a_suspended_agent_lets_what_it_holds_sleep(server, http, guard, chain, operator, tenant, place, expected):
    made, admin = chain(), operator(server, tenant)
    admin.agents.update(made.ids()[place], status="suspended")
    check(server, http, guard, made, expected)
    error = dead(guard, made.tokens[-1])
    assert (error.dead_identity, error.identity_status) == (made.agents[place].agent.wimse_uri, "suspended")
    assert (error.revoked_jti, error.chain.is_revoked()) == ("", False)
    admin.agents.update(made.ids()[place], status="active")
    check(server, http, guard, made, [True] * 3)


@pytest.mark.parametrize("server", ["strict"], indirect=True)
@pytest.mark.parametrize("mode", ["plain"], indirect=True)
def test_an_agent_that_expires_takes_its_chain_along(server, connect, party, http):
    end = datetime.now(timezone.utc) + timedelta(seconds=4)
    planner, fetcher = party("planner", expires_at=end.isoformat()), party("fetcher")
    guard = connect(server, api_key=party("guard").api_key)
    root = guard.tokens.issue_api_key(planner.api_key, scope="a")
    child = guard.tokens.issue_token_exchange(root.access_token, fetcher.assertion(), scope="a")
    assert child.expires_in <= 4 and guard.tokens.verify_active(child.access_token).exp <= end.timestamp()
    wait_until(end.timestamp())
    refusal(guard.tokens.verify_active, child.access_token, code="token_expired", status=None)
    walk = guard.tokens.delegation_chain(child.jti)
    assert [node.status for node in walk.nodes] == ["expired", "active"]
    assert not accepted(server, child.access_token, http)


def test_another_tenant_has_no_such_credential(server, chain, connect, party, operator):
    made, elsewhere = chain(), new_tenant()
    stranger = connect(server, api_key=party("stranger", within=elsewhere).api_key)
    for client in (stranger, operator(server, elsewhere)):
        for token in made.tokens:
            error = refusal(
                client.tokens.verify_active,
                token.access_token,
                kind=CredentialNotFoundError,
                code="credential_not_found",
                status=404,
            )
            assert error.jti == token.jti
            refusal(client.tokens.delegation_chain, token.jti, kind=NotFoundError, code="not_found", status=404)
    tenant = {"account_id": made.agents[0].agent.account_id, "project_id": made.agents[0].agent.project_id}
    refusal(stranger.tokens.verify_active, made.tokens[0].access_token, **tenant, code="api_error", status=403)


def test_who_may_ask(server, chain, connect, operator, tenant):
    made = chain()
    leaf = made.tokens[-1]
    assert operator(server, tenant).tokens.verify_active(leaf.access_token).jti == leaf.jti
    as_leaf = connect(server, default_headers={"Authorization": f"Bearer {leaf.access_token}"})
    assert as_leaf.tokens.verify_active(made.tokens[0].access_token).jti == made.jtis()[0]
    operator(server, tenant).credentials.revoke(made.jtis()[0])
    refusal(as_leaf.tokens.verify_active, leaf.access_token, code="unauthorized", status=401)
    garbage = connect(server, default_headers={"Authorization": "Bearer garbage"})
    refusal(garbage.tokens.verify_active, leaf.access_token, code="unauthorized", status=401)


def test_without_a_credential(open_server, strict_server, connect, tenant, operator, mode):
    for server, answer in ((open_server, None), (strict_server, 401)):
        boss = operator(server, tenant)
        agent = boss.agents.register(name="x", external_id="x-" + mode, created_by="me")
        token = boss.tokens.issue_api_key(agent.api_key).access_token
        keyless = connect(server, **tenant.options())
        if answer:
            refusal(keyless.tokens.verify_active, token, kind=APIError, code="unauthorized", status=answer)
        else:
            assert keyless.tokens.verify_active(token).jti


def test_what_is_no_token_costs_no_walk(server, guard, chain):
    token = chain().tokens[-1].access_token
    guard.tokens.verify_active(token)
    mark = server.traffic.mark()
    for bad in (token[:-8] + "AAAAAAAA", "garbage", ""):
        code = "invalid_signature" if bad else "missing_token"
        refusal(guard.tokens.verify_active, bad, code=code, status=None)
    refusal(guard.tokens.verify_active, token, audience="https://else.example", code="invalid_signature", status=None)
    assert server.traffic.since(mark) == []
    mark = server.traffic.mark()
    for jti in ("0190B5A0-0000-7000-8000-000000000000", "not-a-uuid", "%00"):
        refusal(guard.tokens.delegation_chain, jti, code="validation_error", status=422)
    unknown = "0190b5a0-0000-7000-8000-000000000000"
    refusal(guard.tokens.delegation_chain, unknown, code="not_found", status=404)
    refusal(guard.tokens.delegation_chain, "", code="invalid_request", status=None)
    assert len(server.traffic.since(mark)) == 4
