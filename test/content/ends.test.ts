import { getEventListeners } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { buildImage, seedRegistry } from '../../fixtures/images/index.ts'
import {
  AirgapError,
  pack,
  parsePlatform,
  push,
  serve,
  verify,
  type PushOptions,
  type Receipt,
  type TransferEvent,
} from '../../src/index.ts'
import { blobName } from '../../src/bundle/names.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { OutputFile } from '../../src/files/output-file.ts'
import { hashRanges } from '../../src/hashing/range-threads.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { openBundle } from '../../src/verify/open.ts'
import { ReusableBlobs } from '../../src/pack/reuse.ts'
import { archiveOf, entry, signEntries, signer, temporaryFolder } from '../support/build-bundle.ts'
import { bundled, expectEnd, REASON, seed } from '../index/bundled.ts'
import { outcomeOf } from './engines.ts'
import { watch } from '../pack/resume/leftovers.ts'

test('a push that is called off between tags gives the receipt of what it has set', async () => {
  const source = await startRegistry()
  onTestFinished(() => source.close())
  const image = await seed(source, 1000)
  seedRegistry(
    source.store,
    'other:1',
    await buildImage({ platform: parsePlatform('linux/amd64'), files: { a: 'other' } }),
  )
  const folder = await temporaryFolder()
  const bundle = join(folder, 'two.tar')
  await pack({ images: [image, `${source.host}/other:1`], output: bundle, key: signer })
  const target = await startRegistry()
  onTestFinished(() => target.close())
  const controller = new AbortController()
  const receipts: Receipt[] = []
  const options: PushOptions = {
    keys: [signer.publicKey],
    concurrency: 1,
    signal: controller.signal,
    onEvent: (event: TransferEvent) => {
      if (event.type === 'item' && event.outcome === 'tagged') controller.abort(REASON)
    },
  }
  const failure = await outcomeOf(
    push(bundle, target.host, { ...options, onIncomplete: (receipt) => void receipts.push(receipt) }),
  )
  expect(failure).toEqual({ reason: REASON })
  expect(receipts).toHaveLength(1)
  expect(receipts[0]).toMatchObject({ complete: false })
  expect(receipts[0]?.images.map(({ tag }) => tag.state).toSorted()).toEqual(['created', 'not-set'])
})

test('what onOpened throws is what the push is rejected with, before the target is asked anything', async () => {
  const { folder, bundle } = await bundled(1000)
  const target = await startRegistry()
  onTestFinished(() => target.close())
  const left = watch(folder)
  const refusal = new Error('not on a Friday')
  await expect(
    push(bundle, target.host, {
      keys: [signer.publicKey],
      onOpened: () => {
        throw refusal
      },
    }),
  ).rejects.toBe(refusal)
  expect(target.requests).toEqual([])
  await left.expectNothingLeft()
})

test('a server ends with its signal, lets a transfer finish, and is cut off by a second stop', async () => {
  const { folder, bundle } = await bundled(8 * 1024 * 1024)
  const { description } = await verify(bundle, { keys: [signer.publicKey] })
  const left = watch(folder)
  const controller = new AbortController()
  const served = await serve([bundle], {
    keys: [signer.publicKey],
    listen: { host: '127.0.0.1', port: 0 },
    signal: controller.signal,
  })
  const name = served.images[0]?.repository
  const answer = await fetch(`${served.url}/v2/${name}/manifests/${description.images[0]?.digest}`)
  const { layers } = (await answer.json()) as { layers: { digest: string }[] }
  const blob = `${served.url}/v2/${name}/blobs/${layers[0]?.digest}`
  const slow = await fetch(blob)
  controller.abort()
  await expect(fetch(`${served.url}/v2/`)).rejects.toThrow()
  // Nobody reads it: the transfer is still under way.
  expect(served.active()).toBe(1)
  await Promise.all([served.stop(0), served.stop()])
  await expect(slow.arrayBuffer()).rejects.toThrow()
  await left.expectNothingLeft()
})

test('a signal that outlives many runs is left without listeners', async () => {
  const { bundle } = await bundled(1000)
  const { signal } = new AbortController()
  const add = vi.spyOn(signal, 'addEventListener')
  const remove = vi.spyOn(signal, 'removeEventListener')
  const trust = { keys: [signer.publicKey], signal }
  await verify(bundle, trust)
  const served = await serve([bundle], { ...trust, listen: { host: '127.0.0.1', port: 0 } })
  await served.stop()
  expect(add.mock.calls.length).toBeGreaterThan(0)
  for (const [type, listener] of add.mock.calls) expect(remove).toHaveBeenCalledWith(type, listener)
})

test('the walk over a large archive is not waited for', async () => {
  const folder = await temporaryFolder()
  const many = Array.from({ length: 4000 }, (_, i) => Buffer.from(`blob ${i}`))
  const entries = many.map((bytes) => entry(blobName(digestOf(bytes)), bytes))
  const path = join(folder, 'many.tar')
  await writeFile(path, archiveOf(signEntries(entries)))
  // It takes thousands of reads, of which the first are not over by then.
  const soon = (): Promise<void> => new Promise((done) => setImmediate(done))
  const trust = { keys: [signer.publicKey] }
  const run: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
    open: (signal) => openBundle(path, { ...trust, unauthenticated: false, now: Date.now() }, signal),
    reuse: (signal) => ReusableBlobs.open([path], signal),
  }
  for (const work of Object.values(run)) await expectEnd(folder, soon(), work)
})

test('a small bundle that is called off at the very last event is not verified', async () => {
  const { folder, bundle } = await bundled(1000)
  const keys = [signer.publicKey]
  let count = 0
  await verify(bundle, { keys, onEvent: () => (count += 1) })
  const controller = new AbortController()
  const left = watch(folder)
  const onEvent = (): void => {
    if (--count === 0) controller.abort(REASON)
  }
  const outcome = await outcomeOf(verify(bundle, { keys, onEvent, signal: controller.signal }))
  expect(outcome).toEqual({ reason: REASON })
  await left.expectNothingLeft()
})

test('a file that is called off while it is synced gets no name', async () => {
  const folder = await temporaryFolder()
  const left = watch(folder)
  const output = await OutputFile.reserve(join(folder, 'out.bin'))
  await output.write(Buffer.from('all of it'), 0)
  const controller = new AbortController()
  const reason = new AirgapError('INTERRUPTED', 'enough')
  const committed = output.commit(controller.signal)
  controller.abort(reason)
  await expect(committed).rejects.toBe(reason)
  await left.expectNothingLeft()
})

test('hashing in threads leaves no listener on a signal', async () => {
  const { bundle } = await bundled(1000)
  const reader = await BundleReader.open(bundle)
  const { signal } = new AbortController()
  const { entries } = await reader.scan(100)
  const digests: string[] = []
  await hashRanges(reader, entries, (_, digest) => digests.push(digest), { signal, threads: 2 })
  await reader.close()
  expect(digests).toHaveLength(entries.length)
  expect(getEventListeners(signal, 'abort')).toEqual([])
})
