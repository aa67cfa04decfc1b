import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError } from '../errors.ts'
import { cosignFault, lackingLayers, parseCosignTag } from '../oci/cosign.ts'
import { type Digest, digestOf } from '../oci/digest.ts'
import { parseStrictJson } from '../oci/json.ts'
import type { Descriptor, Manifest, ManifestOrIndex } from '../oci/manifest.ts'
import { isImageConfigType, OCI_CONFIG, OCI_MANIFEST } from '../oci/media-types.ts'
import type { Repository } from '../registry/repository.ts'
import { isUnusable, putSmallBlob } from './small-blob.ts'

/** How often to write the manifest, at most, if others write it at the same time. */
const MAX_ROUNDS = 5
const PAUSE_MS = 50
/** cosign refuses manifests with more layers (pkg/oci/remote, maxLayers). */
const MAX_LAYERS = 1000
/** The usual limit of registries. Bytes. */
const MAX_MANIFEST = 4 * 1024 * 1024
const MAX_CONFIG = 1024 * 1024

/**
 * Adds layers to the manifest under a cosign tag (`sha256-<hex>.sig`, `.att`, `.sbom`), as cosign does: one manifest with
 * one layer for each signature. Existing layers stay, in front. The layers' blobs have to be in the repository already.
 * The manifest is read back. Because others may write it at the same time, it is written again while layers are missing,
 * a limited number of times.
 *
 * @returns the digest of the manifest with all layers.
 * @throws AirgapError `REGISTRY` if the tag is not such a manifest, is another SBOM (cosign accepts only one), or if the
 *   manifest would become too large; the tag then stays unchanged. The errors of any request.
 */
export async function addToCosignTag(
  repository: Repository,
  tag: string,
  layers: readonly Descriptor[],
  signal?: AbortSignal,
): Promise<Digest> {
  let written: Descriptor[] = []
  for (let round = 0; round <= MAX_ROUNDS; round += 1) {
    const there = await readCosignTag(repository, tag, signal)
    const now = there?.layers ?? []
    // Layers that have disappeared were overwritten, by somebody who wrote at the same time or by us: add them again.
    const { lacking, fault } = whatIsLacking(there, tag, [...written, ...layers])
    if (fault !== undefined) throw taken(repository, tag, fault)
    if (there && lacking.length === 0) return there.digest
    if (round === MAX_ROUNDS) break
    if (round > 0) await sleep(Math.random() * PAUSE_MS * round, undefined, signal ? { signal } : {})
    written = [...now, ...lacking]
    const bytes = await longerManifest(repository, tag, there, written, signal)
    const mediaType = there?.mediaType ?? OCI_MANIFEST
    await repository.putManifest(tag, { bytes, mediaType, digest: digestOf(bytes) }, signal)
  }
  throw new AirgapError(
    'REGISTRY',
    `cannot add to ${repository.name}:${tag}: the registry does not keep what is written, or others keep writing it at the same time`,
    { hint: 'Push again when they have finished. A registry can also forbid changing tags.' },
  )
}

/**
 * Which layers the manifest under a cosign tag lacks, or why none can be added to it.
 * @param there undefined if there is no such tag.
 */
export function whatIsLacking(
  there: ManifestOrIndex | undefined,
  tag: string,
  layers: readonly Descriptor[],
): { lacking: Descriptor[]; fault?: string } {
  const parsed = parseCosignTag(tag)
  if (!parsed) throw new AirgapError('INTERNAL', `${tag} is not a cosign tag`)
  const fault = there && cosignFault(there, parsed)
  if (fault !== undefined || there?.kind === 'index') return { lacking: [], fault: fault ?? 'it is an index' }
  const lacking = lackingLayers(there?.layers ?? [], layers)
  const isSecond = there !== undefined && parsed.kind === 'sbom' && lacking.length > 0
  return isSecond ? { lacking: [], fault: 'it is another SBOM, and cosign accepts only one' } : { lacking }
}

/** The manifest with these layers and a matching config. Unknown members are kept. */
async function longerManifest(
  repository: Repository,
  tag: string,
  there: Manifest | undefined,
  layers: readonly Descriptor[],
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const before: object = there
    ? (JSON.parse(Buffer.from(there.bytes).toString('utf8')) as object)
    : { schemaVersion: 2, mediaType: OCI_MANIFEST }
  const config = await configFor(repository, there, layers, signal)
  const bytes = Buffer.from(JSON.stringify({ ...before, config, layers }))
  if (layers.length <= MAX_LAYERS && bytes.length <= MAX_MANIFEST) return bytes
  throw new AirgapError(
    'REGISTRY',
    `${repository.name}:${tag} already has ${there?.layers.length ?? 0} layers, and would become too large with ${layers.length}: tools read at most ${MAX_LAYERS} layers, registries accept 4 MiB`,
    {
      hint: 'Find out who writes so many signatures there. Clean up the tag, then push again.',
    },
  )
}

/** cosign's config is that of an image whose layers are the signatures. A config of another kind is kept unchanged. */
async function configFor(
  repository: Repository,
  there: Manifest | undefined,
  layers: readonly Descriptor[],
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  if (there && !isImageConfigType(there.config.mediaType)) return there.config
  const before = there ? await readConfig(repository, there, signal) : {}
  const never = '0001-01-01T00:00:00Z'
  const config = {
    architecture: '',
    created: never,
    os: '',
    config: {},
    ...before,
    history: layers.map(() => ({ created: never })),
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  }
  const bytes = Buffer.from(JSON.stringify(config))
  return putSmallBlob(repository, bytes, there?.config.mediaType ?? OCI_CONFIG, signal)
}

/** The existing config, or an empty object if it is unusable: no signature depends on it. */
async function readConfig(
  repository: Repository,
  { config }: Manifest,
  signal: AbortSignal | undefined,
): Promise<object> {
  try {
    const value = parseStrictJson(await repository.fetchSmallBlob(config, MAX_CONFIG, signal), 'config')
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  } catch (error) {
    if (isUnusable(error)) return {}
    throw error
  }
}

/**
 * Reads the manifest under a cosign tag.
 * @returns undefined if there is none.
 * @throws AirgapError `REGISTRY` if the tag is something else.
 */
export async function readCosignTag(
  repository: Repository,
  tag: string,
  signal?: AbortSignal,
): Promise<Manifest | undefined> {
  const parsed = parseCosignTag(tag)
  if (!parsed) throw new AirgapError('INTERNAL', `${tag} is not a cosign tag`)
  let found
  try {
    found = await repository.fetchAttached(tag, parsed.subject, signal)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    // INVALID_CONTENT would blame the bundle, but it is the registry's content that is unusable.
    if (error.code === 'INVALID_CONTENT') throw taken(repository, tag, 'it is a damaged manifest', error)
    throw error
  }
  if (!found) return undefined
  const fault = cosignFault(found, parsed)
  if (fault === undefined && found.kind === 'manifest') return found
  throw taken(repository, tag, fault ?? 'it is an index of images')
}

/** The error for a cosign tag that holds something else. */
function taken({ name }: Repository, tag: string, fault: string, cause?: AirgapError): AirgapError {
  const why = cause ? `${fault} (${cause.message})` : fault
  return new AirgapError('REGISTRY', `${name}:${tag} cannot be added to: ${why}`, {
    hint: "The tag stays unchanged. To get the image's signatures there, find out who uses the tag, delete it, and push again.",
    cause,
  })
}
