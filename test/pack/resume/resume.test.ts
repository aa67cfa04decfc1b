import { link, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { pack, resolve, verify, type TransferEvent } from '../../../src/index.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'
import type { AirgapError } from '../../../src/errors.ts'
import { blobName } from '../../../src/bundle/names.ts'
import { BundleReader } from '../../../src/bundle/reader.ts'
import { lockOutput } from '../../../src/files/file-lock.ts'
import { decodeLines, encodeLine } from '../../../src/pack/resume/format.ts'
import { newSigner, signer } from '../../support/build-bundle.ts'
import { flip, LARGE, openShop, overwrite, putBack, type Shop } from './resuming.ts'

const CREATED = Date.parse('2026-01-01T00:00:00Z')

/** The journal's lines, as values. */
async function linesOf(shop: Shop): Promise<Record<string, any>[]> {
  const bytes = await readFile(shop.journal)
  return [...decodeLines(bytes)].map(({ json }) => JSON.parse(json.toString()) as Record<string, any>)
}

async function rewrite(
  shop: Shop,
  change: (lines: Record<string, any>[]) => Record<string, any>[],
): Promise<void> {
  await overwrite(shop.journal, Buffer.concat(change(await linesOf(shop)).map((line) => encodeLine(line))))
}

describe('a pack that was interrupted', () => {
  test('goes on: no manifest is asked for again, no byte of a blob twice, and the bundle is the same', async () => {
    const shop = await openShop()
    const whole = await shop.whole({ created: CREATED })
    // One after the other: of two at a time, the second may have been asked for and not have begun.
    const left = await shop.breakOff(4_000_000, { created: CREATED, concurrency: 1 })
    expect(left).toMatchObject({ file: shop.partial, total: expect.any(Number) as number })
    expect(left!.bytes).toBeGreaterThanOrEqual(4_000_000)
    expect(left!.bytes).toBeLessThan(left!.total)
    expect((await stat(shop.journal)).mode & 0o777).toBe(0o600)
    const first = shop.asked()

    const events: TransferEvent[] = []
    const packed = await shop.pack({ created: CREATED, onEvent: (event) => events.push(event) })
    const second = shop.asked()
    expect(second.manifests).toEqual([])
    // Configs and whole blobs are there; what had begun is asked for from where it was.
    const begun = second.blobs.filter((line) =>
      first.blobs.some((one) => one.startsWith(line.split(' ')[0]!)),
    )
    expect(begun.every((line) => / bytes=[1-9]\d+-$/.test(line))).toBe(true)
    expect(packed.fetched.bytes + packed.resumed.bytes).toBe(
      (await shop.pack({ output: undefined })).fetched.bytes,
    )
    // Manifests and configs were known beforehand.
    const known = left!.bytes - packed.resumed.bytes
    expect(known).toBeGreaterThan(1000)
    expect(known).toBeLessThan(10_000)
    expect(events[0]).toMatchObject({
      type: 'resume',
      file: shop.partial,
      bytes: left!.bytes,
      total: left!.total,
    })
    expect(events.filter(({ type }) => type === 'phase')).toMatchObject([
      { phase: 'resume', bytes: packed.resumed.bytes },
      { phase: 'fetch', bytes: left!.total - left!.bytes },
    ])
    const fetched = events
      .slice(events.findIndex((event) => event.type === 'phase' && event.phase === 'fetch'))
      .reduce((sum, event) => sum + (event.type === 'progress' ? event.bytes : 0), 0)
    expect(fetched).toBe(left!.total - left!.bytes)
    expect((await readFile(shop.output)).equals(whole)).toBe(true)
    expect((await readdir(shop.folder)).filter((name) => name.startsWith('out'))).toEqual(['out.tar'])
  })

  test('goes on from wherever it was killed', async () => {
    const shop = await openShop()
    const whole = await shop.whole({ created: CREATED })
    await shop.breakOff(6_000_000, { created: CREATED })
    const before = { partial: await readFile(shop.partial), journal: await readFile(shop.journal) }
    const ends = [...decodeLines(before.journal)].map(({ end }) => end)
    expect(ends.length).toBeGreaterThan(10)
    // After each ninth record, and in the middle of one.
    for (const end of ends.filter((_, i) => i % 9 === 0).flatMap((at) => [at, at + 20])) {
      if (end > before.journal.length) continue
      await overwrite(shop.journal, before.journal.subarray(0, end))
      shop.asked()
      const { resumed } = await shop.pack({ created: CREATED })
      expect(resumed.bytes).toBeLessThanOrEqual(6_000_000 + LARGE)
      expect(shop.asked().manifests).toEqual([])
      expect((await readFile(shop.output)).equals(whole)).toBe(true)
      await putBack(shop, before)
    }
  })

  test('keeps its time, its sequence and its signature, even if it is interrupted again', async () => {
    const shop = await openShop()
    const options = { key: signer, concurrency: 1 }
    vi.useFakeTimers({ toFake: ['Date'], now: CREATED })
    onTestFinished(() => void vi.useRealTimers())
    await shop.breakOff(1_500_000, options)
    vi.setSystemTime(CREATED + 3_600_000)
    const [header] = await linesOf(shop)
    await shop.breakOff(1_500_000, options)
    const packed = await shop.pack(options)
    expect(packed).toMatchObject({ bundleDigest: header!.bundleDigest as string, isSigned: true })
    expect(packed.description).toMatchObject(header!.description as object)
    expect(packed.description).toMatchObject({ created: '2026-01-01T00:00:00Z', sequence: CREATED / 1000 })
    await verify(shop.output, { keys: [signer.publicKey] })
    await using reader = await BundleReader.open(shop.output)
    const { sigstore } = await reader.readHead()
    expect(sigstore?.toString('base64')).toBe(header!.signature.sigstore)
  })

  test('takes what the disk has kept of it for no more than it is', async () => {
    const shop = await openShop()
    const whole = await shop.whole({ created: CREATED })
    await shop.breakOff(6_000_000, { created: CREATED, concurrency: 1 })
    // One blob that is complete, and one that has begun.
    await using reader = await BundleReader.open(shop.partial)
    const lines = await linesOf(shop)
    const last = lines.findLast(({ written }) => written > 0)!
    const complete = lines.find(({ finished }) => finished > LARGE)!
    for (const { blob } of [last, complete]) {
      const { contentOffset } = await placeOf(reader, blob)
      await flip(shop.partial, contentOffset + 1000)
    }
    // And what no blob is: padding, a header.
    await flip(shop.partial, 100)
    await flip(shop.partial, whole.length - 5)
    shop.asked()
    const warnings: string[] = []
    await shop.pack({
      created: CREATED,
      onEvent: (event) => void (event.type === 'warning' && warnings.push(event.message)),
    })
    expect((await readFile(shop.output)).equals(whole)).toBe(true)
    expect(shop.asked().blobs.filter((line) => line.includes(complete.blob as string))).toHaveLength(1)
    expect(warnings).toEqual([
      expect.stringContaining(`${shop.partial} is damaged: 1 blob (${complete.finished} bytes)`),
    ])
  })

  test('believes only what was synced when the machine was started anew, and reads nothing behind damage', async () => {
    const shop = await openShop()
    const whole = await shop.whole({ created: CREATED })
    await shop.breakOff(6_000_000, { created: CREATED })
    const all = await linesOf(shop)
    const isSync = ({ synced }: Record<string, any>): boolean => synced !== undefined
    // The last sync, when the run was called off, is of everything: without it there is little.
    const without = all.slice(0, all.findLastIndex(isSync))
    const onOtherBoot = (lines: Record<string, any>[]) =>
      lines.map((line) => (line.run === undefined ? line : { run: 'another start' }))
    const before = { partial: await readFile(shop.partial), journal: await readFile(shop.journal) }

    await rewrite(shop, () => onOtherBoot(all))
    expect((await shop.pack({ created: CREATED })).resumed.bytes).toBeGreaterThan(5_500_000)
    await putBack(shop, before)

    await rewrite(shop, () => onOtherBoot(without))
    const little = await shop.pack({ created: CREATED })
    expect(little.resumed.bytes).toBeLessThan(2_000_000)
    expect((await readFile(shop.output)).equals(whole)).toBe(true)
    await putBack(shop, before)

    // Pages reach a disk in any order.
    await rewrite(shop, () => onOtherBoot(all))
    const { size } = await stat(shop.journal)
    await flip(shop.journal, size - 100)
    await shop.pack({ created: CREATED })
    expect((await readFile(shop.output)).equals(whole)).toBe(true)
  })

  test('leaves nothing when it has fetched nothing', async () => {
    const shop = await openShop()
    for (const image of ['one', 'two', 'three']) {
      const { layers } = JSON.parse(
        Buffer.from(shop.source.store.manifest(image, '1')!.bytes).toString(),
      ) as { layers: { digest: `sha256:${string}` }[] }
      for (const { digest } of layers) shop.source.store.deleteBlob(image, digest)
    }
    const told: unknown[] = []
    await expect(shop.pack({ onIncomplete: (left) => void told.push(left) })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    expect(await readdir(shop.folder)).toEqual([])
    expect(told).toEqual([])
  })

  test('keeps what it has when a registry fails for good, and goes on when it is back', async () => {
    const shop = await openShop()
    const { layers } = JSON.parse(Buffer.from(shop.source.store.manifest('two', '1')!.bytes).toString()) as {
      layers: { digest: `sha256:${string}`; size: number }[]
    }
    // Largest first: all others have come by then.
    const { digest } = layers.find(({ size }) => size < LARGE)!
    const bytes = await blobBytes(shop, 'two', digest)
    shop.source.store.deleteBlob('two', digest)
    let left: unknown
    const failing = shop.pack({ onIncomplete: (unfinished) => void (left = unfinished), concurrency: 1 })
    await expect(failing).rejects.toMatchObject({ code: 'INCOMPLETE', problems: [{ code: 'NOT_FOUND' }] })
    expect(left).toMatchObject({ file: shop.partial })
    shop.source.store.putBlob('two', bytes)
    const { resumed } = await shop.pack()
    expect(resumed.count).toBeGreaterThan(2)
    await verify(shop.output, { unauthenticated: true })
  })

  test('can replace a file, and still does not without being told to', async () => {
    const shop = await openShop()
    await writeFile(shop.output, 'old')
    await shop.breakOff(3_000_000, { force: true })
    expect(await readFile(shop.output, 'utf8')).toBe('old')
    await expect(shop.pack()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect((await shop.pack({ force: true })).resumed.bytes).toBeGreaterThan(2_500_000)
    await verify(shop.output, { unauthenticated: true })
  })
})

describe('other inputs', () => {
  test('are told one by one, and nothing is lost', async () => {
    const shop = await openShop()
    await shop.breakOff(3_000_000, { key: signer })
    const before = await readFile(shop.journal)
    const other = newSigner()
    const attempt = shop.pack({
      key: other,
      platforms: ['linux/amd64'],
      name: 'else',
      images: [shop.images[0]!, `${shop.source.host}/four:1`],
      sequence: 7,
    })
    const error = await attempt.then(
      () => undefined,
      (reason: unknown) => reason as AirgapError,
    )
    expect(error).toMatchObject({ code: 'OUTPUT_UNFINISHED' })
    expect(error!.problems).toEqual([
      {
        entry: 'images',
        message: `added ${shop.source.host}/four:1; no longer ${shop.source.host}/three:1, ${shop.source.host}/two:1`,
      },
      { entry: 'platforms', message: 'all → linux/amd64' },
      { entry: 'name', message: 'out → else' },
      { entry: 'sequence', message: 'not given → 7' },
      {
        entry: 'signing key',
        message: `${signer.publicKey.fingerprint} → ${other.publicKey.fingerprint}`,
      },
    ])
    expect(hintOf(error!)).toMatch(/The earlier command resumes it.*--reuse .*out\.tar\.partial.*--fresh/)
    expect((await readFile(shop.journal)).equals(before)).toBe(true)
    expect((await shop.pack({ key: signer })).resumed.bytes).toBeGreaterThan(2_500_000)
  })

  test('take what fits by --reuse of the unfinished file, also if that run is interrupted, too', async () => {
    const shop = await openShop()
    await shop.breakOff(6_000_000, { concurrency: 1 })
    const other = { name: 'else', concurrency: 1 }
    await shop.breakOff(100_000, { ...other, reuse: [shop.partial] })
    expect((await readdir(shop.folder)).toSorted()).toEqual([
      'out.tar.earlier.partial',
      'out.tar.earlier.partial.journal',
      'out.tar.partial',
      'out.tar.partial.journal',
    ])
    shop.asked()
    const packed = await shop.pack(other)
    expect(packed.description.name).toBe('else')
    // Two blobs whole, one begun, and all of it came over.
    expect(packed.resumed.bytes).toBeGreaterThan(5_700_000)
    expect(shop.asked().manifests).toEqual([])
    await verify(shop.output, { unauthenticated: true })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('an earlier file is of use even when the run that set it aside has got nowhere', async () => {
    const shop = await openShop()
    await shop.breakOff(6_000_000, { concurrency: 1 })
    await rename(shop.partial, join(shop.folder, 'out.tar.earlier.partial'))
    // Killed between the two renames: the journal is found by the file that it is about.
    const { reused, resumed } = await shop.pack({ name: 'else' })
    expect(reused.count).toBeGreaterThanOrEqual(2)
    expect(reused.bytes + resumed.bytes).toBeGreaterThan(5_700_000)
    await verify(shop.output, { unauthenticated: true })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('--fresh starts over from nothing', async () => {
    const shop = await openShop()
    await shop.breakOff(6_000_000)
    await expect(shop.pack({ fresh: true, reuse: [shop.partial] })).rejects.toMatchObject({ code: 'USAGE' })
    const packed = await shop.pack({ name: 'else', fresh: true })
    expect(packed).toMatchObject({ resumed: { count: 0, bytes: 0 }, reused: { count: 0 } })
    await verify(shop.output, { unauthenticated: true })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('another release of airgap starts nothing that it did not plan', async () => {
    const shop = await openShop()
    await shop.breakOff(3_000_000)
    await rewrite(shop, ([header, ...rest]) => [
      { ...header, tool: { name: 'airgap', version: '0.0.1' } },
      ...rest,
    ])
    await expect(shop.pack()).rejects.toMatchObject({
      code: 'OUTPUT_UNFINISHED',
      problems: [{ entry: 'airgap', message: expect.stringMatching(/^0\.0\.1 → /) as string }],
    })
  })
})

describe('fewer images', () => {
  test('go on by themselves, with the same time and what is there of them', async () => {
    const shop = await openShop()
    await shop.breakOff(7_000_000, { key: signer })
    const [header] = await linesOf(shop)
    shop.asked()
    const packed = await shop.pack({ key: signer, images: shop.images.slice(0, 2) })
    expect(shop.asked().manifests).toEqual([])
    expect(packed.description.images.map(({ source }) => source)).toEqual(shop.images.slice(0, 2))
    expect(packed.description).toMatchObject({
      created: header!.description.created as string,
      sequence: header!.description.sequence as number,
    })
    expect(packed.reused.bytes + packed.resumed.bytes).toBeGreaterThan(LARGE)
    await verify(shop.output, { keys: [signer.publicKey] })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('of a lock, too, as long as they are pinned alike', async () => {
    const shop = await openShop()
    const lock = await resolve({ images: shop.images })
    const locked = { images: undefined, lock } as const
    const run = (more: object): Promise<unknown> => {
      const { images: _, ...rest } = shop.options
      return pack({ ...rest, ...more })
    }
    const controller = new AbortController()
    const onEvent = (event: TransferEvent): void => {
      if (event.type === 'progress') controller.abort(new Error('enough'))
    }
    await expect(run({ lock, signal: controller.signal, onEvent })).rejects.toThrow('enough')
    expect(await readdir(shop.folder)).toHaveLength(2)
    const [first, ...rest] = lock.images
    await expect(
      run({ ...locked, lock: { ...lock, images: [{ ...first!, from: 'list' }] } }),
    ).rejects.toMatchObject({ code: 'OUTPUT_UNFINISHED', problems: [{ entry: 'images' }, { entry: 'lock' }] })
    await run({ lock: { ...lock, images: rest } })
    await verify(shop.output, { unauthenticated: true })
  })

  test('an image that could not be resolved then is resolved now, and no other', async () => {
    const shop = await openShop()
    await shop.breakOff(6_000_000)
    // As a run leaves it that went on without an image.
    await rewrite(shop, ([header, ...records]) => {
      const images = header!.lock.images.filter(({ source }: { source: string }) => source !== shop.images[2])
      return [{ ...header, lock: { ...header!.lock, images } }, ...records]
    })
    shop.asked()
    const packed = await shop.pack()
    const { manifests } = shop.asked()
    expect(manifests.length).toBeGreaterThan(0)
    expect(manifests.every((path) => path.includes('/three/'))).toBe(true)
    expect(packed.description.images).toHaveLength(3)
    await verify(shop.output, { unauthenticated: true })
  })
})

describe('what is in the way', () => {
  test('a second run into the same file is refused while the first is at work, and not afterwards', async () => {
    const shop = await openShop()
    const lock = await lockOutput(shop.output)
    await expect(shop.pack()).rejects.toMatchObject({
      code: 'OUTPUT_BUSY',
      message: `another run is writing ${shop.output} right now`,
    })
    expect(await readdir(shop.folder)).toEqual([])
    await lock.release()
    await shop.pack()
  })

  test('a run that was killed between giving the name and tidying up has finished', async () => {
    const shop = await openShop()
    await shop.breakOff(3_000_000)
    const journal = await readFile(shop.journal)
    await shop.pack()
    await writeFile(shop.journal, journal, { mode: 0o600 })
    await expect(shop.pack()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])

    await link(shop.output, shop.partial)
    await writeFile(shop.journal, journal, { mode: 0o600 })
    await expect(shop.pack()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])

    // The same, and the bundle has been carried away since.
    const lines = [
      ...[...decodeLines(journal)].map(({ json }) => JSON.parse(json.toString()) as object),
      { complete: true },
    ]
    await rm(shop.output)
    await writeFile(shop.journal, Buffer.concat(lines.map((line) => encodeLine(line))), { mode: 0o600 })
    await shop.pack()
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('a run that was killed before its first header is begun anew', async () => {
    const shop = await openShop()
    await writeFile(shop.partial, '')
    await shop.pack()
    await rm(shop.output)
    await writeFile(shop.partial, '')
    await writeFile(shop.journal, '0123456789abcdef {"type":"dev', { mode: 0o600 })
    await shop.pack()
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })
})

async function placeOf(reader: BundleReader, digest: string): Promise<{ contentOffset: number }> {
  const { entries } = await reader.scan(100)
  const found = entries.find(({ name }) => name === blobName(digest as `sha256:${string}`))
  if (!found) throw new Error(`no ${digest}`)
  return found
}

async function blobBytes(shop: Shop, repository: string, digest: `sha256:${string}`): Promise<Buffer> {
  const blob = shop.source.store.blob(repository, digest)!
  const chunks: Uint8Array[] = []
  for await (const chunk of blob.read(0, blob.size)) chunks.push(chunk)
  return Buffer.concat(chunks)
}
