import { copyFile, open, readFile, stat, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { BundleReader, type BundleEntry } from '../../src/bundle/reader.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { scratch, session, type Session } from '../support/airgap.ts'

/** Large enough that more than one thread takes part. */
const LARGE = 33 * 1024 * 1024
const ENV = { AIRGAP_PASSWORD: 'corr3ct-horse', SOURCE_DATE_EPOCH: '1790000000' }

const sign = ['pack', '--key', 'airgap.key', '--json']

let folder: Awaited<ReturnType<typeof scratch>>
let registry: EmbeddedRegistry
let run: Session['run']
let good: Session['good']
let image: string

beforeAll(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path, ENV))
  registry = await startRegistry()
  const built = await buildImage({
    platform: parsePlatform('linux/amd64'),
    files: {
      'large.bin': Buffer.alloc(LARGE, seededBytes('large', 4000)),
      'small.bin': seededBytes('small', 50_000),
    },
    layers: 2,
    compression: 'none',
  })
  seedRegistry(registry.store, 'app:1', built)
  image = `${registry.host}/app:1`
  await good(['keygen'])
  await good(['resolve', image, '-o', 'app.lock'])
  await good(['pack', '--lock', 'app.lock', '-o', 'first.tar', '--no-sign', '--name', 'app'])
})

afterAll(async () => {
  await registry.close()
  await folder[Symbol.asyncDispose]()
})

beforeEach(() => {
  registry.requests.length = 0
})

const asked = (part: string): string[] =>
  registry.requests.filter(({ path }) => path.includes(part)).map(({ path }) => path)

test('a second pack of the same lock asks the network for nothing, and gives the same bytes', async () => {
  const { stdout } = await good(
    ['pack', '--lock', 'app.lock', '-o', 'second.tar', '--no-sign', '--name', 'app', '--reuse', 'first.tar'],
    { HTTP_PROXY: 'http://127.0.0.1:9' },
  )
  expect(registry.requests).toEqual([])
  expect(stdout).toMatch(/reused\s+2 blobs, 35 MB/)
  expect(stdout).toMatch(/fetched\s+0 blobs, 0 B/)
  const [first, second] = await Promise.all(
    ['first.tar', 'second.tar'].map((name) => readFile(folder.file(name))),
  )
  expect(second?.equals(first ?? Buffer.alloc(0))).toBe(true)
})

test('a bundle can be packed again over itself, with more in it', async () => {
  await copyFile(folder.file('first.tar'), folder.file('over.tar'))
  const other = await buildImage({ platform: parsePlatform('linux/amd64'), files: { a: 'other' } })
  seedRegistry(registry.store, 'other:1', other)
  const { stdout } = await good([
    ...sign,
    image,
    `${registry.host}/other:1`,
    '-o',
    'over.tar',
    '--force',
    '--reuse',
    'over.tar',
  ])
  const { fetched, reused } = JSON.parse(stdout) as Record<string, { count: number; bytes: number }>
  expect([fetched?.count, reused?.count]).toEqual([1, 2])
  expect(reused?.bytes).toBeGreaterThan(LARGE)
  expect(asked('/app/blobs/')).toEqual([])
  await good(['verify', 'over.tar', '--key', 'airgap.pub'])
})

test('what is altered in the earlier bundle is fetched, and a sound copy elsewhere is found first', async () => {
  await copyFile(folder.file('first.tar'), folder.file('damaged.tar'))
  for (const { contentOffset, size } of await blobsOf('damaged.tar')) {
    await alter('damaged.tar', contentOffset + size - 1)
  }
  const args = ['pack', '--lock', 'app.lock', '--no-sign', '--json', '--reuse', 'damaged.tar']
  const alone = await good([...args, '-o', 'from-damaged.tar'])
  expect(alone.json()).toMatchObject({ reused: { count: 0, bytes: 0 }, fetched: { count: 2 } })
  expect(asked('/blobs/')).toHaveLength(3)
  await good(['verify', 'from-damaged.tar', '--integrity-only'])

  registry.requests.length = 0
  const both = await good([...args, '--reuse', 'first.tar', '-o', 'from-both.tar'])
  expect(both.json()).toMatchObject({ reused: { count: 2 }, fetched: { count: 0 } })
  expect(registry.requests).toEqual([])
})

test('an unfinished file serves for what is in it, also the one that this run replaces', async () => {
  // As a killed run leaves it: no signature entries yet, and a large blob that has not arrived.
  await good(['pack', image, '-o', 'signed.tar', '--key', 'airgap.key'])
  const bytes = await readFile(folder.file('signed.tar'))
  const entries = await entriesOf('signed.tar')
  const large = entries.find(({ size }) => size > LARGE)
  if (!large) throw new Error('no large entry')
  bytes.fill(0, large.contentOffset + 1_000_000, large.contentOffset + large.size)
  const end = entries.find(({ name }) => name === 'airgap.json')
  const start = entries[1]
  if (!start || !end) throw new Error('no signature')
  bytes.fill(0, start.contentOffset - 512, end.contentOffset - 512)
  await writeFile(folder.file('resumed.tar.partial'), bytes)

  registry.requests.length = 0
  const { json } = await good([...sign, image, '-o', 'resumed.tar', '--reuse', 'resumed.tar.partial'])
  expect(json()).toMatchObject({ reused: { count: 1 }, fetched: { count: 1 } })
  expect(asked('/blobs/')).toHaveLength(1)
  await good(['verify', 'resumed.tar', '--key', 'airgap.pub'])
})

