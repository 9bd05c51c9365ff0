// oauth4webapi through the authorization endpoint: the script plays the person's browser, without one.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'

import { agree, discover, plain, redeem, request } from './person.mjs'
import { Admin, servers } from './servers.mjs'

for (const server of servers) {
  describe(`codes with oauth4webapi against the ${server.name} server`, () => {
    const admin = new Admin(server)

    test('a code with PKCE and a resource becomes a token in the name of the person', async () => {
      const as = await discover(server)
      const made = await admin.publicClient({ token_profile: 'rfc9068' })
      const wish = await request(made, { resource: 'https://mcp.example.com/' })
      const answer = await agree(admin, as, wish.url(as))
      const token = await redeem(as, wish, answer, oauth.None())
      assert.equal(token.scope, 'data:read')
      const bearer = new Request('https://mcp.example.com/', {
        headers: { Authorization: `Bearer ${token.access_token}` },
      })
      const claims = await oauth.validateJwtAccessToken(as, bearer, 'https://mcp.example.com/', plain)
      assert.equal(claims.client_id, made.client_id)
      assert.equal(claims.sub, answer.user)
      // The code was used up, and the second use ends what it brought.
      await assert.rejects(redeem(as, wish, answer, oauth.None()), { error: 'invalid_grant' })
      const client = await admin.client({ resources: ['https://mcp.example.com/'] })
      const known = { client_id: client.client_id }
      const auth = oauth.ClientSecretBasic(client.secret)
      const looked = await oauth.introspectionRequest(as, known, auth, token.access_token, plain)
      assert.deepEqual(await oauth.processIntrospectionResponse(as, known, looked), { active: false })
    })

    test('a pushed request of a confidential client', async () => {
      const as = await discover(server)
      const made = await admin.codeClient()
      const auth = oauth.ClientSecretBasic(made.secret)
      const wish = await request(made)
      const client = { client_id: made.client_id }
      const pushed = await oauth.pushedAuthorizationRequest(as, client, auth, wish.parameters, plain)
      const { request_uri, expires_in } = await oauth.processPushedAuthorizationResponse(as, client, pushed)
      assert.ok(expires_in > 0)
      const url = new URL(as.authorization_endpoint)
      url.search = new URLSearchParams({ client_id: made.client_id, request_uri })
      const answer = await agree(admin, as, url)
      const token = await redeem(as, wish, answer, auth)
      assert.equal(token.token_type, 'bearer')
    })

    test('a refresh token becomes the next one and no other', async () => {
      const as = await discover(server)
      const made = await admin.publicClient({ grant_types: ['authorization_code', 'refresh_token'] })
      const wish = await request(made)
      const first = await redeem(as, wish, await agree(admin, as, wish.url(as)), oauth.None())
      const client = { client_id: made.client_id }
      const refresh = async (token) => {
        const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), token, plain)
        return oauth.processRefreshTokenResponse(as, client, response)
      }
      const second = await refresh(first.refresh_token)
      assert.notEqual(second.refresh_token, first.refresh_token)
      assert.equal(second.scope, first.scope)
      await assert.rejects(refresh(first.refresh_token), { error: 'invalid_grant' })
      const third = await refresh(second.refresh_token)
      assert.notEqual(third.access_token, second.access_token)
    })

    test('a verifier of another request gets nothing', async () => {
      const as = await discover(server)
      const made = await admin.publicClient()
      const [wish, other] = [await request(made), await request(made)]
      const answer = await agree(admin, as, wish.url(as))
      const refused = redeem(as, { ...wish, verifier: other.verifier }, answer, oauth.None())
      await assert.rejects(refused, { error: 'invalid_grant' })
      await redeem(as, wish, answer, oauth.None())
    })

    test('who says no is told as RFC 6749 and RFC 9207 have it', async () => {
      const as = await discover(server)
      const made = await admin.publicClient()
      const wish = await request(made)
      const { callback } = await agree(admin, as, wish.url(as), 'deny')
      assert.equal(callback.searchParams.get('iss'), as.issuer)
      const client = { client_id: made.client_id }
      assert.throws(() => oauth.validateAuthResponse(as, client, callback, wish.state), {
        code: oauth.AUTHORIZATION_RESPONSE_ERROR,
        error: 'access_denied',
      })
    })
  })
}
