// The consent page in headless Chromium, by keyboard alone.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'
import { chromium } from 'playwright-core'

import { discover, link, redeem, request } from './person.mjs'
import { Admin, servers } from './servers.mjs'

const program = process.env.CHROMIUM
const skip = program ? false : 'CHROMIUM names no browser'

/** Without these, Chromium calls its maker at every start. */
const quiet = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-gpu',
  '--disable-quic',
  '--disable-sync',
  '--no-first-run',
  '--no-sandbox',
]

describe('the consent page in Chromium', { skip }, () => {
  let home, browser, app, callbacks

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'consent-'))
    browser = await chromium.launchPersistentContext(home, { executablePath: program, headless: true, args: quiet })
    // The client's own page, to which the browser is sent back.
    callbacks = []
    app = createServer((asked, answer) => {
      callbacks.push(asked.url)
      answer.setHeader('Content-Type', 'text/html')
      answer.end('<!doctype html><html lang="en"><title>Diary</title><p>Back in the app')
    })
    await new Promise((ready) => app.listen(0, '127.0.0.1', ready))
  })

  after(async () => {
    await browser?.close()
    app?.close()
    await rm(home, { recursive: true, force: true })
  })

  for (const server of servers) {
    /** Opens the link of a new person, and notes whatever the browser complains of. */
    async function open(name) {
      const admin = new Admin(server)
      const as = await discover(server)
      const made = await admin.publicClient({ name, redirect_uris: ['http://127.0.0.1/callback'] })
      made.redirect_uri = `http://127.0.0.1:${app.address().port}/callback`
      const wish = await request(made, { resource: 'https://mcp.example.com/' })
      const { link: address } = await link(admin, wish.url(as))
      await browser.clearCookies()
      const page = await browser.newPage()
      const complaints = []
      page.on('console', (message) => complaints.push(message.text()))
      page.on('pageerror', (error) => complaints.push(String(error)))
      page.on('requestfailed', (failed) => complaints.push(`${failed.url()}: ${failed.failure().errorText}`))
      const response = await page.goto(address.href)
      return { as, wish, page, complaints, response }
    }

    /** Presses Tab until the button of this name has the focus. */
    async function reach(page, name) {
      const seen = []
      for (let presses = 0; presses < 10; presses += 1) {
        await page.keyboard.press('Tab')
        const focused = await page.evaluate(() => document.activeElement.textContent.trim())
        seen.push(focused)
        if (focused === name) return seen
      }
      throw new Error(`${name} was not reached: ${seen}`)
    }

    const callbackOf = (page) => new URL(page.url())

    test(`a person allows at the ${server.name} server, and the code becomes a token`, async () => {
      const { as, wish, page, complaints } = await open('Diary')
      assert.match(await page.locator('h1').textContent(), /Diary/)
      assert.equal(await page.locator('html').getAttribute('lang'), 'en')
      const text = await page.locator('main').innerText()
      for (const part of ['Ada', 'data:read', 'https://mcp.example.com/', 'this device']) {
        assert.ok(text.includes(part), `${part} is on the page: ${text}`)
      }
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${server.name}.png`) })
      assert.deepEqual(await reach(page, 'Allow'), ['Allow'], 'the first stop is the first button')
      await page.keyboard.press('Enter')
      await page.waitForURL((url) => url.pathname === '/callback')
      assert.deepEqual(complaints, [])
      const token = await redeem(as, wish, { callback: callbackOf(page) }, oauth.None())
      assert.equal(token.scope, 'data:read')
      await page.close()
    })

    test(`a person denies at the ${server.name} server`, async () => {
      const { as, wish, page, complaints } = await open('Diary')
      assert.deepEqual(await reach(page, 'Deny'), ['Allow', 'Deny'])
      await page.keyboard.press('Space')
      await page.waitForURL((url) => url.pathname === '/callback')
      const answer = callbackOf(page).searchParams
      assert.equal(answer.get('error'), 'access_denied')
      assert.equal(answer.get('iss'), as.issuer)
      assert.equal(answer.get('state'), wish.state)
      assert.deepEqual(complaints, [])
      await page.close()
    })

    test(`a name with markup stays text at the ${server.name} server, and nothing else may run or frame the page`, async () => {
      const { page, complaints, response } = await open('<img src=x onerror=alert(1)><script>alert(2)</script>')
      let alerts = 0
      page.on('dialog', (dialog) => (alerts += 1) && dialog.dismiss())
      assert.equal(await page.locator('img, script, iframe').count(), 0)
      assert.match(await page.locator('h1').textContent(), /<script>/)
      assert.equal(alerts, 0)
      assert.deepEqual(complaints, [])
      const policy = response.headers()['content-security-policy']
      assert.match(policy, /default-src 'none'/)
      assert.match(policy, /frame-ancestors 'none'/)
      // The policy holds: what is put into the page all the same neither runs nor loads.
      const ran = await page.evaluate(() => {
        const script = document.createElement('script')
        script.textContent = 'window.ran = true'
        document.body.append(script)
        return window.ran === true
      })
      assert.equal(ran, false)
      await page.close()
    })
  }
})
