"""Lists longer than a page, and their filters."""

import pytest
from conftest import OWNER, new_tenant, unique
from highflame.zeroid import ZeroIDClient
from highflame.zeroid.errors import InvalidRequestError, ValidationError

ALL = 105
GONE = 3


@pytest.fixture(scope="module")
def crowd(open_server):
    """A tenant with more agents than fit on one page: their ids in the order they came."""
    tenant = new_tenant()
    with ZeroIDClient(open_server.url, **tenant.options()) as client:
        ids = []
        for number in range(ALL):
            extra = {"labels": {"product": "search"}} if number in (1, 2) else {}
            kind = "service" if number < 5 else "agent"
            made = client.agents.register(
                name=f"Agent {number}",
                external_id=unique(f"agent-{number}"),
                identity_type=kind,
                created_by=OWNER,
                **extra,
            )
            ids.append(made.agent.id)
        for id in ids[-GONE:]:
            client.agents.deactivate(id)
    return tenant, ids


@pytest.fixture
def client(open_server, connect, crowd):
    """A client in the crowd's tenant."""
    return connect(open_server, **crowd[0].options())


def ids_of(agents):
    return [agent.id for agent in agents]


@pytest.mark.parametrize(("limit", "pages"), [(100, 2), (50, 3), (35, 3), (7, 15)])
def test_iter_all_yields_each_agent_once_newest_first(open_server, client, crowd, limit, pages):
    mark = open_server.traffic.mark()
    assert ids_of(client.agents.iter_all(limit=limit)) == crowd[1][::-1]
    assert len(open_server.traffic.since(mark)) == pages


def test_iter_all_fetches_a_hundred_at_a_time(open_server, client):
    mark = open_server.traffic.mark()
    assert len(client.agents.iter_all()) == ALL
    targets = [exchange.target for exchange in open_server.traffic.since(mark)]
    assert targets == [f"/agents/registry?limit=100&offset={offset}" for offset in (0, 100)]


def test_a_page_knows_the_whole(client, crowd):
    page = client.agents.list()
    assert (len(page), page.total, page.limit, page.offset, page.has_more) == (20, ALL, 20, 0, True)
    assert ids_of(page) == crowd[1][::-1][:20]
    last = client.agents.list(limit=100, offset=100)
    assert (len(last), last.total, last.limit, last.offset, last.has_more) == (5, ALL, 100, 100, False)
    beyond = client.agents.list(offset=ALL)
    assert (len(beyond), beyond.total, beyond.has_more) == (0, ALL, False)


def test_filters_count_what_they_match(client, crowd):
    ids = crowd[1]
    gone = ids[-GONE:][::-1]
    assert ids_of(client.agents.list(status="deactivated")) == gone
    assert client.agents.list(status="deactivated").total == GONE
    assert client.agents.list(status="active").total == ALL - GONE
    assert len(client.agents.iter_all(status="active")) == ALL - GONE
    assert client.agents.list(status="active,deactivated").total == ALL
    assert client.agents.list(status="suspended").total == 0
    assert ids_of(client.agents.list(identity_type="service")) == ids[:5][::-1]
    assert client.agents.list(identity_type="agent,service").total == ALL
    assert ids_of(client.agents.list(product="search")) == [ids[2], ids[1]]
    assert ids_of(client.agents.list(product="search", identity_type="agent")) == []


def test_bad_filters_and_windows_are_refused(open_server, client):
    with pytest.raises(ValidationError) as refused:
        client.agents.list(status="asleep")
    assert refused.value.request_id
    mark = open_server.traffic.mark()
    for window in ({"limit": 0}, {"limit": 101}, {"offset": -1}):
        with pytest.raises(InvalidRequestError):
            client.agents.list(**window)
    assert open_server.traffic.since(mark) == []


def test_another_tenant_sees_none_of_them(open_server, connect):
    stranger = connect(open_server, **new_tenant().options())
    assert stranger.agents.iter_all() == []
    assert stranger.agents.list().total == 0
