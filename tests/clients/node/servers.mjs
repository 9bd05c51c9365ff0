// The servers under test, and what an administrator prepares there for a client.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

/** Each server: its name, its address, and an operator's key. */
export const servers = JSON.parse(process.env.CHANCERY_SERVERS ?? '[]')
assert.ok(servers.length > 0, 'CHANCERY_SERVERS is not set; see tests/clients/README.md')

/** A name nobody else uses. */
export const unique = (name) => `${name}-${randomUUID().slice(0, 13)}`

/** An administrator of a tenant of the test's own. */
export class Admin {
  constructor(server) {
    this.server = server
    this.account = unique('acct')
  }

  async call(method, path, body) {
    const headers = {
      Authorization: `Bearer ${this.server.key}`,
      'X-Account-ID': this.account,
      'X-Project-ID': 'prod',
      'Content-Type': 'application/json',
    }
    const response = await fetch(this.server.url + path, { method, headers, body: body && JSON.stringify(body) })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text)
  }

  /** A new agent, and its API key. */
  async agent(fields = {}) {
    const body = { name: 'Worker', external_id: unique('worker'), created_by: 'dev@company.example', ...fields }
    const made = await this.call('POST', '/agents/register', body)
    return { ...made.identity, api_key: made.api_key }
  }

  /** A new client with an agent of its own, as clients know themselves. */
  async client(fields = {}) {
    const agent = await this.agent()
    const body = {
      client_id: unique('client'),
      name: 'Client',
      identity_id: agent.id,
      scopes: ['data:read', 'data:write'],
      token_endpoint_auth_method: 'client_secret_basic',
      ...fields,
    }
    const made = await this.call('POST', '/oauth/clients', body)
    return { client_id: body.client_id, secret: made.client_secret, agent }
  }

  /** A confidential client through which people act, bound to no agent. */
  async codeClient(fields = {}) {
    const redirect_uri = 'https://app.example/callback'
    const made = await this.client({
      identity_id: '',
      grant_types: ['authorization_code'],
      redirect_uris: [redirect_uri],
      ...fields,
    })
    return { ...made, redirect_uri }
  }

  /** The same, public. */
  async publicClient(fields = {}) {
    return this.codeClient({ token_endpoint_auth_method: 'none', ...fields })
  }
}

/** A P-256 key pair, its public half as a JWK and as PEM. */
export async function keyPair() {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey)
  const der = Buffer.from(await crypto.subtle.exportKey('spki', pair.publicKey))
  const lines = der.toString('base64').match(/.{1,64}/g).join('\n')
  return { ...pair, jwk: { kty, crv, x, y }, pem: `-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n` }
}

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** An assertion that an agent signs for itself. */
export async function assertion(name, audience, privateKey) {
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: name, sub: name, aud: audience, iat: now, exp: now + 120, jti: randomUUID() }
  const input = `${encoded({ alg: 'ES256', typ: 'JWT' })}.${encoded(claims)}`
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const signature = await crypto.subtle.sign(algorithm, privateKey, Buffer.from(input))
  return `${input}.${Buffer.from(signature).toString('base64url')}`
}
