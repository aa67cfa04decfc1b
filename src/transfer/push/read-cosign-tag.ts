import { AirgapError } from '../../errors.ts'
import type { Manifest } from '../../oci/manifest.ts'
import type { Repository } from '../../registry/repository.ts'

/** Layers of what can be run, by the beginnings of their media types: no manifest of signatures has such. */
const FILE_SYSTEMS = ['application/vnd.oci.image.layer.', 'application/vnd.docker.image.rootfs.']

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
  let found
  try {
    found = await repository.fetchManifest(tag, signal)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    if (error.code === 'NOT_FOUND') return undefined
    // It is the registry's content that is not to be used, not the bundle's.
    if (error.code === 'INVALID_CONTENT') throw somethingElse(repository, tag, 'a damaged manifest', error)
    throw error
  }
  if (found.kind === 'index') throw somethingElse(repository, tag, 'an index')
  if (found.layers.some(({ mediaType }) => FILE_SYSTEMS.some((start) => mediaType.startsWith(start)))) {
    throw somethingElse(repository, tag, 'an image')
  }
  return found
}

function somethingElse({ name }: Repository, tag: string, what: string, cause?: AirgapError): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `${name}:${tag} is ${what}, where cosign keeps signatures${cause ? ` (${cause.message})` : ''}`,
    {
      hint: 'It is left as it is. Find out who put it there; when the tag is deleted, push again.',
      cause,
    },
  )
}
