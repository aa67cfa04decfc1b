import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { seedRegistry } from '../../fixtures/images/index.ts'
import { cosignTag } from '../../src/oci/cosign.ts'
import {
  pack,
  resolve,
  verify,
  type PackOptions,
  type TransferEvent,
  type UpstreamSignature,
} from '../../src/index.ts'
import { openBundle } from '../../src/verify/open.ts'
import { checkUpstream } from '../../src/upstream/check-bundle.ts'
import { parseTrustedRoot } from '../../src/trust/identity/trusted-root.ts'
import { signer } from '../support/build-bundle.ts'
import { failureOf } from '../push/refusing.ts'
import { IDENTITY, ISSUER, makeSigstore } from '../trust/sigstore.ts'
import {
  certifiedBundle,
  certifiedLayer,
  makeKeyUpstream,
  payloadOf,
  statementOf,
} from '../trust/upstream/signing.ts'
import { attach, BY_KEY, openWorld, tagSignatures } from './world.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

type Options = Partial<PackOptions> & { images?: string[] }

/** Plans a bundle, which verifies as a pack does; one with an output is written. */
async function packed(policies: string[], options: Options): ReturnType<typeof pack> {
  return pack({
    key: 'unsigned',
    output: undefined,
    created: 0,
    ...options,
    verifyUpstream: { policies, ...options.verifyUpstream },
  })
}

describe('a signature by a key', () => {
  test.each(['cosign’s tag', 'a bundle that refers to it'])(
    'under %s lets the image pass, is recorded, and travels',
    async (where) => {
      const world = await openWorld()
      const { source, index } = await world.image('app')
      const { digest } = index.descriptor
      const held = where.startsWith('cosign')
        ? tagSignatures(world, 'app', digest, world.upstream.layer(payloadOf(digest)))
        : attach(world, 'app', index, world.upstream.envelope(statementOf(digest)))
      const { description } = await packed([await world.policy(BY_KEY)], {
        images: [source],
        referrers: 'none',
        output: join(world.folder, 'bundle.tar'),
      })
      expect(description.requires).toEqual(['referrers'])
      expect(description.images[0]).toMatchObject({
        referrers: [{ subject: digest, digest: held.descriptor.digest }],
        upstream: {
          state: 'verified',
          rule: { pattern: '*' },
          subject: digest,
          signature: { manifest: held.descriptor.digest, keyFingerprint: world.upstream.key.fingerprint },
        },
      })
      expect(JSON.stringify(description.images[0]?.upstream)).not.toContain(world.folder)
      await verify(join(world.folder, 'bundle.tar'), { unauthenticated: true })
    },
  )

  test('is looked for among all that there are', async () => {
    const world = await openWorld()
    const { source, index } = await world.image('app')
    const { digest } = index.descriptor
    const other = makeKeyUpstream()
    const { amd64 } = await world.image('other')
    tagSignatures(
      world,
      'app',
      digest,
      other.layer(payloadOf(digest)),
      world.upstream.layer(payloadOf(amd64.descriptor.digest)),
      world.upstream.layer(payloadOf(digest)),
    )
    const { description } = await packed([await world.policy(BY_KEY)], { images: [source] })
    expect(description.images[0]?.upstream?.state).toBe('verified')
  })

  test('of what is delivered alone counts where the source has none, and is told apart', async () => {
    const world = await openWorld()
    const { source, amd64, index } = await world.image('app')
    const { digest } = amd64.descriptor
    tagSignatures(world, 'app', digest, world.upstream.layer(payloadOf(digest)))
    const policies = [await world.policy(BY_KEY)]
    const { description } = await packed(policies, { images: [source], platforms: ['linux/amd64'] })
    expect(description.images[0]).toMatchObject({
      sourceDigest: index.descriptor.digest,
      digest,
      upstream: { state: 'verified', subject: digest },
    })
    const whole = await failureOf(packed(policies, { images: [source] }))
    expect(whole).toMatchObject({ code: 'UPSTREAM_NOT_VERIFIED', exitCode: 3 })
  })
})

