"""Calls the SDK's methods, plain or async, under their plain names, and counts what each one sends."""

import asyncio
import inspect

from highflame.zeroid import ZeroIDClient
from highflame.zeroid.errors import ZeroIDError

# How many requests one call makes, apart from a token the client fetches for itself and the metadata it needs for that.
# Anything not named here makes one.
REQUESTS = {
    "reactivate": {2},
    "iter_all": None,
    "verify": {0, 1},
    "verify_bearer": {0, 1},
    "verify_active": {1, 2},
    "verify_active_bearer": {1, 2},
}
# The methods that were called, each by its class and its own name, for the test of what the tests leave out.
CALLED = set()
# What the SDK has no async twin of.
PLAIN_ONLY = {"delegate_to"}
METADATA = "/.well-known/oauth-authorization-server"
OWN_GRANTS = {"api_key", "urn:ietf:params:oauth:grant-type:jwt-bearer"}


class Client:
    """A `ZeroIDClient` whose methods run in one of the two modes."""

    def __init__(self, traffic, *, loop=None, prefix="", **options):
        self.plain = ZeroIDClient(traffic.url + prefix, **options)
        self._traffic = traffic
        self._loop = loop
        self.agents = _Methods(self, self.plain.agents)
        self.identities = _Methods(self, self.plain.identities)
        self.signals = _Methods(self, self.plain.signals)
        self.tokens = _Methods(self, self.plain.tokens)
        self.oauth_clients = _Methods(self, self.plain.oauth_clients)
        self.credentials = _Methods(self, self.plain.credentials)
        self.credential_policies = _Methods(self, self.plain.credential_policies)
        self.api_keys = _Methods(self, self.plain.api_keys)
        top = _Methods(self, self.plain)
        self.health, self.jwks = top.health, top.jwks

    def run(self, target, name, args, kwargs):
        """Call `target.name`, or its async twin, and check how many requests it made."""
        mark = self._traffic.mark()
        try:
            result = self._call(target, name, args, kwargs)
        except ZeroIDError:
            self._count(name, mark, failed=True)
            raise
        self._count(name, mark, failed=False)
        return result

    def whoami(self, **options):
        """Who the client is; the SDK has it plain only."""
        CALLED.add(("ZeroIDClient", "whoami"))
        return self.plain.whoami(**options)

    def close(self):
        """Close the SDK's connections."""
        self.plain.close()
        if self._loop:
            self._loop.run_until_complete(self.plain.aclose())

    def _call(self, target, name, args, kwargs):
        assert (name in PLAIN_ONLY) is not hasattr(target, "a" + name), f"another SDK: {name}"
        is_plain = self._loop is None or name in PLAIN_ONLY
        CALLED.add((type(target).__name__, name if is_plain else "a" + name))
        if is_plain:
            result = getattr(target, name)(*args, **kwargs)
            return list(result) if inspect.isgenerator(result) else result
        result = getattr(target, "a" + name)(*args, **kwargs)
        return self._loop.run_until_complete(_collect(result) if inspect.isasyncgen(result) else result)

    def _count(self, name, mark, *, failed):
        made = self._traffic.since(mark)
        mints = [] if name.startswith("issue_") else [x for x in made if is_mint(x)]
        others = [x for x in made if x not in mints and x.path != METADATA]
        allowed = REQUESTS.get(name, {1})
        assert len(mints) <= 1, f"{name} fetched more than one token: {made}"
        assert len(made) - len(mints) - len(others) <= 1, f"{name} read the metadata more than once: {made}"
        if allowed is not None and failed:
            assert len(others) <= max(allowed), f"{name} failed and was sent again: {made}"
        elif allowed is not None:
            assert len(others) in allowed, f"{name} made other requests than expected: {made}"


class _Methods:
    def __init__(self, client, target):
        self._client = client
        self._target = target

    def __getattr__(self, name):
        return lambda *args, **kwargs: self._client.run(self._target, name, args, kwargs)


def is_mint(exchange):
    """Whether the client fetched a token for itself."""
    return exchange.path == "/oauth2/token" and exchange.sent().get("grant_type") in OWN_GRANTS


async def _collect(items):
    return [item async for item in items]


def new_loop(mode):
    """An event loop for the async mode, nothing for the plain one."""
    return asyncio.new_event_loop() if mode == "async" else None
