import { describe, expect, test } from 'vitest'
import { AMD64, ARM64, buildkitIndex, singleManifest } from '../../fixtures/images/index.ts'
import type { BundleDescription } from '../../src/bundle/description.ts'
import { CHECKSUMS, DESCRIPTION, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import type { Trust } from '../../src/verify/authenticate.ts'
import type { OpenedBundle } from '../../src/verify/opened-bundle.ts'
import { measureRules } from '../../src/verify/policy-rules.ts'
import { verificationError, verifyBundle } from '../../src/verify/content.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { parseTrustedRoot } from '../../src/trust/identity/trusted-root.ts'
import { identitiesOf, keysOf, type Policy } from '../../src/trust/policy/policy.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  entry,
  newSigner,
  signer as alice,
  temporaryBundle,
  type Draft,
  type Entry,
} from '../support/build-bundle.ts'
import { policyOf } from '../trust/policy/policies.ts'
import { IDENTITY, ISSUER, makeSigstore } from '../trust/sigstore.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const [alice2, bob, carol] = [newSigner('alice2.pub'), newSigner('bob.pub'), newSigner('carol.pub')] as const
type Signer = typeof alice

const pem = ({ publicKey }: Signer): string =>
  publicKey.keyObject.export({ type: 'spki', format: 'pem' }).toString()
const keys = (...signers: Signer[]): { keys: object[] } => ({
  keys: signers.map((each) => ({ pem: pem(each) })),
})

/** Two of three people, and what else. */
async function twoOfThree(more: object = {}): Promise<Policy> {
  return policyOf({
    signers: { alice: keys(alice, alice2), bob: keys(bob), carol: keys(carol) },
    require: '2 of [alice, bob, carol]',
    ...more,
  })
}

async function draft(more: Partial<BundleDescription> = {}): Promise<Draft> {
  return draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }], more)
}

const sums = (entries: readonly Entry[]): Buffer =>
  Buffer.from(entries.find(({ name }) => name === CHECKSUMS)?.content ?? '')

/** Verifies a bundle signed by alice, with further signatures from beside it. */
async function verified(
  entries: readonly Entry[],
  policy: Policy,
  beside: Record<string, Uint8Array> = {},
  more: Partial<Trust> = {},
): Promise<OpenedBundle> {
  const opened = await verifyBundle(await temporaryBundle(archiveOf(entries)), {
    keys: keysOf(policy),
    identities: identitiesOf(policy),
    policy,
    unauthenticated: false,
    signatures: Object.entries(beside).map(([file, bytes]) => ({
      file,
      signature: parseDetachedSignature(bytes, file),
    })),
    now: NOW,
    ...more,
  })
  await opened.reader.close()
  return opened
}

