import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { countSigners } from '../../../src/trust/policy/count.ts'
import type { Policy } from '../../../src/trust/policy/policy.ts'
import type { VerifiedSignature } from '../../../src/trust/verified.ts'
import { byIdentity, byKey, pair, policyOf, type Pair } from './policies.ts'

const NOW = Date.parse('2026-06-01T12:00:00Z')
const ISSUER = 'https://issuer.example'

const [alice, alice2, bob, carol, stranger] = [pair(), pair(), pair(), pair(), pair()] as const
const keysOf = (...pairs: Pair[]): { keys: object[] } => ({ keys: pairs.map(({ pem }) => ({ pem })) })

let policy: Policy
beforeAll(async () => {
  policy = await policyOf({
    signers: {
      alice: {
        ...keysOf(alice, alice2),
        identities: [{ identity: 'alice@example', issuer: ISSUER }],
      },
      bob: keysOf(bob),
      carol: keysOf(carol),
      ci: { identities: [{ identityRegexp: 'https://ci\\.example/.*', issuer: ISSUER }] },
    },
    groups: { people: ['alice', 'bob', 'carol'] },
    require: ['2 of people', '1 of [alice, ci]'],
  })
})

const holds = (signatures: readonly VerifiedSignature[], by = policy): boolean =>
  countSigners(by, signatures, [], NOW).faults.length === 0

describe('people are counted, not signatures', () => {
  it('two people are two', () => {
    const verdict = countSigners(policy, [byKey(alice), byKey(bob, 'b.sig')], [], NOW)
    expect(verdict.rules).toEqual([
      { rule: 'require', ok: true, expected: '2 of people', found: 'signed by alice, bob' },
      { rule: 'require', ok: true, expected: '1 of [alice, ci]', found: 'signed by alice' },
    ])
    expect(verdict.signatures.map(({ signer }) => signer)).toEqual(['alice', 'bob'])
    expect(verdict.faults).toEqual([])
  })

  it.each<[what: string, signatures: VerifiedSignature[]]>([
    ['the same key twice', [byKey(alice), byKey(alice, 'again.sig')]],
    ['two keys of one person', [byKey(alice), byKey(alice2)]],
    ['key and identity of one person', [byKey(alice), byIdentity('alice@example')]],
    ['everything of one person', [byKey(alice), byKey(alice2), byIdentity('alice@example'), byKey(alice)]],
  ])('[attack: one-person-twice] %s is one person', (_, signatures) => {
    const verdict = countSigners(policy, signatures, [], NOW)
    expect(verdict.rules[0]).toMatchObject({ ok: false, found: 'signed by alice' })
    expect(verdict.faults).toEqual([
      'the policy requires the signatures of 2 of people, but only alice has signed: a signature of one of bob, carol is missing',
    ])
  })

  it('strangers, and those who could not be verified, are told and count for nothing', () => {
    const verdict = countSigners(
      policy,
      [byKey(alice), byKey(stranger, 's.sig'), byIdentity('alice@example.evil')],
      [{ name: 'x.sig', reason: 'it is over other content' }],
      NOW,
    )
    expect(verdict.counted.map(({ name }) => name)).toEqual(['a.sig'])
    expect(verdict.faults[0]).toContain(
      `s.sig does not count: made by the key ${stranger.publicKey.fingerprint}, who is not in the policy`,
    )
    expect(verdict.faults[0]).toContain(
      'made by alice@example.evil (issuer https://issuer.example), who is not in the policy',
    )
    expect(verdict.faults[0]).toContain('x.sig does not count: it is over other content')
  })

  it('every rule has to hold', () => {
    expect(holds([byKey(bob), byKey(carol)])).toBe(false)
    expect(holds([byKey(bob), byKey(carol), byIdentity('https://ci.example/x')])).toBe(true)
  })

  it('an identity is compared as a whole, and with its issuer', () => {
    const found = (signature: VerifiedSignature): string | undefined =>
      countSigners(policy, [signature], [], NOW).signatures[0]?.signer
    expect(found(byIdentity('https://ci.example/job'))).toBe('ci')
    expect(found(byIdentity('https://ci.example/job', 'https://other.example'))).toBeUndefined()
    expect(found(byIdentity('xhttps://ci.example/job'))).toBeUndefined()
    expect(found(byIdentity('https://ci.example/job\nx'))).toBeUndefined()
    expect(found(byIdentity('https://ciXexample/job'))).toBeUndefined()
  })

  it('a signature that fits two signers counts for neither', async () => {
    const wide = await policyOf({
      signers: {
        a: { identities: [{ identityRegexp: '.*@example', issuer: ISSUER }] },
        b: { identities: [{ identityRegexp: 'x.*', issuer: ISSUER }] },
      },
      require: '1 of [a, b]',
    })
    const verdict = countSigners(wide, [byIdentity('x@example')], [], NOW)
    expect(verdict.counted).toEqual([])
    expect(verdict.faults[0]).toContain(
      'which matches a and b: it would count as several people, so it counts for none',
    )
    expect(holds([byIdentity('y@example')], wide)).toBe(true)
  })
})

