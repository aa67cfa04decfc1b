import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { hashWhole, type WholeSource } from '../../src/hashing/whole-file.ts'
import { WORTH_THREADS } from '../../src/hashing/range-threads.ts'
import { verifyBundle } from '../../src/verify/content.ts'
import { bundleOf, draftOf, newSigner, temporaryBundle } from '../support/build-bundle.ts'
import { TRUST } from './check-bundle.ts'

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** An open file with these bytes. */
async function sourceOf(bytes: Uint8Array): Promise<WholeSource> {
  const path = await temporaryBundle(bytes)
  const handle = await open(path, 'r')
  onTestFinished(() => handle.close())
  return { path, fd: handle.fd, fileSize: bytes.length }
}

const bytes = Buffer.from(Array.from({ length: 4000 }, (_, i) => (i * 31) % 251))

describe('hashing a file and its parts in one pass', () => {
  test('gives the digest of the whole and of each part, wherever the parts lie', async () => {
    const source = await sourceOf(bytes)
    const cuts = fc.uniqueArray(fc.integer({ min: 0, max: bytes.length }), { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(cuts, fc.boolean(), async (offsets, isShuffled) => {
        const sorted = offsets.toSorted((a, b) => a - b)
        // Every other piece is a part; some are empty.
        const ranges = sorted
          .map((contentOffset, i) => ({
            contentOffset,
            size: (sorted[i + 1] ?? bytes.length) - contentOffset,
          }))
          .filter((_, i) => i % 2 === 0)
        const found = new Map<number, string>()
        let told = 0
        const whole = await hashWhole(
          source,
          isShuffled ? ranges.toReversed() : ranges,
          ({ contentOffset }, digest) => found.set(contentOffset, digest),
          { onProgress: (count) => (told += count) },
        )
        expect(whole).toBe(sha256(bytes))
        expect(told).toBe(bytes.length)
        for (const { contentOffset, size } of ranges)
          expect(found.get(contentOffset)).toBe(sha256(bytes.subarray(contentOffset, contentOffset + size)))
        expect(found.size).toBe(ranges.length)
      }),
      { numRuns: 60 },
    )
  })

  test('on threads, with parts that are larger than a block and end within one', async () => {
    const large = Buffer.alloc(WORTH_THREADS + 12_345, bytes)
    const source = await sourceOf(large)
    const ranges = [
      { contentOffset: 512, size: 9_000_001 },
      { contentOffset: 9_001_000, size: 0 },
      { contentOffset: 9_001_000, size: 700 },
      { contentOffset: 10_000_000, size: large.length - 10_000_000 },
    ]
    const found: [number, string][] = []
    const whole = await hashWhole(source, ranges, ({ contentOffset, size }, digest) =>
      found.push([contentOffset + size, digest]),
    )
    expect(whole).toBe(sha256(large))
    expect(found.toSorted(([a], [b]) => a - b)).toEqual(
      ranges.map(({ contentOffset: at, size }) => [at + size, sha256(large.subarray(at, at + size))]),
    )
  })

  test('ends where the file becomes shorter, and when it is called off', async () => {
    const source = await sourceOf(bytes)
    await expect(hashWhole({ ...source, fileSize: 5000 }, [], () => {})).rejects.toMatchObject({
      code: 'FILE',
      message: expect.stringContaining('became shorter') as string,
    })
    const signal = AbortSignal.abort(new Error('called off'))
    await expect(hashWhole(source, [], () => {}, { signal })).rejects.toThrow('called off')
  })
})

describe('a verification that hashes the whole file', () => {
  const good = async (): Promise<Buffer> =>
    bundleOf(await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }]))

  test('finds the same as one that does not', async () => {
    const intact = await good()
    const altered = Buffer.from(intact)
    altered.writeUInt8(altered.readUInt8(altered.length - 1100) ^ 1, altered.length - 1100)
    for (const content of [intact, altered, intact.subarray(0, -700)]) {
      const path = await temporaryBundle(content)
      const plain = await verifyBundle(path, TRUST)
      const whole = await verifyBundle(path, TRUST, { wholeFile: true })
      for (const { reader } of [plain, whole]) await reader.close()
      expect(whole.problems).toEqual(plain.problems)
      expect(whole.problems.length).toBe(content === intact ? 0 : plain.problems.length || 1)
      expect(plain.fileDigest).toBeUndefined()
      expect(whole.fileDigest).toBe(sha256(content))
    }
  })

  test('says which file it was whose signature is not good', async () => {
    const bytesOf = await good()
    const path = await temporaryBundle(bytesOf)
    const keys = [newSigner().publicKey]
    const opened = await verifyBundle(path, { ...TRUST, keys }, { wholeFile: true })
    await opened.reader.close()
    expect(opened.authentication.state).toBe('failed')
    expect(opened.fileDigest).toBe(sha256(bytesOf))
    expect([...opened.checked]).toEqual([['signature', 1]])
  })
})

test.each([true, false])(
  '[attack: file-changed-meanwhile] a file that is written to while it is verified is not good (whole: %s)',
  async (wholeFile) => {
    const content = bundleOf(
      await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }]),
    )
    const path = await temporaryBundle(content)
    const opened = await verifyBundle(path, TRUST, {
      wholeFile,
      // The very same bytes: what they were in between nobody knows.
      onEvent: ({ type }) => {
        if (type === 'phase') writeFileSync(path, content, { flag: 'r+' })
      },
    })
    await opened.reader.close()
    expect(opened.problems).toEqual([{ entry: 'the file', message: 'it was changed while it was verified' }])
    expect(opened.checked.get('content')).toBe(1)
  },
)