/** The other of the two signatures that ECDSA has for one content and key: (r, n - s). */
function mirrored(der: Buffer): Buffer {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const rEnd = 4 + der.readUInt8(3)
  const s = BigInt(`0x${der.subarray(rEnd + 2).toString('hex')}`)
  const hex = (order - s).toString(16).padStart(64, '0')
  const value = Buffer.from(/^[89a-f]/.test(hex) ? `00${hex}` : hex.replace(/^(?:00(?=[0-7]))+/, ''), 'hex')
  const body = Buffer.concat([der.subarray(2, rEnd), Buffer.from([0x02, value.length]), value])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

describe('who has to have signed', () => {
  test('two of three: the second signature may stand beside the bundle, and the verdict names both', async () => {
    const entries = entriesOf(await draft())
    const opened = await verified(entries, await twoOfThree(), { 'bob.sig': bob.signNow(sums(entries)) })
    expect(opened.problems).toEqual([])
    expect(opened.rules).toEqual([
      { rule: 'require', ok: true, expected: '2 of [alice, bob, carol]', found: 'signed by alice, bob' },
    ])
    expect(opened.authentication).toMatchObject({
      state: 'signed',
      signatures: [
        { name: SIGSTORE_SIGNATURE, by: { key: { fingerprint: alice.publicKey.fingerprint } } },
        { name: 'bob.sig', by: { key: { fingerprint: bob.publicKey.fingerprint } } },
      ],
      signers: { policy: { source: 'policy.yaml' } },
    })
  })

  test('[duty: signature-first] a list that too few have signed is not parsed', async () => {
    const entries = entriesOf(await draft())
    const broken = entries.map((one) => (one.name === DESCRIPTION ? entry(DESCRIPTION, 'x') : one))
    const opened = await verified(broken, await twoOfThree())
    expect(opened.problems).toEqual([
      {
        entry: CHECKSUMS,
        message:
          'the policy requires the signatures of 2 of [alice, bob, carol], but only alice has signed: a signature of one of bob, carol is missing',
      },
    ])
    expect(opened).toMatchObject({ authentication: { state: 'failed' }, description: undefined, images: [] })
    expect(opened.entries.size).toBe(0)
    expect(opened.rules).toMatchObject([{ ok: false, found: 'signed by alice' }])
    expect(verificationError('k8s.tar', opened)).toMatchObject({
      code: 'VERIFICATION_FAILED',
      exitCode: 3,
      hints: expect.arrayContaining([{ id: 'signature-files' }]),
    })
  })

  const twice: [what: string, beside: (content: Buffer, own: Buffer) => Record<string, Uint8Array>][] = [
    ['the same key twice', (content) => ({ 'again.sig': alice.signNow(content) })],
    ['another key of the same person', (content) => ({ 'other.sig': alice2.signNow(content) })],
    ['the bundle’s own signature, given beside it, too', (_, own) => ({ 'own.json': own })],
    [
      'one signature in its other encoding',
      (content) => {
        const der = alice.signNow(content)
        return { 'one.sig': der, 'mirrored.sig': mirrored(der) }
      },
    ],
    [
      'all of that',
      (content, own) => ({
        'a.sig': alice.signNow(content),
        'b.sig': alice2.signNow(content),
        'c.json': own,
      }),
    ],
  ]
  test.each(twice)('[attack: one-person-twice] %s', async (_, beside) => {
    const entries = entriesOf(await draft())
    const content = sums(entries)
    const own = Buffer.from(entries.find(({ name }) => name === SIGSTORE_SIGNATURE)?.content ?? '')
    const offered = beside(content, own)
    const opened = await verified(entries, await twoOfThree(), offered)
    expect(opened.authentication.state).toBe('failed')
    expect(opened.rules).toMatchObject([{ ok: false, found: 'signed by alice' }])
    // They are all good signatures, and it is not for want of these that the bundle is refused.
    const { authentication } = opened
    expect(authentication.state === 'failed' && authentication.signers?.counted).toHaveLength(
      1 + Object.keys(offered).length,
    )
    const both = await verified(entries, await twoOfThree(), { ...offered, 'bob.sig': bob.signNow(content) })
    expect(both.problems).toEqual([])
  })

  test('[attack: one-person-twice] the key and the identity of one person, and two identities of one pipeline', async () => {
    const sigstore = await makeSigstore()
    const policy = await policyOf({
      signers: {
        alice: { ...keys(alice), identities: [{ identity: 'https://example.test/alice', issuer: ISSUER }] },
        ci: { identities: [{ identityRegexp: 'https://ci\\.example\\.internal/.*', issuer: ISSUER }] },
        bob: keys(bob),
      },
      require: '2 of [alice, ci, bob]',
    })
    const entries = entriesOf(await draft())
    const content = sums(entries)
    const root = parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json')
    const asAlice = await sigstore.sign(content, { identity: 'https://example.test/alice' })
    const opened = await verified(entries, policy, { 'a.json': asAlice }, { root })
    expect(opened.rules).toMatchObject([{ ok: false, found: 'signed by alice' }])
    const ci = {
      'ci.json': await sigstore.sign(content),
      'ci2.json': await sigstore.sign(content, { identity: `${IDENTITY}2` }),
    }
    const two = await policyOf({
      signers: {
        alice: keys(alice),
        ci: { identities: [{ identityRegexp: `${IDENTITY}.*`, issuer: ISSUER }] },
        bob: keys(bob),
      },
      require: '2 of [ci, bob]',
    })
    expect((await verified(entries, two, ci, { root })).rules).toMatchObject([
      { ok: false, found: 'signed by ci' },
    ])
    // One approver and the pipeline are two.
    expect((await verified(entries, policy, ci, { root })).problems).toEqual([])
  })

  test('a signature that is good and refused never leads, nor is it among those that count', async () => {
    const policy = await policyOf({
      signers: { alice: { ...keys(alice), revoked: true }, bob: keys(bob) },
      require: 'bob',
    })
    const entries = entriesOf(await draft())
    const opened = await verified(entries, policy, { 'bob.sig': bob.signNow(sums(entries)) })
    expect(opened.problems).toEqual([])
    expect(opened.authentication).toMatchObject({ state: 'signed', signatures: [{ name: 'bob.sig' }] })
    expect(await verified(entries, policy)).toMatchObject({
      authentication: { state: 'failed' },
      problems: [{ message: expect.stringContaining('made by alice, who is revoked') }],
    })
  })

  test('unsigned, and signed over something else', async () => {
    const entries = entriesOf(await draft()).filter(({ name }) => !name.startsWith('SHA256SUMS.'))
    const unsigned = await verified(entries, await twoOfThree())
    expect(unsigned.problems.map(({ entry, message }) => `${entry}: ${message}`)).toEqual([
      `${SIGSTORE_SIGNATURE}: the bundle is not signed`,
      expect.stringContaining(
        'but none of them has signed: the signatures of 2 of alice, bob, carol are missing',
      ),
    ])
    expect(verificationError('x', unsigned).hint).toContain('Ask for a signed bundle')
    const other = await verified(entries, await twoOfThree(), {
      'a.sig': alice.signNow(Buffer.from('other')),
      'b.sig': bob.signNow(sums(entries)),
    })
    expect(other.problems[0]?.message).toContain('only bob has signed')
    expect(other.problems[0]?.message).toContain(
      'a.sig does not count: it was made with none of the keys given',
    )
  })
})

describe('what the bundle has to be', () => {
  test('every rule has its verdict, and those that fail are problems of the description', async () => {
    const policy = await policyOf({
      signers: { alice: keys(alice) },
      bundle: { name: ['k8s', 'apps'], minSequence: 8, maxAge: '30d', requireExpiry: true },
      images: { sources: ['registry.k8s.io/*'], platforms: ['linux/arm64'] },
    })
    const opened = await verified(entriesOf(await draft()), policy)
    expect(opened.problems.map(({ message }) => message)).toEqual([
      'the policy requires the name "k8s" or "apps" (bundle.name), but found: "test.tar"',
      'the policy requires a sequence of at least 8 (bundle.minSequence), but found: 7',
      "the policy requires an age of at most 30d (bundle.maxAge), but found: 151 d, created 2026-01-01T00:00:00Z; this machine's clock says 2026-06-01T00:00:00Z",
      'the policy requires an expiry (bundle.requireExpiry), but found: it never expires',
      'the policy requires images from registry.k8s.io/* (images.sources), but found: example.test/app:1.0',
      'the policy requires images for linux/arm64 only (images.platforms), but found: example.test/app:1.0 (linux/amd64)',
    ])
    expect(opened.problems.every(({ entry, kind }) => entry === DESCRIPTION && kind === 'expectation')).toBe(
      true,
    )
    expect(opened.rules?.map(({ rule, ok }) => [rule, ok])).toEqual([
      ['require', true],
      ['bundle.name', false],
      ['bundle.minSequence', false],
      ['bundle.maxAge', false],
      ['bundle.requireExpiry', false],
      ['images.sources', false],
      ['images.platforms', false],
    ])
  })

  test('and a bundle that is all of that is good', async () => {
    const policy = await policyOf({
      signers: { alice: keys(alice) },
      bundle: { name: 'test.tar', minSequence: 7, maxAge: '22w', requireExpiry: true },
      images: {
        sources: ['example.test/*'],
        platforms: ['linux/amd64'],
        allowMirrorDigests: false,
        allowChangedDigests: false,
        allowSkipped: false,
      },
    })
    const opened = await verified(entriesOf(await draft({ expires: '2027-01-01T00:00:00Z' })), policy)
    expect(opened.problems).toEqual([])
    expect(opened.rules).toHaveLength(10)
    expect(opened.rules?.every(({ ok }) => ok)).toBe(true)
  })

  test('mirrors, changed digests and images left out are named', async () => {
    const built = await buildkitIndex('three', [AMD64, ARM64])
    const { description } = await draftOf(
      [{ source: 'example.test/app:1.0', built, platforms: ['linux/amd64'] }],
      {
        skipped: [{ source: 'example.test/gone:1', code: 'NOT_FOUND', message: 'gone' }],
      },
    )
    description.images[0]!.resolvedFrom = 'mirror.example/hub'
    const rules = { allowMirrorDigests: false, allowChangedDigests: false, allowSkipped: false }
    expect(measureRules(description, rules, NOW)).toMatchObject([
      { rule: 'images.allowMirrorDigests', ok: false, found: 'example.test/app:1.0 (by mirror.example/hub)' },
      { rule: 'images.allowChangedDigests', ok: false, found: 'example.test/app:1.0' },
      { rule: 'images.allowSkipped', ok: false, found: 'example.test/gone:1' },
    ])
    expect(measureRules(description, { allowMirrorDigests: true, allowChangedDigests: true }, NOW)).toEqual(
      [],
    )
  })

  test('a long list of images is cut', async () => {
    const { description } = await draft()
    const [image] = description.images
    const images = Array.from({ length: 200 }, (_, i) => ({ ...image!, source: `example.test/app:${i}` }))
    const [verdict] = measureRules({ ...description, images }, { sources: ['other/*'] }, NOW)
    expect(verdict?.found).toMatch(/, and 190 more$/)
  })
})

describe('a clock that is earlier than the bundle', () => {
  const created = '2026-06-01T00:06:00Z'
  const both =
    "this machine's clock says 2026-06-01T00:00:00Z, but the bundle says it was created 2026-06-01T00:06:00Z: expiry and age cannot be checked with this clock"

  test('is told, and refuses nothing that is not judged by it', async () => {
    const opened = await verified(
      entriesOf(await draft({ created })),
      await policyOf({ signers: { alice: keys(alice) } }),
    )
    expect(opened.problems).toEqual([])
    expect(opened.clock).toEqual({ now: '2026-06-01T00:00:00Z', created })
  })

  test('of some minutes is none', async () => {
    const within = '2026-06-01T00:05:00Z'
    const opened = await verified(
      entriesOf(await draft({ created: within })),
      await policyOf({ signers: { alice: keys(alice) } }),
    )
    expect(opened.clock).toBeUndefined()
  })

  test.each<[what: string, description: Partial<BundleDescription>, policy: object, words: string]>([
    ['an expiry', { expires: '2026-12-01T00:00:00Z' }, {}, 'the bundle expires at 2026-12-01T00:00:00Z'],
    ['an age', {}, { bundle: { maxAge: '1d' } }, 'the policy limits its age'],
    [
      'the end of a key',
      {},
      { signers: { alice: { ...keys(alice), notAfter: '2026-12-31' } } },
      'the policy limits how long a key that has signed is valid',
    ],
  ])('is a problem where it has judged %s', async (_, description, more, words) => {
    const policy = await policyOf({ signers: { alice: keys(alice) }, ...more })
    const opened = await verified(entriesOf(await draft({ created, ...description })), policy)
    expect(opened.problems).toEqual([
      { entry: DESCRIPTION, message: `${both}, and ${words}. Set the clock`, kind: 'expectation' },
    ])
  })
})
