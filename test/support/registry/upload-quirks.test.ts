import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { seededBytes } from '../../../fixtures/images/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { startRegistry, type EmbeddedRegistry, type EmbeddedRegistryOptions } from './registry.ts'
import type { UPLOAD_QUIRKS } from './quirks.ts'
import { codeOf } from './client.ts'

type UploadQuirk = keyof typeof UPLOAD_QUIRKS

const HALF = 40_000
const blob = seededBytes('upload quirks', 2 * HALF)
const digest = digestOf(blob)

/** An upload session on a registry with the quirk. */
async function session(quirks: UploadQuirk[], options: EmbeddedRegistryOptions = {}) {
  const registry = await startRegistry({ ...options, quirks })
  onTestFinished(() => registry.close())
  let location = ''
  const send = async (method: string, body?: typeof blob, headers: Record<string, string> = {}) => {
    const query = method === 'PUT' ? `${location.includes('?') ? '&' : '?'}digest=${digest}` : ''
    const response = await fetch(`${location}${query}`, { method, headers, ...(body ? { body } : {}) })
    const next = response.headers.get('location')
    if (next?.includes('/uploads/')) location = next
    return response
  }
  const opened = await fetch(`${registry.url}/v2/app/blobs/uploads/`, { method: 'POST' })
  location = opened.headers.get('location') ?? ''
  return {
    registry,
    opened,
    /** Of the session as it is now. */
    location: () => location,
    patch: (start: number, end: number) =>
      send('PATCH', blob.subarray(start, end), { 'content-range': `${start}-${end - 1}` }),
    put: (body?: typeof blob) => send('PUT', body),
    status: () => send('GET'),
    isStored: () => registry.store.blob('app', digest) !== undefined,
  }
}

/** Sends half of a chunk and breaks off. */
async function breakOff(registry: EmbeddedRegistry, location: string): Promise<void> {
  const { hostname, port, pathname } = new URL(location)
  const before = registry.requests.length
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      const head = `PATCH ${pathname} HTTP/1.1\r\nHost: x\r\nContent-Length: ${HALF}\r\n\r\n`
      socket.end(Buffer.concat([Buffer.from(head), blob.subarray(0, HALF / 2)]), resolve)
    })
  })
  await expect.poll(() => registry.requests[before]?.error).toBeDefined()
}

