import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import type { RegistryNotice } from '../../../src/registry/notices.ts'
import { defaultStateFolder, parseState } from '../../../src/registry/blobs/uploads/state/folder.ts'
import { UploadState } from '../../../src/registry/blobs/uploads/state/state.ts'
import type { Quirk } from '../../support/registry/quirks.ts'
import { failureOf, scratch } from '../../support/client.ts'
import { connect, KIB, sample, target, type Target } from './uploading.ts'

const BUNDLE = digestOf('a bundle')
const ORIGIN = 'https://registry.internal:5000'
const DIGEST = digestOf('a blob')

async function openState(folder: string, options: { origin?: string; bundle?: Digest } = {}) {
  const notices: RegistryNotice[] = []
  const state = await UploadState.open({
    folder,
    bundleDigest: options.bundle ?? BUNDLE,
    origin: options.origin ?? ORIGIN,
    onNotice: (notice) => notices.push(notice),
  })
  onTestFinished(() => state.close(true))
  return { state, notices, memory: state.of('app', DIGEST) }
}

const fileIn = (folder: string): string => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  expect(names).toHaveLength(1)
  return join(folder, names[0] ?? '')
}

const LOCATION = new URL('/v2/app/blobs/uploads/1?_state=hush%2F1', ORIGIN)
const NOTE = { mode: 'chunks', location: LOCATION, acknowledged: 5 } as const

/** A state file as a run of the past has left it, changed by `edit`. */
async function leftBehind(edit: (record: Record<string, unknown>) => unknown = () => {}): Promise<string> {
  const folder = join(scratch(), 'state')
  const { state, memory } = await openState(folder)
  await memory.note(NOTE)
  await state.close(false)
  const path = fileIn(folder)
  const document = JSON.parse(readFileSync(path, 'utf8')) as { uploads: Record<string, unknown>[] }
  edit(document.uploads[0] ?? {})
  writeFileSync(path, JSON.stringify(document))
  return folder
}

describe('the file', () => {
  test('is ours alone, appears with the first note, and goes with the end', async () => {
    const folder = join(scratch(), 'state', 'uploads')
    const { state, memory, notices } = await openState(folder)
    expect(existsSync(folder)).toBe(false)
    await memory.note(NOTE)
    expect(lstatSync(folder).mode & 0o777).toBe(0o700)
    expect(lstatSync(fileIn(folder)).mode & 0o777).toBe(0o600)
    await state.close(true)
    expect(readdirSync(folder)).toEqual([])
    expect(notices).toEqual([])
  })

  test('keeps what a run leaves, and gives it to the next one once it has ended', async () => {
    const folder = join(scratch(), 'state')
    const first = await openState(folder)
    await first.memory.note(NOTE)
    const meanwhile = await openState(folder)
    expect(meanwhile.memory.recall()).toBeUndefined()
    await meanwhile.state.of('other', DIGEST).note(NOTE)
    await first.memory.note({ ...NOTE, acknowledged: 10 })
    expect(parseState(readFileSync(fileIn(folder)))).toHaveLength(2)
    await meanwhile.state.close(true)
    await first.state.close(false)
    const second = await openState(folder)
    expect(second.memory.recall()).toEqual({ mode: 'chunks', location: LOCATION })
    expect(second.state.of('other', DIGEST).recall()).toBeUndefined()
    expect((await openState(folder)).memory.recall()).toBeUndefined()
  })

  test('is for one bundle and one registry', async () => {
    const folder = await leftBehind()
    for (const options of [{ bundle: digestOf('another') }, { origin: 'http://registry.internal:5000' }]) {
      expect((await openState(folder, options)).memory.recall()).toBeUndefined()
    }
    expect((await openState(folder)).memory.recall()).toBeDefined()
  })

  test('a blob that is done is forgotten, the others are not', async () => {
    const folder = join(scratch(), 'state')
    const { state, memory } = await openState(folder)
    const other = state.of('app', digestOf('other'))
    await Promise.all([memory.note(NOTE), other.note({ ...NOTE, mode: 'stream' })])
    memory.forget()
    await state.close(false)
    const next = await openState(folder)
    expect(next.memory.recall()).toBeUndefined()
    expect(next.state.of('app', digestOf('other')).recall()?.mode).toBe('stream')
  })

  test('old files go', async () => {
    const folder = await leftBehind()
    const week = Date.now() / 1000 - 8 * 24 * 3600
    const old = join(folder, `${'a'.repeat(64)}.json`)
    const foreign = join(folder, 'notes.txt')
    for (const path of [old, foreign]) {
      writeFileSync(path, '{}')
      utimesSync(path, week, week)
    }
    await (await openState(folder)).memory.note(NOTE)
    expect(existsSync(old)).toBe(false)
    expect(existsSync(foreign)).toBe(true)
  })
})

