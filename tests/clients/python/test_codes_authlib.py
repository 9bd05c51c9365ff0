"""The code flow of Authlib, unmodified: PKCE and refresh, by hand and by itself."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from people import Person

CALLBACK = "http://127.0.0.1:9/callback"
SCOPE = "data:read"


@pytest.fixture
def person(admin):
    """Somebody of the administrator's tenant."""
    return Person(admin)


def session(made, method, metadata, **options):
    """A session of a client that takes codes with PKCE."""
    return OAuth2Session(
        made.client_id,
        made.secret if method != "none" else None,
        token_endpoint_auth_method=method,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        scope=SCOPE,
        token_endpoint=metadata["token_endpoint"],
        **options,
    )


def introspect(admin, metadata, token):
    """What the server says of a token to a client of its tenant."""
    made = admin.client()
    answer = requests.post(
        metadata["introspection_endpoint"], data={"token": token}, auth=(made.client_id, made.secret), timeout=30
    )
    return answer.json()


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
def test_from_a_request_to_a_refreshed_token(admin, metadata, person, method):
    """A token in the person's name comes of the callback, and the next one when it has run out."""
    made = admin.code_client(token_endpoint_auth_method=method)
    kept = []
    with session(made, method, metadata, update_token=lambda token, **_: kept.append(token)) as client:
        verifier = generate_token(48)
        url, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
        back = person.answer(url)
        assert parse_qs(urlsplit(back).query)["iss"] == [metadata["issuer"]]
        token = client.fetch_token(authorization_response=back, state=state, code_verifier=verifier)
        assert token["scope"] == SCOPE
        seen = introspect(admin, metadata, token["access_token"])
        assert (seen["active"], seen["sub"], seen["client_id"]) == (True, person.user_id, made.client_id)
        second = dict(client.refresh_token(metadata["token_endpoint"]))
        assert second["refresh_token"] != token["refresh_token"]
        # Once the token has run out, the library gets the next one before a request goes out.
        client.token["expires_at"] = int(time.time()) - 1
        answer = client.get(f"{metadata['issuer']}/oauth2/token/verify")
        assert answer.status_code == 200, answer.text
    assert [one["access_token"] for one in kept][-1] not in (token["access_token"], second["access_token"])
    with session(made, method, metadata) as late, pytest.raises(OAuthError, match="invalid_grant"):
        late.fetch_token(authorization_response=back, state=state, code_verifier=verifier)


def test_refusals(admin, metadata, person):
    """Another state, another verifier, and a person who says no."""
    made = admin.code_client(token_endpoint_auth_method="none")
    with session(made, "none", metadata) as client:
        verifier = generate_token(48)
        url, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
        denied = person.answer(url, "deny")
        assert parse_qs(urlsplit(denied).query)["error"] == ["access_denied"]
        back = person.answer(url)
        with pytest.raises(Exception, match="mismatching_state"):
            client.fetch_token(authorization_response=back, state="other", code_verifier=verifier)
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.fetch_token(authorization_response=back, state=state, code_verifier=generate_token(48))
        assert client.fetch_token(authorization_response=back, state=state, code_verifier=verifier)["scope"] == SCOPE
