import { Agent, fetch as undiciFetch } from 'undici'
import { expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { startRegistry, type EmbeddedRegistry } from './registry.ts'
import { buildIndex, seedRegistry } from '../../../fixtures/images/index.ts'
import { pushBlob } from './client.ts'
import { selfSigned } from '../self-signed.ts'

const basic = (user: string, password: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

interface TokenAnswer {
  token: string
  access_token: string
  expires_in: number
  refresh_token?: string
}

/** Follows a challenge as a client would, and gives back the header for the next request. */
async function tokenFor(challenge: string | null, headers: Record<string, string> = {}): Promise<Response> {
  const parameters = Object.fromEntries(
    [...(challenge ?? '').matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1], match[2]]),
  )
  const url = new URL(parameters['realm'] ?? '')
  url.searchParams.set('service', parameters['service'] ?? '')
  for (const scope of parameters['scope']?.split(' ') ?? []) url.searchParams.append('scope', scope)
  return await fetch(url, { headers })
}

async function bearer(response: Response): Promise<{ authorization: string }> {
  expect(response.status).toBe(200)
  return { authorization: `Bearer ${((await response.json()) as TokenAnswer).token}` }
}

test('basic: only the right password is let in', async () => {
  await using registry = await startRegistry({ auth: { basic: { robot$ci: 'pa:ss' } } })
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${registry.url}/v2/`, { headers })).status
  const refused = await fetch(`${registry.url}/v2/`)
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
    401,
    'Basic realm="airgap-embedded-registry"',
  ])
  expect(await status(basic('robot$ci', 'pa:ss'))).toBe(200)
  expect(await status(basic('robot$ci', 'pa'))).toBe(401)
  expect(await status(basic('toString', 'x'))).toBe(401)
  expect(await status({ authorization: 'Basic !' })).toBe(401)
  expect(await status({ authorization: 'Bearer x' })).toBe(401)
})

test('bearer: a token opens what it was asked for, and nothing else', async () => {
  await using registry = await startRegistry({ auth: { bearer: { users: { bob: 'pw' } } } })
  seedRegistry(registry.store, 'a/b:1', buildIndex([]))
  const url = `${registry.url}/v2/a/b/manifests/1`
  const refused = await fetch(url)
  const challenge = refused.headers.get('www-authenticate')
  expect([refused.status, challenge]).toEqual([
    401,
    `Bearer realm="${registry.url}/token",service="airgap-embedded-registry",scope="repository:a/b:pull"`,
  ])
  expect((await tokenFor(challenge)).status).toBe(401)
  expect((await tokenFor(challenge, basic('bob', 'wrong'))).status).toBe(401)

  const headers = await bearer(await tokenFor(challenge, basic('bob', 'pw')))
  expect((await fetch(url, { headers })).status).toBe(200)
  expect((await fetch(`${registry.url}/v2/`, { headers })).status).toBe(200)
  for (const [method, path] of [
    ['DELETE', 'a/b/manifests/1'],
    ['POST', 'a/b/blobs/uploads/'],
    ['GET', 'a/other/tags/list'],
    ['GET', '_catalog'],
  ]) {
    const response = await fetch(`${registry.url}/v2/${path}`, { method: method ?? '', headers })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toContain('error="insufficient_scope"')
  }
  const forged = { authorization: `${headers.authorization.slice(0, -2)}xx` }
  expect((await fetch(url, { headers: forged })).headers.get('www-authenticate')).toContain('invalid_token')
})

test('bearer: a mount asks for the source as well', async () => {
  await using registry = await startRegistry({ auth: { bearer: {} } })
  const uploads = `${registry.url}/v2/to/blobs/uploads/?mount=${digestOf('x')}&from=source`
  const refused = await fetch(uploads, { method: 'POST' })
  const challenge = refused.headers.get('www-authenticate')
  expect(challenge).toContain('scope="repository:to:pull,push repository:source:pull"')
  const headers = await bearer(await tokenFor(challenge))
  expect((await fetch(uploads, { method: 'POST', headers })).status).toBe(202)
})

test('bearer: without credentials a client may pull, where that is allowed, and not push', async () => {
  await using registry = await startRegistry({
    auth: { bearer: { users: { bob: 'pw' }, anonymousPull: true } },
  })
  seedRegistry(registry.store, 'a:1', buildIndex([]))
  const scope = 'scope="repository:a:pull,push"'
  const headers = await bearer(await tokenFor(`Bearer realm="${registry.url}/token",service="x",${scope}`))
  expect((await fetch(`${registry.url}/v2/a/manifests/1`, { headers })).status).toBe(200)
  expect((await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST', headers })).status).toBe(401)
  const wrong = await fetch(`${registry.url}/token`, { headers: basic('bob', 'wrong') })
  expect(wrong.status).toBe(401)
})

test('bearer: tokens run out, and can be made to', async () => {
  await using registry = await startRegistry({ auth: { bearer: { expiresIn: 0 } } })
  const answer = await fetch(`${registry.url}/token`)
  expect(((await answer.clone().json()) as TokenAnswer).expires_in).toBe(0)
  expect((await fetch(`${registry.url}/v2/`, { headers: await bearer(answer) })).status).toBe(401)

  await using lasting = await startRegistry({ auth: { bearer: {} } })
  const headers = await bearer(await fetch(`${lasting.url}/token`))
  expect((await fetch(`${lasting.url}/v2/`, { headers })).status).toBe(200)
  lasting.revokeTokens()
  expect((await fetch(`${lasting.url}/v2/`, { headers })).status).toBe(401)
})

test('bearer: POST takes a password and a refresh token', async () => {
  await using registry = await startRegistry({ auth: { bearer: { users: { bob: 'pw' } } } })
  const post = async (form: Record<string, string>): Promise<Response> =>
    await fetch(`${registry.url}/token`, {
      method: 'POST',
      body: new URLSearchParams({ service: 's', client_id: 'c', scope: 'repository:a:pull,push', ...form }),
    })
  const password = { grant_type: 'password', username: 'bob', password: 'pw' }
  const first = (await (await post({ ...password, access_type: 'offline' })).json()) as TokenAnswer
  expect(first.access_token).toBe(first.token)
  const second = await post({ grant_type: 'refresh_token', refresh_token: first.refresh_token ?? '' })
  const headers = await bearer(second)
  expect((await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST', headers })).status).toBe(202)

  expect((await post({ ...password, password: 'no' })).status).toBe(401)
  expect((await post({ grant_type: 'refresh_token', refresh_token: first.token })).status).toBe(401)
  expect((await post({ grant_type: 'other' })).status).toBe(400)
  const misused = { authorization: `Bearer ${first.refresh_token}` }
  expect((await fetch(`${registry.url}/v2/`, { headers: misused })).status).toBe(401)
})

test('the server speaks TLS with the certificate it is given', async () => {
  const tls = selfSigned()
  await using registry = await startRegistry({ tls })
  const dispatcher = new Agent({ connect: { ca: tls.cert } })
  expect(registry.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
  const response = await undiciFetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST', dispatcher })
  expect(response.status).toBe(202)
  expect(response.headers.get('location')).toMatch(/^https:/)
  await expect(fetch(`${registry.url}/v2/`)).rejects.toThrow()
  await dispatcher.close()
  await expect(startRegistry({ tls: { key: 'x', cert: 'y' } })).rejects.toMatchObject({ code: 'TLS' })
})

test('an address that is taken is an error that names it, and closing frees it', async () => {
  const first: EmbeddedRegistry = await startRegistry()
  const port = Number(new URL(first.url).port)
  const error: unknown = await startRegistry({ listen: { port } }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(AirgapError)
  expect(error).toMatchObject({ code: 'NETWORK', message: expect.stringContaining(`127.0.0.1:${port}`) })
  await first.close()
  await first.close()
  await using second = await startRegistry({ listen: { port } })
  await pushBlob(`${second.url}/v2/x`, Buffer.from('x'))
})
