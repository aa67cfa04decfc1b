import fc from 'fast-check'
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { BLOCK } from '../../src/bundle/tar.ts'
import { verifyBundle } from '../../src/verify/content.ts'
import {
  archiveOf,
  bundleOf,
  draftOf,
  entriesOf,
  temporaryFolder,
  type Entry,
} from '../support/build-bundle.ts'
import { problemsOf, TRUST } from './check-bundle.ts'

async function smallBundle(): Promise<Buffer> {
  return bundleOf(await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }]))
}

/** Whether the file passes as a good bundle of the key's owner. */
async function passes(path: string): Promise<boolean> {
  const { problems, authentication, reader } = await verifyBundle(path, TRUST)
  await reader.close()
  return problems.length === 0 && authentication.state === 'signed'
}

// The same bytes of the same files, without a thread to read each few of them: thousands of files are opened here.
beforeAll(async () => {
  const handle = await open(import.meta.filename)
  const files = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  const { read, stat } = files
  Object.assign(files, {
    async read(this: FileHandle, buffer: Buffer, offset: number, length: number, position: number) {
      return { buffer, bytesRead: readSync(this.fd, buffer, offset, length, position) }
    },
    async stat(this: FileHandle) {
      return fstatSync(this.fd, { bigint: true })
    },
  })
  return () => void Object.assign(files, { read, stat })
})

/** Whether the byte is a zero between zeros. */
function isPadding(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0 && bytes[at - 1] === 0 && bytes[at + 1] === 0
}

/** Where the contents of the blobs are. */
async function blobsIn(path: string): Promise<{ start: number; end: number }[]> {
  await using reader = await BundleReader.open(path)
  const { entries } = await reader.scan(100)
  return entries
    .filter(({ name }) => name.startsWith('blobs/'))
    .map(({ contentOffset, size }) => ({ start: contentOffset, end: contentOffset + size }))
}

