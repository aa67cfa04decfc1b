import { describe, expect, test } from 'vitest'
import { PUBLIC_SERVICES, servicesOf } from '../../src/trust/keyless/signing-config.ts'

const NOW = Date.parse('2026-06-01T12:00:00Z')

interface Service {
  url: string
  majorApiVersion?: number
  validFor?: { start?: string; end?: string }
  operator?: string
}

function config(change: Record<string, unknown>): Buffer {
  const service = (url: string): object => ({
    url,
    majorApiVersion: 1,
    validFor: { start: '2024-01-01T00:00:00Z' },
    operator: 'a.example',
  })
  return Buffer.from(
    JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
      caUrls: [service('https://fulcio.example')],
      oidcUrls: [service('https://oauth.example/auth')],
      rekorTlogUrls: [service('https://rekor.example')],
      rekorTlogConfig: { selector: 'ANY' },
      tsaUrls: [service('https://tsa.example/api/v1/timestamp')],
      tsaConfig: { selector: 'ANY' },
      ...change,
    }),
  )
}

const select = (change: Record<string, unknown>, plain = false) =>
  servicesOf(config(change), 'signing.json', { now: NOW, plainHttp: () => plain })

const all = (services: Service[]) => services.map((each) => ({ majorApiVersion: 1, ...each }))

/** The logs that are chosen among these. */
function logs(services: Service[], how: object = { selector: 'ANY' }): string[] {
  const found = select({ rekorTlogUrls: all(services), rekorTlogConfig: how })
  return found.logs.map(({ url, version }) => `${url.host} ${version}`)
}

describe('the services of a signing config', () => {
  test('are taken as they are, where there is one of each', () => {
    expect(select({})).toEqual({
      authority: new URL('https://fulcio.example'),
      logs: [{ url: new URL('https://rekor.example'), version: 1 }],
      timestamps: [new URL('https://tsa.example/api/v1/timestamp')],
    })
    expect(Object.values(PUBLIC_SERVICES).flat()).toHaveLength(3)
  })

  test('are those valid now, with both bounds: of them the highest version, and of that the newest', () => {
    const now = new Date(NOW).toISOString()
    expect(
      logs([
        {
          url: 'https://over.example',
          majorApiVersion: 2,
          validFor: { start: '2020-01-01T00:00:00Z', end: '2026-06-01T11:59:59Z' },
        },
        { url: 'https://later.example', majorApiVersion: 2, validFor: { start: '2026-06-01T12:00:01Z' } },
        { url: 'https://unknown.example', majorApiVersion: 3 },
        { url: 'https://unreleased.example', majorApiVersion: 0 },
        { url: 'https://old.example', validFor: { start: '2020-01-01T00:00:00Z', end: now } },
        { url: 'https://new.example', validFor: { start: now } },
      ]),
    ).toEqual(['new.example 1'])
    expect(
      logs([{ url: 'https://one.example' }, { url: 'https://two.example', majorApiVersion: 2 }]),
    ).toEqual(['two.example 2'])
  })

  test('are as many as the selector says, and at most one of each operator', () => {
    const three = [
      { url: 'https://a-old.example', operator: 'a', validFor: { start: '2024-01-01T00:00:00Z' } },
      { url: 'https://a-new.example', operator: 'a', validFor: { start: '2025-01-01T00:00:00Z' } },
      { url: 'https://b.example', operator: 'b', validFor: { start: '2023-01-01T00:00:00Z' } },
    ]
    expect(logs(three, { selector: 'ALL' })).toEqual(['a-new.example 1', 'b.example 1'])
    expect(logs(three, { selector: 'EXACT', count: 2 })).toEqual(['a-new.example 1', 'b.example 1'])
    expect(() => logs(three, { selector: 'EXACT', count: 3 })).toThrow(
      /log \(rekorTlogUrls\): 3 are required, but only 2 of different operators are valid now/,
    )
  })

  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      'another media type',
      { mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.1+json' },
      /mediaType.*so it is not a signing config/,
    ],
    ['no authority', { caUrls: [] }, /certificate authority \(caUrls\): none is named/],
    [
      'an authority whose time is over',
      {
        caUrls: all([
          {
            url: 'https://f.example',
            validFor: { start: '2020-01-01T00:00:00Z', end: '2025-01-01T00:00:00Z' },
          },
        ]),
      },
      /none of those named is valid now \(2026-06-01/,
    ],
    [
      'an authority of an API of the future',
      { caUrls: all([{ url: 'https://f.example', majorApiVersion: 2 }]) },
      /none has API version 1/,
    ],
    ['no log', { rekorTlogUrls: [], rekorTlogConfig: undefined }, /names no transparency log/],
    ['logs, and not how many', { rekorTlogConfig: {} }, /does not say how many/],
    ['EXACT without a count', { tsaConfig: { selector: 'EXACT' } }, /EXACT needs a count/],
    ['a selector of its own', { tsaConfig: { selector: 'SOME' } }, /ALL, ANY or EXACT/],
    [
      'nothing that tells the time',
      {
        rekorTlogUrls: all([{ url: 'https://r.example', majorApiVersion: 2 }]),
        tsaUrls: [],
        tsaConfig: undefined,
      },
      /names no timestamp authority/,
    ],
    [
      'a time that is none',
      { caUrls: all([{ url: 'https://f.example', validFor: { start: 'soon' } }]) },
      /it is not a time/,
    ],
    [
      'a day that is none',
      { caUrls: all([{ url: 'https://f.example', validFor: { start: '2026-02-30T00:00:00Z' } }]) },
      /caUrls\.0\.validFor\.start: it is not a time/,
    ],
    [
      'a validity without its start',
      { tsaUrls: all([{ url: 'https://t.example', validFor: { end: '2100-01-01T00:00:00Z' } }]) },
      /tsaUrls\.0\.validFor: it has no start/,
    ],
    [
      'a validity in another spelling',
      { caUrls: [{ url: 'https://f.example', majorApiVersion: 1, valid_for: {} }] },
      /caUrls\.0\.valid_for: a member is missing, unknown/,
    ],
    ['a member that is not known', { caURLs: [] }, /caURLs: a member is missing, unknown/],
    ['plain HTTP', { caUrls: all([{ url: 'http://f.example' }]) }, /http:\/\/f\.example\/: it is not https/],
    [
      'a user in a URL',
      { caUrls: all([{ url: 'https://u:pass-w0rd@f.example' }]) },
      /a URL with user, query or fragment/,
    ],
    [
      'a query',
      { tsaUrls: all([{ url: 'https://t.example/?token=x' }]) },
      /a URL with user, query or fragment/,
    ],
    ['no URL', { caUrls: all([{ url: 'fulcio' }]) }, /one of its URLs is not valid/],
  ])('are not had from one with %s', (_, change, message) => {
    expect(() => select(change)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) as string }),
    )
  })

  test('may be in plain HTTP where that was allowed, and no timestamp is needed where the log tells the time', () => {
    expect(select({ caUrls: all([{ url: 'http://f.example' }]) }, true).authority.host).toBe('f.example')
    expect(select({ tsaUrls: [], tsaConfig: undefined }).timestamps).toEqual([])
    for (const bytes of ['', '[]', '{"mediaType":1}', '{"mediaType":"a","mediaType":"a"}']) {
      expect(() => servicesOf(Buffer.from(bytes), 'x', { now: NOW, plainHttp: () => false })).toThrow(
        expect.objectContaining({ code: 'INVALID_CONFIG' }),
      )
    }
  })
})
