"""`issue_authorization_code`: a person agrees in a browser, and the client redeems the code with the SDK."""

import html
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from conftest import refusal, unique

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CALLBACK = "https://app.example/cb"


@pytest.fixture
def browser(server, tenant, http):
    """A person's browser: it opens a link, says yes to a client, and hands the code over."""

    def agree(client_id, scope):
        admin = {"Authorization": f"Bearer {server.admin_key}", "X-Account-ID": tenant.account_id, "X-Project-ID": tenant.project_id}
        user_id = unique("person")
        web = http(server)
        user = web.post("/users", json={"user_id": user_id, "email": f"{user_id}@x.example", "name": "Ada"}, headers=admin).json()
        challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        to = "/oauth2/authorize?" + urlencode({
            "response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK, "scope": scope, "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256",
        })
        link = web.post(f"/users/{user['id']}/links", json={"purpose": "authorize", "to": to}, headers=admin).json()["url"]
        opened = web.get(urlsplit(link).path)
        assert (opened.status_code, opened.headers["location"]) == (303, to)
        cookie = {"Cookie": opened.headers["set-cookie"].split(";")[0]}
        page = web.get(to, headers={"Accept": "text/html", **cookie}).text
        fields = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page)}
        answer = web.post("/oauth2/consent", data={**fields, "decision": "allow"}, headers=cookie)
        assert answer.status_code == 303
        told = parse_qs(urlsplit(answer.headers["location"]).query)
        assert told["state"] == ["s"]
        return user_id, told["code"][0]

    return agree


def public_client(server, operator, tenant, **fields):
    """A public client that takes codes."""
    options = {"client_id": unique("diary"), "name": "Diary", "grant_types": ["authorization_code"], "scopes": ["data:read", "data:write"]}
    made = operator(server, tenant).oauth_clients.create(**{**options, "redirect_uris": [CALLBACK], **fields})
    return made.client.client_id


def test_a_code_becomes_a_token_in_the_persons_name(server, operator, connect, tenant, browser):
    client_id = public_client(server, operator, tenant)
    tokens = connect(server).tokens
    user_id, code = browser(client_id, "data:read")
    token = tokens.issue_authorization_code(code, CALLBACK, client_id, code_verifier=VERIFIER)
    assert (token.token_type, token.scope, token.user_id) == ("Bearer", "data:read", user_id)
    identity = tokens.verify(token.access_token)
    assert (identity.sub, identity.grant_type, identity.scopes) == (user_id, "authorization_code", ("data:read",))
    assert not identity.is_delegated()


def test_a_code_works_once_and_for_its_verifier(server, operator, connect, tenant, browser):
    client_id = public_client(server, operator, tenant)
    tokens = connect(server).tokens
    _, code = browser(client_id, "data:read")

    def redeem(verifier):
        return tokens.issue_authorization_code(code, CALLBACK, client_id, code_verifier=verifier)

    refusal(redeem, "x" * 43, code="invalid_grant", status=400)
    redeem(VERIFIER)
    refusal(redeem, VERIFIER, code="invalid_grant", status=400)


def test_a_refresh_token_is_spent_for_the_next(server, operator, connect, tenant, browser):
    client_id = public_client(server, operator, tenant, grant_types=["authorization_code", "refresh_token"])
    tokens = connect(server).tokens
    user_id, code = browser(client_id, "data:read data:write")
    first = tokens.issue_authorization_code(code, CALLBACK, client_id, code_verifier=VERIFIER)
    # The SDK names no client here.
    second = tokens.issue_refresh_token(first.refresh_token, scope="data:read")
    assert (second.scope, second.user_id, second.token_type) == ("data:read", user_id, "Bearer")
    assert second.refresh_token not in ("", None, first.refresh_token)
    before, after = tokens.verify(first.access_token), tokens.verify(second.access_token)
    assert (after.sub, after.grant_type) == (user_id, "refresh_token")
    assert after.custom["mission_id"] == before.custom["mission_id"]
    third = tokens.issue_refresh_token(second.refresh_token)
    assert third.scope == "data:read data:write"
    refusal(tokens.issue_refresh_token, first.refresh_token, code="invalid_grant", status=400)
    refusal(tokens.issue_refresh_token, "zid_rt_unknown", code="invalid_grant", status=400)
    # One that comes again at once ends nothing.
    assert tokens.issue_refresh_token(third.refresh_token).access_token
