import { mkdtemp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd } from './parts/airgap.ts'
import { BUSYBOX, CHART, DOCKER_LIST } from './parts/images.ts'
import { attempt, type Ended } from './parts/processes.ts'
import { archiveOf, entriesOf, entry, sparseEntry, type RawEntry } from './parts/tar-edit.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

const AUDIT = join(import.meta.dirname, 'parts/audit.sh')

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

  async function audit(bundle: string, tool: 'cosign' | 'openssl', key = world.publicKey): Promise<Ended> {
    const folder = join(await mkdtemp(join(world.folder, 'audit-')), 'empty')
    await mkdir(folder)
    return attempt('bash', [AUDIT, bundle, key, tool], { cwd: folder, env: { ...process.env, HOME: world.folder } })
  }

  test('openssl, tar and sha256sum accept a bundle', async () => {
    const result = await audit(packed.bundle, 'openssl')
    expect(result.code, describeEnd(result)).toBe(0)
  })

  test("openssl refuses it with somebody else's key", async () => {
    await world.airgap.run('keygen', '--output-key-prefix', 'other')
    expect((await audit(packed.bundle, 'openssl', world.path('other.pub'))).code).toBe(10)
  })

  withParts('with cosign', ['cosign'], () => {
    test('cosign, tar and sha256sum accept a bundle', async () => {
      const result = await audit(packed.bundle, 'cosign')
      expect(result.code, describeEnd(result)).toBe(0)
    })

    test("cosign refuses it with somebody else's key", async () => {
      await world.airgap.run('keygen', '--output-key-prefix', 'another')
      expect((await audit(packed.bundle, 'cosign', world.path('another.pub'))).code).toBe(10)
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
  const replaced = (name: string, by: Buffer): Buffer[] => all().map((bytes) => (bytes === bytesOf(name) ? by : bytes))

  const alterations: [what: string, code: number, make: () => Buffer[]][] = [
    ['an added file', 11, () => [...all(), entry('extra', Buffer.from('x'))]],
    ['an added blob', 11, () => [...all(), entry(`blobs/sha256/${'0'.repeat(64)}`, Buffer.from('x'))]],
    ['a duplicate entry', 11, () => [...all(), bytesOf('index.json')]],
    ['a duplicate entry in front', 11, () => [entry('oci-layout', Buffer.from('{}')), ...all()]],
    ['a symbolic link', 11, () => [...all(), entry('link', Buffer.alloc(0), { type: '2', linkTo: '/etc/passwd' })]],
    ['a link in the place of a file', 11, () => replaced('oci-layout', entry('oci-layout', Buffer.alloc(0), { type: '2', linkTo: 'index.json' }))],
    ['a hard link', 11, () => [...all(), entry('link', Buffer.alloc(0), { type: '1', linkTo: 'SHA256SUMS' })]],
    ['an entry called airgap.pub', 11, () => [entry('airgap.pub', Buffer.from('a key')), ...all()]],
    ['an added pax sparse name', 11, () => [...all(), sparseEntry('extra', Buffer.from('x'))]],
    // For GNU tar this archive holds exactly the right files; only its form gives it away.
    ['a pax sparse name in the place of a file', 13, () => replaced('oci-layout', sparseEntry('oci-layout', contentOf('oci-layout')))],
    ['altered content', 12, () => replaced('oci-layout', entry('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.1"}\n')))],
    ['an altered list', 10, () => replaced('SHA256SUMS', entry('SHA256SUMS', Buffer.concat([contentOf('SHA256SUMS'), Buffer.from('\n')])))],
  ]
  for (const [i, [what, code, make]] of alterations.entries()) {
    test(`${what} is caught, by the procedure and by verify`, async () => {
      const bundle = world.path(`altered-${i}.tar`)
      await writeFile(bundle, archiveOf(make()))
      const result = await audit(bundle, 'openssl')
      expect(result.code, describeEnd(result)).toBe(code)
      const verified = await world.airgap.attempt('verify', bundle, '--key', world.publicKey)
      expect(verified.code, describeEnd(verified)).toBe(3)
    })
  }

  test('something after the end is caught', async () => {
    const bundle = world.path('longer.tar')
    await writeFile(bundle, Buffer.concat([archiveOf(all()), Buffer.alloc(512)]))
    expect((await audit(bundle, 'openssl')).code).toBe(13)
    expect((await world.airgap.attempt('verify', bundle, '--key', world.publicKey)).code).toBe(3)
  })
})
