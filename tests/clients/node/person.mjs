// A person who opens an administrator's link and answers what a client asks, and the client's side of it.

import assert from 'node:assert/strict'

import * as oauth from 'oauth4webapi'

import { unique } from './servers.mjs'

/** The servers listen on loopback, where nobody has a certificate. */
export const plain = { [oauth.allowInsecureRequests]: true }

/** The server's metadata, checked as the library does. */
export async function discover(server, algorithm = 'oauth2') {
  const issuer = new URL(server.url)
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...plain })
  return oauth.processDiscoveryResponse(issuer, response)
}

/** An authorization request of a client, with what it must remember. */
export async function request(made, more = {}) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const parameters = {
    client_id: made.client_id,
    redirect_uri: made.redirect_uri,
    response_type: 'code',
    scope: 'data:read',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...more,
  }
  const url = (as) => {
    const url = new URL(as.authorization_endpoint)
    url.search = new URLSearchParams(parameters)
    return url
  }
  return { made, verifier, state, parameters, url }
}

/** A new user, and a link that leads this user to the request. */
export async function link(admin, url) {
  const user = await admin.call('POST', '/users', { user_id: unique('person'), name: 'Ada' })
  const to = url.pathname + url.search
  const made = await admin.call('POST', `/users/${user.id}/links`, { purpose: 'authorize', to })
  return { user, link: new URL(made.url) }
}

const unescaped = (text) =>
  text.replace(/&(amp|lt|gt|quot|#39|#x27);/g, (_, name) =>
    ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? "'",
  )

/** The person follows a new link, reads the page and answers; what comes back is where the browser is sent. */
export async function agree(admin, as, url, decision = 'allow') {
  const { user, link: address } = await link(admin, url)
  const opened = await fetch(address, { redirect: 'manual' })
  assert.equal(opened.status, 303)
  const headers = { Cookie: opened.headers.get('set-cookie').split(';')[0], Accept: 'text/html' }
  const page = await fetch(new URL(opened.headers.get('location'), address), { headers, redirect: 'manual' })
  const html = await page.text()
  assert.equal(page.status, 200, html)
  const fields = [...html.matchAll(/name="(\w+)" value="([^"]*)"/g)]
  const form = Object.fromEntries(fields.map(([, name, value]) => [name, unescaped(value)]))
  const action = new URL(html.match(/action="([^"]*)"/)[1], address)
  const body = new URLSearchParams({ ...form, decision })
  const answered = await fetch(action, { method: 'POST', headers, body, redirect: 'manual' })
  assert.equal(answered.status, 303, await answered.text())
  return { user: user.user_id, callback: new URL(answered.headers.get('location')) }
}

/** The client takes the answer to the token endpoint. */
export async function redeem(as, wish, { callback }, auth, options = {}) {
  const client = { client_id: wish.made.client_id }
  const parameters = oauth.validateAuthResponse(as, client, callback, wish.state)
  const { redirect_uri: uri } = wish.parameters
  const ask = () =>
    oauth.authorizationCodeGrantRequest(as, client, auth, parameters, uri, wish.verifier, { ...plain, ...options })
  return oauth.processAuthorizationCodeResponse(as, client, await ask())
}
