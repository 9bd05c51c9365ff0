"""The code flow of requests-oauth2client, unmodified: PKCE, pushed requests, proofs of possession, refresh."""

import pytest
from jwskate import Jwk, Jwt
from people import Person
from requests_oauth2client import (
    AuthorizationResponseError,
    BearerToken,
    ClientSecretBasic,
    DPoPToken,
    InvalidClient,
    InvalidGrant,
    OAuth2Client,
    PrivateKeyJwt,
    PublicApp,
    UnknownTokenEndpointError,
)

CALLBACK = "http://127.0.0.1:9/callback"
SCOPE = "data:read"


@pytest.fixture
def connect(server, metadata):
    """Make a client out of the server's own metadata; on loopback nobody has a certificate, so its check is told so."""

    def make(auth, **options):
        return OAuth2Client.from_discovery_document(
            metadata, issuer=server["url"], auth=auth, redirect_uri=CALLBACK, testing=True, **options
        )

    return make


@pytest.fixture
def person(admin):
    """Somebody of the administrator's tenant."""
    return Person(admin)


@pytest.fixture
def look(admin, connect):
    """What the server says of a token to a client of its tenant."""
    made = admin.client()
    return connect(ClientSecretBasic(made.client_id, made.secret)).introspect_token


def test_a_public_client(admin, connect, person, look):
    """A code with PKCE, a token in the person's name, and the next one without the person."""
    made = admin.code_client(token_endpoint_auth_method="none", token_profile="rfc9068")
    client = connect(PublicApp(made.client_id))
    asked = client.authorization_request(scope=SCOPE)
    back = asked.validate_callback(person.answer(asked.uri))
    token = client.authorization_code(back)
    assert isinstance(token, BearerToken)
    assert token.scope == SCOPE
    assert Jwt(token.access_token).subject == person.user_id
    assert person.asked[0]["code_challenge_method"] == ["S256"]
    second = client.refresh_token(token)
    assert second.access_token != token.access_token
    assert second.refresh_token != token.refresh_token
    assert look(second)["sub"] == person.user_id
    # A code works once, and its second use ends what the first one obtained.
    with pytest.raises(InvalidGrant):
        client.authorization_code(back)
    assert look(second) == {"active": False}


def test_a_pushed_request_of_each_kind_of_confidential_client(admin, connect, metadata, person):
    """RFC 9126 with a secret, and with a signed assertion."""
    key = Jwk.generate(alg="ES256", kid="one")
    secret = admin.code_client()
    jwks = {"keys": [key.public_jwk().to_dict()]}
    signed = admin.code_client(token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    for auth in [
        ClientSecretBasic(secret.client_id, secret.secret),
        PrivateKeyJwt(signed.client_id, key, aud=metadata["issuer"]),
    ]:
        client = connect(auth)
        asked = client.authorization_request(scope=SCOPE)
        pushed = client.pushed_authorization_request(asked)
        back = asked.validate_callback(person.answer(pushed.uri))
        assert set(person.asked[-1]) == {"client_id", "request_uri"}
        token = client.authorization_code(back)
        assert token.scope == SCOPE
        assert client.refresh_token(token).scope == SCOPE
    with pytest.raises(InvalidClient):
        wrong = connect(ClientSecretBasic(secret.client_id, "wrong"))
        wrong.pushed_authorization_request(wrong.authorization_request(scope=SCOPE))


@pytest.mark.parametrize("is_pushed", [False, True], ids=["asked", "pushed"])
@pytest.mark.parametrize("wants_nonces", [False, True], ids=["plain", "nonces"])
def test_code_and_tokens_are_bound_to_a_key(admin, connect, person, look, is_pushed, wants_nonces):
    """RFC 9449: `dpop_jkt`, a proof with the code and at every refresh, and with a nonce where one is asked for."""
    made = admin.code_client(dpop_bound_access_tokens=True, dpop_nonce_required=wants_nonces)
    client = connect(ClientSecretBasic(made.client_id, made.secret), dpop_bound_access_tokens=True)
    asked = client.authorization_request(scope=SCOPE)
    uri = client.pushed_authorization_request(asked).uri if is_pushed else asked.uri
    back = asked.validate_callback(person.answer(uri))
    token = client.authorization_code(back)
    assert isinstance(token, DPoPToken)
    assert look(token)["cnf"]["jkt"] == asked.dpop_jkt
    second = client.refresh_token(token)
    assert isinstance(second, DPoPToken)
    assert look(second)["cnf"]["jkt"] == asked.dpop_jkt


def test_a_code_that_is_bound_to_another_key(admin, connect, person):
    """Whoever has the code and the verifier has nothing without the key."""
    made = admin.code_client()
    client = connect(ClientSecretBasic(made.client_id, made.secret))
    asked = client.authorization_request(scope=SCOPE, dpop=True)
    back = asked.validate_callback(person.answer(asked.uri))
    with pytest.raises(UnknownTokenEndpointError) as refused:
        client.authorization_code(
            back.code, code_verifier=back.code_verifier, redirect_uri=back.redirect_uri, dpop=True
        )
    assert refused.value.error == "invalid_dpop_proof"
    assert isinstance(client.authorization_code(back), DPoPToken)


def test_refusals(admin, connect, person):
    """No, and a verifier of another request."""
    made = admin.code_client(token_endpoint_auth_method="none")
    client = connect(PublicApp(made.client_id))
    asked, other = client.authorization_request(scope=SCOPE), client.authorization_request(scope=SCOPE)
    with pytest.raises(AuthorizationResponseError) as refused:
        asked.validate_callback(person.answer(asked.uri, "deny"))
    assert refused.value.error == "access_denied"
    back = asked.validate_callback(person.answer(asked.uri))
    with pytest.raises(InvalidGrant):
        client.authorization_code(back.code, code_verifier=other.code_verifier, redirect_uri=CALLBACK)
    assert client.authorization_code(back).scope == SCOPE
