import type { AirgapError } from '../../errors.ts'
import { parseCosignTag } from '../../oci/cosign.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import type { Repository } from '../../registry/repository.ts'
import { incomplete, type ImageFailure } from '../../content/failures.ts'
import type { PlannedImage } from '../plan.ts'
import type { PlannedReferrer } from './plan.ts'

/** What refers to images and does not get into the target, or would not be found there, and why. */
export class LostReferrers {
  /** What needs a blob. */
  readonly #users = new Map<string, PlannedReferrer[]>()
  readonly #lost = new Map<PlannedReferrer, AirgapError>()

  constructor(referrers: readonly PlannedReferrer[]) {
    for (const planned of referrers) {
      for (const digest of planned.graph.closure.blobs.keys()) {
        const key = `${planned.repository.name} ${digest}`
        const users = this.#users.get(key)
        if (users) users.push(planned)
        else this.#users.set(key, [planned])
      }
    }
  }

  get all(): ReadonlyMap<PlannedReferrer, AirgapError> {
    return this.#lost
  }

  usersOf({ name }: Repository, digest: Digest): readonly PlannedReferrer[] {
    return this.#users.get(`${name} ${digest}`) ?? []
  }

  has(planned: PlannedReferrer): boolean {
    return this.#lost.has(planned)
  }

  /** The first fault is what it is lost by. */
  add(planned: PlannedReferrer, error: AirgapError): void {
    if (!this.#lost.has(planned)) this.#lost.set(planned, error)
  }

  /** Those of images that lack nothing themselves. */
  failures(isWhole: (image: PlannedImage) => boolean): ImageFailure[] {
    return [...this.#lost].flatMap(([{ images, entry }, error]) => {
      const image = images.find((one) => isWhole(one))?.image
      return image ? [{ source: image.source, part: nameOfReferrer(entry), error }] : []
    })
  }

  /** The error of a push that is complete but for them. */
  error(failures: readonly ImageFailure[]): AirgapError {
    const count = this.#lost.size
    const what = count === 1 ? '1 thing that refers' : `${count} things that refer`
    return incomplete(
      `${what} to images (signatures, attestations, SBOMs) could not be put or would not be found; all images are in place, and all tags are set`,
      failures,
      [
        'Mend it and push again with the same command. Where the registry takes no such things, leave them out: --referrers none, or --referrers signatures.',
      ],
    )
  }
}

const UNDER_TAG = { sig: 'signatures', att: 'attestations', sbom: 'SBOM' }

/** For messages. */
export function nameOfReferrer({ tag, digest, subject }: PlannedReferrer['entry']): string {
  const parsed = tag === undefined ? undefined : parseCosignTag(tag)
  return parsed ? `${UNDER_TAG[parsed.kind]} (${shortHex(subject)})` : `referrer ${shortHex(digest)}`
}
