// oauth4webapi with proofs of possession: it answers a demand for a nonce as RFC 9449 has it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'

import { agree, discover, plain, redeem, request } from './person.mjs'
import { Admin, servers } from './servers.mjs'

for (const server of servers) {
  describe(`DPoP with oauth4webapi against the ${server.name} server`, () => {
    const admin = new Admin(server)

    /** A token bound to a new key, asked for again where a nonce is demanded, and how often that was. */
    async function bound(fields) {
      const as = await discover(server)
      const made = await admin.client(fields)
      const [client, auth] = [{ client_id: made.client_id }, oauth.ClientSecretBasic(made.secret)]
      const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: true }))
      const options = { ...plain, DPoP }
      let demands = 0
      const ask = async () => {
        const response = await oauth.clientCredentialsGrantRequest(as, client, auth, { scope: 'data:read' }, options)
        return oauth.processClientCredentialsResponse(as, client, response)
      }
      const answer = await ask().catch((error) => {
        if (!oauth.isDPoPNonceError(error)) throw error
        demands += 1
        return ask()
      })
      return { as, client, auth, DPoP, answer, demands }
    }

    test('a token is bound to its key, and a resource server sees that', async () => {
      const { as, client, auth, DPoP, answer, demands } = await bound()
      assert.equal(answer.token_type, 'dpop')
      assert.equal(demands, 0, 'who did not ask for nonces is not asked for one')
      const looked = await oauth.introspectionRequest(as, client, auth, answer.access_token, plain)
      const seen = await oauth.processIntrospectionResponse(as, client, looked)
      assert.equal(seen.cnf.jkt, await DPoP.calculateThumbprint())
    })

    test('a proof beside a pushed request binds the code and all that comes of it', async () => {
      const as = await discover(server)
      const made = await admin.publicClient({ grant_types: ['authorization_code', 'refresh_token'] })
      const client = { client_id: made.client_id }
      const proofs = async () => oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: true }))
      const [own, other] = [await proofs(), await proofs()]
      const wish = await request(made)
      const push = { ...plain, DPoP: own }
      const response = await oauth.pushedAuthorizationRequest(as, client, oauth.None(), wish.parameters, push)
      const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, response)
      const url = new URL(as.authorization_endpoint)
      url.search = new URLSearchParams({ client_id: made.client_id, request_uri })
      const answer = await agree(admin, as, url)
      const refused = { error: 'invalid_dpop_proof' }
      await assert.rejects(redeem(as, wish, answer, oauth.None()), refused)
      await assert.rejects(redeem(as, wish, answer, oauth.None(), { DPoP: other }), refused)
      const first = await redeem(as, wish, answer, oauth.None(), { DPoP: own })
      assert.equal(first.token_type, 'dpop')
      const refresh = async (DPoP) => {
        const options = { ...plain, DPoP }
        const refreshed = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), first.refresh_token, options)
        return oauth.processRefreshTokenResponse(as, client, refreshed)
      }
      await assert.rejects(refresh(undefined), refused)
      await assert.rejects(refresh(other), refused)
      const second = await refresh(own)
      assert.equal(second.token_type, 'dpop')
      assert.notEqual(second.refresh_token, first.refresh_token)
    })

    test('a client that wants nonces is told one, and comes again with it', async () => {
      const { answer, demands } = await bound({ dpop_nonce_required: true })
      assert.equal(demands, 1)
      assert.equal(answer.token_type, 'dpop')
    })
  })
}
