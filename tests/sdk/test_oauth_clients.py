"""OAuth clients as the SDK manages them: public and confidential, rotated, listed, deleted."""

import pytest
from conftest import new_tenant, register, unique
from highflame.zeroid import AdminScope
from highflame.zeroid.errors import APIError, AuthenticationError, ConflictError, NotFoundError, ValidationError


def test_life_of_a_confidential_client(server, operator, tenant):
    client = operator(server, tenant)
    agent = register(client).agent
    name = unique("worker")
    made = client.oauth_clients.create(
        client_id=name,
        name="Worker",
        confidential=True,
        description="Works.",
        grant_types=["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        scopes=["data:read"],
        redirect_uris=["https://app.example/callback"],
        identity_id=agent.id,
        token_endpoint_auth_method="client_secret_post",
        access_token_ttl=60,
        refresh_token_ttl=3600,
    )
    found = made.client
    assert len(made.client_secret) == 64 and made.note
    assert (found.client_id, found.name, found.description) == (name, "Worker", "Works.")
    assert (found.client_type, found.token_endpoint_auth_method) == ("confidential", "client_secret_post")
    assert found.grant_types == ["client_credentials", "token_exchange"]
    assert (found.scopes, found.redirect_uris) == (["data:read"], ["https://app.example/callback"])
    assert (found.access_token_ttl, found.refresh_token_ttl, found.identity_id) == (60, 3600, agent.id)
    assert (found.registration_source, found.is_active) == ("internal", True)
    assert client.oauth_clients.get(found.id) == found
    assert client.oauth_clients.list() == [found]

    rotated = client.oauth_clients.rotate_secret(found.id)
    assert len(rotated.client_secret) == 64 and rotated.client_secret != made.client_secret
    assert rotated.client.id == found.id and rotated.client.updated_at >= found.updated_at

    assert client.oauth_clients.delete(found.id) is None
    assert client.oauth_clients.list() == []
    for gone in (client.oauth_clients.get, client.oauth_clients.delete, client.oauth_clients.rotate_secret):
        with pytest.raises(NotFoundError):
            gone(found.id)
    assert client.oauth_clients.create(client_id=name, name="Next").client.id != found.id


def test_life_of_a_public_client(server, operator, tenant):
    client = operator(server, tenant)
    made = client.oauth_clients.create(client_id=unique("app"), name="App")
    assert (made.client_secret, made.client.client_type) == ("", "public")
    assert (made.client.token_endpoint_auth_method, made.client.grant_types) == ("none", ["authorization_code"])
    assert (made.client.identity_id, made.client.backchannel_token_delivery_mode) == ("", "")
    with pytest.raises(ValidationError):
        client.oauth_clients.rotate_secret(made.client.id)
    second = client.oauth_clients.create(client_id=unique("app"), name="Second")
    assert [found.id for found in client.oauth_clients.list()] == [second.client.id, made.client.id]
    client.oauth_clients.delete(made.client.id)
    assert [found.id for found in client.oauth_clients.list()] == [second.client.id]


def test_its_credentials_obtain_look_at_and_end_tokens(server, operator, tenant):
    client = operator(server, tenant)
    agent = register(client).agent
    made = client.oauth_clients.create(
        client_id=unique("worker"), name="Worker", confidential=True, scopes=["data:read"], identity_id=agent.id
    )
    pair = (made.client.client_id, made.client_secret)
    token = client.tokens.issue_client_credentials(*pair, scope="data:read").access_token
    named = {"client_id": pair[0], "client_secret": pair[1]}
    assert client.tokens.introspect(token, **named).active
    client.tokens.revoke(token, **named)
    assert not client.tokens.introspect(token, **named).active
    rotated = client.oauth_clients.rotate_secret(made.client.id)
    old = client.tokens.issue_client_credentials(*pair).access_token
    new = client.tokens.issue_client_credentials(pair[0], rotated.client_secret).access_token
    client.oauth_clients.delete(made.client.id)
    for secret in (made.client_secret, rotated.client_secret):
        with pytest.raises(AuthenticationError) as refused:
            client.tokens.issue_client_credentials(pair[0], secret)
        assert refused.value.code == "invalid_client"
    other = client.oauth_clients.create(client_id=unique("other"), name="Other", confidential=True)
    named = {"client_id": other.client.client_id, "client_secret": other.client_secret}
    for token in (old, new):
        assert not client.tokens.introspect(token, **named).active


def test_a_keyless_client_manages_them_on_an_open_server(open_server, connect, tenant):
    client = connect(open_server, **tenant.options())
    made = client.oauth_clients.create(client_id=unique("worker"), name="Worker", confidential=True)
    assert client.oauth_clients.list() == [made.client]


def test_an_admin_agent_manages_those_of_its_tenant(server, operator, connect, tenant):
    admin = register(operator(server, tenant), "admin", allowed_scopes=[AdminScope.NHI_MANAGE])
    client = connect(server, api_key=admin.api_key)
    made = client.oauth_clients.create(client_id=unique("worker"), name="Worker", confidential=True)
    assert operator(server, tenant).oauth_clients.list() == [made.client]
    plain = register(operator(server, tenant), "plain")
    with pytest.raises(APIError) as refused:
        connect(server, api_key=plain.api_key).oauth_clients.list()
    assert refused.value.status == 403


def test_another_tenant_sees_none_and_gets_no_name_twice(server, operator, tenant):
    client = operator(server, tenant)
    name = unique("worker")
    made = client.oauth_clients.create(client_id=name, name="Worker", confidential=True)
    stranger = operator(server, new_tenant())
    assert stranger.oauth_clients.list() == []
    for hidden in (stranger.oauth_clients.get, stranger.oauth_clients.delete, stranger.oauth_clients.rotate_secret):
        with pytest.raises(NotFoundError):
            hidden(made.client.id)
    for caller in (client, stranger):
        with pytest.raises(ConflictError) as taken:
            caller.oauth_clients.create(client_id=name, name="Again")
        assert made.client.id not in str(taken.value)
    assert client.oauth_clients.list() == [made.client]


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "not plain"},
        {"name": " "},
        {"grant_types": ["password"]},
        {"grant_types": ["client_credentials"]},
        {"redirect_uris": ["http://app.example/callback"]},
        {"identity_id": "01890000-0000-7000-8000-000000000000"},
        {"confidential": True, "token_endpoint_auth_method": "none"},
        {"access_token_ttl": -1},
    ],
)
def test_what_does_not_fit_is_refused(open_server, operator, tenant, fields):
    client = operator(open_server, tenant)
    with pytest.raises(ValidationError):
        client.oauth_clients.create(**{"client_id": unique("bad"), "name": "Bad", **fields})
    assert client.oauth_clients.list() == []
