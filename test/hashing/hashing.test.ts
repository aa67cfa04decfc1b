import { execFileSync } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AMD64, image } from '../../fixtures/images/index.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { openBundle } from '../../src/verify/open.ts'
import { verifyBundle } from '../../src/verify/content.ts'
import type { TransferEvent } from '../../src/content/events.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  temporaryBundle,
  temporaryFolder,
  type Entry,
} from '../support/build-bundle.ts'
import { TRUST } from '../verify/check-bundle.ts'

let made: Promise<Entry[]> | undefined

function entries(): Promise<Entry[]> {
  return (made ??= makeEntries())
}

async function makeEntries(): Promise<Entry[]> {
  const files = Object.fromEntries(
    Array.from({ length: 6 }, (_, i) => [`${i}.bin`, Buffer.alloc(300_000 * i, i)]),
  )
  return entriesOf(
    await draftOf([
      {
        source: 'example.test/app:1.0',
        built: await image('app', AMD64, { files, layers: 6, compression: 'none' }),
      },
    ]),
  )
}

describe.each([
  ['in this thread', undefined],
  ['in one thread more', 1],
  ['in several threads', 4],
])('hashing %s', (_, threads) => {
  const options = threads === undefined ? {} : { threads }

  test('takes every blob, tells of every byte and finds nothing wrong', async () => {
    const all = await entries()
    const blobs = all.filter(({ name }) => name.startsWith('blobs/'))
    const bytes = blobs.reduce((sum, { content }) => sum + content.length, 0)
    const events: TransferEvent[] = []
    const path = await temporaryBundle(archiveOf(all))
    const opened = await verifyBundle(path, TRUST, { ...options, onEvent: (event) => events.push(event) })
    await opened.reader.close()
    expect(opened.problems).toEqual([])
    expect(events[0]).toEqual({ type: 'phase', phase: 'check', items: blobs.length, bytes, images: 1 })
    const done = events.flatMap((event) => (event.type === 'progress' ? [event.bytes] : []))
    expect(done.reduce((sum, one) => sum + one, 0)).toBe(bytes)
    const items = events.flatMap((event) => (event.type === 'item' ? [event.name] : []))
    expect(items.toSorted()).toEqual(blobs.map(({ name }) => name).toSorted())
  })

  test('finds every altered layer, to its last byte', async () => {
    const all = await entries()
    const opened = await openBundle(await temporaryBundle(archiveOf(all)), TRUST)
    await opened.reader.close()
    const layers = [...(opened.images[0]?.closure.blobs.keys() ?? [])]
      .filter((digest) => !opened.images[0]?.closure.configs.has(digest))
      .map((digest) => `blobs/sha256/${digest.slice(7)}`)
    expect(layers.length).toBeGreaterThan(4)
    const altered = all.map((one) => {
      if (!layers.includes(one.name)) return one
      const content = Buffer.from(one.content)
      content[content.length - 1] = (content.at(-1) ?? 0) ^ 0x80
      return { name: one.name, content }
    })
    const result = await verifyBundle(await temporaryBundle(archiveOf(altered)), TRUST, options)
    await result.reader.close()
    expect(result.problems.map(({ entry }) => entry)).toEqual(layers.toSorted())
    for (const { message } of result.problems)
      expect(message).toMatch(/altered: its digest is sha256:.*, but the list says sha256:/)
  })

  test('is called off by its signal', async () => {
    const path = await temporaryBundle(archiveOf(await entries()))
    const signal = AbortSignal.abort(new Error('called off'))
    await expect(verifyBundle(path, TRUST, { ...options, signal })).rejects.toThrow('called off')
  })
})

describe('what is no file', () => {
  test('a folder, a missing file', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'folder'))
    await expect(verifyBundle(join(folder, 'folder'), TRUST)).rejects.toMatchObject({
      code: 'FILE',
      message: expect.stringContaining('not a regular file') as string,
    })
    await expect(verifyBundle(join(folder, 'missing'), TRUST)).rejects.toMatchObject({
      code: 'FILE',
      message: expect.stringContaining('no such file') as string,
    })
  })

  test.skipIf(process.platform === 'win32')('a pipe does not make it wait', async () => {
    const pipe = join(await temporaryFolder(), 'pipe')
    execFileSync('mkfifo', [pipe])
    await expect(BundleReader.open(pipe)).rejects.toMatchObject({
      code: 'FILE',
      hint: expect.stringContaining('Save the stream to a file') as string,
    })
  })
})
