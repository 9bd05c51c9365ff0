"""Authlib, unmodified: its client over requests, and its resource server's rules for RFC 9068."""

import time

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import ECKey, KeySet

RESOURCE = "https://mcp.example.com/"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def session(made, method, metadata, **options):
    """A session that authenticates in this way."""
    return OAuth2Session(
        made.client_id,
        made.secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method="client_secret_basic",
        scope="data:read",
        token_endpoint=metadata["token_endpoint"],
        **options,
    )


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials_with_a_secret(admin, metadata, method):
    """The token comes, and the server's own route takes it."""
    made = admin.client(token_endpoint_auth_method=method)
    with session(made, method, metadata) as client:
        token = client.fetch_token(grant_type="client_credentials")
        assert token["token_type"] == "Bearer"
        answer = client.get(f"{metadata['issuer']}/oauth2/token/verify")
        assert answer.status_code == 200, answer.text


def test_client_credentials_with_a_signed_assertion(admin, metadata):
    """The audience of the assertion is the issuer. It lives for minutes, not for the library's hour."""
    key = ECKey.generate_key("P-256", {"kid": "one"})
    jwks = {"keys": [key.as_dict(private=False)]}
    made = admin.client(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    with OAuth2Session(made.client_id, key, token_endpoint_auth_method="private_key_jwt") as client:
        options = {"alg": "ES256", "headers": {"kid": "one"}}
        client.register_client_auth_method(PrivateKeyJWT(metadata["issuer"], **options))
        with pytest.raises(OAuthError, match="invalid_client"):
            client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        claims = {"exp": int(time.time()) + 120}
        client.register_client_auth_method(PrivateKeyJWT(metadata["issuer"], claims=claims, **options))
        token = client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="data:read")
    assert token["scope"] == "data:read"


def test_introspection_and_revocation(admin, metadata):
    """A revoked token is inactive, and only that is told."""
    made = admin.client()
    with session(made, "client_secret_basic", metadata) as client:
        token = client.fetch_token(grant_type="client_credentials")["access_token"]
        seen = client.introspect_token(metadata["introspection_endpoint"], token).json()
        assert seen["active"] is True
        assert seen["scope"] == "data:read"
        client.revoke_token(metadata["revocation_endpoint"], token).raise_for_status()
        assert client.introspect_token(metadata["introspection_endpoint"], token).json() == {"active": False}


def test_token_exchange(admin, metadata):
    """A client narrows a token of its own."""
    made = admin.client(grant_types=["client_credentials", "token_exchange"])
    with session(made, "client_secret_basic", metadata) as client:
        subject = client.fetch_token(grant_type="client_credentials", scope="data:read data:write")
        child = client.fetch_token(
            grant_type=EXCHANGE,
            subject_token=subject["access_token"],
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",
            scope="data:read",
        )
    assert child["scope"] == "data:read"
    assert child["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


class Resource(JWTBearerTokenValidator):
    """A resource server that knows the server's keys."""

    def __init__(self, metadata):
        super().__init__(issuer=metadata["issuer"], resource_server=RESOURCE)
        self.keys = requests.get(metadata["jwks_uri"], timeout=30).json()

    def get_jwks(self):
        """The keys of the authorization server."""
        return KeySet.import_key_set(self.keys)


def test_a_resource_server_accepts_the_profile_of_rfc9068(admin, metadata):
    """And neither another audience's token nor one of another type."""
    made = admin.client(token_profile="rfc9068")
    resource = Resource(metadata)
    with session(made, "client_secret_basic", metadata) as client:
        token = client.fetch_token(grant_type="client_credentials", resource=RESOURCE)["access_token"]
        claims = resource.authenticate_token(token)
        resource.validate_token(claims, ["data:read"], None)
        assert claims["client_id"] == made.client_id
        elsewhere = client.fetch_token(grant_type="client_credentials", resource="https://else.example")
        with pytest.raises(Exception, match="invalid"):
            resource.validate_token(resource.authenticate_token(elsewhere["access_token"]), ["data:read"], None)
    legacy = admin.client()
    with session(legacy, "client_secret_basic", metadata) as client:
        token = client.fetch_token(grant_type="client_credentials", resource=RESOURCE)["access_token"]
    with pytest.raises(Exception, match="invalid"):
        resource.validate_token(resource.authenticate_token(token), ["data:read"], None)