describe('an altered bundle never passes', () => {
  test('every byte that is not padding, and some that are, changed', async () => {
    const bytes = await smallBundle()
    expect(await problemsOf(bytes)).toEqual([])
    const passed: string[] = []
    let tried = 0
    const path = join(await temporaryFolder(), 'bundle.tar')
    writeFileSync(path, bytes)
    const blobs = await blobsIn(path)
    const fd = openSync(path, 'r+')
    for (const [at, original] of bytes.entries()) {
      // Most of so small a bundle is padding, which one rule checks: some of it does for all.
      if (isPadding(bytes, at) && at % 29 !== 0) continue
      // A blob's bytes are all one to the hash over them.
      if (at % 5 !== 0 && blobs.some(({ start, end }) => at > start && at < end - 1)) continue
      // Another bit at each place; white space and zero are the changes that parsers let through.
      for (const changed of new Set([original ^ (1 << (at % 8)), at % 16 === 0 ? 0x20 : original])) {
        if (changed === original) continue
        writeSync(fd, Buffer.of(changed), 0, 1, at)
        tried += 1
        if (await passes(path)) passed.push(`byte ${at}: ${original} -> ${changed}`)
      }
      writeSync(fd, Buffer.of(original), 0, 1, at)
    }
    closeSync(fd)
    expect(await passes(path)).toBe(true)
    expect(tried).toBeGreaterThan(3000)
    expect(passed).toEqual([])
  })

  test('every byte of the signature entries, changed to what a lenient parser would skip', async () => {
    const bytes = await smallBundle()
    const start = bytes.indexOf('SHA256SUMS.sigstore.json\0')
    const end = bytes.indexOf('airgap.json\0')
    const passed: string[] = []
    const path = join(await temporaryFolder(), 'bundle.tar')
    writeFileSync(path, bytes)
    const fd = openSync(path, 'r+')
    for (let at = start; at < end; at += 1) {
      if (isPadding(bytes, at) && at % 29 !== 0) continue
      const original = bytes[at] ?? 0
      for (const changed of [0x20, 0x0a]) {
        if (changed === original) continue
        writeSync(fd, Buffer.of(changed), 0, 1, at)
        if (await passes(path)) passed.push(`byte ${at}: ${original} -> ${changed}`)
      }
      writeSync(fd, Buffer.of(original), 0, 1, at)
    }
    closeSync(fd)
    expect(await passes(path)).toBe(true)
    expect(passed).toEqual([])
  })

  test('cut off after every block, and at odd places', async () => {
    const bytes = await smallBundle()
    const lengths = Array.from({ length: Math.ceil(bytes.length / BLOCK) }, (_, i) => i * BLOCK)
    const odd = lengths.flatMap((length) => [length + 1, length + 157, length + BLOCK - 1])
    const path = join(await temporaryFolder(), 'bundle.tar')
    writeFileSync(path, bytes)
    // From the longest down: each cut is made in the same file.
    const cuts = [...lengths, ...odd].filter((length) => length < bytes.length)
    for (const length of cuts.toSorted((a, b) => b - a)) {
      truncateSync(path, length)
      expect(await passes(path), `cut to ${length} bytes`).toBe(false)
    }
  })

  test('[duty: read-once] bytes changed, removed, inserted, swapped and repeated', async () => {
    const bytes = await smallBundle()
    const path = join(await temporaryFolder(), 'bundle.tar')
    const fd = openSync(path, 'w')
    const place = fc.nat(bytes.length - 1)
    const length = fc.oneof(
      fc.constantFrom(1, BLOCK, 2 * BLOCK, 3 * BLOCK),
      fc.integer({ min: 1, max: 2000 }),
    )
    const blockOf = fc.nat(bytes.length / BLOCK - 1)
    const edit = fc.oneof(
      fc.record({
        kind: fc.constant('change'),
        at: place,
        with: fc.uint8Array({ minLength: 1, maxLength: 64 }),
      }),
      fc.record({
        kind: fc.constant('insert'),
        at: place,
        with: fc.uint8Array({ minLength: 1, maxLength: 600 }),
      }),
      fc.record({ kind: fc.constant('zero'), at: place, length }),
      fc.record({ kind: fc.constant('remove'), at: place, length }),
      fc.record({ kind: fc.constant('repeat'), at: place, length }),
      fc.record({ kind: fc.constant('swap'), at: blockOf, to: blockOf }),
      fc.record({ kind: fc.constant('drop block'), at: blockOf }),
      fc.record({ kind: fc.constant('repeat block'), at: blockOf }),
    )
    await fc.assert(
      fc.asyncProperty(edit, async (one) => {
        const altered = apply(bytes, one)
        fc.pre(!altered.equals(bytes))
        // Into the same file: making one anew takes longer than to look at it.
        writeSync(fd, altered, 0, altered.length, 0)
        ftruncateSync(fd, altered.length)
        expect(await passes(path)).toBe(false)
      }),
      { numRuns: 600 },
    )
    closeSync(fd)
  })

  test('entries of two bundles of one signer, mixed', async () => {
    const make = async (tag: string, platform: string): Promise<Entry[]> =>
      entriesOf(
        await draftOf([
          {
            source: `example.test/app:${tag}`,
            built: await singleManifest('oci', { os: 'linux', architecture: platform }),
          },
        ]),
      )
    const [left, right] = [await make('1.0', 'amd64'), await make('2.0', 'arm64')]
    const passed: string[] = []
    for (let i = 0; i < left.length; i += 1) {
      for (let j = i; j < left.length; j += 1) {
        const mixed = left.map((one, at) => (at === i || at === j ? (right[at] ?? one) : one))
        // oci-layout is the same in both.
        if (mixed.every((one, at) => sameEntry(one, left[at]))) continue
        if ((await problemsOf(archiveOf(mixed))).length === 0)
          passed.push(`${left[i]?.name} and ${left[j]?.name}`)
      }
    }
    expect(passed).toEqual([])
  })
})

function sameEntry(a: Entry, b: Entry | undefined): boolean {
  return b !== undefined && a.name === b.name && Buffer.from(a.content).equals(b.content)
}

type Edit = { kind: string; at: number; with?: Uint8Array; length?: number; to?: number }

function apply(
  bytes: Buffer,
  { kind, at, with: insert = Buffer.alloc(0), length = 0, to = 0 }: Edit,
): Buffer {
  const block = (i: number): Buffer => bytes.subarray(i * BLOCK, (i + 1) * BLOCK)
  const blocks = Array.from({ length: bytes.length / BLOCK }, (_, i) => block(i))
  switch (kind) {
    case 'change':
    case 'zero': {
      const altered = Buffer.from(bytes)
      altered.set((kind === 'zero' ? Buffer.alloc(length) : insert).subarray(0, bytes.length - at), at)
      return altered
    }
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at)])
    case 'remove':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
    case 'repeat':
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
    case 'swap':
      return Buffer.concat(blocks.map((one, i) => (i === at ? block(to) : i === to ? block(at) : one)))
    case 'drop block':
      return Buffer.concat(blocks.toSpliced(at, 1))
    default:
      return Buffer.concat(blocks.toSpliced(at, 0, block(at)))
  }
}
