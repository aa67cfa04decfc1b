import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cosignManifest, seedRegistry, simpleSigning } from '../../fixtures/images/index.ts'
import { pack } from '../../src/index.ts'
import { cosignTag } from '../../src/oci/cosign.ts'
import { signer, temporaryFolder } from '../support/build-bundle.ts'
import { serveFiles } from './serving.ts'
import { seedSigned, signedImage, SIGSTORE_BUNDLE, started } from '../support/attached.ts'

test('serve lists what refers to images, and has cosign’s tags; of two bundles’ signatures all', async () => {
  const all = await signedImage()
  const { digest } = all.index.descriptor
  const tag = cosignTag(digest, 'sig')
  const source = await started()
  seedSigned(source.store, 'app', all)
  const folder = await temporaryFolder()
  const files = ['first.tar', 'second.tar'].map((name) => join(folder, name)) as [string, string]
  const images = [`${source.host}/app:1`]
  await pack({ images, output: files[0], key: signer })
  const later = cosignManifest([simpleSigning(digest, 'by somebody else')])
  seedRegistry(source.store, `app:${tag}`, later)
  await pack({ images, output: files[1], key: signer })

  const { get } = await serveFiles([files[0]])
  const list = (await (await get(`app/referrers/${digest}`)).json()) as { manifests: object[] }
  expect(list.manifests).toEqual([
    expect.objectContaining({ digest: all.sigstore.descriptor.digest, artifactType: SIGSTORE_BUNDLE }),
  ])
  expect((await get(`app/manifests/${tag}`)).headers.get('docker-content-digest')).toBe(
    all.sig.descriptor.digest,
  )
  const [layer] = all.sig.layers
  expect((await get(`app/blobs/${layer!.descriptor.digest}`)).status).toBe(200)
  const { tags } = (await (await get('app/tags/list')).json()) as { tags: string[] }
  expect(tags).toContain('1')
  expect(tags).toContain(tag)

  const both = await serveFiles(files)
  const merged = (await (await both.get(`app/manifests/${tag}`)).json()) as { layers: unknown[] }
  expect(merged.layers).toEqual([...all.sig.layers, ...later.layers].map(({ descriptor }) => descriptor))
})

test('a short name that two registries share stays usable, whatever is attached under it', async () => {
  const all = await signedImage()
  const folder = await temporaryFolder()
  const files = await Promise.all(
    ['one', 'two'].map(async (who) => {
      const source = await started()
      const tag = cosignTag(all.index.descriptor.digest, 'sig')
      seedRegistry(source.store, 'app:1', all.index)
      seedRegistry(
        source.store,
        `app:${tag}`,
        cosignManifest([simpleSigning(all.index.descriptor.digest, who)]),
      )
      const output = join(folder, `${who}.tar`)
      await pack({ images: [`${source.host}/app:1`], output, key: signer })
      return output
    }),
  )
  const { get } = await serveFiles(files)
  expect((await get('app/manifests/1')).status).toBe(200)
  expect((await get('app/tags/list')).status).toBe(200)
  expect((await get(`app/manifests/${cosignTag(all.index.descriptor.digest, 'sig')}`)).status).toBe(200)
})
