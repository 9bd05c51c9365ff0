"""The servers under test, and what an administrator prepares there for a client."""

import json
import os
import uuid
from dataclasses import dataclass

import pytest
import requests

SERVERS = json.loads(os.environ.get("CHANCERY_SERVERS", "[]"))
if not SERVERS:
    pytest.exit("CHANCERY_SERVERS is not set; see tests/clients/README.md", returncode=4)


def unique(name):
    """A name nobody else uses."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class Made:
    """A client as it knows itself, and the agent it stands for."""

    client_id: str
    secret: str
    agent: dict


class Admin:
    """An administrator of a tenant of the test's own."""

    def __init__(self, server):
        self.url = server["url"]
        self.session = requests.Session()
        tenant = {"X-Account-ID": unique("acct"), "X-Project-ID": "prod"}
        self.session.headers.update({"Authorization": f"Bearer {server['key']}", **tenant})

    def call(self, method, path, body=None):
        """The answer to a call that must be good."""
        answer = self.session.request(method, self.url + path, json=body, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def agent(self, **fields):
        """A new agent, with its API key."""
        body = {"name": "Worker", "external_id": unique("worker"), "created_by": "dev@company.example", **fields}
        made = self.call("POST", "/agents/register", body)
        return {**made["identity"], "api_key": made["api_key"]}

    def client(self, **fields):
        """A new client with an agent of its own."""
        agent = self.agent()
        body = {
            "client_id": unique("client"),
            "name": "Client",
            "identity_id": agent["id"],
            "scopes": ["data:read", "data:write"],
            "token_endpoint_auth_method": "client_secret_basic",
            **fields,
        }
        made = self.call("POST", "/oauth/clients", body)
        return Made(body["client_id"], made["client_secret"], agent)

    def code_client(self, **fields):
        """A new client that takes codes and refreshes; without an agent of its own."""
        codes = {
            "identity_id": "",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1/callback"],
        }
        return self.client(**{**codes, **fields})


@pytest.fixture(params=SERVERS, ids=[server["name"] for server in SERVERS])
def server(request):
    """Each server in turn."""
    return request.param


@pytest.fixture
def admin(server):
    """An administrator of a new tenant."""
    return Admin(server)


@pytest.fixture
def metadata(server):
    """What the server says of itself."""
    return requests.get(f"{server['url']}/.well-known/oauth-authorization-server", timeout=30).json()
