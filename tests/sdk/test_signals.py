"""Signals: taken, listed, and what they end."""

import pytest
from conftest import accepted, refusal, register
from highflame.zeroid.errors import ValidationError

HIGH = {"signal_type": "anomalous_behavior", "source": "siem", "severity": "high"}


def test_a_signal_needs_no_identity_and_is_listed_newest_first(server, operator, tenant):
    signals = operator(server, tenant).signals
    assert signals.list() == []
    first = signals.ingest(signal_type="ip_change", source="edge")
    assert (first.identity_id, first.severity, first.payload, first.processed_at) == ("", "low", {}, None)
    assert (first.account_id, first.project_id) == (tenant.account_id, tenant.project_id)
    second = signals.ingest(signal_type="policy_violation", source="edge", severity="medium", payload={"x": [1]})
    assert second.payload == {"x": [1]}
    assert signals.list() == [second, first]
    assert signals.list(limit=1) == [second]


def test_a_high_one_ends_the_tokens_of_its_identity(server, operator, tenant, http):
    boss = operator(server, tenant)
    registered = register(boss)
    token = boss.tokens.issue_api_key(registered.api_key).access_token
    boss.signals.ingest(identity_id=registered.agent.id, **{**HIGH, "severity": "low"})
    assert accepted(server, token, http)
    signal = boss.signals.ingest(identity_id=registered.agent.id, **HIGH)
    assert signal.processed_at == signal.created_at
    assert not accepted(server, token, http)
    assert accepted(server, boss.tokens.issue_api_key(registered.api_key).access_token, http)
    boss.signals.ingest(identity_id=registered.agent.id, **{**HIGH, "severity": "critical"})
    assert boss.agents.get(registered.agent.id).status == "suspended"
    refusal(boss.tokens.issue_api_key, registered.api_key, code="invalid_grant", status=400)


def test_what_is_no_signal_is_refused_at_once(server, operator, tenant):
    signals = operator(server, tenant).signals
    for wrong in ({"signal_type": "sunshine"}, {"severity": "extreme"}, {"identity_id": "nobody"}):
        with pytest.raises(ValidationError):
            signals.ingest(**{**HIGH, **wrong})
    assert signals.list() == []


def test_the_server_tells_of_the_lives_of_agents(server, operator, tenant):
    boss = operator(server, tenant)
    agent = register(boss).agent
    boss.agents.rotate_key(agent.id)
    boss.agents.deactivate(agent.id)
    told = [(signal.signal_type, signal.source, signal.identity_id) for signal in boss.signals.list()]
    source = ("identity_lifecycle", agent.id)
    assert told == [("retirement", *source), ("credential_change", *source)]
