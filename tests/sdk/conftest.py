"""The servers under test, clients for them, and the rules every answer must pass."""

import os
import time
import uuid
from dataclasses import dataclass

import httpx
import pytest

import rules
from calls import Client, new_loop
from highflame.zeroid.assertions import build_actor_assertion, generate_keypair
from highflame.zeroid.errors import ZeroIDError
from highflame.zeroid.types import Agent
from traffic import Traffic

OWNER = "dev@company.com"
RELAYS = []


@dataclass(frozen=True)
class Server:
    """One running server, reached through its relay."""

    traffic: Traffic
    admin_key: str

    @property
    def url(self):
        """Where clients connect."""
        return self.traffic.url


@dataclass(frozen=True)
class Tenant:
    """An account and a project that only one test uses."""

    account_id: str
    project_id: str

    def options(self):
        """The tenant as the SDK's constructor takes it."""
        return {"account_id": self.account_id, "project_id": self.project_id}


@dataclass(frozen=True)
class Party:
    """An agent with a key of its own, and where it works."""

    agent: Agent
    api_key: str
    private_key_pem: str
    issuer: str

    def assertion(self, **changes):
        """A fresh proof of who it is."""
        options = {"private_key_pem": self.private_key_pem, "audience": self.issuer, **changes}
        return build_actor_assertion(wimse_uri=self.agent.wimse_uri, **options)

    def to(self):
        """The party as `delegate_to` takes it."""
        return {"wimse_uri": self.agent.wimse_uri, "private_key_pem": self.private_key_pem}


def setting(name, *, needed=True):
    """A value from the environment; without one it must have, the run stops."""
    value = os.environ.get(name, "")
    if needed and not value:
        pytest.exit(f"{name} is not set; see tests/sdk/README.md", returncode=4)
    return value


def unique(name):
    """`name`, made different for every use, so that a server can be tested again and again."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def new_tenant():
    """A tenant nobody else uses."""
    return Tenant(unique("acct"), "prod")


def relayed(url, key):
    """A server behind its relay."""
    traffic = Traffic(url)
    RELAYS.append(traffic)
    yield Server(traffic, key)
    traffic.close()


def pytest_collection_modifyitems(items):
    """The test of what the others called comes after them."""
    items.sort(key=lambda item: item.fspath.basename == "test_methods.py")


@pytest.fixture(scope="session")
def open_server():
    """A development server: open admin API, anonymous introspection."""
    yield from relayed(setting("CHANCERY_URL"), setting("CHANCERY_ADMIN_KEY"))


@pytest.fixture(scope="session")
def strict_server():
    """A server as in production: it wants credentials on admin routes, on introspection and on revocation."""
    url = setting("CHANCERY_STRICT_URL", needed=False)
    if not url:
        pytest.skip("CHANCERY_STRICT_URL is not set")
    yield from relayed(url, setting("CHANCERY_STRICT_ADMIN_KEY"))


@pytest.fixture(params=["open", "strict"])
def server(request):
    """Each of the two servers in turn."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(params=["plain", "async"])
def mode(request):
    """The SDK's plain methods, then their async twins."""
    return request.param


@pytest.fixture
def tenant():
    """A tenant of the test's own."""
    return new_tenant()


@pytest.fixture
def connect(mode):
    """Make clients of the current mode; they are closed when the test ends."""
    loop = new_loop(mode)
    clients = []

    def make(server, **options):
        clients.append(Client(server.traffic, loop=loop, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    if loop:
        loop.close()


@pytest.fixture
def operator(connect):
    """Make a client that holds the server's operator key."""

    def make(server, tenant):
        headers = {"Authorization": f"Bearer {server.admin_key}"}
        return connect(server, default_headers=headers, **tenant.options())

    return make


@pytest.fixture
def http():
    """Make plain HTTP connections to a server."""
    clients = []

    def make(server):
        clients.append(httpx.Client(base_url=server.url, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def every_answer_obeys_the_rules():
    """After each test, check all the answers it caused."""
    marks = {traffic: traffic.mark() for traffic in RELAYS}
    yield
    for traffic in RELAYS:
        for exchange in traffic.since(marks.get(traffic, 0)):
            rules.check(exchange)


def register(client, name="worker", **fields):
    """Register an agent with an external id of its own."""
    fields = {"name": name, "external_id": unique(name), "created_by": OWNER, **fields}
    return client.agents.register(**fields)


@pytest.fixture
def party(server, operator, tenant, http):
    """Make agents with keys of their own in the test's tenant."""
    issuer = http(server).get("/.well-known/oauth-authorization-server").json()["issuer"]

    def make(name="worker", *, within=tenant, **fields):
        private, public = generate_keypair()
        made = register(operator(server, within), name, public_key_pem=public, **fields)
        return Party(made.agent, made.api_key, private, issuer)

    return make


@pytest.fixture
def oauth_client(server, operator, tenant):
    """Make confidential clients in the test's tenant; each is its id and its secret, as the SDK's calls take them."""

    def make(*, within=tenant, **fields):
        options = {"client_id": unique("client"), "name": "Client", "confidential": True, **fields}
        made = operator(server, within).oauth_clients.create(**options)
        return {"client_id": made.client.client_id, "client_secret": made.client_secret}

    return make


def refusal(call, *args, code, status, kind=ZeroIDError, **kwargs):
    """The error that the call must raise, with this code and status."""
    with pytest.raises(kind) as refused:
        call(*args, **kwargs)
    assert (refused.value.code, refused.value.status) == (code, status), refused.value
    return refused.value


def accepted(server, token, http):
    """Whether forward authentication lets the token pass; it works the same on both servers."""
    answer = http(server).get("/oauth2/token/verify", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def wait_until(moment):
    """Sleep until just after `moment`, in seconds since 1970."""
    time.sleep(max(0.0, moment - time.time()) + 1.1)