const CASES: Record<UploadQuirk, () => Promise<void>> = {
  'patch-201': async () => {
    const { patch } = await session(['patch-201'])
    expect((await patch(0, HALF)).status).toBe(201)
  },
  'patch-204': async () => {
    const { patch } = await session(['patch-204'])
    expect((await patch(0, HALF)).status).toBe(204)
  },
  'no-patch': async () => {
    const { patch } = await session(['no-patch'])
    expect((await patch(0, HALF)).status).toBe(405)
  },
  'no-monolithic-put': async () => {
    const { patch, put, isStored } = await session(['no-monolithic-put'])
    expect((await put(blob)).status).toBe(404)
    await patch(0, 2 * HALF)
    expect((await put()).status).toBe(201)
    expect(isStored()).toBe(true)
  },
  'second-chunk-refused': async () => {
    const { patch } = await session(['second-chunk-refused'])
    expect((await patch(0, HALF)).status).toBe(202)
    expect((await patch(HALF, 2 * HALF)).status).toBe(400)
  },
  'chunk-min-length': async () => {
    const { opened, patch } = await session(['chunk-min-length'])
    expect(opened.headers.get('oci-chunk-min-length')).toBe('65536')
    expect((await patch(0, HALF)).status).toBe(202)
    expect((await patch(HALF, 2 * HALF)).status).toBe(400)
  },
  'max-body-413-html': async () => {
    const { put } = await session(['max-body-413-html'])
    const refused = await put(Buffer.alloc(1024 * 1024 + 1))
    expect([refused.status, refused.headers.get('content-type')]).toEqual([413, 'text/html'])
    expect((await put(Buffer.alloc(1024 * 1024))).status).toBe(400)
  },
  'max-body-416': async () => {
    const { location } = await session(['max-body-416'])
    const refused = await fetch(location(), { method: 'PATCH', body: Buffer.alloc(1024 * 1024 + 1) })
    expect([refused.status, await refused.text()]).toEqual([416, expect.stringContaining('too large')])
  },
  'session-lost-on-drop': async () => {
    const { registry, location, status } = await session(['session-lost-on-drop'])
    await breakOff(registry, location())
    expect((await status()).status).toBe(404)
  },
  'keep-partial-chunk': async () => {
    const { registry, location, status } = await session(['keep-partial-chunk'])
    await breakOff(registry, location())
    expect((await status()).headers.get('range')).toBe(`0-${HALF / 2 - 1}`)
  },
  'upload-416-once': async () => {
    const { patch, put } = await session(['upload-416-once'])
    await patch(0, HALF)
    expect((await patch(HALF, 2 * HALF)).status).toBe(416)
    expect((await patch(HALF, 2 * HALF)).status).toBe(202)
    expect((await put()).status).toBe(201)
  },
  'upload-416-always': async () => {
    const { patch } = await session(['upload-416-always'])
    for (let i = 0; i < 3; i++) expect((await patch(0, HALF)).status).toBe(416)
  },
  'location-changes': async () => {
    const { location, patch } = await session(['location-changes'])
    const first = location()
    expect((await patch(0, HALF)).status).toBe(202)
    expect(location()).not.toBe(first)
    expect((await fetch(first)).status).toBe(404)
    expect((await fetch(location())).status).toBe(204)
  },
  'upload-other-origin': async () => {
    const { registry, opened } = await session(['upload-other-origin'])
    const { origin } = new URL(opened.headers.get('location') ?? '')
    expect(origin).toBe(registry.url.replace('127.0.0.1', 'localhost'))
  },
  'token-expires-mid-upload': async () => {
    const registry = await startRegistry({ quirks: ['token-expires-mid-upload'], auth: { bearer: {} } })
    onTestFinished(() => registry.close())
    const answer = await fetch(`${registry.url}/token?scope=repository:app:pull,push`)
    const { token } = (await answer.json()) as { token: string }
    const headers = { authorization: `Bearer ${token}` }
    const opened = await fetch(`${registry.url}/v2/app/blobs/uploads/`, { method: 'POST', headers })
    const location = opened.headers.get('location') ?? ''
    const statuses = []
    for (let i = 0; i < 2; i++) {
      statuses.push((await fetch(location, { method: 'PATCH', headers, body: 'x' })).status)
    }
    expect(statuses).toEqual([202, 401])
  },
  'range-missing': async () => {
    const { opened, patch, status } = await session(['range-missing'])
    for (const answer of [opened, await patch(0, HALF), await status()]) {
      expect(answer.headers.get('range')).toBeNull()
    }
  },
  'range-bytes': async () => {
    const { patch } = await session(['range-bytes'])
    expect((await patch(0, HALF)).headers.get('range')).toBe(`bytes=0-${HALF - 1}`)
  },
  'range-stale': async () => {
    const { patch, status } = await session(['range-stale'])
    for (const start of [0, HALF]) {
      expect((await patch(start, start + HALF)).headers.get('range')).toBe(`0-${HALF - 1}`)
    }
    expect((await status()).headers.get('range')).toBe(`0-${2 * HALF - 1}`)
  },
  'ignore-content-range': async () => {
    const { location, put, isStored } = await session(['ignore-content-range'])
    const headers = { 'content-range': '7-8' }
    const sent = await fetch(location(), { method: 'PATCH', headers, body: blob })
    expect(sent.status).toBe(202)
    expect((await put()).status).toBe(201)
    expect(isStored()).toBe(true)
  },
  'no-upload-status': async () => {
    const { status } = await session(['no-upload-status'])
    const answer = await status()
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'NAME_INVALID'])
  },
  'put-200': async () => {
    const { put, isStored } = await session(['put-200'])
    expect((await put(blob)).status).toBe(200)
    expect(isStored()).toBe(true)
  },
  'put-204': async () => {
    const { put, isStored } = await session(['put-204'])
    expect((await put(blob)).status).toBe(204)
    expect(isStored()).toBe(true)
  },
  'put-bare-201': async () => {
    const { put, isStored } = await session(['put-bare-201'])
    const { status, headers } = await put(blob)
    expect([status, headers.get('location'), headers.get('docker-content-digest')]).toEqual([201, null, null])
    expect(isStored()).toBe(true)
  },
  'put-other-digest': async () => {
    const { put } = await session(['put-other-digest'])
    const { status, headers } = await put(blob)
    expect([status, headers.get('docker-content-digest')]).toEqual([201, digestOf('something else')])
  },
}

test.each(Object.entries(CASES))('%s', async (_, check) => check())
