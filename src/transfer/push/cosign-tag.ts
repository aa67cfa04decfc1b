import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError } from '../../errors.ts'
import { cosignFault, lackingLayers, parseCosignTag, withLayers } from '../../oci/cosign.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import { parseStrictJson } from '../../oci/json.ts'
import type { Descriptor, Manifest, ManifestOrIndex } from '../../oci/manifest.ts'
import { isImageConfigType, OCI_CONFIG, OCI_MANIFEST } from '../../oci/media-types.ts'
import type { Repository } from '../../registry/repository.ts'

/** How often the tag is written at most, when others write it at the same time. */
const MAX_ROUNDS = 5
const PAUSE_MS = 50
/** The limit of registries for a manifest. Bytes. */
const MAX_SIZE = 4 * 1024 * 1024

/**
 * Puts layers under one of cosign's tags (`sha256-<hex>.sig`, `.att`, `.sbom`): the manifest that stands there gets
 * those that it lacks, as cosign does it when another key signs; nothing that is there is dropped. The layers' own
 * blobs have to be there already.
 *
 * Registries take no condition for a tag, so it is read again after it was set, until all layers stand in it, a bounded
 * number of times.
 *
 * @returns the digest of what stands under the tag now.
 * @throws AirgapError `REGISTRY` where something stands there that holds no such layers, or another SBOM: cosign takes one
 *   alone for an SBOM. It is left as it is. Those of every request.
 */
export async function addToCosignTag(
  repository: Repository,
  tag: string,
  layers: readonly Descriptor[],
  signal?: AbortSignal,
): Promise<Digest> {
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    if (round > 1) await sleep(Math.random() * PAUSE_MS * round, undefined, signal ? { signal } : {})
    const there = await read(repository, tag, signal)
    const { lacking: added, fault } = whatIsLacking(there, tag, layers)
    if (fault !== undefined) throw taken(repository, tag, fault)
    if (there && added.length === 0) return there.digest
    await put(repository, tag, there as Manifest | undefined, added, signal)
  }
  throw new AirgapError(
    'REGISTRY',
    `${repository.name}:${tag} cannot be added to: others write it again and again at the same time`,
    { hint: 'Push again when they have finished.' },
  )
}

function taken(repository: Repository, tag: string, fault: string): AirgapError {
  return new AirgapError('REGISTRY', `${repository.name}:${tag} cannot be added to: ${fault}`, {
    hint: 'It is left as it is. To have what comes with the image, find out who uses the tag, delete it, and push again.',
  })
}

/**
 * Which layers the manifest under one of cosign's tags lacks, or why none can be added to it.
 * @param there undefined where the tag is free.
 */
export function whatIsLacking(
  there: ManifestOrIndex | undefined,
  tag: string,
  layers: readonly Descriptor[],
): { lacking: Descriptor[]; fault?: string } {
  const parsed = parseCosignTag(tag)
  if (!parsed) throw new AirgapError('INTERNAL', `${tag} is none of cosign's tags`)
  if (!there) return { lacking: [...layers] }
  const fault = cosignFault(there, parsed)
  if (fault !== undefined || there.kind === 'index') return { lacking: [], fault: fault ?? 'it is an index' }
  const lacking = lackingLayers(there.layers, layers)
  const isSecond = parsed.kind === 'sbom' && lacking.length > 0
  return isSecond ? { lacking: [], fault: 'it is another SBOM, and cosign takes but one' } : { lacking }
}

/** @returns undefined where the tag is not there. */
async function read(
  repository: Repository,
  tag: string,
  signal: AbortSignal | undefined,
): Promise<ManifestOrIndex | undefined> {
  try {
    return await repository.fetchManifest(tag, signal)
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

async function put(
  repository: Repository,
  tag: string,
  there: Manifest | undefined,
  added: readonly Descriptor[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const config = await putConfig(repository, there, added, signal)
  const document = there ? withLayers(there, added, config) : newManifest(config, added)
  if (document.bytes.length > MAX_SIZE) {
    throw new AirgapError('REGISTRY', `${repository.name}:${tag} would become larger than ${MAX_SIZE} bytes`)
  }
  await repository.putManifest(tag, document, signal)
}

function newManifest(
  config: Descriptor,
  layers: readonly Descriptor[],
): { bytes: Buffer; mediaType: string; digest: Digest } {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }))
  return { bytes, mediaType: OCI_MANIFEST, digest: digestOf(bytes) }
}

/** Cosign writes the config of an image, which lists the layers; any other config says nothing of them, and stays. */
async function putConfig(
  repository: Repository,
  there: Manifest | undefined,
  added: readonly Descriptor[],
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  if (there && !isImageConfigType(there.config.mediaType)) return there.config
  const before = there ? await readConfig(repository, there.config, signal) : {}
  const { rootfs, history } = before
  const config = {
    architecture: '',
    created: '0001-01-01T00:00:00Z',
    os: '',
    config: {},
    ...before,
    history: [...listOf(history), ...added.map(() => ({ created: '0001-01-01T00:00:00Z' }))],
    rootfs: {
      type: 'layers',
      ...(isObject(rootfs) ? rootfs : {}),
      diff_ids: [...listOf(isObject(rootfs) ? rootfs.diff_ids : []), ...added.map(({ digest }) => digest)],
    },
  }
  const bytes = Buffer.from(JSON.stringify(config))
  const descriptor = {
    mediaType: there?.config.mediaType ?? OCI_CONFIG,
    digest: digestOf(bytes),
    size: bytes.length,
  }
  const from = async function* (position: number): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(position)
  }
  if (!(await repository.statBlob(descriptor.digest, signal))) {
    await repository.uploadBlob(descriptor, from, signal)
  }
  return descriptor
}

async function readConfig(
  repository: Repository,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Record<string, unknown>> {
  const bytes = await repository.fetchSmallBlob(descriptor, MAX_SIZE, signal)
  const value = parseStrictJson(bytes, `config ${descriptor.digest} of ${repository.name}`)
  return isObject(value) ? value : {}
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
