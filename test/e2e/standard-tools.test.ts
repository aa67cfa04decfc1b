import { mkdtemp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd } from './parts/airgap.ts'
import { BUSYBOX, CHART, DOCKER_LIST } from './parts/images.ts'
import { audit, type Step } from './parts/readme.ts'
import { archiveOf, entriesOf, entry, sparseEntry, type RawEntry } from './parts/tar-edit.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

withParts('with standard tools alone', WORLD_PARTS, () => {
  let world: World
  let packed: Packed
  let entries: RawEntry[]

  beforeAll(async () => {
    world = await openWorld()
    packed = await world.pack('audited', [BUSYBOX, DOCKER_LIST, CHART])
    entries = entriesOf(await readFile(packed.bundle))
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  async function check(
    bundle: string,
    tool: 'cosign' | 'openssl',
    key = world.publicKey,
  ): ReturnType<typeof audit> {
    const folder = join(await mkdtemp(join(world.folder, 'audit-')), 'empty')
    await mkdir(folder)
    return audit(folder, { bundle, key, tool })
  }

  test('openssl, tar and sha256sum accept a bundle', async () => {
    const result = await check(packed.bundle, 'openssl')
    expect(result.step, describeEnd(result)).toBeUndefined()
  })

  test("openssl refuses it with somebody else's key", async () => {
    await world.airgap.run('keygen', '--output-key-prefix', 'other')
    expect((await check(packed.bundle, 'openssl', world.path('other.pub'))).step).toBe('signature')
  })

  withParts('with cosign', ['cosign'], () => {
    test('cosign, tar and sha256sum accept a bundle', async () => {
      const result = await check(packed.bundle, 'cosign')
      expect(result.step, describeEnd(result)).toBeUndefined()
    })

    test("cosign refuses it with somebody else's key", async () => {
      await world.airgap.run('keygen', '--output-key-prefix', 'another')
      expect((await check(packed.bundle, 'cosign', world.path('another.pub'))).step).toBe('signature')
    })
  })

  const bytesOf = (name: string): Buffer => {
    const found = entries.find((one) => one.name === name)
    if (!found) throw new Error(`no entry ${name}`)
    return found.bytes
  }
  const contentOf = (name: string): Buffer => {
    const found = entries.find((one) => one.name === name)
    if (!found) throw new Error(`no entry ${name}`)
    return found.bytes.subarray(512, 512 + found.size)
  }
  const all = (): Buffer[] => entries.map(({ bytes }) => bytes)
  const replaced = (name: string, by: Buffer): Buffer[] =>
    all().map((bytes) => (bytes === bytesOf(name) ? by : bytes))

  const alterations: [what: string, step: Step, make: () => Buffer[]][] = [
    ['an added file', 'names', () => [...all(), entry('extra', Buffer.from('x'))]],
    ['an added blob', 'names', () => [...all(), entry(`blobs/sha256/${'0'.repeat(64)}`, Buffer.from('x'))]],
    ['a duplicate entry', 'names', () => [...all(), bytesOf('index.json')]],
    ['a duplicate entry in front', 'names', () => [entry('oci-layout', Buffer.from('{}')), ...all()]],
    [
      'a symbolic link',
      'names',
      () => [...all(), entry('link', Buffer.alloc(0), { type: '2', linkTo: '/etc/passwd' })],
    ],
    [
      'a link in the place of a file',
      'names',
      () => replaced('oci-layout', entry('oci-layout', Buffer.alloc(0), { type: '2', linkTo: 'index.json' })),
    ],
    [
      'a hard link',
      'names',
      () => [...all(), entry('link', Buffer.alloc(0), { type: '1', linkTo: 'SHA256SUMS' })],
    ],
    ['an entry called airgap.pub', 'names', () => [entry('airgap.pub', Buffer.from('a key')), ...all()]],
    ['an added pax sparse name', 'names', () => [...all(), sparseEntry('extra', Buffer.from('x'))]],
    // For GNU tar this archive holds exactly the right files; only its form gives it away.
    [
      'a pax sparse name in the place of a file',
      'form',
      () => replaced('oci-layout', sparseEntry('oci-layout', contentOf('oci-layout'))),
    ],
    [
      'altered content',
      'checksums',
      () => replaced('oci-layout', entry('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.1"}\n'))),
    ],
    [
      'an altered list',
      'signature',
      () =>
        replaced(
          'SHA256SUMS',
          entry('SHA256SUMS', Buffer.concat([contentOf('SHA256SUMS'), Buffer.from('\n')])),
        ),
    ],
  ]
  for (const [i, [what, step, make]] of alterations.entries()) {
    test(`${what} is caught, by the procedure and by verify`, async () => {
      const bundle = world.path(`altered-${i}.tar`)
      await writeFile(bundle, archiveOf(make()))
      const result = await check(bundle, 'openssl')
      expect(result.step, describeEnd(result)).toBe(step)
      const verified = await world.airgap.attempt('verify', bundle, '--key', world.publicKey)
      expect(verified.code, describeEnd(verified)).toBe(3)
    })
  }

  test('something after the end is caught', async () => {
    const bundle = world.path('longer.tar')
    await writeFile(bundle, Buffer.concat([archiveOf(all()), Buffer.alloc(512)]))
    expect((await check(bundle, 'openssl')).step).toBe('form')
    expect((await world.airgap.attempt('verify', bundle, '--key', world.publicKey)).code).toBe(3)
  })
})
