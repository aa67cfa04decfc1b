import { createHash, verify } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import {
  AMD64,
  ARM64,
  buildIndex,
  image,
  seedRegistry,
  type BuiltIndex,
} from '../../../fixtures/images/index.ts'
import { AirgapError } from '../../../src/errors.ts'
import { pack, push, type PushOptions, type Receipt } from '../../../src/index.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { parseManifest, type Descriptor, type Manifest } from '../../../src/oci/manifest.ts'
import { RegistryClient } from '../../../src/registry/client.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import { MemoryStore } from '../../support/registry/memory-store.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../../support/registry/registry.ts'
import type { PublicKey } from '../../../src/trust/keys.ts'
import { newSigner, signer } from '../../support/build-bundle.ts'

/** The key that is held inside. */
export const cluster = newSigner('cluster.pub')

/** A source with an index and an image that shares a manifest with it, and a bundle of both. */
export interface SampleBundle extends AsyncDisposable {
  bundle: string
  source: EmbeddedRegistry
  index: BuiltIndex
}

export async function packSample(): Promise<SampleBundle> {
  const store = new MemoryStore()
  const amd64 = await image('signed', AMD64)
  const index = buildIndex([amd64, await image('signed', ARM64)])
  seedRegistry(store, 'team/app:1', index)
  seedRegistry(store, 'team/app:2', amd64)
  const source = await startRegistry({ store })
  const folder = await mkdtemp(join(tmpdir(), 'airgap-signing-'))
  const bundle = join(folder, 'b.tar')
  await pack({ images: [1, 2].map((tag) => `${source.host}/team/app:${tag}`), output: bundle, key: signer })
  return {
    bundle,
    source,
    index,
    async [Symbol.asyncDispose]() {
      await source.close()
      await rm(folder, { recursive: true })
    },
  }
}

export async function target(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const registry = await startRegistry(options)
  onTestFinished(() => registry.close())
  return registry
}

/** The repository of the sample in a registry, as push speaks to it. */
export function repositoryOf({ host }: EmbeddedRegistry): Repository {
  const client = new RegistryClient({ env: {}, retry: { baseDelayMs: 1, attempts: 2 } })
  onTestFinished(() => client.close())
  return client.repository(host, 'team/app')
}

/** Pushes with signatures, under the sources' own paths. */
export function signedPush(
  bundle: string,
  { host }: EmbeddedRegistry,
  more: Partial<PushOptions> = {},
): Promise<Receipt> {
  return push(bundle, host, {
    keys: [signer.publicKey],
    path: 'strip-host',
    stateDirectory: false,
    signImages: { key: cluster },
    ...more,
  })
}

export async function failure(promise: Promise<unknown>): Promise<AirgapError> {
  const error = await promise.then(
    () => expect.fail('it has succeeded'),
    (thrown: unknown) => thrown as AirgapError,
  )
  expect(error).toBeInstanceOf(AirgapError)
  return error
}

export const signatureTag = (digest: string): string => `${digest.replace(':', '-')}.sig`

/** What lies under cosign's tag. */
export function signatureManifest({ store }: EmbeddedRegistry, repository: string, digest: Digest): Manifest {
  const found = store.manifest(repository, signatureTag(digest))
  if (!found) expect.fail(`${repository} has no signature of ${digest}`)
  const document = parseManifest(found.bytes, 'signatures')
  if (document.kind === 'index') expect.fail('it is an index')
  return document
}

async function blobOf(
  { host }: EmbeddedRegistry,
  repository: string,
  { digest }: Descriptor,
): Promise<Buffer> {
  const answer = await fetch(`http://${host}/v2/${repository}/blobs/${digest}`)
  const bytes = Buffer.from(await answer.arrayBuffer())
  expect(digestOf(bytes)).toBe(digest)
  return bytes
}

/** What the good signatures by a key say, checked by nothing of ours: as cosign and containers/image do. */
export async function signedClaims(
  registry: EmbeddedRegistry,
  repository: string,
  digest: Digest,
  key: PublicKey = cluster.publicKey,
): Promise<string[]> {
  const claims: string[] = []
  for (const layer of signatureManifest(registry, repository, digest).layers) {
    const payload = await blobOf(registry, repository, layer)
    const der = Buffer.from(layer.annotations?.['dev.cosignproject.cosign/signature'] ?? '', 'base64')
    if (!verify('sha256', payload, key.keyObject, der)) continue
    const { critical, optional } = JSON.parse(payload.toString()) as {
      critical: { identity: Record<string, string>; image: Record<string, string>; type: string }
      optional: unknown
    }
    expect(critical.image).toEqual({ 'docker-manifest-digest': digest })
    expect(critical.type).toBe('cosign container image signature')
    expect(optional).toBeNull()
    claims.push(critical.identity['docker-reference'] ?? '')
  }
  return claims
}

/** The Sigstore bundles that refer to a digest, checked likewise. */
export async function signedStatements(
  registry: EmbeddedRegistry,
  repository: string,
  digest: Digest,
): Promise<{ manifest: Manifest; statement: Record<string, unknown> }[]> {
  const list = await fetch(`http://${registry.host}/v2/${repository}/referrers/${digest}`)
  const { manifests } = (await list.json()) as { manifests: Descriptor[] }
  const found = []
  for (const { digest: referrer } of manifests) {
    const manifest = parseManifest(registry.store.manifest(repository, referrer)!.bytes, 'bundle') as Manifest
    const json = await blobOf(registry, repository, manifest.layers[0]!)
    const bundle = JSON.parse(json.toString()) as {
      verificationMaterial: { publicKey: { hint: string } }
      dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string; keyid?: string }[] }
    }
    const { payload, payloadType, signatures } = bundle.dsseEnvelope
    const body = Buffer.from(payload, 'base64')
    const signed = Buffer.concat([
      Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `),
      body,
    ])
    const [signature] = signatures
    expect(signature?.keyid ?? '').toBe('')
    expect(verify('sha256', signed, cluster.publicKey.keyObject, Buffer.from(signature!.sig, 'base64'))).toBe(
      true,
    )
    const spki = cluster.publicKey.keyObject.export({ type: 'spki', format: 'der' })
    expect(bundle.verificationMaterial.publicKey.hint).toBe(
      createHash('sha256').update(spki).digest('base64'),
    )
    found.push({ manifest, statement: JSON.parse(body.toString()) as Record<string, unknown> })
  }
  return found
}
