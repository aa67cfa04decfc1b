import { execFileSync } from 'node:child_process'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { buildkitIndex } from '../../fixtures/images/index.ts'
import { planBundle, checksumsOf, entryHeader, type PlannedBlob } from '../../src/bundle/plan.ts'
import { blobName } from '../../src/bundle/names.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { decodeHeader, END_SIZE } from '../../src/bundle/tar.ts'
import { FileWriter, StreamWriter } from '../../src/bundle/writer.ts'
import { OutputFile } from '../../src/files/output-file.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { archiveOf, draftOf, entriesOf, temporaryFolder } from '../support/build-bundle.ts'

const GIB = 1024 ** 3

function tarVersion(): string {
  try {
    return execFileSync('tar', ['--version'], { encoding: 'utf8' })
  } catch {
    return ''
  }
}
const hasGnuTar = tarVersion().includes('GNU tar')

describe.runIf(hasGnuTar)('GNU tar', () => {
  test('makes the same archive from the same files', async () => {
    const draft = await draftOf([{ source: 'example.test/app:1.0', built: await buildkitIndex() }])
    const entries = entriesOf(draft)
    const bytes = archiveOf(entries)
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'bundle.tar'), bytes)
    const files = join(folder, 'files')
    await mkdir(files)
    execFileSync('tar', ['-xf', join(folder, 'bundle.tar'), '-C', files])
    const names = execFileSync('tar', ['-tf', join(folder, 'bundle.tar')], { encoding: 'utf8' })
      .trimEnd()
      .split('\n')
    expect(names).toEqual(entries.map(({ name }) => name))
    const again = execFileSync(
      'tar',
      [
        '--format=ustar',
        '--owner=0',
        '--group=0',
        '--numeric-owner',
        '--mode=0644',
        '--mtime=@0',
        '-b1',
        '-cf',
        '-',
        '-C',
        files,
        ...names,
      ],
      { maxBuffer: 64 * 1024 ** 2 },
    )
    expect(again.equals(bytes)).toBe(true)
  })

  test('lists entries of 8 GiB and more as the reader does', async () => {
    const { path, sizes } = await sparseBundle()
    const listing = execFileSync('tar', ['-tvf', path, '--numeric-owner'], {
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC' },
    })
    const seen = listing
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s+/))
    for (const [name, size] of sizes) {
      expect(seen).toContainEqual(['-rw-r--r--', '0/0', String(size), '1970-01-01', '00:00', name])
    }
  })
})

/** A bundle with entries just below, at and above 8 GiB, of holes: some 20 GiB that take a few kB. */
async function sparseBundle(): Promise<{ path: string; sizes: Map<string, number> }> {
  const sizes = new Map(
    [8 * GIB - 1, 8 * GIB, 8 * GIB + 513, 5].map((size, i) => [blobName(fakeDigest(i)), size]),
  )
  const blobs: PlannedBlob[] = [...sizes.values()].map((size, i) => ({
    digest: fakeDigest(i),
    size,
    first: false,
  }))
  const files = [{ name: 'airgap.json', bytes: Buffer.from('{}') }]
  const plan = planBundle(files, blobs, checksumsOf(files, blobs))
  const path = join(await temporaryFolder(), 'large.tar')
  const handle = await open(path, 'w')
  await handle.truncate(plan.totalSize)
  for (const entry of plan.entries) {
    await handle.write(entryHeader(entry), 0, undefined, entry.headerOffset)
    const bytes = await entry.read?.()
    if (bytes) await handle.write(bytes, 0, undefined, entry.contentOffset)
  }
  await handle.close()
  return { path, sizes }
}

function fakeDigest(i: number): Digest {
  return digestOf(`blob ${i}`)
}

test('the reader finds every entry of a large bundle by its headers alone', async () => {
  const { path, sizes } = await sparseBundle()
  await using reader = await BundleReader.open(path)
  expect(reader.fileSize).toBeGreaterThan(24 * GIB)
  const { entries, problems } = await reader.scan(10)
  expect(problems).toEqual([])
  expect(entries.slice(2).map(({ name }) => name)).toEqual([...sizes.keys()].toSorted())
  for (const entry of entries.slice(2)) expect(entry.size).toBe(sizes.get(entry.name))
  const large = entries.find(({ size }) => size === 8 * GIB + 513)
  if (!large) throw new Error('no large entry')
  await expect(reader.read(large, 1024)).rejects.toMatchObject({ code: 'INVALID_CONTENT' })
})

test('a plan written out of order to a file and in order to a pipe gives the same bytes', async () => {
  const draft = await draftOf([{ source: 'example.test/app:1.0', built: await buildkitIndex() }])
  const entries = entriesOf(draft)
  const expected = archiveOf(entries)
  const contents = new Map(entries.map(({ name, content }) => [name, content]))
  const of = (name: string): Buffer => Buffer.from(contents.get(name) ?? '')
  const files = entries
    .slice(3)
    .flatMap(({ name, content }) => (name.startsWith('blobs/') ? [] : [{ name, bytes: content }]))
  const blobs = [...draft.blobs].map(([digest, { bytes, first }]) => ({ digest, first, size: bytes.length }))
  const signature = { sigstore: of('SHA256SUMS.sigstore.json'), raw: of('SHA256SUMS.sig') }
  const plan = planBundle(files, blobs, of('SHA256SUMS'), signature)
  expect(plan.totalSize).toBe(expected.length)
  expect(plan.bundleDigest).toBe(digestOf(of('SHA256SUMS')))
  expect(checksumsOf(files, blobs)).toEqual(of('SHA256SUMS'))

  const path = join(await temporaryFolder(), 'bundle.tar')
  const output = await OutputFile.reserve(path)
  const writer = new FileWriter(output, plan)
  await writer.begin()
  for (const entry of plan.entries.toReversed()) {
    if (entry.read || entry.isSignature) continue
    const content = of(entry.name)
    const middle = Math.floor(content.length / 2)
    await writer.writeContent(entry, content.subarray(middle), middle)
    await writer.writeContent(entry, content.subarray(0, middle), 0)
    await expect(writer.writeContent(entry, Buffer.from('xx'), entry.size - 1)).rejects.toMatchObject({
      code: 'INTERNAL',
    })
  }
  const unfinished = await readFile(`${path}.partial`)
  const at = plan.entries[1]?.headerOffset ?? 0
  expect(decodeHeader(unfinished.subarray(at))).toBeUndefined()
  await writer.finish()
  expect((await readFile(path)).equals(expected)).toBe(true)

  const stream = new PassThrough({ highWaterMark: 10 })
  const received = buffer(stream)
  const pipe = new StreamWriter(stream)
  for (const entry of plan.entries) {
    await pipe.begin(entry)
    await pipe.write(of(entry.name))
    await pipe.end(entry)
  }
  await pipe.finish()
  stream.end()
  expect((await received).equals(expected)).toBe(true)
  expect(expected.subarray(-END_SIZE).every((byte) => byte === 0)).toBe(true)
})
