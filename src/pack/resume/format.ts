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

/** The most that is read of a journal. Bytes. */
export const MAX_JOURNAL = 256 * 1024 * 1024

/** A journal as it was found. */
export interface ReadJournal {
  header: JournalHeader
  held: HeldBlobs
  /** Bytes up to the end of the last line that is whole: what is appended belongs there. */
  length: number
  /** Whether this is still the machine's same start, so that nothing but the disk can have lost what was written. */
  isSameBoot: boolean
}

/**
 * Reads a journal. What it says of progress is a hint for where to look: the bytes are hashed before they are believed.
 *
 * A last line without its end is normal. So is anything else behind the last sync when the machine has gone down since,
 * because pages reach a disk in any order: then what comes before counts. All other damage means that nothing counts.
 *
 * @param run how this start of the machine is called.
 * @returns undefined when not even the header was written.
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
 * A journal is text, a record a line: a checksum, a blank, JSON without line breaks. What is appended when a machine
 * goes down may arrive in part; the checksum tells.
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
 * The lines of a journal up to the last line break: what stands behind that was being written when its run ended.
 * @throws AirgapError `INVALID_CONTENT` at a line that is not what was written.
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

/** Progress, as it is appended. */
const RecordSchema = v.union([
  /** So many bytes of a blob have been written, from its first one on. */
  v.strictObject({ blob: digest, written: wholeNumber }),
  /** A blob is complete, and had the right digest when it was written. Its bytes. */
  v.strictObject({ blob: digest, finished: wholeNumber }),
  /** What the first so many records say of blobs has reached the disk. */
  v.strictObject({ synced: wholeNumber }),
  /** A run has begun, on a machine that was started under this name. */
  v.strictObject({ run: v.pipe(v.string(), v.maxLength(100)) }),
  /** The disk has failed: what was not synced before may be lost. */
  v.strictObject({ lost: v.literal(true) }),
  /** All that other files have of this one has been copied, and is on the disk. */
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

/** Everything that a user chooses and that decides what is in a bundle. */
export const InputsSchema = v.strictObject({
  /** The references asked for, or those of the lock, sorted. */
  images: v.array(source),
  /** SHA-256 of the lock, where one was given. */
  lock: v.optional(digest),
  platforms: PlatformsSchema,
  rewriteDigests: v.boolean(),
  allowMissingPlatform: v.boolean(),
  allowMissingAttestations: v.boolean(),
  resolveFrom: v.picklist(['source', 'mirror']),
  /** What travels along; a lock says it by itself. */
  referrers: v.optional(v.picklist(REFERRER_CHOICES)),
  /** Where they may turn a tag into a digest. */
  mirrors: v.optional(v.array(v.string())),
  /** Where it was given. */
  name: v.optional(v.string()),
  version: v.optional(v.string()),
  expires: v.optional(moment),
  /** Where it was given. */
  sequence: v.optional(wholeNumber),
  /** Where it was given. */
  created: v.optional(moment),
  /** Fingerprint of the key that signs, or how else. */
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
  /** Everything in `airgap.json` but what the lock says. */
  description: v.omit(DescriptionSchema, ['images', 'platforms']),
  signature: v.optional(v.strictObject({ sigstore: base64, raw: v.optional(base64) })),
  bundleDigest: digest,
  /** Bytes of the finished file. */
  totalSize: wholeNumber,
  /** Bytes of the blobs that are not known before they are fetched. */
  blobBytes: wholeNumber,
  /** The unfinished file that this is about. */
  file: v.strictObject({ device: v.pipe(v.string(), v.digits()), inode: v.pipe(v.string(), v.digits()) }),
})

/** What a run was made for, and all that was decided before its first blob was fetched. */
export type JournalHeader = Known<v.InferOutput<typeof HeaderSchema>>

/** @throws AirgapError `INVALID_CONTENT`, `NAME_CONFLICT` */
export function parseHeader(json: Uint8Array, what: string): JournalHeader {
  const header = checkShape(HeaderSchema, parseStrictJson(json, what), what)
  checkDeliveredNames(header.lock.images)
  return header
}

/** How much of a blob there is. Bytes from its first one on. */
interface Extent {
  written: number
  synced: number
  /** Grows when the blob is begun anew; what was written before then is of no account. */
  attempt: number
}

/** What a journal's records come to, in their order. */
export class HeldBlobs {
  /** How many records there are. */
  count = 0
  /** Whether all that was to be copied from elsewhere is here, on the disk. */
  isCopied = false
  isComplete = false
  readonly #extents = new Map<Digest, Extent>()
  /** What has been written and not synced yet, with the number of its record. */
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

  /** To be called when all records are known: a machine that was started anew has only what was synced. */
  resumeOn(run: string): void {
    if (this.#run !== run) this.#lose()
  }

  /** Whether nothing is known but that a run has begun. */
  get isNew(): boolean {
    return this.#extents.size === 0
  }

  get run(): string | undefined {
    return this.#run
  }

  /** How many bytes of a blob there are, from its first one on, as far as the journal can be believed. */
  bytesOf(blob: Digest): number {
    return this.#extents.get(blob)?.written ?? 0
  }

  /** What a blob can be gone on from when its bytes are not what they should be: less, or nothing. */
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
 * A name for this start of the machine: as long as it is the same, what was written is still in the page cache, synced
 * or not (proc_sys_kernel(5), random/boot_id). Where there is none, another one each time.
 */
export async function bootName(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '')
  return /^[0-9a-f-]{36}\n$/.test(text) ? text.trim() : randomUUID()
}