test('a signature by a certificate passes with the root given, in both forms, and the log entry is recorded', async () => {
  const world = await openWorld()
  const sigstore = await makeSigstore()
  const trustedRoot = join(world.folder, 'trusted_root.json')
  await writeFile(trustedRoot, sigstore.trustedRoot)
  const rule = `  - { pattern: '*', identities: [{ identity: '${IDENTITY}', issuer: '${ISSUER}' }] }`
  const policies = [await world.policy(rule)]
  const [old, recent] = [await world.image('old'), await world.image('recent')]
  tagSignatures(
    world,
    'old',
    old.index.descriptor.digest,
    await certifiedLayer(sigstore, payloadOf(old.index.descriptor.digest)),
  )
  attach(
    world,
    'recent',
    recent.index,
    await certifiedBundle(sigstore, statementOf(recent.index.descriptor.digest)),
  )
  const images = [old.source, recent.source]
  const without = await failureOf(packed(policies, { images }))
  expect(without).toMatchObject({
    code: 'USAGE',
    hints: [{ id: 'trusted-root' }],
  })
  const file = join(world.folder, 'bundle.tar')
  const { description } = await packed(policies, {
    images,
    output: file,
    key: signer,
    verifyUpstream: { policies, trustedRoot },
  })
  for (const { upstream } of description.images) {
    expect(upstream).toMatchObject({
      state: 'verified',
      signature: {
        identity: IDENTITY,
        issuer: ISSUER,
        signedAt: expect.stringMatching(/Z$/) as string,
        logEntries: [{ logIndex: expect.stringMatching(/^\d+$/) as string }],
        trustedRoot: expect.stringMatching(/^sha256:/) as string,
      },
    })
  }
  const keys = [signer.publicKey]
  const again = await verify(file, { keys, trustedRoot, upstream: {} })
  expect(again.upstream).toMatchObject([
    { image: old.source, state: 'verified', basis: 'record', covers: 'source' },
    { image: recent.source, state: 'verified', basis: 'record', covers: 'source' },
  ])
  // Records of nobody knows whom may say of anybody that it is the upstream.
  const unknown = await failureOf(verify(file, { unauthenticated: true, trustedRoot, upstream: {} }))
  expect(unknown.problems).toMatchObject(
    images.map((entry) => ({ entry, message: expect.stringContaining('nobody was asked') as string })),
  )
  // A record that says otherwise than the signature does not hold, though the signature is good.
  const root = parseTrustedRoot(sigstore.trustedRoot, 'root')
  const trust = { keys, unauthenticated: false, now: Date.now() }
  const opened = await openBundle(file, trust)
  const { upstream: record } = opened.images[0]!.image
  if (record?.state !== 'verified') throw new Error('it is verified')
  const { signature } = record
  for (const [altered, state] of [
    [{ ...signature, trustedRoot: `sha256:${'1'.repeat(64)}` }, 'verified'],
    [{ ...signature, signedAt: '2020-01-01T00:00:00Z' }, 'failed'],
    [{ ...signature, logEntries: [{ logId: '0'.repeat(64), logIndex: '7' }] }, 'failed'],
    [{ ...signature, identity: 'somebody@else.test' }, 'failed'],
    [{ ...signature, issuer: 'https://else.test' }, 'failed'],
  ] as [UpstreamSignature, string][]) {
    opened.images[0]!.image = { ...opened.images[0]!.image, upstream: { ...record, signature: altered } }
    const [verdict] = await checkUpstream(opened, { policy: undefined, root })
    expect(verdict?.state).toBe(state)
  }
  await opened.reader.close()

  const other = join(world.folder, 'other_root.json')
  await writeFile(other, (await makeSigstore()).trustedRoot)
  const warning = await world.policy(rule.replace('}] }', '}], onFailure: warn }'))
  const warned = await packed([warning], {
    images,
    verifyUpstream: { policies: [warning], trustedRoot: other },
  })
  const reasons = warned.description.images.map(
    ({ upstream }) => upstream?.state === 'warned' && upstream.reason,
  )
  for (const reason of reasons) {
    expect(reason).toContain('trusted root')
    expect(reason).not.toContain(world.folder)
  }
  const refused = await failureOf(verify(file, { keys, trustedRoot: other, upstream: {} }))
  expect(refused).toMatchObject({ code: 'VERIFICATION_FAILED', exitCode: 3 })
  expect(refused.problems.map(({ entry }) => entry)).toEqual(images)
})

