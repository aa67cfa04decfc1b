import type { Lock } from '../../src/pack/lock.ts'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  AirgapError,
  collectImages,
  formatReference,
  pack,
  parseLock,
  resolve,
  serializeLock,
  verify,
  type TransferEvent,
} from '../../src/index.ts'
import { FileWriter } from '../../src/bundle/writer.ts'
import { shortHex } from '../../src/oci/digest.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { signer, temporaryFolder } from '../support/build-bundle.ts'
import { failureOf, inFrontOf, registryForTest, seedImage } from '../push/refusing.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

/** One image that is as it should be, one that nobody may have, and one that is not there. */
async function threeImages(): Promise<{ good: string; denied: string; missing: string; images: string[] }> {
  const registry = await registryForTest()
  await seedImage(registry, 'good', { layers: 2 })
  await seedImage(registry, 'denied')
  const host = await inFrontOf(registry, (_, path) => (path.startsWith('/v2/denied/') ? 403 : undefined))
  const [good, denied, missing] = ['good', 'denied', 'missing'].map((name) => `${host}/${name}:1`) as [
    string,
    string,
    string,
  ]
  return { good, denied, missing, images: [missing, good, denied] }
}

describe('images that cannot be resolved', () => {
  test('are all tried, each is told of at once, and one error has them all', async () => {
    const { denied, missing, images } = await threeImages()
    const events: TransferEvent[] = []
    const error = await failureOf(resolve({ images, onEvent: (event) => events.push(event) }))
    expect(error).toMatchObject({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toBe('2 of 3 images could not be resolved')
    expect(error.problems.map(({ entry, code }) => [entry, code])).toEqual([
      [missing, 'NOT_FOUND'],
      [denied, 'DENIED'],
    ])
    expect(hintOf(error)).toContain(`  --exclude ${missing} \\\n  --exclude ${denied}`)
    expect(hintOf(error)).toContain('--skip-failed')
    expect(hintOf(error)).toContain('Check the spelling of name and tag')
    expect(hintOf(error)).toContain('Check that the account may do this')
    // The image stands before its cause and its hint, and is not named again.
    for (const { entry, message } of error.problems) {
      expect(message).not.toContain(entry)
      expect(message).toMatch(/^(?:the registry has no repository of this name|permission denied)/)
      expect(hintOf(error)).toContain(`${entry}: `)
    }
    const told = events.flatMap((event) => (event.type === 'failed' ? [event] : []))
    expect(told.map(({ name }) => name).toSorted()).toEqual([denied, missing].toSorted())
    expect(told.find(({ name }) => name === denied)).toMatchObject({
      code: 'DENIED',
      message: expect.stringContaining('not this one') as string,
    })
  })

  test('alone, or all of them, have their own code as ever', async () => {
    const { denied, missing } = await threeImages()
    const events: string[] = []
    const onEvent = ({ type }: TransferEvent): void => void events.push(type)
    expect(await failureOf(resolve({ images: [denied], onEvent }))).toMatchObject({
      code: 'DENIED',
      problems: [],
    })
    expect(events).not.toContain('failed')
    expect(await failureOf(resolve({ images: [denied], skipFailed: true }))).toMatchObject({ code: 'DENIED' })
    const both = await failureOf(resolve({ images: [denied, missing], skipFailed: true }))
    expect(both).toMatchObject({ code: 'REGISTRY', problems: [{ code: 'DENIED' }, { code: 'NOT_FOUND' }] })
  })

  test('are left out of lock and bundle, and recorded there, with skipFailed', async () => {
    const { good, denied, missing, images } = await threeImages()
    const folder = await temporaryFolder()
    const lock = await resolve({ images, skipFailed: true })
    const expected = [
      { source: denied, code: 'DENIED', message: expect.stringContaining('not this one') as string },
      { source: missing, code: 'NOT_FOUND', message: expect.stringContaining('404') as string },
    ]
    expect(lock.skipped).toEqual(expected)
    expect(lock.images.map(({ source }) => source)).toEqual([good])
    expect(parseLock(serializeLock(lock), 'lock')).toEqual(lock)

    const common = { key: signer, created: 0, name: 'same' }
    const straight = await pack({ images, skipFailed: true, output: join(folder, 'a.tar'), ...common })
    const locked = await pack({ lock, output: join(folder, 'b.tar'), ...common })
    expect(locked.bundleDigest).toBe(straight.bundleDigest)
    const { description } = await verify(join(folder, 'a.tar'), { keys: [signer.publicKey] })
    expect(description.skipped).toEqual(expected)
  })

  test('what is wrong with the request is not skipped', async () => {
    const { good, images } = await threeImages()
    const [host = ''] = good.split('/')
    const mirrors = [`${host}=mirror.test/${'long/'.repeat(50)}x`]
    const error = await failureOf(resolve({ images, skipFailed: true, mirrors }))
    expect(error.code).toBe('INVALID_REFERENCE')
  })

  test('the others are fetched into the unfinished file, and the bundle is not finished', async () => {
    const { good, denied, missing, images } = await threeImages()
    const folder = await temporaryFolder()
    const fetched: string[] = []
    const error = await failureOf(
      pack({
        images,
        output: join(folder, 'x.tar'),
        key: signer,
        onEvent: (event) => {
          if (event.type === 'image' && event.outcome === 'fetched') fetched.push(event.name)
        },
      }),
    )
    expect(fetched).toEqual([good])
    expect(error).toMatchObject({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toContain('x.tar is not finished: 2 of 3 images could not be resolved')
    expect(error.problems.map(({ entry, code }) => [entry, code])).toEqual([
      [missing, 'NOT_FOUND'],
      [denied, 'DENIED'],
    ])
    expect(hintOf(error)).toContain('What was fetched is kept')
    expect(hintOf(error)).toContain(`--skip-failed`)
    expect(hintOf(error)).toContain(`--exclude ${missing}`)
    expect(await readdir(folder)).not.toContain('x.tar')
  })

  test.each(['a stream', 'a plan'])('%s: nothing is written, and no layer asked for', async (kind) => {
    const { images } = await threeImages()
    const output = kind === 'a stream' ? new PassThrough() : undefined
    const events: TransferEvent[] = []
    const error = await failureOf(
      pack({ images, output, key: signer, onEvent: (event) => events.push(event) }),
    )
    expect(error).toMatchObject({ code: 'INCOMPLETE' })
    expect(hintOf(error)).toContain('Nothing was written')
    expect(output?.read() ?? null).toBeNull()
    expect(events.some((event) => event.type === 'phase' && event.phase === 'fetch')).toBe(false)
  })

  test('of a lock: nothing is written', async () => {
    const registry = await registryForTest()
    const gone = await seedImage(registry, 'gone')
    await seedImage(registry, 'good')
    const images = ['gone', 'good'].map((name) => `${registry.host}/${name}:1`)
    const lock = await resolve({ images })
    registry.store.deleteManifest('gone', gone.descriptor.digest)
    const folder = await temporaryFolder()
    const error = await failureOf(pack({ lock, output: join(folder, 'x.tar'), key: signer }))
    expect(error).toMatchObject({ code: 'INCOMPLETE', problems: [{ entry: images[0], code: 'NOT_FOUND' }] })
    expect(hintOf(error)).toContain(`--exclude ${images[0]}`)
    expect(await readdir(folder)).toEqual([])
  })
})

describe('blobs that cannot be fetched', () => {
  test('do not stop the others; one error says what is missing of which image, and how to go on', async () => {
    const registry = await registryForTest()
    const broken = await seedImage(registry, 'broken', { layers: 3 })
    await seedImage(registry, 'good', { layers: 2 })
    const missing = broken.layers.slice(1).map(({ descriptor }) => descriptor)
    for (const { digest } of missing) registry.store.deleteBlob('broken', digest)
    const images = ['broken', 'good'].map((name) => `${registry.host}/${name}:1`)
    const folder = await temporaryFolder()
    const events: TransferEvent[] = []
    const error = await failureOf(
      pack({
        images,
        output: join(folder, 'x.tar'),
        key: signer,
        concurrency: 1,
        onEvent: (event) => events.push(event),
      }),
    )
    expect(events.filter(({ type }) => type === 'failed')).toHaveLength(1)
    expect(events.filter((event) => event.type === 'item' && event.outcome === 'fetched')).toHaveLength(3)
    expect(error).toMatchObject({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toContain('2 of 5 blobs could not be fetched, which 1 of 2 images need')
    // They have failed in the same way: one problem names both.
    const parts = missing.map(({ digest, size }) => `blob ${shortHex(digest)} (${size} bytes)`)
    expect(error.problems).toEqual([
      { entry: images[0], code: 'NOT_FOUND', message: expect.stringContaining('404') as string },
    ])
    for (const part of parts) expect(error.problems[0]?.message.split(': ')[0]).toContain(part)
    expect(error.problems[0]?.message).not.toContain('cannot fetch')
    expect(hintOf(error)).toContain(`\n  --exclude ${images[0]}`)
    expect(hintOf(error)).not.toContain(`'${images[1]}'`)
    expect(hintOf(error)).not.toContain('--skip-failed')
  })

  test('are named for every image that needs them', async () => {
    const registry = await registryForTest()
    const { descriptor, layers } = await seedImage(registry, 'one')
    const { bytes } = await seedImage(registry, 'one')
    registry.store.putManifest('one', bytes, descriptor.mediaType, 'other')
    await seedImage(registry, 'good')
    registry.store.deleteBlob('one', layers[0]!.descriptor.digest)
    const images = ['one:1', 'one:other', 'good:1'].map((name) => `${registry.host}/${name}`)
    const folder = await temporaryFolder()
    const error = await failureOf(pack({ images, output: join(folder, 'x.tar'), key: signer }))
    expect(error.problems.map(({ entry }) => entry)).toEqual(images.slice(0, 2))
    expect(hintOf(error)).toContain(`--exclude ${images[0]} \\\n  --exclude ${images[1]}`)
  })

  test('where none can be had, the cause has its own code', async () => {
    const registry = await registryForTest()
    const { layers } = await seedImage(registry, 'one')
    registry.store.deleteBlob('one', layers[0]!.descriptor.digest)
    const folder = await temporaryFolder()
    const images = [`${registry.host}/one:1`]
    const error = await failureOf(pack({ images, output: join(folder, 'x.tar'), key: signer }))
    expect(error).toMatchObject({ code: 'NOT_FOUND', exitCode: 4 })
  })

  test('in a stream: the cause, and how to go on', async () => {
    const registry = await registryForTest()
    const { layers } = await seedImage(registry, 'one')
    await seedImage(registry, 'good')
    registry.store.deleteBlob('one', layers[0]!.descriptor.digest)
    const images = ['one', 'good'].map((name) => `${registry.host}/${name}:1`)
    const output = new PassThrough().resume()
    const error = await failureOf(pack({ images, output, key: signer }))
    expect(error.code).toBe('NOT_FOUND')
    expect(hintOf(error)).toContain(`--exclude ${images[0]}`)
  })

  test('a fault of the disk stops everything at once', async () => {
    const registry = await registryForTest()
    await seedImage(registry, 'one', { layers: 2 })
    await seedImage(registry, 'two')
    const full = new AirgapError('DISK_FULL', 'the disk is full')
    const write = vi.spyOn(FileWriter.prototype, 'writeContent').mockRejectedValue(full)
    onTestFinished(() => write.mockRestore())
    const folder = await temporaryFolder()
    const events: string[] = []
    const error = await failureOf(
      pack({
        images: [`${registry.host}/one:1`, `${registry.host}/two:1`],
        output: join(folder, 'x.tar'),
        key: signer,
        concurrency: 1,
        onEvent: ({ type }) => events.push(type),
      }),
    )
    expect(error).toBe(full)
    expect(events).not.toContain('failed')
    expect(write).toHaveBeenCalledTimes(1)
  })
})

test('what a hint says to exclude is excluded by it, and nothing else', async () => {
  const { good, images } = await threeImages()
  const hint = hintOf(await failureOf(resolve({ images }))) ?? ''
  const exclude = [...hint.matchAll(/--exclude (\S+)/g)].map(([, pattern = '']) => pattern)
  const noInput = (): Promise<Uint8Array> => Promise.reject(new Error('nothing is read'))
  const left = await collectImages({ images, exclude }, noInput)
  expect(left.map(({ reference }) => formatReference(reference))).toEqual([good])
})

/** What can be the matter with an image: nothing, or something when it is resolved, or a layer that is gone. */
const MATTERS = ['fine', 'missing', 'denied', 'other platform', 'hollow'] as const

test('whatever is broken: lock, description, error and exit code say the same', async () => {
  const registry = await startRegistry()
  const count = 4
  for (const matter of MATTERS) {
    for (let i = 0; i < count; i++) {
      if (matter === 'missing') continue
      const name = `${matter.replace(' ', '-')}/${i}`
      const platform = matter === 'other platform' ? 'linux/s390x' : 'linux/amd64'
      const built = await seedImage(registry, name, { platform })
      if (matter === 'hollow') registry.store.deleteBlob(name, built.layers[0]!.descriptor.digest)
    }
  }
  const host = await inFrontOf(registry, (_, path) => (path.startsWith('/v2/denied/') ? 403 : undefined))
  const folder = await temporaryFolder()
  let runs = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...MATTERS), { minLength: 2, maxLength: count }),
      async (all) => {
        const named = all.map((matter, i) => ({
          matter,
          source: `${host}/${matter.replace(' ', '-')}/${i}:1`,
        }))
        const sourcesOf = (...matters: string[]): string[] =>
          named.flatMap(({ matter, source }) => (matters.includes(matter) ? [source] : [])).toSorted()
        const unresolved = sourcesOf('missing', 'denied', 'other platform')
        const hollow = sourcesOf('hollow')
        const resolved = sourcesOf('fine', 'hollow')
        const images = named.map(({ source }) => source)
        const request = { images, platforms: ['linux/amd64'] }
        runs += 1
        const output = join(folder, `${runs}.tar`)

        if (resolved.length === 0) {
          for (const skipFailed of [true, false]) {
            const error = await failureOf(resolve({ ...request, skipFailed }))
            expect([4, 5]).toContain(error.exitCode)
            expect(error.problems.map(({ entry }) => entry).toSorted()).toEqual(unresolved)
          }
          return
        }
        const lock = await resolve({ ...request, skipFailed: true })
        expect(lock.images.map(({ source }) => source)).toEqual(resolved)
        expect(lock.skipped?.map(({ source }) => source)).toEqual(
          unresolved.length === 0 ? undefined : unresolved,
        )
        const own = { missing: 'NOT_FOUND', denied: 'DENIED', 'other platform': 'PLATFORM_MISSING' }
        for (const { source, code } of lock.skipped ?? []) {
          const { matter } = named.find((one) => one.source === source)!
          expect(code).toBe(own[matter as keyof typeof own])
        }
        expect(serializeLock(parseLock(serializeLock(lock), 'lock'))).toEqual(serializeLock(lock))
        if (unresolved.length > 0) {
          const error = await failureOf(pack({ ...request, output, key: signer }))
          expect(error.exitCode).toBe(6)
          const entries = error.problems.map(({ entry }) => entry)
          expect(entries.toSorted()).toEqual([...unresolved, ...hollow].toSorted())
        }
        if (hollow.length === 0) {
          const packed = await pack({ ...request, skipFailed: true, output, key: signer })
          expect(packed.description.images).toEqual(lock.images)
          const { description } = await verify(output, { keys: [signer.publicKey] })
          const names = (all: Lock['skipped'] = []) => all.map(({ source, code }) => ({ source, code }))
          expect(names(description.skipped)).toEqual(names(lock.skipped))
        } else {
          const error = await failureOf(pack({ ...request, skipFailed: true, output, key: signer }))
          // Configs have been read with the manifests: where all layers are gone, nothing at all could be fetched.
          expect(error.exitCode).toBe(hollow.length < resolved.length ? 6 : 4)
          const entries = error.problems.map(({ entry }) => entry)
          if (resolved.length > 1) expect(entries.toSorted()).toEqual(hollow)
        }
      },
    ),
    { numRuns: 12 },
  )
  await registry.close()
})