describe('who left it', () => {
  const owner = { host: hostname(), pid: 2 ** 22 - 1, started: '1', run: '0'.repeat(16) }
  const ago = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString()

  test.each<[string, Record<string, unknown>, boolean]>([
    ['a process that has ended', { owner }, true],
    [
      'a process that lives',
      {
        owner: {
          ...owner,
          pid: process.ppid,
          started: readFileSync(`/proc/${process.ppid}/stat`, 'latin1').split(') ')[1]?.split(' ')[19],
        },
      },
      false,
    ],
    ['another process with its number', { owner: { ...owner, pid: process.ppid } }, true],
    ['another host, just now', { owner: { ...owner, host: 'elsewhere' } }, false],
    ['another host, an hour ago', { owner: { ...owner, host: 'elsewhere' }, updated: ago(60) }, true],
    ['this host, eight days ago', { owner, updated: ago(8 * 24 * 60) }, false],
  ])('%s', async (_, change, isTaken) => {
    const folder = await leftBehind((record) => Object.assign(record, change))
    const { memory, notices } = await openState(folder)
    expect(memory.recall() !== undefined).toBe(isTaken)
    expect(notices).toEqual([])
  })
})

describe('what is wrong with it is no reason to fail', () => {
  test.each<[string, string]>([
    ['the registry’s host, another port', 'https://registry.internal:5001/u'],
    ['another host', 'https://evil.example/u'],
    ['plain HTTP', 'http://registry.internal:5000/u'],
    ['credentials in it', 'https://u:p@registry.internal:5000/u'],
  ])('a Location elsewhere is not used: %s', async (_, location) => {
    const folder = await leftBehind((record) => Object.assign(record, { location }))
    expect((await openState(folder)).memory.recall()).toEqual({ mode: 'chunks', location: undefined })
  })

  test('[duty: local-state] a Location elsewhere is not kept', async () => {
    const folder = join(scratch(), 'state')
    const { memory } = await openState(folder)
    await memory.note({ ...NOTE, location: new URL('https://storage.example/u?signature=hush') })
    expect(readFileSync(fileIn(folder), 'utf8')).not.toContain('storage.example')
  })

  test.each<[string, (record: Record<string, unknown>) => unknown]>([
    ['an unknown field', (record) => Object.assign(record, { extra: 1 })],
    ['no digest', (record) => Object.assign(record, { digest: '../../etc' })],
    ['no repository', (record) => Object.assign(record, { repository: 'a/../b' })],
    ['a number below zero', (record) => Object.assign(record, { acknowledged: -1 })],
    ['no URL', (record) => Object.assign(record, { location: 'x' })],
    ['no owner', (record) => Object.assign(record, { owner: {} })],
  ])('%s', async (_, edit) => {
    const { memory, notices } = await openState(await leftBehind(edit))
    expect(memory.recall()).toBeUndefined()
    expect(notices).toMatchObject([{ type: 'warning', message: expect.stringContaining('is damaged') }])
    expect(JSON.stringify(notices)).not.toContain('hush')
  })

  test.each<[string, (path: string) => void]>([
    ['half of it', (path) => writeFileSync(path, readFileSync(path).subarray(0, 40))],
    ['nothing in it', (path) => writeFileSync(path, '')],
    ['two megabytes', (path) => writeFileSync(path, ' '.repeat(2 * KIB * KIB))],
  ])('%s', async (_, spoil) => {
    const folder = await leftBehind()
    spoil(fileIn(folder))
    const { memory, notices } = await openState(folder)
    expect(memory.recall()).toBeUndefined()
    expect(notices).toHaveLength(1)
    await memory.note(NOTE)
    expect(parseState(readFileSync(fileIn(folder)))).toHaveLength(1)
  })

  test('[duty: local-state] a link in its place is not followed', async () => {
    const folder = await leftBehind()
    const path = fileIn(folder)
    const elsewhere = join(folder, '..', 'elsewhere')
    const before = readFileSync(path)
    writeFileSync(elsewhere, before)
    mkdirSync(join(folder, '..', 'two'))
    const linked = join(folder, '..', 'two', path.slice(folder.length + 1))
    symlinkSync(elsewhere, linked)
    const { memory } = await openState(join(folder, '..', 'two'))
    expect(memory.recall()).toBeUndefined()
    await memory.note({ ...NOTE, acknowledged: 77 })
    expect(lstatSync(linked).isFile()).toBe(true)
    expect(readFileSync(elsewhere).equals(before)).toBe(true)
  })

  test.each([0o660, 0o606])(
    '[duty: local-state] a file that others may write to (%o) is not believed',
    async (mode) => {
      const folder = await leftBehind()
      chmodSync(fileIn(folder), mode)
      const { memory } = await openState(folder)
      expect(memory.recall()).toBeUndefined()
      await memory.note(NOTE)
      expect(lstatSync(fileIn(folder)).mode & 0o777).toBe(0o600)
    },
  )

  test('[duty: local-state] a folder that others may write to is not used', async () => {
    const folder = await leftBehind()
    chmodSync(folder, 0o777)
    const { memory, notices, state } = await openState(folder)
    expect(memory.recall()).toBeUndefined()
    await memory.note(NOTE)
    await state.close(false)
    expect(notices).toMatchObject([
      { message: expect.stringContaining('not a folder that only you can write to') },
    ])
  })

  test('a folder that cannot be made', async () => {
    const folder = join(scratch(), 'file')
    writeFileSync(folder, '')
    const { memory, notices } = await openState(join(folder, 'state'))
    expect(notices).toEqual([])
    await memory.note(NOTE)
    await memory.note(NOTE)
    expect(notices).toHaveLength(1)
    expect(memory.recall()).toBeUndefined()
  })

  test('any bytes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(parseState(bytes)).toBeUndefined()
        },
      ),
    )
  })
})

