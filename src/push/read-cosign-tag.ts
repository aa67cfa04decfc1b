import { AirgapError } from '../errors.ts'
import { cosignFault, parseCosignTag } from '../oci/cosign.ts'
import type { Manifest } from '../oci/manifest.ts'
import type { Repository } from '../registry/repository.ts'

/**
 * The manifest under one of cosign's tags.
 * @returns undefined where there is none.
 * @throws AirgapError `REGISTRY` where the tag is something else.
 */
export async function readCosignTag(
  repository: Repository,
  tag: string,
  signal?: AbortSignal,
): Promise<Manifest | undefined> {
  const parsed = parseCosignTag(tag)
  if (!parsed) throw new AirgapError('INTERNAL', `${tag} is none of cosign's tags`)
  let found
  try {
    found = await repository.fetchAttached(tag, parsed.subject, signal)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    // It is the registry's content that is not to be used, not the bundle's.
    if (error.code === 'INVALID_CONTENT') throw taken(repository, tag, 'it is a damaged manifest', error)
    throw error
  }
  if (!found) return undefined
  const fault = cosignFault(found, parsed)
  if (fault === undefined && found.kind === 'manifest') return found
  throw taken(repository, tag, fault ?? 'it is an index of images')
}

/** The error for a tag that cannot take what belongs under it. */
export function taken({ name }: Repository, tag: string, fault: string, cause?: AirgapError): AirgapError {
  const why = cause ? `${fault} (${cause.message})` : fault
  return new AirgapError('REGISTRY', `${name}:${tag} cannot be added to: ${why}`, {
    hint: 'It is left as it is. To have what comes with the image, find out who uses the tag, delete it, and push again.',
    cause,
  })
}
