import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { selfSigned } from '../../support/self-signed.ts'
import { makeSigstore } from '../sigstore.ts'
import { expectUnsigned, openPlace } from './place.ts'
import { identityToken, startServices, type Reply } from '../../support/sigstore-services.ts'

describe('a service that fails', () => {
  const json = (value: object, status = 200): Reply => ({
    status,
    type: 'application/json',
    body: JSON.stringify(value),
  })

  test('is named, with its URL and without the token, and the rest is kept', async () => {
    const place = await openPlace()
    const { services } = place
    const { origin } = services
    const cases: ['fulcio' | 'tsa' | 'rekor', Reply, string, RegExp][] = [
      [
        'fulcio',
        json({ message: 'no such issuer' }, 400),
        'REGISTRY',
        /^cannot get a certificate: Fulcio \(ORIGIN\/api\/v2\/signingCert\): it answers 400 Bad Request \("no such issuer"\)$/,
      ],
      ['fulcio', json({}, 403), 'DENIED', /403 Forbidden/],
      [
        'fulcio',
        { status: 200, type: 'text/html', body: '<html>' },
        'REGISTRY',
        /it answers with "text\/html" instead of application\/json/,
      ],
      [
        'fulcio',
        { status: 200, type: 'application/json', body: Buffer.alloc(300_000, ' ') },
        'REGISTRY',
        /more than 262144 bytes/,
      ],
      ['fulcio', json({}), 'CONTENT_MISMATCH', /the answer of Fulcio \(ORIGIN\) contains no certificate/],
      [
        'tsa',
        { status: 503, body: '' },
        'REGISTRY',
        /^cannot get a timestamp: the timestamp authority \(ORIGIN\/tsa\/timestamp\).* 503 Service Unavailable/,
      ],
      [
        'tsa',
        { status: 200, type: 'application/json', body: '{}' },
        'REGISTRY',
        /instead of application\/timestamp-reply/,
      ],
      [
        'tsa',
        { status: 200, type: 'application/timestamp-reply', body: '{}' },
        'CONTENT_MISMATCH',
        /is not a timestamp/,
      ],
      [
        'tsa',
        { status: 200, type: 'application/timestamp-reply', body: Buffer.alloc(70_000) },
        'REGISTRY',
        /more than 65536 bytes/,
      ],
      [
        'rekor',
        { status: 500, body: '' },
        'REGISTRY',
        /^cannot write the entry of the log: Rekor \(ORIGIN\/api\/v1\/log\/entries\)/,
      ],
      ['rekor', json({}), 'INVALID_CONTENT', /the answer of Rekor \(ORIGIN\): it contains 0 entries/],
      ['rekor', { status: 409, body: '' }, 'REGISTRY', /already has it \(409\), but does not say where/],
    ]
    for (const [name, reply, code, message] of cases) {
      services.faults = { [name]: () => reply }
      services.asked.length = 0
      await expectUnsigned(place, code, new RegExp(message.source.replaceAll('ORIGIN', origin)))
      // What comes after it has not been asked.
      expect(services.asked.at(-1)).toBe(name)
    }
    services.faults = {}
    await place.pack()
  })

  test('and has written the entry all the same is asked for it', async () => {
    const place = await openPlace()
    const { services } = place
    const asked: string[] = []
    let isFirst = true
    services.faults.rekor = async ({ body, url }) => {
      asked.push(url)
      if (!isFirst) return undefined
      isFirst = false
      const answer = await fetch(`${services.origin}${url}`, { method: 'POST', body: new Uint8Array(body) })
      const [uuid] = Object.keys((await answer.json()) as object)
      return {
        status: 409,
        headers: { location: `https://elsewhere.example/api/v1/log/entries/${uuid}` },
        body: '',
      }
    }
    await place.pack()
    expect(asked.at(-1)).toMatch(/^\/api\/v1\/log\/entries\/[0-9a-f]{64}$/)
  })

  test('or answers for something else is not believed', async () => {
    const place = await openPlace()
    const { services } = place
    const other = await startServices({ clocks: services.clocks })
    const elsewhere = async (path: string, body: Buffer): Promise<Reply> => {
      const answer = await fetch(`${other.origin}${path}`, { method: 'POST', body: new Uint8Array(body) })
      const type = answer.headers.get('content-type')!
      return { status: answer.status, type, body: Buffer.from(await answer.arrayBuffer()) }
    }
    let first: Reply | undefined
    // The answer to an earlier request, for another key.
    services.faults.fulcio = async ({ body, url }) => (first ??= await elsewhere(url, body))
    await expectUnsigned(
      place,
      'VERIFICATION_FAILED',
      /was not issued by an authority that the trusted root has/,
    )
    services.faults.fulcio = () => first
    await expectUnsigned(place, 'CONTENT_MISMATCH', /is a certificate for another key/)
    services.faults = {
      tsa: ({ url, body }) =>
        elsewhere(url, Buffer.concat([body.subarray(0, -4), Buffer.alloc(1), body.subarray(-3)])),
    }
    await expectUnsigned(place, 'CONTENT_MISMATCH', /is a timestamp for something else/)
    let entry: Reply | undefined
    services.faults = { rekor: async ({ body, url }) => (entry ??= await elsewhere(url, body)) }
    await expectUnsigned(place, 'VERIFICATION_FAILED', /does not verify/)
    services.faults = { rekor: () => entry }
    await expectUnsigned(place, 'CONTENT_MISMATCH', /returned an entry that is not for this signature/)
    services.faults = {
      fulcio: async ({ body }) => {
        const request = JSON.parse(body.toString()) as { credentials: { oidcIdentityToken: string } }
        request.credentials.oidcIdentityToken = identityToken({ iss: 'https://evil.example' })
        return elsewhere('/api/v2/signingCert', Buffer.from(JSON.stringify(request)))
      },
    }
    await expectUnsigned(
      place,
      'CONTENT_MISMATCH',
      /names another issuer than the identity token: https:\/\/evil\.example/,
    )
  })

  test('or has a clock that is a moment behind is asked again, and nobody waits for one that is minutes behind', async () => {
    const place = await openPlace()
    const { services } = place
    const { clocks } = services
    const second = clocks.fulcio.getTime() - (clocks.fulcio.getTime() % 1000)
    const at = (milliseconds: number): string =>
      new Date(second + milliseconds).toISOString().replace(/\.\d+Z$/, 'Z')
    // It stands still.
    clocks.tsa.setTime(second - 1)
    await expectUnsigned(
      place,
      'CONTENT_MISMATCH',
      new RegExp(
        `^the timestamp authority \\(http://\\S+/tsa/timestamp\\) says that it is ${at(-1000)}, but the certificate from Fulcio is valid from ${at(0)} to ${at(600_000)}$`,
      ),
    )
    expect(services.asked).toEqual(['fulcio', ...Array<string>(5).fill('tsa')])
    for (const minutes of [-1, 11]) {
      services.asked.length = 0
      clocks.tsa.setTime(second + minutes * 60_000 + 123)
      await expectUnsigned(place, 'CONTENT_MISMATCH', /says that it is \S+, but the certificate from Fulcio/)
      expect(services.asked).toEqual(['fulcio', 'tsa'])
    }
    services.asked.length = 0
    clocks.tsa.setTime(second - 1)
    let isFirst = true
    services.faults.tsa = () => {
      if (!isFirst) clocks.tsa.setTime(second + 1)
      isFirst = false
      return undefined
    }
    await place.pack()
    expect(services.asked).toEqual(['fulcio', 'tsa', 'tsa', 'rekor'])
  })

  test('or a log whose clock is behind makes no signature that readers would refuse', async () => {
    const place = await openPlace()
    const { rekor } = place.services.clocks
    rekor.setTime(rekor.getTime() - 1000)
    for (const trustedRoot of [place.root, undefined]) {
      await expect(place.pack({ trustedRoot })).rejects.toMatchObject({
        code: 'INCOMPLETE',
        problems: [
          {
            code: 'VERIFICATION_FAILED',
            message: expect.stringMatching(
              /^the new signature does not verify: the certificate was not yet valid at the time of signing: /,
            ) as string,
          },
        ],
      })
    }
    rekor.setTime(rekor.getTime() + 1000)
    await place.pack()
  })

  test('is reached as registries are: the authority that is given vouches for it', async () => {
    const tls = selfSigned()
    const place = await openPlace({ tls })
    await expectUnsigned(place, 'TLS', /^cannot get a certificate: Fulcio \(https:/)
    const caFile = join(place.folder, 'ca.pem')
    await writeFile(caFile, tls.cert)
    await place.pack({}, { registries: { caFile } })
  })

  test('with a trusted root of others', async () => {
    const place = await openPlace()
    await writeFile(place.root, (await makeSigstore()).trustedRoot)
    await expectUnsigned(place, 'VERIFICATION_FAILED', /is not in the trusted root/)
  })
})