test('where it is', () => {
  const home = scratch()
  expect(defaultStateFolder({ XDG_STATE_HOME: '/state', HOME: home })).toBe('/state/airgap/uploads')
  expect(defaultStateFolder({ HOME: home })).toBe(join(home, '.local/state/airgap/uploads'))
  expect(defaultStateFolder({ XDG_STATE_HOME: 'relative', HOME: home })).toContain(home)
  expect(defaultStateFolder({ HOME: join(home, 'missing') })).toBeUndefined()
  expect(defaultStateFolder({})).toBeUndefined()
})

describe('the next run', () => {
  const SIZES = { chunkSize: 64 * KIB, small: 0, prefersChunks: true }

  /** A push of one blob that ends when so many chunks are through, and one behind it. */
  async function interrupted(
    quirks: Quirk[],
    between: (to: Target, folder: string) => void | Promise<void> = () => {},
    sizes = SIZES,
  ): Promise<string[]> {
    const folder = join(scratch(), 'state')
    const to = await target({ quirks }, sizes)
    const { descriptor, open, bytes } = sample(300 * KIB)
    const stop = new AbortController()
    const origin = to.registry.url
    const first = await openState(folder, { origin })
    const held = async function* (from: number): AsyncGenerator<Uint8Array> {
      // As the fourth chunk begins, or when one stream is half through.
      if (from === 3 * sizes.chunkSize) stop.abort()
      for await (const piece of open(from)) {
        yield piece
        if (!sizes.prefersChunks) stop.abort()
      }
    }
    await failureOf(
      to.repository.uploadBlob(
        descriptor,
        held,
        stop.signal,
        undefined,
        first.state.of('app', descriptor.digest),
      ),
      'INTERRUPTED',
    )
    await first.state.close(false)
    await between(to, folder)
    const before = to.registry.requests.length
    const second = await openState(folder, { origin })
    const again = connect(to.registry.host, { ...sizes, prefersChunks: false })
    await again.repository.uploadBlob(
      descriptor,
      open,
      undefined,
      undefined,
      second.state.of('app', descriptor.digest),
    )
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    await second.state.close(true)
    expect(readdirSync(folder)).toEqual([])
    expect(second.notices).toEqual([])
    // What was called off may have left a request without an answer.
    const log = to
      .log()
      .slice(before)
      .filter((line) => !/ 0\b/.test(line))
    const isGoingOn = log.includes('GET 204')
    expect(again.notices.filter(({ type }) => type === 'note')).toEqual(
      isGoingOn
        ? [{ type: 'note', message: expect.stringMatching(/^Resuming an upload to 127\.0\.0\.1:\d+ /) }]
        : [],
    )
    return log
  }

  const CHUNK = `PATCH 202 ${64 * KIB}`
  const REST = [CHUNK, `PATCH 202 ${44 * KIB}`, 'PUT 201']
  const ALL = [CHUNK, CHUNK, CHUNK, ...REST]

  test.each<[string, Quirk[]]>([
    ['Locations that stay', []],
    ['Locations that change', ['location-changes']],
    ['Locations that are paths', ['relative-location']],
  ])('goes on where the registry is: %s', async (_, quirks) => {
    expect(await interrupted(quirks)).toEqual(['GET 204', ...REST])
  })

  test('starts over where the session is gone', async () => {
    const cancel = async ({ registry }: Target, folder: string): Promise<void> => {
      const [record] = parseState(readFileSync(fileIn(folder))) ?? []
      expect(new URL(record?.location ?? '').origin).toBe(registry.url)
      expect(record?.acknowledged).toBe(3 * 64 * KIB)
      await fetch(record?.location ?? '', { method: 'DELETE' })
    }
    expect(await interrupted([], cancel)).toEqual(['GET 404', 'POST 202', ...ALL])
  })

  test('starts over where the registry does not say how far it is', async () => {
    expect(await interrupted(['no-upload-status'])).toEqual(['GET 400', 'POST 202', 'DELETE 204', ...ALL])
  })

  test('starts over where the session holds other bytes', async () => {
    const spoil = async (_: Target, folder: string): Promise<void> => {
      const [record] = parseState(readFileSync(fileIn(folder))) ?? []
      await fetch(record?.location ?? '', { method: 'PATCH', body: Buffer.alloc(1000) })
    }
    const log = await interrupted([], spoil)
    expect(log.filter((line) => line === 'PUT 400')).toHaveLength(1)
    expect(log.at(-1)).toBe('PUT 201')
  })

  test('sends in chunks what broke off in one stream, and gives up the old session', async () => {
    const log = await interrupted([], undefined, { ...SIZES, prefersChunks: false })
    expect(log).toEqual(['POST 202', 'DELETE 204', ...ALL])
  })

  test('goes to another origin with nothing, as Locations elsewhere are not kept', async () => {
    expect(await interrupted(['upload-other-origin'])).toEqual(['POST 202', ...ALL])
  })
})

test('a pipe in its place does not hold us up', async () => {
  const folder = await leftBehind()
  const path = fileIn(folder)
  const other = join(folder, '..', 'pipes')
  mkdirSync(other, { mode: 0o700 })
  const { execFileSync } = await import('node:child_process')
  execFileSync('mkfifo', [join(other, path.slice(folder.length + 1))])
  const { memory } = await openState(other)
  expect(memory.recall()).toBeUndefined()
})