describe('an image that does not pass', () => {
  test('fails alone: the others are fetched, and --skip-failed does not leave it out', async () => {
    const world = await openWorld()
    const [good, bad] = [await world.image('good'), await world.image('bad')]
    const { digest } = good.index.descriptor
    tagSignatures(world, 'good', digest, world.upstream.layer(payloadOf(digest)))
    const output = join(world.folder, 'bundle.tar')
    const events: TransferEvent[] = []
    const error = await failureOf(
      packed([await world.policy(BY_KEY)], {
        images: [good.source, bad.source],
        skipFailed: true,
        output,
        onEvent: (event) => events.push(event),
      }),
    )
    expect(error).toMatchObject({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toContain("1 of 2 images could not be verified by their upstream's signatures")
    expect(error.problems).toMatchObject([{ entry: bad.source, code: 'UPSTREAM_NOT_VERIFIED' }])
    expect(error.problems[0]?.message).toContain('there is none')
    expect(error.problems[0]?.message).not.toContain(bad.source)
    expect(hintOf(error)).toContain('skip: REASON')
    expect(hintOf(error)).not.toContain('add --skip-failed')
    expect(events).toContainEqual(expect.objectContaining({ type: 'failed', name: bad.source }))
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'image', name: good.source, outcome: 'fetched' }),
    )
    // The rule is changed, and the same command goes on with what was fetched.
    const skipping = await world.policy(`  - { pattern: '*/bad', skip: its makers sign nothing }`, BY_KEY)
    const done = await packed([skipping], { images: [good.source, bad.source], output })
    expect(done.description.images.map(({ upstream }) => upstream?.state)).toEqual(['skipped', 'verified'])
    expect(done.resumed.count + done.reused.count).toBeGreaterThan(0)
  })

  test('is packed where its rule only warns, and that is told and recorded', async () => {
    const world = await openWorld()
    const { source } = await world.image('app')
    const messages: string[] = []
    const { description } = await packed(
      [await world.policy("  - { pattern: '*', keys: [KEY], onFailure: warn }")],
      {
        images: [source],
        onEvent: (event) => void (event.type === 'warning' && messages.push(event.message)),
      },
    )
    expect(description.images[0]?.upstream).toMatchObject({
      state: 'warned',
      reason: expect.stringContaining('there is none') as string,
    })
    expect(messages).toEqual([expect.stringContaining(`${source}: not verified, as the policy allows`)])
  })

  test('has no rule: then it fails, and the first rule that is for an image is the one that counts', async () => {
    const world = await openWorld()
    const { source } = await world.image('app')
    const unrelated = await world.policy("  - { pattern: '*/other', skip: no }")
    const error = await failureOf(packed([unrelated], { images: [source] }))
    expect(error.message).toContain('no rule of the upstream policy is for this image')
    const { description } = await packed(
      [await world.policy("  - { pattern: '*/app', skip: for now }", BY_KEY)],
      {
        images: [source],
      },
    )
    expect(description.images[0]?.upstream).toEqual({
      state: 'skipped',
      rule: { pattern: '*/app' },
      reason: 'for now',
    })
  })

  test('[attack: referrer-of-another-image] is not helped by a signature of another one', async () => {
    const world = await openWorld()
    const [app, other] = [await world.image('app'), await world.image('other')]
    const { digest } = other.index.descriptor
    // Copied as it is, under this image's tag and on its list.
    tagSignatures(world, 'app', app.index.descriptor.digest, world.upstream.layer(payloadOf(digest)))
    attach(world, 'app', app.index, world.upstream.envelope(statementOf(digest)))
    attach(world, 'app', other.index, world.upstream.envelope(statementOf(digest)))
    const error = await failureOf(packed([await world.policy(BY_KEY)], { images: [app.source] }))
    expect(error).toMatchObject({ code: 'UPSTREAM_NOT_VERIFIED' })
    expect(error.message).toContain(`it is the signature of another image: ${digest}`)
  })

  test('[attack: sig-tag-is-image] is not helped by a tag that leads to the image itself', async () => {
    const world = await openWorld()
    const { source, index } = await world.image('app')
    seedRegistry(world.registry.store, `app:${cosignTag(index.descriptor.digest, 'sig')}`, index)
    const error = await failureOf(packed([await world.policy(BY_KEY)], { images: [source] }))
    expect(error).toMatchObject({ code: 'UPSTREAM_NOT_VERIFIED' })
  })

  test('by ever so many layers makes no ever so many requests', async () => {
    const world = await openWorld()
    const { source, index } = await world.image('app')
    const { digest } = index.descriptor
    const layer = makeKeyUpstream().layer(payloadOf(digest))
    tagSignatures(world, 'app', digest, ...Array.from({ length: 300 }, () => layer))
    const error = await failureOf(packed([await world.policy(BY_KEY)], { images: [source] }))
    expect(error.message).toContain('it holds 300 signatures, but at most 256 are looked at')
    expect(world.registry.requests.length).toBeLessThan(40)
  })
})

describe('a lock', () => {
  test('is verified anew, its own records count for nothing, and it gives the same bundle each time', async () => {
    const world = await openWorld()
    const { source, index } = await world.image('app')
    const { digest } = index.descriptor
    const lock = await resolve({ images: [source] })
    const forged = {
      ...lock,
      images: lock.images.map((image) => ({
        ...image,
        upstream: { state: 'skipped' as const, rule: { pattern: '*' }, reason: 'forged' },
      })),
    }
    const plain = await pack({ lock: forged, key: 'unsigned', output: undefined })
    expect(plain.description.images[0]?.upstream).toBeUndefined()
    const policies = [await world.policy(BY_KEY)]
    expect(await failureOf(packed(policies, { lock: forged }))).toMatchObject({
      code: 'UPSTREAM_NOT_VERIFIED',
    })
    tagSignatures(world, 'app', digest, world.upstream.layer(payloadOf(digest)))
    const bytes: Buffer[] = []
    for (const name of ['one.tar', 'two.tar']) {
      const output = join(world.folder, name)
      await packed(policies, { lock, output, name: 'same' })
      bytes.push(await readFile(output))
    }
    expect(bytes[0]?.equals(bytes[1] ?? Buffer.alloc(0))).toBe(true)
  })

  test('that lists the signature needs no list of the registry', async () => {
    const world = await openWorld()
    const { source, index } = await world.image('app')
    const { digest } = index.descriptor
    tagSignatures(world, 'app', digest, world.upstream.layer(payloadOf(digest)))
    const lock = await resolve({ images: [source] })
    world.registry.requests.splice(0)
    await packed([await world.policy(BY_KEY)], { lock })
    expect(world.registry.requests.filter(({ path }) => /\/referrers\/|\.sig$/.test(path))).toEqual([])
  })
})
