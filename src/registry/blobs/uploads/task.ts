import type { Digest } from '../../../oci/digest.ts'
import type { Location } from '../../net/location.ts'
import type { Context } from '../../notices.ts'
import type { BlobSource } from './source.ts'
import type { UploadHabits } from './habits.ts'
import type { UploadMemory } from './memory.ts'

/** What is uploaded. */
export interface UploadDescriptor {
  digest: Digest
  /** Bytes. */
  size: number
}

/** One blob's upload: what every step of it needs. */
export interface UploadTask {
  repository: Location
  descriptor: UploadDescriptor
  context: Context
  source: BlobSource
  habits: UploadHabits
  memory: UploadMemory | undefined
  /** Sessions that nobody needs any more. */
  abandoned: URL[]
  /** Gets the bytes of the blob that have been sent so far. */
  onProgress: (bytes: number) => void
  signal: AbortSignal | undefined
}
