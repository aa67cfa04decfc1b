import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { blobName } from '../../src/bundle/names.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { findBlobs } from '../../src/bundle/salvage.ts'
import { encodeHeader, END_SIZE, paddingLength } from '../../src/bundle/tar.ts'
import { digestOf } from '../../src/oci/digest.ts'

const folder = await mkdtemp(join(tmpdir(), 'airgap-salvage-'))
const path = join(folder, 'bundle.tar')
afterAll(() => rm(folder, { recursive: true }))

function entry(name: string, content: Uint8Array): Buffer {
  return Buffer.concat([
    encodeHeader(name, content.length),
    content,
    Buffer.alloc(paddingLength(content.length)),
  ])
}

async function blobsIn(bytes: Uint8Array): Promise<{ name: string; size: number; content: Buffer }[]> {
  await writeFile(path, bytes)
  await using reader = await BundleReader.open(path)
  const found = await findBlobs(reader)
  return Promise.all(
    found.map(async (each) => ({ name: each.name, size: each.size, content: await reader.read(each, 1e6) })),
  )
}

const contents = fc.uniqueArray(fc.uint8Array({ maxLength: 3000 }), {
  minLength: 1,
  maxLength: 6,
  selector: (bytes) => digestOf(bytes),
})

test('the blobs of a whole bundle and of one with a hole for its signature are found', async () => {
  await fc.assert(
    fc.asyncProperty(contents, fc.nat({ max: 40 }), fc.boolean(), async (blobs, blocks, isCut) => {
      const whole = Buffer.concat([
        entry('SHA256SUMS', Buffer.from('whatever')),
        Buffer.alloc(blocks * 512),
        entry('airgap.json', Buffer.from('{}')),
        ...blobs.map((bytes) => entry(blobName(digestOf(bytes)), bytes)),
        Buffer.alloc(isCut ? 0 : END_SIZE),
      ])
      const found = await blobsIn(whole)
      expect(found.map(({ name }) => name)).toEqual(blobs.map((bytes) => blobName(digestOf(bytes))))
      for (const [i, { content }] of found.entries()) expect(content.equals(blobs[i]!)).toBe(true)
    }),
    { numRuns: 60 },
  )
})

test('a file cut off or altered anywhere gives no entry beyond its end, and no fault', async () => {
  await fc.assert(
    fc.asyncProperty(contents, fc.nat(), fc.nat(), fc.nat(255), async (blobs, cut, at, value) => {
      const sums = entry('SHA256SUMS', Buffer.from('whatever'))
      const rest = Buffer.concat(blobs.map((bytes) => entry(blobName(digestOf(bytes)), bytes)))
      rest[at % rest.length] = value
      const kept = rest.subarray(0, cut % (rest.length + 1))
      await writeFile(path, Buffer.concat([sums, kept]))
      await using reader = await BundleReader.open(path)
      for (const { contentOffset, size } of await findBlobs(reader)) {
        expect(contentOffset + size).toBeLessThanOrEqual(sums.length + kept.length)
      }
    }),
    { numRuns: 200 },
  )
})

test('another file is told', async () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.alloc(4096),
    entry('airgap.json', Buffer.from('{}')),
  ]) {
    await expect(blobsIn(bytes)).rejects.toMatchObject({ code: 'INVALID_CONTENT' })
  }
})

test('a hole that is larger than any signature ends it', async () => {
  const blob = Buffer.from('content')
  const bytes = Buffer.concat([
    entry('SHA256SUMS', Buffer.from('whatever')),
    Buffer.alloc(2 * 1024 * 1024),
    entry(blobName(digestOf(blob)), blob),
  ])
  expect(await blobsIn(bytes)).toEqual([])
})
