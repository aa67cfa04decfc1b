import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkClaims, readClaims } from '../../src/trust/keyless/identity-token.ts'
import { servicesOf } from '../../src/trust/keyless/signing-config.ts'

const NOW = Date.parse('2026-06-01T12:00:00Z')

function token(claims: unknown): string {
  return `eyJhbGciOiJub25lIn0.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`
}

const read = (claims: Record<string, unknown>) =>
  readClaims(token({ iss: 'https://i.example', sub: 'me', ...claims }), 'in FILE')

describe('an identity token', () => {
  test('names its subject, and what the certificate will name where that is known', () => {
    expect(read({})).toMatchObject({ subject: 'me', audience: [], expectedIdentity: undefined })
    expect(read({ email: 'a@b.example', email_verified: true, aud: ['x', 'sigstore'] })).toMatchObject({
      subject: 'a@b.example',
      expectedIdentity: 'a@b.example',
      audience: ['x', 'sigstore'],
    })
    const github = {
      iss: 'https://token.actions.githubusercontent.com',
      job_workflow_ref: 'o/r/.github/workflows/w.yml@refs/heads/main',
    }
    expect(read(github).expectedIdentity).toBe(
      'https://github.com/o/r/.github/workflows/w.yml@refs/heads/main',
    )
    // Anybody can claim that.
    expect(read({ ...github, iss: 'https://other.example' }).expectedIdentity).toBeUndefined()
    expect(read({ federated_claims: { connector_id: 'https://c.example' } }).expectedIssuers).toEqual([
      'https://i.example',
      'https://c.example',
    ])
  })

  test('is of use for a few seconds more, to the second', () => {
    const check = (exp: number) => checkClaims(read({ exp }), 'in FILE', { audience: undefined, now: NOW })
    expect(() => check(NOW / 1000 + 5)).not.toThrow()
    expect(() => check(NOW / 1000 + 4)).toThrow(/has expired, at 2026-06-01T12:00:04/)
    expect(() => check(0)).toThrow(/at 1970/)
    for (const exp of [-1, -9_007_199_254_740_991, 9_007_199_254_740_991, '1', null]) {
      expect(() => read({ exp })).toThrow(/its claims cannot be read/)
    }
  })

  test('that is hostile gives one kind of error, without a word of it', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json({ maxDepth: 2 }).map((json) => token(JSON.parse(json))),
        ),
        (text) => {
          try {
            checkClaims(readClaims(text, 'in FILE'), 'in FILE', { audience: 'sigstore', now: NOW })
          } catch (error) {
            expect(error).toMatchObject({ code: 'CREDENTIALS' })
            expect((error as Error).cause).toBeUndefined()
          }
        },
      ),
      { numRuns: 100 },
    )
  })
})

test('a signing config that is hostile gives one kind of error', () => {
  const names = ['caUrls', 'rekorTlogUrls', 'tsaUrls', 'rekorTlogConfig', 'tsaConfig']
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.array(
      fc.record({
        url: fc.oneof(fc.constant('https://a.example/b'), fc.string()),
        majorApiVersion: fc.integer(),
        validFor: fc.record({ start: fc.string(), end: fc.string() }, { requiredKeys: [] }),
      }),
    ),
    fc.record({ selector: fc.constantFrom('ALL', 'ANY', 'EXACT'), count: fc.integer() }),
  )
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), value), (config) => {
      const mediaType = 'application/vnd.dev.sigstore.signingconfig.v0.2+json'
      try {
        const bytes = Buffer.from(JSON.stringify({ mediaType, ...config }))
        servicesOf(bytes, 'x', { now: NOW, plainHttp: () => false })
      } catch (error) {
        expect(error).toMatchObject({ code: 'INVALID_CONFIG' })
      }
    }),
    { numRuns: 40 },
  )
})
