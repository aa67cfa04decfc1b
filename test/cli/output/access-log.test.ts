import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { logHandshakeFault, logRequest } from '../../../src/cli/output/access-log.ts'
import { Log } from '../../../src/cli/output/log.ts'
import type { RequestLogEntry } from '../../../src/serve/registry/request.ts'
import { anyText } from '../../support/any-text.ts'
import { logLines } from '../../support/schemas.ts'

const ENTRY: RequestLogEntry = {
  method: 'GET',
  path: '/v2/library/nginx/manifests/1',
  query: { ns: 'docker.io' },
  status: 200,
  authorization: undefined,
  range: undefined,
  remote: '10.0.0.7',
  userAgent: 'containerd/2.1.4',
  milliseconds: 1.6,
  bytesSent: 1412,
  bytesReceived: 0,
}

async function written(
  logFormat: 'text' | 'json',
  say: (log: Log) => void,
  isQuiet = false,
): Promise<string> {
  const stream = new PassThrough()
  say(new Log(stream, { isQuiet, logFormat }))
  stream.end()
  return await text(stream)
}

const asText = (entry: Partial<RequestLogEntry>): Promise<string> =>
  written('text', (log) => logRequest({ ...ENTRY, ...entry }, log))
const asJson = async (entry: Partial<RequestLogEntry>): Promise<object | undefined> =>
  logLines(await written('json', (log) => logRequest({ ...ENTRY, ...entry }, log)))[0]

describe('a request', () => {
  it('is one line for people', async () => {
    expect(await asText({})).toMatch(
      /^\d{4}-\S+Z 10\.0\.0\.7 GET \/v2\/library\/nginx\/manifests\/1\?ns=docker\.io 200 1412 B 2 ms "containerd\/2\.1\.4"\n$/,
    )
    expect(await asText({ range: 'bytes=0-9', status: 0, error: 'gone', userAgent: undefined })).toMatch(
      /\?ns=docker\.io bytes=0-9 - 1412 B 2 ms "" gone\n$/,
    )
  })

  it('is fields for a program, and what does not apply is absent', async () => {
    const facts = {
      remote: '10.0.0.7',
      method: 'GET',
      path: '/v2/library/nginx/manifests/1?ns=docker.io',
      status: 200,
      bytes: 1412,
      milliseconds: 2,
      userAgent: 'containerd/2.1.4',
    }
    const line = { time: expect.any(String), level: 'info', event: 'request', message: expect.any(String) }
    expect(await asJson({})).toEqual({ ...line, ...facts })
    const gone = { status: 0, remote: '', userAgent: undefined, query: {} }
    const { status: _, remote: __, userAgent: ___, ...rest } = facts
    expect(await asJson({ ...gone, range: 'bytes=0-9', error: 'gone' })).toEqual({
      ...line,
      ...rest,
      path: '/v2/library/nginx/manifests/1',
      range: 'bytes=0-9',
      error: 'gone',
    })
  })

  it('keeps the longest name whole, with its digest, and cuts off what is only long', async () => {
    const path = `/v2/${'a'.repeat(255)}/manifests/sha256:${'0'.repeat(64)}`
    expect(await asJson({ path })).toMatchObject({ path: `${path}?ns=docker.io` })
    const long = 'x'.repeat(20_000)
    const all = await asText({
      path: `/${long}`,
      query: { ns: long },
      userAgent: long,
      range: long,
      error: long,
    })
    expect(all.length).toBeLessThan(2200)
  })

  it('[duty: foreign-text] is one line without control characters, whatever the client sends', async () => {
    const foreign = anyText()
    const entry = fc.record({
      path: foreign,
      userAgent: foreign,
      range: foreign,
      error: foreign,
      ns: foreign,
    })
    await fc.assert(
      fc.asyncProperty(entry, async ({ ns, ...rest }) => {
        for (const format of ['text', 'json'] as const) {
          const line = await written(format, (log) => logRequest({ ...ENTRY, ...rest, query: { ns } }, log))
          expect(line).toMatch(/^[^\p{Cc}\u202a-\u202e\u2066-\u2069\u2028\u2029]+\n$/u)
          if (format === 'json') expect(logLines(line)).toHaveLength(1)
        }
      }),
    )
  })

  it('is not told under --quiet', async () => {
    for (const format of ['text', 'json'] as const)
      expect(await written(format, (log) => logRequest(ENTRY, log), true)).toBe('')
  })
})

it('a failed handshake is one line, with the first line of the reason', async () => {
  const say = (log: Log): void => logHandshakeFault('10.0.0.7', 'unknown ca\u001b[2J\nmore', log)
  expect(await written('text', say)).toMatch(
    /^\d{4}-\S+Z 10\.0\.0\.7 no TLS connection: unknown ca\\u\{1b\}\[2J \(does the client trust the certificate\?\)\n$/,
  )
  expect(logLines(await written('json', say))).toMatchObject([
    { event: 'handshake', remote: '10.0.0.7', error: 'unknown ca\u001b[2J' },
  ])
  const [gone] = logLines(await written('json', (log) => logHandshakeFault(undefined, 'reset', log)))
  expect(gone).toMatchObject({ error: 'reset', message: expect.stringMatching(/^- no TLS/) })
  expect(gone).not.toHaveProperty('remote')
})
