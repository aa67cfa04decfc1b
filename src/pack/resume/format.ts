import * as v from 'valibot'
import { DescriptionSchema, PlatformsSchema, source, ToolSchema } from '../../bundle/description.ts'
import { REFERRER_CHOICES } from '../../oci/manifest.ts'
import { digest, instant, keyFingerprint, type Known, moment, wholeNumber } from '../../bundle/fields.ts'
import { checkDeliveredNames } from '../../bundle/layout.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { LockSchema } from '../lock.ts'
import { createHash, randomUUID } from 'node:crypto'
import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { readFile } from 'node:fs/promises'

/** Most bytes of a journal that are read. */
export const MAX_JOURNAL = 256 * 1024 * 1024

/** A journal as it was found. */
export interface ReadJournal {
  header: JournalHeader
  held: HeldBlobs
  /** Bytes up to the end of the last complete line, which is where to append. */
  length: number
  /** Whether the machine has not been rebooted since, so that only a disk error can have lost what was written. */
  isSameBoot: boolean
}

/**
 * Reads a journal. The progress in it only says where to look: the bytes are hashed before they count.
 *
 * An incomplete last line is normal. After a crash of the machine, so is any damage after the last sync, because pages
 * reach the disk in any order: then everything before the damage counts. With any other damage, nothing does.
 *
 * @param run the name of the current boot.
 * @returns undefined if not even the header was written.
 * @throws AirgapError `INVALID_CONTENT`, `NAME_CONFLICT`
 */
export function parseJournal(bytes: Buffer, run: string): ReadJournal | undefined {
  let header: JournalHeader | undefined
  const held = new HeldBlobs()
  let length = 0
  try {
    for (const { json, end } of decodeLines(bytes)) {
      if (header) held.apply(parseRecord(json, `record ${held.count + 1}`))
      else header = parseHeader(json, 'its header')
      length = end
    }
  } catch (error) {
    const hasGoneDown = held.run !== undefined && held.run !== run
    if (!header || !hasGoneDown || !(error instanceof AirgapError)) throw error
  }
  if (!header) return undefined
  const isSameBoot = held.run === run
  held.resumeOn(run)
  return { header, held, length, isSameBoot }
}

/*
 * A journal is text with one record a line: a checksum, a space, JSON without line breaks. The checksum shows whether a
 * line was written completely before a crash.
 */

const CHECKSUM_LENGTH = 16
const NEWLINE = 0x0a
const BLANK = 0x20

/** One record as its line. */
export function encodeLine(record: object): Buffer {
  const json = Buffer.from(JSON.stringify(record))
  return Buffer.concat([Buffer.from(`${checksumOf(json)} `), json, Buffer.from('\n')])
}

/** A line's JSON, and where the next line begins. */
interface Line {
  json: Buffer
  end: number
}

/**
 * The lines of a journal up to the last line break. What follows was being written when the run ended.
 * @throws AirgapError `INVALID_CONTENT` at a damaged line.
 */
export function* decodeLines(bytes: Buffer): Generator<Line, void, undefined> {
  let count = 0
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start)
    if (newline < 0) return
    count += 1
    const json = bytes.subarray(start + CHECKSUM_LENGTH + 1, newline)
    const checksum = bytes.toString('latin1', start, start + CHECKSUM_LENGTH)
    if (bytes[start + CHECKSUM_LENGTH] !== BLANK || checksum !== checksumOf(json)) {
      throw new AirgapError('INVALID_CONTENT', `line ${count} is damaged`)
    }
    start = newline + 1
    yield { json, end: start }
  }
}

function checksumOf(json: Buffer): string {
  return createHash('sha256').update(json).digest('hex').slice(0, CHECKSUM_LENGTH)
}

/** A record of progress. */
const RecordSchema = v.union([
  /** How many bytes of a blob were written, from its start. */
  v.strictObject({ blob: digest, written: wholeNumber }),
  /** A blob is complete, and had the right digest when it was written. Its size in bytes. */
  v.strictObject({ blob: digest, finished: wholeNumber }),
  /** The blobs in the first so many records have reached the disk as far as these say. */
  v.strictObject({ synced: wholeNumber }),
  /** A run has begun, in the boot of the machine with this name. */
  v.strictObject({ run: v.pipe(v.string(), v.maxLength(100)) }),
  /** The disk has failed: what had not been synced may be lost. */
  v.strictObject({ lost: v.literal(true) }),
  /** All that other files had of this one has been copied, and is on the disk. */
  v.strictObject({ copied: v.literal(true) }),
  /** The file is complete and synced, and about to get its name. */
  v.strictObject({ complete: v.literal(true) }),
])
export type JournalRecord = v.InferOutput<typeof RecordSchema>

/** @throws AirgapError `INVALID_CONTENT` */
export function parseRecord(json: Uint8Array, what: string): JournalRecord {
  return checkShape(RecordSchema, parseStrictJson(json, what), what)
}

export const JOURNAL_TYPE = 'dev.airgap.journal'
export const JOURNAL_VERSION = '1'