test('a pipe gets reused blobs too', async () => {
  await copyFile(folder.file('first.tar'), folder.file('half.tar'))
  const small = (await blobsOf('half.tar')).find(({ size }) => size > 40_000 && size < LARGE)
  await alter('half.tar', (small?.contentOffset ?? 0) + 10)
  const { stdoutBytes, stderr } = await good([
    'pack',
    '--lock',
    'app.lock',
    '--no-sign',
    '--name',
    'app',
    '-o',
    '-',
    '--reuse',
    'half.tar',
  ])
  expect(stdoutBytes.equals(await readFile(folder.file('first.tar')))).toBe(true)
  expect(stderr).toMatch(/reused\s+1 blob,/)
  expect(asked('/blobs/')).toHaveLength(1)
})

test('a dry run says what would be reused', async () => {
  const { stdout } = await good([
    'pack',
    image,
    '-o',
    'x.tar',
    '--no-sign',
    '--dry-run',
    '--reuse',
    'first.tar',
  ])
  expect(stdout).toMatch(/to fetch\s+0 blobs/)
  expect(stdout).toMatch(/to reuse\s+2 blobs, 35 MB/)
})

test('what is no bundle cannot be reused, and the output is not touched', async () => {
  await writeFile(folder.file('notes.txt'), 'x'.repeat(2000))
  await writeFile(folder.file('kept.tar'), 'kept')
  const args = ['pack', image, '-o', 'kept.tar', '--force', '--no-sign', '--reuse']
  const notes = await run([...args, 'notes.txt'])
  expect(notes.code).toBe(2)
  expect(notes.stderr).toContain('cannot reuse notes.txt')
  const absent = await run([...args, 'absent.tar'])
  expect(absent.code).toBe(7)
  expect(absent.stderr).toContain('cannot read absent.tar: there is no such file')
  expect(await readFile(folder.file('kept.tar'), 'utf8')).toBe('kept')
  await expect(stat(folder.file('kept.tar.partial'))).rejects.toMatchObject({ code: 'ENOENT' })
})

async function entriesOf(name: string): Promise<BundleEntry[]> {
  await using reader = await BundleReader.open(folder.file(name))
  return (await reader.scan(1000)).entries
}

async function blobsOf(name: string): Promise<BundleEntry[]> {
  return (await entriesOf(name)).filter((entry) => entry.name.startsWith('blobs/'))
}

async function alter(name: string, offset: number): Promise<void> {
  const handle = await open(folder.file(name), 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, offset)
  byte[0]! ^= 1
  await handle.write(byte, 0, 1, offset)
  await handle.close()
}

test('a plan needs no password: the public half of the key is enough, or none', async () => {
  const plan = session(folder.path).run
  const flags = ['pack', image, '-o', 'planned.tar', '--dry-run', '--key']
  const planned = await plan([...flags, 'airgap.key', '--json'])
  expect(planned.code).toBe(0)
  const { bundle, keyFingerprint } = planned.json<{ bundle: { size: number }; keyFingerprint: string }>()
  expect(keyFingerprint).toMatch(/^[0-9a-f]{64}$/)
  await good(['pack', image, '-o', 'planned.tar', '--key', 'airgap.key'])
  expect((await stat(folder.file('planned.tar'))).size).toBe(bundle.size)

  await copyFile(folder.file('airgap.key'), folder.file('alone.key'))
  const alone = await plan([...flags, 'alone.key'])
  expect(alone.code).toBe(0)
  expect(alone.stdout).toMatch(/signed by +the key in alone\.key, not opened/)
  expect(alone.stderr).toMatch(/Warning: packing would fail: .*planned\.tar: it already exists/)
  const wrong = await run([...flags, 'airgap.key'], { AIRGAP_PASSWORD: 'wrong' })
  expect(wrong.code).toBe(5)
  expect(
    (await plan(flags.filter((word) => word !== '--dry-run').concat('airgap.key', '--force'))).code,
  ).toBe(5)
})

test('the next version in a file of its own is a release of the same bundle: push refuses the one before', async () => {
  await using target = await startRegistry()
  const state = ['--state', 'sequences.json', '--key', 'airgap.pub']
  await good(['pack', image, '-o', 'apps.tar', '--key', 'airgap.key'])
  const flags = ['pack', image, '-o', 'apps-2.tar', '--key', 'airgap.key', '--reuse', 'apps.tar']
  const { stdout, stderr } = await good(flags, { SOURCE_DATE_EPOCH: '1790000001' })
  expect(stdout).toMatch(/^ {2}name +apps$/m)
  expect(stderr).toContain('The bundle is called "apps", like the one that it takes blobs from')
  const pushed = await good(['push', 'apps-2.tar', `${target.host}/x`, ...state])
  expect(pushed.stdout).toMatch(/^ {2}sequence +1790000001 of "apps"; no earlier one is remembered$/m)
  const old = await run(['push', 'apps.tar', `${target.host}/x`, ...state])
  expect(old.code).toBe(3)
  expect(old.stderr).toContain('it is an older bundle')
})
