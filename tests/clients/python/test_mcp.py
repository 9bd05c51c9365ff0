"""The authorization flow of the official MCP client, unmodified: from a refusal to a token, and to the next one."""

import time
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
import requests
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
from people import Person

CALLBACK = "http://127.0.0.1:9/callback"
SCOPE = "data:read"


class Storage:
    """What a host keeps of a client."""

    def __init__(self, client):
        self.client = client
        self.tokens = None

    async def get_tokens(self):
        """The tokens, once there are some."""
        return self.tokens

    async def set_tokens(self, tokens):
        """Keeps the tokens."""
        self.tokens = tokens

    async def get_client_info(self):
        """The registered client."""
        return self.client

    async def set_client_info(self, client_info):
        """Nothing registers itself here; a client with a document knows its name by itself."""
        assert self.client is None and client_info.client_id.startswith("https://"), client_info
        self.client = client_info


class Browser:
    """Where the client sends its person, and what it gets back."""

    def __init__(self, person):
        self.person = person
        self.back = None

    async def redirected(self, url):
        """The browser is sent here by the client."""
        self.back = parse_qs(urlsplit(self.person.answer(url)).query)

    async def answered(self):
        """What came back to the client's callback."""
        one = {name: values[0] for name, values in self.back.items()}
        return AuthorizationCodeResult(code=one["code"], state=one["state"], iss=one["iss"])


@pytest.fixture
def registered(admin):
    """A client that an administrator registered beforehand, public."""
    made = admin.code_client(token_endpoint_auth_method="none")
    return OAuthClientInformationFull(
        client_id=made.client_id, redirect_uris=[CALLBACK], token_endpoint_auth_method="none", scope=SCOPE
    )


@pytest.fixture(params=["registered", "described"])
def flow(request, admin, server):
    """A client of a resource of this server, with its storage and its person: registered, or with a document of its own."""
    is_described = request.param == "described"
    storage = Storage(None if is_described else request.getfixturevalue("registered"))
    person = Person(admin)
    browser = Browser(person)
    provider = OAuthClientProvider(
        server_url=f"{server['url']}/api/v1/agents/registry",
        client_metadata=OAuthClientMetadata(
            client_name="Assistant", redirect_uris=[CALLBACK], scope=SCOPE, token_endpoint_auth_method="none"
        ),
        storage=storage,
        redirect_handler=browser.redirected,
        callback_handler=browser.answered,
        client_metadata_url=server["document"] if is_described else None,
    )
    return provider, storage, person


def ask(provider, url):
    """A request through the provider, and every exchange that it took."""
    seen = []

    async def go():
        async def note(response):
            seen.append((response.request.method, response.request.url.path, response.status_code))

        async with httpx2.AsyncClient(auth=provider, event_hooks={"response": [note]}) as client:
            return await client.get(url)

    return anyio.run(go), seen


def introspect(admin, metadata, token):
    """What the server says of a token to a client of its tenant."""
    made = admin.client()
    answer = requests.post(
        metadata["introspection_endpoint"], data={"token": token}, auth=(made.client_id, made.secret), timeout=30
    )
    return answer.json()


def test_from_a_refusal_to_a_token(admin, server, metadata, flow):
    """401, resource metadata, server metadata, PKCE with `resource`, and a token for that resource."""
    provider, storage, person = flow
    answer, _ = ask(provider, f"{server['url']}/api/v1/agents/registry?limit=1")
    token = storage.tokens.access_token
    # The metadata names no scopes, so the client asks for none and gets all that it may have.
    assert storage.tokens.scope == "data:read data:write"
    [asked] = person.asked
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["resource"][0].rstrip("/") == server["url"]
    seen = introspect(admin, metadata, token)
    assert (seen["active"], seen["sub"], seen["aud"]) == (True, person.user_id, [server["url"]])
    # The token is good here and has no administrator's scope: a person has none to give.
    assert answer.status_code == 403


def test_the_next_token_comes_without_the_person(admin, server, metadata, flow):
    """The token has run out, and the client refreshes it by itself."""
    provider, storage, person = flow
    ask(provider, f"{server['url']}/api/v1/agents/registry")
    first = storage.tokens
    provider.context.token_expiry_time = time.time() - 1
    ask(provider, f"{server['url']}/api/v1/agents/registry")
    second = storage.tokens
    assert second.access_token != first.access_token
    assert second.refresh_token != first.refresh_token
    assert introspect(admin, metadata, second.access_token)["active"] is True
    assert len(person.asked) >= 1