describe('who may sign no more', () => {
  const judged = async (
    limits: object,
    signature: VerifiedSignature,
    now = NOW,
  ): Promise<string | undefined> => {
    const limited = await policyOf({
      signers: {
        alice: { ...keysOf(alice), identities: [{ identity: 'a@example', issuer: ISSUER }], ...limits },
        bob: keysOf(bob),
      },
      require: 'bob',
    })
    return countSigners(limited, [signature], [], now).signatures[0]?.refused
  }

  it('is revoked, whenever the signature was made', async () => {
    const revoked = { revoked: { date: '2026-05-01', reason: 'laptop lost' } }
    const message = 'made by alice, who is revoked (since 2026-05-01: laptop lost)'
    expect(await judged(revoked, byKey(alice))).toBe(message)
    const before = byIdentity('a@example', ISSUER, [Date.parse('2020-01-01T00:00:00Z')])
    expect(await judged(revoked, before)).toBe(message)
    expect(await judged({ revoked: true }, byKey(alice))).toBe('made by alice, who is revoked')
    expect(await judged({ revoked: false }, byKey(alice))).toBeUndefined()
  })

  it('has a key that is revoked, and another that is not', async () => {
    const both = await policyOf({
      signers: { alice: { keys: [{ pem: alice.pem, revoked: true }, { pem: alice2.pem }] } },
    })
    const verdict = countSigners(both, [byKey(alice), byKey(alice2)], [], NOW)
    expect(verdict.signatures.map(({ refused }) => refused)).toEqual([
      'made by alice, whose key is revoked',
      undefined,
    ])
  })

  it('an identity is revoked although a wider pattern of the same signer fits it, too', async () => {
    const wide = await policyOf({
      signers: {
        ci: {
          identities: [
            { identityRegexp: 'https://ci\\.example/.*', issuer: ISSUER },
            { identity: 'https://ci.example/old', issuer: ISSUER, revoked: true },
          ],
        },
      },
    })
    expect(holds([byIdentity('https://ci.example/old')], wide)).toBe(false)
    expect(holds([byIdentity('https://ci.example/new')], wide)).toBe(true)
  })

  it('has a key whose time is over by this clock, whatever the signature says', async () => {
    const until = { notAfter: '2026-05-31' }
    expect(await judged(until, byKey(alice))).toBe(
      'made by alice, whose key is accepted until 2026-05-31T23:59:59Z, but now it is 2026-06-01T12:00:00Z',
    )
    expect(await judged(until, byKey(alice), Date.parse('2026-05-31T23:59:59Z'))).toBeUndefined()
    expect(await judged({ notBefore: '2026-06-02' }, byKey(alice))).toContain(
      'is accepted from 2026-06-02T00:00:00Z on',
    )
  })

  it('had an identity that was valid when it signed', async () => {
    const window = { notBefore: '2026-02-01', notAfter: '2026-03-31' }
    const at = (...times: string[]): VerifiedSignature =>
      byIdentity(
        'a@example',
        ISSUER,
        times.map((time) => Date.parse(time)),
      )
    expect(await judged(window, at('2026-03-01T00:00:00Z'))).toBeUndefined()
    expect(await judged(window, at('2026-04-01T00:00:00Z'))).toBe(
      'made by alice, whose identity is accepted until 2026-03-31T23:59:59Z, but it was signed at 2026-04-01T00:00:00Z',
    )
    // Of several witnesses every one has to say so.
    expect(await judged(window, at('2026-03-01T00:00:00Z', '2026-01-01T00:00:00Z'))).toContain(
      'accepted from',
    )
    expect(await judged(window, at())).toContain('the signature has no verified time')
  })

  it('is not asked for a signature: the way out names those who can sign', async () => {
    const three = await policyOf({
      signers: {
        alice: { ...keysOf(alice), notAfter: '2026-01-01' },
        bob: keysOf(bob),
        carol: keysOf(carol),
      },
      require: '2 of [alice, bob, carol]',
    })
    const [fault] = countSigners(three, [byKey(bob)], [], NOW).faults
    expect(fault).toContain('only bob has signed: a signature of carol is missing')
    const none = await policyOf({
      signers: { alice: { ...keysOf(alice), notAfter: '2026-01-01' }, bob: keysOf(bob) },
      require: 'all of [alice, bob]',
    })
    expect(countSigners(none, [byKey(bob)], [], NOW).faults[0]).toContain(
      'too few others may sign at present',
    )
  })
})

