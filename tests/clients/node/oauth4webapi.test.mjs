// oauth4webapi, unmodified: every answer passes through its checks, which are the strictest there are.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'

import { discover, plain } from './person.mjs'
import { Admin, assertion, keyPair, servers } from './servers.mjs'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const RESOURCE = 'https://mcp.example.com/'

async function token(as, client, auth, parameters = {}) {
  const response = await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, plain)
  return oauth.processClientCredentialsResponse(as, client, response)
}

async function introspect(as, client, auth, accessToken, options = {}) {
  const response = await oauth.introspectionRequest(as, client, auth, accessToken, { ...plain, ...options })
  const claims = await oauth.processIntrospectionResponse(as, client, response)
  if (options.requestJwtResponse) await oauth.validateApplicationLevelSignature(as, response, plain)
  return claims
}

for (const server of servers) {
  describe(`oauth4webapi against the ${server.name} server`, () => {
    const admin = new Admin(server)

    /** A client with a secret, and how it authenticates. */
    async function withSecret(fields) {
      const made = await admin.client(fields)
      return { made, client: { client_id: made.client_id }, auth: oauth.ClientSecretBasic(made.secret) }
    }

    test('discovery finds the same issuer to the byte in both documents', async () => {
      for (const algorithm of ['oauth2', 'oidc']) {
        const as = await discover(server, algorithm)
        assert.equal(as.issuer, server.url)
        assert.equal(as.token_endpoint, `${server.url}/oauth2/token`)
      }
    })

    test('the protected resource names its authorization server', async () => {
      const resource = new URL(server.url)
      const response = await oauth.resourceDiscoveryRequest(resource, plain)
      const metadata = await oauth.processResourceDiscoveryResponse(resource, response)
      assert.deepEqual(metadata.authorization_servers, [server.url])
    })

    test('a refused request tells where the metadata is', async () => {
      const url = new URL('/agents/registry', server.url)
      const refused = await oauth
        .protectedResourceRequest('no-token-of-ours', 'GET', url, undefined, undefined, plain)
        .catch((error) => error)
      assert.equal(refused.code, oauth.WWW_AUTHENTICATE_CHALLENGE)
      const [challenge] = refused.cause
      assert.equal(challenge.scheme, 'bearer')
      assert.equal(challenge.parameters.error, 'invalid_token')
      assert.equal(challenge.parameters.resource_metadata, `${server.url}/.well-known/oauth-protected-resource`)
    })

    test('client_credentials with each way to authenticate', async () => {
      const as = await discover(server)
      const keys = await keyPair()
      const jwks = { keys: [{ ...keys.jwk, kid: 'one' }] }
      const made = {
        client_secret_basic: await admin.client({ token_endpoint_auth_method: 'client_secret_basic' }),
        client_secret_post: await admin.client({ token_endpoint_auth_method: 'client_secret_post' }),
        private_key_jwt: await admin.client({ token_endpoint_auth_method: 'private_key_jwt', jwks }),
      }
      const auth = {
        client_secret_basic: oauth.ClientSecretBasic(made.client_secret_basic.secret),
        client_secret_post: oauth.ClientSecretPost(made.client_secret_post.secret),
        private_key_jwt: oauth.PrivateKeyJwt({ key: keys.privateKey, kid: 'one' }),
      }
      for (const method of Object.keys(made)) {
        assert.ok(as.token_endpoint_auth_methods_supported.includes(method), method)
        const client = { client_id: made[method].client_id }
        const answer = await token(as, client, auth[method], { scope: 'data:read' })
        assert.equal(answer.token_type, 'bearer')
        assert.equal(answer.scope, 'data:read')
        assert.ok(answer.expires_in > 0)
        const seen = await introspect(as, client, auth[method], answer.access_token)
        assert.equal(seen.active, true)
        assert.equal(seen.client_id, client.client_id)
      }
    })

    test('a public client names itself, and may not use client_credentials', async () => {
      const as = await discover(server)
      const made = await admin.client({
        token_endpoint_auth_method: 'none',
        grant_types: ['api_key'],
        redirect_uris: ['http://127.0.0.1/callback'],
      })
      const client = { client_id: made.client_id }
      const refused = await token(as, client, oauth.None()).catch((error) => error)
      assert.equal(refused.error, 'unauthorized_client')
      const parameters = { api_key: made.agent.api_key, scope: 'data:read' }
      const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), 'api_key', parameters, plain)
      const answer = await oauth.processGenericTokenEndpointResponse(as, client, response)
      assert.equal(answer.token_type, 'bearer')
    })

    test('a wrong secret is told as RFC 6749 has it', async () => {
      const as = await discover(server)
      const { client } = await withSecret()
      const refused = await token(as, client, oauth.ClientSecretBasic('wrong')).catch((error) => error)
      assert.equal(refused.code, oauth.WWW_AUTHENTICATE_CHALLENGE)
      assert.equal(refused.cause[0].scheme, 'basic')
      const posted = await token(as, client, oauth.ClientSecretPost('wrong')).catch((error) => error)
      assert.equal(posted.code, oauth.RESPONSE_BODY_ERROR)
      assert.equal(posted.error, 'invalid_client')
      assert.equal(posted.status, 401)
    })

    test('introspection in both forms says the same', async () => {
      const as = await discover(server)
      const { client, auth } = await withSecret()
      const { access_token } = await token(as, client, auth, { scope: 'data:read' })
      const json = await introspect(as, client, auth, access_token)
      const signed = await introspect(as, client, auth, access_token, { requestJwtResponse: true })
      assert.deepEqual(signed, json)
      assert.equal(json.iss, server.url)
      for (const options of [{}, { requestJwtResponse: true }]) {
        assert.deepEqual(await introspect(as, client, auth, 'no-token', options), { active: false })
      }
    })

    test('what is revoked is inactive at once', async () => {
      const as = await discover(server)
      const { client, auth } = await withSecret()
      const { access_token } = await token(as, client, auth, { scope: 'data:read' })
      for (const presented of [access_token, access_token, 'no-token']) {
        const response = await oauth.revocationRequest(as, client, auth, presented, plain)
        assert.equal(await oauth.processRevocationResponse(response), undefined)
      }
      assert.deepEqual(await introspect(as, client, auth, access_token), { active: false })
    })

    test('jwt-bearer and token exchange as generic grants', async () => {
      const as = await discover(server)
      const keys = await keyPair()
      const agent = await admin.agent({ public_key_pem: keys.pem })
      const { client, auth } = await withSecret({ grant_types: ['jwt_bearer', 'token_exchange'] })
      const proof = await assertion(agent.wimse_uri, as.issuer, keys.privateKey)
      const first = await oauth.genericTokenEndpointRequest(
        as, client, auth, JWT_BEARER, { assertion: proof, scope: 'data:read data:write' }, plain,
      )
      const subject = await oauth.processGenericTokenEndpointResponse(as, client, first)
      assert.equal(subject.scope, 'data:read data:write')
      const second = await oauth.genericTokenEndpointRequest(
        as,
        client,
        auth,
        EXCHANGE,
        { subject_token: subject.access_token, subject_token_type: ACCESS_TOKEN, scope: 'data:read' },
        plain,
      )
      const child = await oauth.processGenericTokenEndpointResponse(as, client, second)
      assert.equal(child.issued_token_type, ACCESS_TOKEN)
      assert.equal(child.scope, 'data:read')
      const seen = await introspect(as, client, auth, child.access_token)
      assert.equal(seen.delegation_depth, 1)
      // The assertion was used up.
      const again = await oauth.genericTokenEndpointRequest(as, client, auth, JWT_BEARER, { assertion: proof }, plain)
      const refused = await oauth.processGenericTokenEndpointResponse(as, client, again).catch((error) => error)
      assert.equal(refused.error, 'invalid_grant')
    })

    test('an agent acts for another with an actor token', async () => {
      const as = await discover(server)
      const keys = await keyPair()
      const actor = await admin.agent({ public_key_pem: keys.pem })
      const { client, auth } = await withSecret()
      const subject = await token(as, client, auth, { scope: 'data:read' })
      const parameters = {
        grant_type: EXCHANGE,
        subject_token: subject.access_token,
        subject_token_type: ACCESS_TOKEN,
        actor_token: await assertion(actor.wimse_uri, as.issuer, keys.privateKey),
        actor_token_type: JWT,
        scope: 'data:read',
      }
      const response = await fetch(as.token_endpoint, { method: 'POST', body: new URLSearchParams(parameters) })
      const child = await response.json()
      assert.equal(response.status, 200, JSON.stringify(child))
      const seen = await introspect(as, client, auth, child.access_token)
      assert.equal(seen.sub, actor.wimse_uri)
    })

    test('a resource server validates the JWT access token by itself', async () => {
      const as = await discover(server)
      const { client, auth } = await withSecret({ token_profile: 'rfc9068' })
      const parameters = { scope: 'data:read', resource: RESOURCE }
      const { access_token } = await token(as, client, auth, parameters)
      const request = (bearer) =>
        new Request(`${RESOURCE}tools`, { headers: { Authorization: `Bearer ${bearer}` } })
      const claims = await oauth.validateJwtAccessToken(as, request(access_token), RESOURCE, plain)
      assert.equal(claims.client_id, client.client_id)
      assert.equal(claims.scope, 'data:read')
      const elsewhere = oauth.validateJwtAccessToken(as, request(access_token), 'https://other.example', plain)
      await assert.rejects(elsewhere, { code: oauth.JWT_CLAIM_COMPARISON })
      const { client: old, auth: oldAuth } = await withSecret()
      const legacy = await token(as, old, oldAuth, parameters)
      await assert.rejects(oauth.validateJwtAccessToken(as, request(legacy.access_token), RESOURCE, plain))
    })

    test('several resources, and one that the client may not address', async () => {
      const as = await discover(server)
      const { client, auth } = await withSecret({ allowed_audiences: [RESOURCE, 'https://two.example'] })
      const both = new URLSearchParams([['resource', RESOURCE], ['resource', 'https://two.example']])
      const { access_token } = await token(as, client, auth, both)
      const seen = await introspect(as, client, auth, access_token)
      assert.deepEqual(seen.aud, [RESOURCE, 'https://two.example'])
      const refused = await token(as, client, auth, { resource: server.url }).catch((error) => error)
      assert.equal(refused.error, 'invalid_target')
    })
  })
}
