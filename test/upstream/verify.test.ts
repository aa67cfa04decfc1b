import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { BundleDescription } from '../../src/bundle/description.ts'
import { serializeDescription, parseDescription } from '../../src/bundle/description.ts'
import { pack, push, verify } from '../../src/index.ts'
import { failureOf } from '../push/refusing.ts'
import { makeSigstore } from '../trust/sigstore.ts'
import { payloadOf } from '../trust/upstream/signing.ts'
import { BY_KEY, openWorld, tagSignatures, type World } from './world.ts'

/** A bundle of an image that is signed and one that is not, which its packer has skipped. */
async function bundle(isPlan = false): Promise<{
  world: World
  file: string
  signed: string
  other: string
  description: BundleDescription
}> {
  const world = await openWorld()
  const [signed, other] = [await world.image('signed'), await world.image('zother')]
  const { digest } = signed.index.descriptor
  tagSignatures(world, 'signed', digest, world.upstream.layer(payloadOf(digest)))
  const file = join(world.folder, 'bundle.tar')
  const policy = await world.policy("  - { pattern: '*/zother', skip: not yet }", BY_KEY)
  const { description } = await pack({
    images: [signed.source, other.source],
    key: 'unsigned',
    output: isPlan ? undefined : file,
    verifyUpstream: { policies: [policy] },
  })
  return { world, file, signed: signed.source, other: other.source, description }
}

test('a policy of the caller decides, whatever the packer has let pass', async () => {
  const { world, file, signed, other } = await bundle()
  await world.registry.close()
  const lenient = await world.policy("  - { pattern: '*/zother', skip: known }", BY_KEY)
  const { upstream } = await verify(file, { unauthenticated: true, upstream: { policies: [lenient] } })
  expect(upstream).toEqual([
    expect.objectContaining({ image: signed, state: 'verified', basis: 'policy', covers: 'source' }),
    expect.objectContaining({ image: other, state: 'skipped', reason: 'known' }),
  ])
  const strict = await world.policy(BY_KEY)
  const error = await failureOf(verify(file, { unauthenticated: true, upstream: { policies: [strict] } }))
  expect(error).toMatchObject({
    code: 'VERIFICATION_FAILED',
    message: `${file}: the upstream signatures of 1 of 2 images were not verified`,
  })
  expect(error.problems).toMatchObject([
    { entry: other, message: expect.stringContaining('there is none') as string },
  ])

  expect(error.hint).toContain(`Verified: ${signed}`)

  // A push refuses before anything is asked of a registry, for what it would push.
  const options = { unauthenticated: true, upstream: { policies: [strict] } } as const
  expect(await failureOf(push(file, 'registry.invalid', options))).toMatchObject({
    code: 'VERIFICATION_FAILED',
  })
  const rest = await failureOf(push(file, 'registry.invalid', { ...options, exclude: [other], retries: 0 }))
  expect(rest.code).toBe('NETWORK')

  // And without a policy of the caller's, a key that the packer has recorded is nobody's.
  const none = await failureOf(verify(file, { unauthenticated: true, upstream: {} }))
  expect(none.code).toBe('USAGE')
  const trustedRoot = join(world.folder, 'root.json')
  await writeFile(trustedRoot, (await makeSigstore()).trustedRoot)
  const recorded = await failureOf(verify(file, { unauthenticated: true, trustedRoot, upstream: {} }))
  expect(recorded.problems).toMatchObject([
    { entry: signed, message: expect.stringContaining('only a policy can say') as string },
    { entry: other, message: expect.stringContaining('it was not checked who packed') as string },
  ])
})

test('a record has to go with its image, or the description is refused', async () => {
  const { description } = await bundle(true)
  const [image] = description.images
  const { upstream } = image!
  if (upstream?.state !== 'verified') throw new Error('it is verified')
  const other = `sha256:${'0'.repeat(64)}` as const
  const { signature } = upstream
  const altered: [unknown, RegExp][] = [
    [{ ...upstream, subject: other }, /not a digest of the image/],
    [{ ...upstream, signature: { ...signature, manifest: other } }, /not among the referrers/],
    [{ ...upstream, signature: { ...signature, identity: 'a', issuer: 'b' } }, /either a key/],
    [{ ...upstream, signature: { manifest: signature.manifest, form: signature.form } }, /either a key/],
    [{ ...upstream, Reason: 'x' }, /differs only in case/],
    [{ state: 'skipped', rule: { pattern: '*' }, reason: 'two\nlines' }, /one line/],
    [{ state: 'trusted', rule: { pattern: '*' } }, /state/],
  ]
  for (const [record, reason] of altered) {
    const images = [{ ...image!, upstream: record }, ...description.images.slice(1)]
    const bytes = serializeDescription({ ...description, images } as typeof description)
    expect(() => parseDescription(bytes)).toThrow(reason)
  }
})