describe('whatever is offered', () => {
  const pool: VerifiedSignature[] = [
    byKey(alice),
    byKey(alice, 'again'),
    byKey(alice2),
    byIdentity('alice@example'),
    byKey(bob),
    byKey(carol),
    byKey(stranger),
    byIdentity('https://ci.example/1'),
    byIdentity('https://ci.example/2'),
  ]
  /** The people behind them, told independently. */
  const people = ['alice', 'alice', 'alice', 'alice', 'bob', 'carol', undefined, 'ci', 'ci']
  const offered = fc.array(fc.nat(pool.length - 1), { maxLength: 12 })
  const rule = fc.record({
    count: fc.integer({ min: 1, max: 4 }),
    members: fc.subarray(['alice', 'bob', 'carol', 'ci'], { minLength: 1 }),
  })
  const signaturesOf = (indexes: readonly number[]): VerifiedSignature[] =>
    indexes.flatMap((i) => pool[i] ?? [])
  const withRules = (rules: readonly { count: number; members: string[] }[]): Policy => ({
    ...policy,
    require: rules.map(({ count, members }) => ({
      text: 'rule',
      count: Math.min(count, members.length),
      members,
    })),
  })

  it('the verdict is that of the people behind it', () => {
    fc.assert(
      fc.property(offered, fc.array(rule, { minLength: 1, maxLength: 3 }), (indexes, rules) => {
        const by = withRules(rules)
        const signed = new Set(indexes.map((i) => people[i]))
        const expected = by.require.every(
          ({ count, members }) => members.filter((name) => signed.has(name)).length >= count,
        )
        expect(holds(signaturesOf(indexes), by)).toBe(expected)
      }),
    )
  })

  it('order makes no difference', () => {
    fc.assert(
      fc.property(
        offered,
        fc.array(rule, { minLength: 1 }),
        fc.infiniteStream(fc.nat()),
        (indexes, rules, random) => {
          const by = withRules(rules)
          const shuffled = indexes
            .map((i) => ({ i, at: random.next().value as number }))
            .toSorted((a, b) => a.at - b.at)
          expect(holds(signaturesOf(shuffled.map(({ i }) => i)), by)).toBe(holds(signaturesOf(indexes), by))
        },
      ),
    )
  })

  it('[attack: one-person-twice] a further signature by the same person never helps', () => {
    fc.assert(
      fc.property(
        offered,
        fc.array(rule, { minLength: 1 }),
        fc.nat(pool.length - 1),
        (indexes, rules, more) => {
          fc.pre(people[more] === undefined || indexes.some((i) => people[i] === people[more]))
          const by = withRules(rules)
          expect(holds(signaturesOf([...indexes, more]), by)).toBe(holds(signaturesOf(indexes), by))
        },
      ),
    )
  })

  it('taking signatures away never helps, and adding one never harms', () => {
    fc.assert(
      fc.property(offered, fc.array(rule, { minLength: 1 }), fc.nat(), (indexes, rules, at) => {
        const by = withRules(rules)
        const fewer = indexes.filter((_, i) => i !== at % Math.max(1, indexes.length))
        if (holds(signaturesOf(fewer), by)) expect(holds(signaturesOf(indexes), by)).toBe(true)
      }),
    )
  })
})
