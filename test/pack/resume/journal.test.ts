import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import {
  encodeLine,
  HeldBlobs,
  JOURNAL_TYPE,
  type JournalHeader,
  type JournalRecord,
  parseJournal,
} from '../../../src/pack/resume/format.ts'
import { Journal } from '../../../src/pack/resume/journal.ts'
import { temporaryFolder } from '../../support/build-bundle.ts'

const BOOT = 'this start'
const digestOf = (n: number): Digest => `sha256:${n.toString(16).padStart(64, '0')}`
const [A, B] = [digestOf(1), digestOf(2)]

const header: JournalHeader = {
  type: JOURNAL_TYPE,
  formatVersion: '1',
  tool: { name: 'airgap', version: '0.1.0' },
  begun: '2026-01-01T00:00:00.000Z',
  inputs: {
    images: ['example.test/app:1'],
    platforms: 'all',
    rewriteDigests: false,
    allowMissingPlatform: false,
    allowMissingAttestations: false,
    resolveFrom: 'source',
    name: 'ä',
    key: 'unsigned',
  },
  lock: {
    type: 'dev.airgap.lock',
    formatVersion: '1.0',
    platforms: 'all',
    images: [
      {
        source: 'example.test/app:1',
        resolvedFrom: 'source',
        sourceDigest: A,
        digest: A,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        kind: 'image',
        platforms: [{ platform: 'linux/amd64', digest: A }],
        size: 1000,
        from: 'argument',
      },
    ],
  },
  description: {
    type: 'dev.airgap.bundle',
    formatVersion: '1.0',
    requires: [],
    name: 'ä',
    sequence: 1,
    created: '2026-01-01T00:00:00Z',
    tool: { name: 'airgap', version: '0.1.0' },
  },
  bundleDigest: B,
  totalSize: 5000,
  blobBytes: 3000,
  file: { device: '1', inode: '18446744073709551615' },
}

const record: fc.Arbitrary<JournalRecord> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ blob: fc.constantFrom(A, B), written: fc.nat(5000) }) },
  fc.record({ blob: fc.constantFrom(A, B), finished: fc.nat(5000) }),
  fc.record({ synced: fc.nat(20) }),
  fc.record({ run: fc.constantFrom(BOOT, 'another') }),
  fc.constantFrom<JournalRecord>({ lost: true }, { copied: true }),
)

const journalOf = (records: readonly JournalRecord[]): Buffer =>
  Buffer.concat([header, ...records].map((line) => encodeLine(line)))

const stateOf = (held: HeldBlobs): unknown => [
  held.bytesOf(A),
  held.bytesOf(B),
  held.fallbackOf(A),
  held.fallbackOf(B),
  held.isCopied,
]

/** What the first so many records come to on a start of the machine. */
function replayed(records: readonly JournalRecord[]): unknown {
  const held = new HeldBlobs()
  for (const each of records) held.apply(each)
  held.resumeOn(BOOT)
  return stateOf(held)
}

function attempt(bytes: Buffer): ReturnType<typeof parseJournal> | 'refused' {
  try {
    return parseJournal(bytes, BOOT)
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    return 'refused'
  }
}

