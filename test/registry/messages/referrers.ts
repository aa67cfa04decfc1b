import {
  AMD64,
  assemble,
  cosignManifest,
  image,
  seedRegistry,
  simpleSigning,
} from '../../../fixtures/images/index.ts'
import { contentOf } from '../../../fixtures/images/content.ts'
import { AirgapError } from '../../../src/errors.ts'
import { pack, push, resolve, type PackOptions } from '../../../src/index.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import { OCI_CONFIG, OCI_MANIFEST } from '../../../src/oci/media-types.ts'
import { signer, temporaryBundle } from '../../support/build-bundle.ts'
import { planned, seedSigned, signedImage, started, listByTag } from '../../support/attached.ts'
import type { Case } from './case.ts'

/** What is told of a pack by the way, in the place of an error. */
async function warningOf(options: Partial<PackOptions> & { images: string[] }): Promise<never> {
  const { warnings } = await planned({ ...options, key: undefined, output: undefined } as never)
  throw new AirgapError('REGISTRY', warnings[0] ?? 'nothing was told', { hint: 'a warning' })
}

/** What is told of a registry by the way, in the place of an error. */
async function noticeOf(options: Partial<PackOptions> & { images: string[] }): Promise<never> {
  const { events } = await planned({ ...options, key: undefined, output: undefined } as never)
  const [told] = events.flatMap((event) =>
    event.type === 'registry' && event.notice.type === 'warning' ? event.notice.message : [],
  )
  throw new AirgapError('REGISTRY', told ?? 'nothing was told', { hint: 'a warning' })
}

const forbidden = (isIt: (path: string) => boolean) => ({
  front: async ({ path }: { path: string }) =>
    isIt(path) ? { status: 403, headers: { 'Content-Length': '0' } } : undefined,
})

/** A bundle of a signed image, into a registry where something stands under cosign's tag. */
async function pushOnto(kind: 'image' | 'refusing'): Promise<unknown> {
  const all = await signedImage('told')
  const source = await started()
  seedSigned(source.store, 'app', all)
  const output = await temporaryBundle(Buffer.alloc(0))
  await pack({ images: [`${source.host}/app:1`], output, force: true, key: signer })
  const target = await started(kind === 'refusing' ? { quirks: ['artifacts-refused'] } : {})
  const tag = cosignTag(all.index.descriptor.digest, 'sig')
  if (kind === 'image') seedRegistry(target.store, `app:${tag}`, all.arm64)
  try {
    return await push(output, target.host, {
      keys: [signer.publicKey],
      path: 'strip-host',
      stateDirectory: false,
    })
  } catch (error) {
    if (kind === 'refusing' || !(error instanceof AirgapError)) throw error
    const { code, problems, hint } = error
    throw new AirgapError(code, problems[0]?.message ?? '', { hint })
  }
}

export const REFERRER_CASES: Case[] = [
  {
    name: 'a list of referrers that nobody may read',
    provoke: async () => {
      const registry = await started(forbidden((path) => path.includes('/referrers/')))
      seedRegistry(registry.store, 'app:1', await image('told', AMD64))
      return resolve({ images: [`${registry.host}/app:1`] })
    },
    says: /^cannot list what refers to \S+@sha256:[0-9a-f]{64}: permission denied/,
    hints: [/--referrers none/],
  },
  {
    name: '403 for whatever is not there',
    provoke: async () => {
      const registry = await started({ quirks: ['no-referrers', 'no-tag-list', 'missing-403'] })
      seedRegistry(registry.store, 'app:1', await image('told', AMD64))
      return noticeOf({ images: [`${registry.host}/app:1`] })
    },
    says: /^\S+\/app: the registry serves the image, but answers 403 for the tags of its signatures and attestations/,
    hints: [],
  },
  {
    name: 'a config that is no JSON',
    provoke: async () => {
      const registry = await started()
      const config = contentOf(OCI_CONFIG, Buffer.from('none'))
      const odd = assemble({ mediaType: OCI_MANIFEST, config, layers: [] })
      seedRegistry(registry.store, 'app:1', odd)
      return warningOf({ images: [`${registry.host}/app:1`] })
    },
    says: /^\S+\/app:1: its config sha256:[0-9a-f]{64} cannot be read: it is not JSON; the image is taken as it is, without a platform/,
    hints: [],
  },
  {
    name: 'a list that names what refers to another image',
    provoke: async () => {
      const [all, other] = [await signedImage('told'), await signedImage('other')]
      const registry = await started({ quirks: ['no-referrers'] })
      seedRegistry(registry.store, 'app', other.sigstore)
      seedRegistry(registry.store, 'app:1', all.amd64)
      listByTag(registry.store, 'app', all.amd64.descriptor.digest, [other.sigstore])
      return warningOf({ images: [`${registry.host}/app:1`] })
    },
    says: /^\S+\/app:1: sha256:[0-9a-f]{64}, listed as referring to [0-9a-f]{12}, is left out: it refers to sha256:/,
    hints: [],
  },
  {
    name: 'a tag for signatures that leads to the image',
    provoke: async () => {
      const registry = await started()
      const one = await image('told', AMD64)
      seedRegistry(registry.store, 'app:1', one)
      seedRegistry(registry.store, `app:${cosignTag(one.descriptor.digest, 'sig')}`, one)
      return warningOf({ images: [`${registry.host}/app:1`] })
    },
    says: /^\S+\/app:1: \S+\/app:sha256-[0-9a-f]{64}\.sig is left out: it is the very image/,
    hints: [],
  },
  {
    name: 'a source that cannot be asked, behind a mirror',
    provoke: async () => {
      const source = await started(forbidden((path) => /\/referrers\/|\.sig$/.test(path)))
      const mirror = await started()
      const one = await image('told', AMD64)
      for (const { store } of [source, mirror]) seedRegistry(store, 'app:1', one)
      const mirrors = [`${source.host}=${mirror.host}`]
      return warningOf({ images: [`${source.host}/app:1`], mirrors, retries: 0 })
    },
    says: /^\S+ cannot be asked for signatures and other referrers of its images; only what mirrors list is packed: /,
    hints: [],
  },
  {
    name: 'a signature that a lock names and that is gone',
    provoke: async () => {
      const registry = await started()
      const one = await image('told', AMD64)
      const signature = cosignManifest([simpleSigning(one.descriptor.digest, 'gone')])
      seedRegistry(registry.store, 'app:1', one)
      seedRegistry(registry.store, `app:${cosignTag(one.descriptor.digest, 'sig')}`, signature)
      const lock = await resolve({ images: [`${registry.host}/app:1`] })
      registry.store.deleteManifest('app', signature.descriptor.digest)
      return planned({ lock })
    },
    says: /^\S+\/app:1: sha256:[0-9a-f]{64}, tagged sha256-[0-9a-f]{64}\.sig, is no longer available: /,
    hints: [/airgap resolve/],
  },
  {
    name: 'a target that takes no artifacts',
    provoke: () => pushOnto('refusing'),
    says: /^3 referrers of images \(signatures, attestations, SBOMs\) could not be pushed or would not be found; all images are in place/,
    hints: [/--referrers none/, /push again/],
  },
  {
    name: 'a target with something else under cosign’s tag',
    provoke: () => pushOnto('image'),
    says: /\.sig cannot be added to: it is an image, with layers of files$/,
    hints: [/stays unchanged/],
  },
]
