// oauth4webapi with proofs of possession: it answers a demand for a nonce as RFC 9449 has it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'

import { discover, plain } from './person.mjs'
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

    test('a client that wants nonces is told one, and comes again with it', async () => {
      const { answer, demands } = await bound({ dpop_nonce_required: true })
      assert.equal(demands, 1)
      assert.equal(answer.token_type, 'dpop')
    })
  })
}
