import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import {
  AMD64,
  cosignManifest,
  image,
  referrerTo,
  seedRegistry,
  simpleSigning,
} from '../../../fixtures/images/index.ts'
import { verify } from '../../../src/index.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import { openShop, type Shop } from '../resume/resuming.ts'
import { SPDX } from '../../support/attached.ts'

async function signedShop(): Promise<Shop> {
  const shop = await openShop()
  const digest = shop.source.store.manifest('one', '1')!.digest
  const descriptor = { ...(await image('any', AMD64)).descriptor, digest }
  seedRegistry(
    shop.source.store,
    `one:${cosignTag(digest, 'sig')}`,
    cosignManifest([simpleSigning(digest, 'x')]),
  )
  seedRegistry(shop.source.store, 'one', referrerTo(descriptor, SPDX, 'an sbom'))
  return shop
}

test('an interrupted pack goes on with what travelled along when it began', async () => {
  const shop = await signedShop()
  const created = Date.parse('2026-01-01T00:00:00Z')
  const whole = await shop.whole({ created })
  await shop.breakOff(2_000_000, { created })
  const one = shop.source.store.manifest('one', '1')!
  const descriptor = { ...(await image('any', AMD64)).descriptor, digest: one.digest }
  seedRegistry(shop.source.store, 'one', referrerTo(descriptor, SPDX, 'a later one'))
  await shop.pack({ created })
  expect((await readFile(shop.output)).equals(whole)).toBe(true)
  const { description } = await verify(shop.output, { unauthenticated: true })
  expect(description.images.flatMap(({ referrers = [] }) => referrers)).toHaveLength(2)
})

test('with another --referrers it is another bundle, and that is said', async () => {
  const shop = await signedShop()
  await shop.breakOff(2_000_000)
  await expect(shop.pack({ referrers: 'none' })).rejects.toMatchObject({
    code: 'OUTPUT_UNFINISHED',
    problems: [{ entry: 'referrers', message: 'all → none' }],
  })
})