/** All choices of the user that decide what is in a bundle. */
export const InputsSchema = v.strictObject({
  /** The references asked for, or those of the lock, sorted. */
  images: v.array(source),
  /** SHA-256 of the lock, if one was given. */
  lock: v.optional(digest),
  platforms: PlatformsSchema,
  rewriteDigests: v.boolean(),
  allowMissingPlatform: v.boolean(),
  allowMissingAttestations: v.boolean(),
  resolveFrom: v.picklist(['source', 'mirror']),
  /** Which referrers are packed; with a lock, it says so itself. */
  referrers: v.optional(v.picklist(REFERRER_CHOICES)),
  /** If they may turn a tag into a digest. */
  mirrors: v.optional(v.array(v.string())),
  /** If it was given. */
  name: v.optional(v.string()),
  version: v.optional(v.string()),
  expires: v.optional(moment),
  /** If it was given. */
  sequence: v.optional(wholeNumber),
  /** If it was given. */
  created: v.optional(moment),
  /** Fingerprint of the signing key, or how else the bundle is signed. */
  key: v.union([keyFingerprint, v.picklist(['keyless', 'unsigned'])]),
})
export type PackInputs = v.InferOutput<typeof InputsSchema>

const base64 = v.pipe(v.string(), v.base64())

const HeaderSchema = v.strictObject({
  type: v.literal(JOURNAL_TYPE),
  formatVersion: v.literal(JOURNAL_VERSION),
  tool: ToolSchema,
  /** When the first run began. */
  begun: instant,
  inputs: InputsSchema,
  lock: LockSchema,
  /** Everything in `airgap.json` except what the lock says. */
  description: v.omit(DescriptionSchema, ['images', 'platforms']),
  signature: v.optional(v.strictObject({ sigstore: base64, raw: v.optional(base64) })),
  bundleDigest: digest,
  /** Bytes of the finished file. */
  totalSize: wholeNumber,
  /** Bytes of all blobs. */
  blobBytes: wholeNumber,
  /** The unfinished file that the journal is about. */
  file: v.strictObject({ device: v.pipe(v.string(), v.digits()), inode: v.pipe(v.string(), v.digits()) }),
})

/** What a pack is for, and everything that was decided before its first blob was fetched. */
export type JournalHeader = Known<v.InferOutput<typeof HeaderSchema>>

/** @throws AirgapError `INVALID_CONTENT`, `NAME_CONFLICT` */
export function parseHeader(json: Uint8Array, what: string): JournalHeader {
  const header = checkShape(HeaderSchema, parseStrictJson(json, what), what)
  checkDeliveredNames(header.lock.images)
  return header
}

/** How much of a blob there is. Bytes from its start. */
interface Extent {
  written: number
  synced: number
  /** Grows when the blob is started over; what was written before no longer counts. */
  attempt: number
}

/** The state that follows from a journal's records, applied in order. */
export class HeldBlobs {
  /** How many records were applied. */
  count = 0
  /** Whether everything to be copied from other files is here and on the disk. */
  isCopied = false
  isComplete = false
  readonly #extents = new Map<Digest, Extent>()
  /** What was written but not synced yet, with the number of its record. */
  #unsynced: { number: number; blob: Digest; bytes: number; attempt: number }[] = []
  #run: string | undefined

  apply(record: JournalRecord): void {
    this.count += 1
    if ('blob' in record) {
      this.#write(record.blob, 'finished' in record ? record.finished : record.written)
    } else if ('synced' in record) {
      this.#sync(record.synced)
    } else if ('run' in record) {
      if (this.#run !== undefined && this.#run !== record.run) this.#lose()
      this.#run = record.run
      this.isComplete = false
    } else if ('lost' in record) {
      this.#lose()
    } else if ('copied' in record) {
      this.isCopied = true
    } else {
      this.isComplete = true
    }
  }

  /** Call this after the last record: if the machine was rebooted since, only what was synced counts. */
  resumeOn(run: string): void {
    if (this.#run !== run) this.#lose()
  }

  /** Whether no blob is recorded yet. */
  get isNew(): boolean {
    return this.#extents.size === 0
  }

  get run(): string | undefined {
    return this.#run
  }

  /** How many bytes of a blob there are, from its start, according to the journal. */
  bytesOf(blob: Digest): number {
    return this.#extents.get(blob)?.written ?? 0
  }

  /** Where to resume a blob whose bytes turn out to be wrong: at what was synced, if that is less, or at the start. */
  fallbackOf(blob: Digest): number {
    const { written = 0, synced = 0 } = this.#extents.get(blob) ?? {}
    return synced < written ? synced : 0
  }

  /** Bytes of all blobs together. */
  get bytes(): number {
    let sum = 0
    for (const { written } of this.#extents.values()) sum += written
    return sum
  }

  #write(blob: Digest, bytes: number): void {
    const extent = this.#extents.get(blob) ?? { written: 0, synced: 0, attempt: 0 }
    if (bytes < extent.written) {
      extent.attempt += 1
      extent.synced = Math.min(extent.synced, bytes)
    }
    extent.written = bytes
    this.#extents.set(blob, extent)
    this.#unsynced.push({ number: this.count, blob, bytes, attempt: extent.attempt })
  }

  #sync(upTo: number): void {
    const end = this.#unsynced.findIndex(({ number }) => number > upTo)
    for (const { blob, bytes, attempt } of this.#unsynced.splice(0, end < 0 ? this.#unsynced.length : end)) {
      const extent = this.#extents.get(blob)
      if (extent?.attempt === attempt) extent.synced = Math.max(extent.synced, bytes)
    }
  }

  #lose(): void {
    this.#unsynced = []
    for (const extent of this.#extents.values()) extent.written = extent.synced
  }
}

/**
 * A name for the current boot of the machine (proc_sys_kernel(5), random/boot_id). As long as it is the same, what was
 * written is still there, synced or not, because the page cache has it. If there is no boot ID, a new name each time.
 */
export async function bootName(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '')
  return /^[0-9a-f-]{36}\n$/.test(text) ? text.trim() : randomUUID()
}
