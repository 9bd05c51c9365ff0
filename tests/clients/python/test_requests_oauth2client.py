"""requests-oauth2client, unmodified."""

import pytest
from jwskate import Jwk, Jwt
from requests_oauth2client import (
    BearerToken,
    ClientSecretBasic,
    ClientSecretPost,
    InvalidClient,
    InvalidScope,
    InvalidTarget,
    OAuth2Client,
    PrivateKeyJwt,
    UnauthorizedClient,
)

RESOURCE = "https://mcp.example.com/"


@pytest.fixture
def connect(server, metadata):
    """Make a client out of the server's own metadata; on loopback nobody has a certificate, so its check is told so."""

    def make(auth, **options):
        return OAuth2Client.from_discovery_document(
            metadata, issuer=server["url"], auth=auth, testing=True, **options
        )

    return make


@pytest.fixture
def key():
    """A P-256 key of a client."""
    return Jwk.generate(alg="ES256", kid="one")


def test_client_credentials_with_each_way_to_authenticate(admin, connect, metadata, key):
    """Tokens come by Basic, by POST and by a signed assertion."""
    basic = admin.client(token_endpoint_auth_method="client_secret_basic")
    post = admin.client(token_endpoint_auth_method="client_secret_post")
    jwks = {"keys": [key.public_jwk().to_dict()]}
    signed = admin.client(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    ways = [
        ClientSecretBasic(basic.client_id, basic.secret),
        ClientSecretPost(post.client_id, post.secret),
        PrivateKeyJwt(signed.client_id, key, aud=metadata["issuer"]),
    ]
    for auth in ways:
        client = connect(auth)
        token = client.client_credentials(scope="data:read")
        assert isinstance(token, BearerToken)
        assert token.scope == "data:read"
        assert token.expires_in > 0
        seen = client.introspect_token(token)
        assert seen["active"] is True
        assert seen["client_id"] == auth.client_id


def test_an_assertion_for_the_endpoint_is_not_for_the_server(admin, connect, key):
    """The audience of an assertion is the issuer and nothing else."""
    jwks = {"keys": [key.public_jwk().to_dict()]}
    made = admin.client(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    with pytest.raises(InvalidClient):
        connect(PrivateKeyJwt(made.client_id, key)).client_credentials()


def test_refusals_are_told_by_their_codes(admin, connect):
    """Each error is the library's own class for it."""
    made = admin.client(allowed_audiences=[RESOURCE])
    with pytest.raises(InvalidClient):
        connect(ClientSecretBasic(made.client_id, "wrong")).client_credentials()
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    with pytest.raises(InvalidScope):
        client.client_credentials(scope="data:drop")
    with pytest.raises(InvalidTarget):
        client.client_credentials(resource="https://else.example")
    narrow = admin.client(grant_types=["token_exchange"])
    with pytest.raises(UnauthorizedClient):
        connect(ClientSecretBasic(narrow.client_id, narrow.secret)).client_credentials()


def test_several_resources_become_the_audience(admin, connect):
    """A repeated parameter is one list in the token."""
    made = admin.client(token_profile="rfc9068")
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    token = client.client_credentials(scope="data:read", resource=[RESOURCE, "https://two.example"])
    claims = Jwt(token.access_token)
    assert claims.headers["typ"] == "at+jwt"
    assert claims.audiences == [RESOURCE, "https://two.example"]


def test_exchange_and_jwt_bearer(admin, connect, metadata, key):
    """An agent's assertion becomes a token, and the token one with less."""
    pem = key.public_jwk().to_pem()
    agent = admin.agent(public_key_pem=pem)
    made = admin.client(grant_types=["jwt_bearer", "token_exchange"])
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    proof = PrivateKeyJwt(agent["wimse_uri"], key).client_assertion(metadata["issuer"])
    subject = client.jwt_bearer(proof, scope="data:read data:write")
    child = client.token_exchange(subject_token=subject, scope="data:read")
    assert child.scope == "data:read"
    assert child.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert client.introspect_token(child)["delegation_depth"] == 1


def test_what_is_revoked_is_inactive(admin, connect):
    """Also what was derived from it."""
    made = admin.client(grant_types=["client_credentials", "token_exchange"])
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    token = client.client_credentials(scope="data:read")
    child = client.token_exchange(subject_token=token, scope="data:read")
    assert client.revoke_access_token(token.access_token) is True
    assert client.introspect_token(token) == {"active": False}
    assert client.introspect_token(child) == {"active": False}


def test_a_token_of_the_profile_verifies_against_the_published_keys(admin, connect, metadata):
    """Signature, issuer and audience, with the library's own verifier."""
    made = admin.client(token_profile="rfc9068")
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    token = client.client_credentials(scope="data:read", resource=RESOURCE)
    keys = client.update_authorization_server_public_keys()
    jwt = Jwt(token.access_token)
    jwt.validate(keys, issuer=metadata["issuer"], audience=RESOURCE, algs=["ES256"])
    assert jwt.subject == made.agent["wimse_uri"]
