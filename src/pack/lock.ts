import * as v from 'valibot'
import {
  ImageEntrySchema,
  IMAGE_KEYS,
  PlatformsSchema,
  SKIPPED_KEYS,
  SkippedSchema,
} from '../bundle/description.ts'
import { described, type Known } from '../bundle/fields.ts'
import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { REFERRER_KEYS } from '../bundle/referrers.ts'
import { alsoThere } from '../bundle/skipped.ts'
import { AirgapError, messageOf } from '../errors.ts'
import { canonicalJson, checkKeyCase, checkShape, parseStrictJson } from '../oci/json.ts'

export const LOCK_TYPE = 'dev.airgap.lock'

/** What `resolve -o` writes and `pack --lock` reads: images pinned to digests. */
export const LockSchema = v.looseObject({
  type: v.literal(LOCK_TYPE, `must be ${LOCK_TYPE}`),
  formatVersion: described(
    v.pipe(v.string(), v.regex(/^1\.[0-9]+$/, 'this release reads format 1')),
    'The version of the format, MAJOR.MINOR',
  ),
  platforms: PlatformsSchema,
  images: v.pipe(v.array(ImageEntrySchema), v.minLength(1, 'names no image')),
  skipped: v.optional(SkippedSchema),
})
export type Lock = Known<v.InferOutput<typeof LockSchema>>

export function serializeLock(lock: Lock): Buffer {
  return canonicalJson(lock)
}

/**
 * Reads a lock.
 * @param what the file's name, for errors.
 * @throws AirgapError `INVALID_LOCK`
 */
export function parseLock(bytes: Uint8Array, what: string): Lock {
  try {
    const lock = checkShape(LockSchema, parseStrictJson(bytes, what), what)
    checkKeyCase(lock, Object.keys(LockSchema.entries), what)
    for (const image of lock.images) {
      checkKeyCase(image, IMAGE_KEYS, `${what}, ${image.source}`)
      for (const one of image.referrers ?? [])
        checkKeyCase(one, REFERRER_KEYS, `${what}, ${image.source}, referrers`)
    }
    for (const one of lock.skipped ?? []) checkKeyCase(one, SKIPPED_KEYS, `${what}, skipped, ${one.source}`)
    checkDeliveredNames(lock.images)
    const [twice] = alsoThere(lock.images, lock.skipped)
    if (twice !== undefined)
      throw new AirgapError('INVALID_LOCK', `${twice} is listed as left out, but is among the images`, {
        subject: what,
      })
    return { ...lock, images: sortImages(lock.images) }
  } catch (error) {
    throw new AirgapError('INVALID_LOCK', messageOf(error), {
      hint: { id: 'new-lock' },
      cause: error,
    })
  }
}
