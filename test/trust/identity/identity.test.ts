import vm from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { exactly, fully, identityFrom, strangerReason } from '../../../src/trust/identity/identity.ts'
import type { SignedByIdentity } from '../../../src/trust/verified.ts'
import { errorOf } from '../helpers.ts'

const IDENTITY = 'builder@example.internal'
const ISSUER = 'https://accounts.example.internal'

function signedBy(identity: string, issuer = ISSUER): SignedByIdentity {
  const root = { source: 'root.json', digest: `sha256:${'0'.repeat(64)}` as const }
  return { kind: 'identity', identity, issuer, times: [], logEntries: [], root }
}

describe('[attack: look-alike-identity] an identity given exactly', () => {
  const expected = [identityFrom({ identity: IDENTITY, issuer: ISSUER })]

  test.each([
    'builder@example-internal',
    'builderXexample.internal',
    `${IDENTITY}.example`,
    `a${IDENTITY}`,
    `${IDENTITY} `,
    `${IDENTITY}\n`,
    'Builder@example.internal',
    'BUILDER@EXAMPLE.INTERNAL',
    'builder@ехample.internal',
    'builder@example．internal',
    'builder@example.ınternal',
    '',
  ])('is not %j', (name) => {
    expect(strangerReason(signedBy(IDENTITY), expected)).toBeUndefined()
    expect(strangerReason(signedBy(name), expected)).toMatch(/not by builder@example\.internal \(issuer/)
    expect(strangerReason(signedBy(IDENTITY, name), expected)).toMatch(
      /^it was made by builder@example\.internal, as expected, but the issuer is .*, not https:/,
    )
  })

  test('and letters of other alphabets are shown as what they are', () => {
    expect(strangerReason(signedBy('buildеr@example.internal'), expected)).toBe(
      'it was made by build\\u{435}r@example.internal (issuer https://accounts.example.internal), ' +
        'not by builder@example.internal (issuer https://accounts.example.internal)',
    )
  })

  test('takes no identity of one and issuer of another', () => {
    const two = [
      identityFrom({ identity: 'a@example', issuer: 'https://a.example' }),
      identityFrom({ identity: 'b@example', issuer: 'https://b.example' }),
    ]
    expect(strangerReason(signedBy('b@example', 'https://b.example'), two)).toBeUndefined()
    expect(strangerReason(signedBy('a@example', 'https://b.example'), two)).toMatch(
      /, not https:\/\/a\.example$/,
    )
  })
})

describe('[attack: look-alike-identity] a pattern', () => {
  test.each([
    ['a@example', 'xa@example'],
    ['a@example', 'a@examplex'],
    ['a@example|b@example', 'xa@example'],
    ['a@example|b@example', 'b@examplex'],
    ['a@example|', 'a@examplex'],
    ['^a@example$', 'x\na@example'],
    ['a@example$|', 'a@example\nx'],
    ['(?m:^a@example$)', 'x\na@example\nx'],
    ['.*@example', 'a@example\n'],
    ['.*@example', 'x\na@example'],
    ['a@example(?=)', 'a@examplex'],
    ['(?:a@example', 'a@example'],
    ['a@example\\', 'a@example'],
  ])('%j does not fit %j', (pattern, text) => {
    let fits = false
    try {
      fits = fully(pattern, 'identity').matches(text)
    } catch {
      // Not a pattern at all.
    }
    expect(fits).toBe(false)
  })

  test('fits the whole that it describes', () => {
    expect(fully('a@example|b@example', 'identity').matches('b@example')).toBe(true)
    expect(
      fully(String.raw`https://example/[^/]+/x\.yml@refs/tags/v\d+`, 'identity').matches(
        'https://example/app/x.yml@refs/tags/v12',
      ),
    ).toBe(true)
    expect(fully('(?i:A)@example', 'identity').matches('a@example')).toBe(true)
  })

  test('that takes for ever on some name ends in an error', async () => {
    const slow = fully('(a+)+@example', 'identity', 50)
    expect(slow.matches('aaaa@example')).toBe(true)
    const error = await errorOf(() => slow.matches('a'.repeat(100)))
    expect(error).toMatchObject({ code: 'USAGE' })
    expect(error.message).toBe(
      'the pattern of the identity takes more than 0.05 s for a name of 100 characters: /(a+)+@example/',
    )
  })

  test('that the machine had no time for has it all the same', () => {
    const late = Object.assign(new Error('late'), { code: 'ERR_SCRIPT_EXECUTION_TIMEOUT' })
    const run = vi.spyOn(vm.Script.prototype, 'runInContext').mockImplementationOnce(() => {
      throw late
    })
    expect(fully('.*@example', 'identity').matches('a@example')).toBe(true)
    expect(run.mock.calls.map(([, options]) => options)).toEqual([{ timeout: 1000 }, { timeout: 2000 }])
    run.mockRestore()
  })

  test('that is none is an error that says what kind is expected', async () => {
    for (const pattern of ['(', 'a)|(b', '(?i)a@example', '\\Aa\\z', 'a'.repeat(5000)]) {
      const error = await errorOf(() => fully(pattern, 'issuer'))
      expect(error).toMatchObject({ code: 'USAGE' })
      expect(error.message).toMatch(/^the pattern of the issuer is /)
    }
  })
})

test('identity and issuer are each given once, and not empty', async () => {
  for (const options of [
    {},
    { identity: IDENTITY },
    { issuer: ISSUER },
    { identity: '', issuer: ISSUER },
    { identity: IDENTITY, issuerRegexp: '' },
    { identity: IDENTITY, identityRegexp: '.*', issuer: ISSUER },
    { identity: IDENTITY, issuer: ISSUER, issuerRegexp: '.*' },
  ]) {
    expect(await errorOf(() => identityFrom(options))).toMatchObject({ code: 'USAGE' })
  }
  expect(exactly('a').matches('a')).toBe(true)
})
