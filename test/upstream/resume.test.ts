import { readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cosignManifest, seedRegistry } from '../../fixtures/images/index.ts'
import { contentOf } from '../../fixtures/images/content.ts'
import { resolve } from '../../src/index.ts'
import { cosignTag, SIMPLE_SIGNING } from '../../src/oci/cosign.ts'
import { openShop } from '../pack/resume/resuming.ts'
import { makeKeyUpstream, payloadOf } from '../trust/upstream/signing.ts'

test('an interrupted pack goes on without what was brought along for a policy that is no longer given', async () => {
  const shop = await openShop()
  const upstream = makeKeyUpstream()
  for (const name of ['one', 'two', 'three']) {
    const { digest } = shop.source.store.manifest(name, '1')!
    const { bytes, annotations } = upstream.layer(payloadOf(digest))
    const layer = contentOf(SIMPLE_SIGNING, bytes, { annotations: annotations ?? {} })
    seedRegistry(shop.source.store, `${name}:${cosignTag(digest, 'sig')}`, cosignManifest([layer]))
  }
  const policy = join(shop.folder, 'policy.yaml')
  await writeFile(join(shop.folder, 'upstream.pub'), upstream.pem)
  await writeFile(
    policy,
    "type: dev.airgap.upstream-policy\nformatVersion: '1.0'\nrules:\n  - { pattern: '*', keys: [upstream.pub] }\n",
  )
  const created = Date.parse('2026-01-01T00:00:00Z')
  const verifyUpstream = { policies: [policy] }
  const lock = await resolve({ images: shop.images, referrers: 'none' })
  const fromLock: object = { images: undefined, lock }
  for (const what of [{ referrers: 'none' as const }, fromLock]) {
    const whole = await shop.whole({ ...what, created })
    const verified = await shop.whole({ ...what, created, verifyUpstream })
    expect(verified.equals(whole)).toBe(false)
    await shop.breakOff(2_000_000, { ...what, created, verifyUpstream })
    await shop.pack({ ...what, created })
    expect((await readFile(shop.output)).equals(whole)).toBe(true)
    await shop.breakOff(2_000_000, { ...what, created, force: true })
    await shop.pack({ ...what, created, verifyUpstream, force: true })
    expect((await readFile(shop.output)).equals(verified)).toBe(true)
    await unlink(shop.output)
  }
})