describe('a journal', () => {
  test('says what was written into it', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 12 }), (records) => {
        const bytes = journalOf(records)
        const read = parseJournal(bytes, BOOT)
        expect(read?.header).toEqual(header)
        expect(read?.length).toBe(bytes.length)
        expect(stateOf(read!.held)).toEqual(replayed(records))
      }),
    )
  })

  test('that was cut off anywhere means less progress, and never another header', () => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 8 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (records, part) => {
          const whole = journalOf(records)
          const read = attempt(whole.subarray(0, Math.floor(whole.length * part)))
          if (read === 'refused') throw new Error('a torn line is normal')
          if (!read) return
          expect(read.header).toEqual(header)
          expect(stateOf(read.held)).toEqual(replayed(records.slice(0, read.held.count)))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('with a byte changed anywhere is refused, or means less progress', () => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 8 }),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        fc.integer({ min: 1, max: 255 }),
        (records, part, change) => {
          const bytes = journalOf(records)
          const at = Math.floor(bytes.length * part)
          bytes[at]! ^= change
          const read = attempt(bytes)
          if (read === 'refused' || !read) return
          expect(read.length).toBeLessThanOrEqual(at)
          expect(read.header).toEqual(header)
          expect(stateOf(read.held)).toEqual(replayed(records.slice(0, read.held.count)))
        },
      ),
      { numRuns: 500 },
    )
  })

  test('of this start of the machine is refused with damage in front of its last line', () => {
    const bytes = journalOf([{ run: BOOT }, { blob: A, written: 5 }, { blob: A, written: 7 }])
    bytes[bytes.length - 100]! ^= 1
    expect(attempt(bytes)).toBe('refused')
  })

  test.each<[string, object[]]>([
    ['an unknown record', [header, { blob: A, removed: 1 }]],
    ['a record with more in it', [header, { blob: A, written: 1, more: 1 }]],
    ['a negative position', [header, { blob: A, written: -1 }]],
    ['a digest that is none', [header, { blob: 'sha256:../x', written: 1 }]],
    ['another format', [{ ...header, formatVersion: '2' }]],
    ['a header with more in it', [{ ...header, more: 1 }]],
    ['an inode that is no number', [{ ...header, file: { device: '1', inode: '../x' } }]],
    ['a lock with no image', [{ ...header, lock: { ...header.lock, images: [] } }]],
    [
      'a lock with one name for two images',
      [{ ...header, lock: { ...header.lock, images: [...header.lock.images, ...header.lock.images] } }],
    ],
    ['no header', [{ blob: A, written: 1 }]],
  ])('with %s is refused', (_, lines) => {
    expect(attempt(Buffer.concat(lines.map((line) => encodeLine(line))))).toBe('refused')
  })
})

describe('what is held', () => {
  const after = (...records: JournalRecord[]): HeldBlobs => {
    const held = new HeldBlobs()
    for (const each of records) held.apply(each)
    return held
  }

  test('after another start of the machine is what was synced when the sync began', () => {
    const held = after(
      { run: 'another' },
      { blob: A, written: 10 },
      { blob: A, written: 20 },
      { synced: 2 },
      { blob: B, finished: 30 },
    )
    expect([held.bytesOf(A), held.bytesOf(B)]).toEqual([20, 30])
    expect(held.fallbackOf(A)).toBe(10)
    held.resumeOn(BOOT)
    expect([held.bytesOf(A), held.bytesOf(B)]).toEqual([10, 0])
  })

  test('of a blob that was begun anew is nothing that was synced before', () => {
    const held = after(
      { run: BOOT },
      { blob: A, written: 20 },
      { blob: A, written: 0 },
      { blob: A, written: 5 },
      { synced: 2 },
    )
    held.resumeOn('another')
    expect(held.bytesOf(A)).toBe(0)
  })

  test('when the disk has failed is what was synced before', () => {
    const held = after(
      { run: BOOT },
      { blob: A, written: 20 },
      { synced: 2 },
      { blob: A, written: 30 },
      { lost: true },
    )
    held.resumeOn(BOOT)
    expect(held.bytesOf(A)).toBe(20)
  })
})

test('a journal is only its owner’s, never replaces anything, and has few records for many writes', async () => {
  const path = join(await temporaryFolder(), 'x.journal')
  const journal = await Journal.create(path, header)
  await expect(Journal.create(path, header)).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
  const size = 2 ** 30
  for (let at = 0; at <= size; at += 65_536) journal.written(A, at, size)
  await journal.close()
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const bytes = await readFile(path)
  const read = parseJournal(bytes, 'another')
  expect(read?.held.count).toBe(1 + 1024)
  expect(bytes.length).toBeLessThan(200_000)
})
