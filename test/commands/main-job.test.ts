import { createHash } from 'node:crypto'
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seedRegistry, singleManifest } from '../../fixtures/images/index.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { airgap, scratch, session, type Session } from '../support/airgap.ts'
import { startInternet, type Internet } from '../support/internet.ts'

/** The whole way as a user goes it, against embedded registries; one bundle serves most tests. */

const PASSWORD = { AIRGAP_PASSWORD: 'corr3ct-horse', SOURCE_DATE_EPOCH: '1790000000' }
const IMAGES = ['--kubeadm', 'v1.36.3', 'nginx:1.29', 'ghcr.io/example/charts/hello:0.1.0']
const PLATFORMS = ['--platform', 'linux/amd64', '--platform', 'linux/arm64']

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let mirrors: string[]

let run: Session['run']
let good: Session['good']

beforeAll(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path, PASSWORD))
  internet = await startInternet()
  ;({ mirrors } = internet)
  await good(['keygen'])
  await good(['resolve', ...IMAGES, ...PLATFORMS, ...mirrors, '-o', 'all.lock'])
  await good([
    'pack',
    '--lock',
    'all.lock',
    ...mirrors,
    '-o',
    'all.tar',
    '--key',
    'airgap.key',
    '--name',
    'demo',
    '--bundle-version',
    '7',
  ])
})

afterAll(async () => {
  await internet[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

describe('keygen', () => {
  it('makes a private file and a public one, and overwrites neither', async () => {
    expect((await stat(folder.file('airgap.key'))).mode & 0o777).toBe(0o600)
    expect(await readFile(folder.file('airgap.key'), 'utf8')).toContain(
      'BEGIN ENCRYPTED SIGSTORE PRIVATE KEY',
    )
    expect(await readFile(folder.file('airgap.pub'), 'utf8')).toContain('BEGIN PUBLIC KEY')
    const again = await run(['keygen'])
    expect(again.code).toBe(7)
    expect(again.stderr).toContain('not overwritten: airgap.key, airgap.pub')
  })

  it('needs a password from somewhere', async () => {
    const { code, stderr } = await airgap(['keygen', '--output-key-prefix', folder.file('other')])
    expect(code).toBe(2)
    expect(stderr).toContain('--password-file')
  })
})

describe('resolve', () => {
  it('shows digest, platforms and size, and whose digest changes', async () => {
    const { stdout } = await good(['resolve', ...IMAGES, ...PLATFORMS, ...mirrors])
    expect(stdout).toMatch(
      /docker\.io\/library\/nginx:1\.29\n {4}sha256:[0-9a-f]{64}\n {4}linux\/amd64, linux\/arm64 · \d+ kB/,
    )
    expect(stdout).toContain('the digest differs from that of the source')
    expect(stdout).toContain(`resolved by the mirror ${internet.registry.host}/docker.io/library/nginx`)
  })

  it('names the image and the way out when nothing is there', async () => {
    const { code, stderr } = await run(['resolve', 'nginx:9.99', ...mirrors])
    expect(code).toBe(4)
    expect(stderr).toContain('docker.io/library/nginx:9.99')
  })

  it('reports every image that fails', async () => {
    const host = internet.registry.host
    const { code, stderr } = await run(['resolve', `${host}/no/such:1`, `${host}/docker.io/library/nginx:9`])
    expect(code).toBe(4)
    expect(stderr).toContain('2 of 2 images could not be resolved')
    expect(stderr).toContain(`${host}/no/such:1`)
    expect(stderr).toContain(`${host}/docker.io/library/nginx:9`)
  })

  it('names what an image has when a platform is missing', async () => {
    const image = `${internet.registry.host}/docker.io/library/nginx:1.29`
    const { code, stderr } = await run([
      'resolve',
      image,
      '--platform',
      'linux/amd64',
      '--platform',
      'linux/s390x',
    ])
    expect(code).toBe(4)
    expect(stderr).toContain(
      `${image} does not have linux/s390x; it has linux/amd64, linux/arm/v7, linux/arm64`,
    )
    const allowed = await run([
      'resolve',
      image,
      '--platform',
      'linux/amd64',
      '--platform',
      'linux/s390x',
      '--allow-missing-platform',
    ])
    expect(allowed.code).toBe(0)
    expect(allowed.stderr).toContain('does not have linux/s390x')
  })
})

describe('pack', () => {
  it('needs a word on signing', async () => {
    const { code, stderr } = await run(['pack', 'nginx', '-o', 'x.tar'])
    expect(code).toBe(2)
    expect(stderr).toContain('--key')
    expect(stderr).toContain('--no-sign')
  })

  it('gives the same bytes for the same lock, to a file and to a pipe, at any concurrency', async () => {
    const common = ['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '--name', 'same']
    await good([...common, '-o', 'one.tar', '--concurrency', '1'])
    await good([...common, '-o', 'many.tar', '--concurrency', '16'])
    const piped = await good([...common, '-o', '-'])
    const one = await readFile(folder.file('one.tar'))
    expect((await readFile(folder.file('many.tar'))).equals(one)).toBe(true)
    expect(piped.stdoutBytes.equals(one)).toBe(true)
  })

  it('without a lock gives what the lock gives', async () => {
    await good([
      'pack',
      ...IMAGES,
      ...PLATFORMS,
      ...mirrors,
      '--no-sign',
      '--name',
      'same',
      '-o',
      'direct.tar',
    ])
    await good(['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '--name', 'same', '-o', 'locked.tar'])
    const [direct, locked] = await Promise.all(
      ['direct.tar', 'locked.tar'].map((name) => readFile(folder.file(name))),
    )
    expect(direct?.equals(locked as Buffer)).toBe(true)
  })

  it('leaves an existing output alone without --force', async () => {
    await writeFile(folder.file('mine.txt'), 'mine')
    const refused = await run(['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '-o', 'mine.txt'])
    expect(refused.code).toBe(7)
    expect(refused.stderr).toContain('mine.txt: it already exists')
    expect(await readFile(folder.file('mine.txt'), 'utf8')).toBe('mine')
    await good(['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '-o', 'mine.txt', '--force'])
    expect((await readFile(folder.file('mine.txt'))).subarray(0, 10).toString()).toBe('SHA256SUMS')
  })

  it('does not write through a link', async () => {
    await writeFile(folder.file('target.txt'), 'precious')
    await symlink('target.txt', folder.file('link.tar'))
    const { code, stderr } = await run([
      'pack',
      '--lock',
      'all.lock',
      ...mirrors,
      '--no-sign',
      '-o',
      'link.tar',
    ])
    expect(code).toBe(7)
    expect(stderr).toContain('symbolic link')
    expect(await readFile(folder.file('target.txt'), 'utf8')).toBe('precious')
  })

  it('says so at once when the folder cannot be written to', async () => {
    const { code, stderr } = await run([
      'pack',
      '--lock',
      'all.lock',
      ...mirrors,
      '--no-sign',
      '-o',
      '/proc/x.tar',
    ])
    expect(code).toBe(7)
    expect(stderr).toContain('/proc/x.tar')
  })

  it('leaves nothing behind when a layer cannot be had', async () => {
    const store = new MemoryStore()
    seedRegistry(store, 'app:1', await singleManifest())
    await using broken = await startRegistry({ store, quirks: ['corrupt-blob'] })
    const { code, stderr } = await run(['pack', `${broken.host}/app:1`, '--no-sign', '-o', 'broken.tar'])
    expect(code).toBe(4)
    expect(stderr).toContain(`${broken.host}/app`)
    expect((await readdir(folder.path)).filter((name) => name.startsWith('broken'))).toEqual([])
  })

  it('shows the exact size with --dry-run and fetches no layer', async () => {
    const before = internet.registry.requests.length
    const plan = await good([
      'pack',
      '--lock',
      'all.lock',
      ...mirrors,
      '--no-sign',
      '--name',
      'same',
      '-o',
      'dry.tar',
      '--dry-run',
      '--json',
    ])
    const asked = internet.registry.requests.slice(before).filter(({ path }) => path.includes('/blobs/'))
    expect(asked.length).toBeLessThan(3)
    await good(['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '--name', 'same', '-o', 'wet.tar'])
    expect(plan.json<{ bundle: { size: number } }>().bundle.size).toBe(
      (await stat(folder.file('wet.tar'))).size,
    )
    expect(await readdir(folder.path)).not.toContain('dry.tar')
  })

  it('refuses a lock that the registry does not answer to', async () => {
    const lock = JSON.parse(await readFile(folder.file('all.lock'), 'utf8')) as {
      images: { size: number; source: string }[]
    }
    const [image] = lock.images
    if (!image) throw new Error('the lock is empty')
    image.size += 1
    await writeFile(folder.file('edited.lock'), JSON.stringify(lock))
    const { code, stderr } = await run([
      'pack',
      '--lock',
      'edited.lock',
      ...mirrors,
      '--no-sign',
      '-o',
      'edited.tar',
    ])
    expect(code).toBe(2)
    expect(stderr).toContain(image.source)
    const mixed = await run(['pack', 'nginx', '--lock', 'all.lock', '--no-sign', '-o', 'edited.tar'])
    expect(mixed.stderr).toContain('cannot be given with it')
    expect(mixed.code).toBe(2)
  })

  it('takes a lock in any order, and its bundle is good', async () => {
    const lock = JSON.parse(await readFile(folder.file('all.lock'), 'utf8')) as { images: unknown[] }
    lock.images.reverse()
    await writeFile(folder.file('reversed.lock'), JSON.stringify(lock))
    await good(['pack', '--lock', 'reversed.lock', ...mirrors, '--no-sign', '-o', 'reversed.tar'])
    await good(['verify', 'reversed.tar', '--integrity-only'])
  })

  it('leaves no unfinished file behind when a flag is of no use', async () => {
    const { code } = await run(['resolve', 'nginx', '-o', 'never.lock', '--ca-file', '/nonexistent/ca.crt'])
    expect(code).toBe(7)
    expect((await readdir(folder.path)).filter((name) => name.startsWith('never'))).toEqual([])
  })

  it('needs the right password', async () => {
    const { code, stderr } = await run(['pack', '--lock', 'all.lock', '-o', 'p.tar', '--key', 'airgap.key'], {
      AIRGAP_PASSWORD: 'wrong',
    })
    expect(code).toBe(5)
    expect(stderr).toContain('airgap.key')
    expect(stderr).not.toContain('wrong password: wrong')
  })
})

describe('inspect', () => {
  it('shows what is in the bundle and that nothing was verified', async () => {
    const { stdout } = await good(['inspect', 'all.tar'])
    expect(stdout).toContain('NOTHING HERE WAS VERIFIED')
    expect(stdout).toContain('9 images (1 of them an artifact)')
    expect(stdout).toContain('registry.k8s.io/kube-apiserver:v1.36.3')
  })

  it.each([
    ['no-such.tar', 7, 'no-such.tar'],
    ['.', 7, 'not a regular file'],
    ['airgap.pub', 3, 'SHA256SUMS'],
  ])('%s ends with %i', async (file, code, words) => {
    const outcome = await run(['inspect', file])
    expect(outcome.code).toBe(code)
    expect(outcome.stderr).toContain(words)
  })
})

describe('verify', () => {
  it('prints the evidence', async () => {
    const { stdout, stderr } = await good([
      'verify',
      'all.tar',
      '--key',
      'airgap.pub',
      '--expect-name',
      'demo',
      '--min-sequence',
      '1790000000',
    ])
    expect(stdout).toContain('GOOD: complete, unaltered, and signed by the key given')
    expect(stdout).toMatch(/bundle digest\s+sha256:[0-9a-f]{64}/)
    expect(stdout).toMatch(/name +demo/)
    expect(stdout).toMatch(/version +7/)
    expect(stdout).toMatch(/sequence +1790000000/)
    expect(stdout).toMatch(/created +2026-09-21T/)
    expect(stdout).toMatch(
      /^ +213 kB {2}docker\.io\/library\/nginx:1\.29 {2}\(part of its source, resolved by a mirror\)$/m,
    )
    expect(stdout.trimEnd()).toMatch(
      /\nall\.tar: GOOD: .*\n {2}signed by\s+key [0-9a-f]{64}\n {2}bundle digest\s+sha256:[0-9a-f]{64}\nNext: airgap push all\.tar REGISTRY --key airgap\.pub --expect-name demo --min-sequence 1790000000 --dry-run$/,
    )
    const details = await good(['verify', 'all.tar', '--key', 'airgap.pub', '--images'])
    expect(details.stdout).toContain('a part of the source')
    expect(stderr).not.toContain('\u001b')
  })

  it('takes the approved digest with or without its algorithm', async () => {
    const { json } = await good(['verify', 'all.tar', '--key', 'airgap.pub', '--json'])
    const { digest: bundleDigest } = json<{ bundle: { digest: string } }>().bundle
    const sums = createHash('sha256')
      .update(await checksumsOf('all.tar'))
      .digest('hex')
    expect(bundleDigest).toBe(`sha256:${sums}`)
    await good(['verify', 'all.tar', '--key', 'airgap.pub', '--expect-digest', bundleDigest])
    await good(['verify', 'all.tar', '--key', 'airgap.pub', '--expect-digest', sums.toUpperCase()])
    const other = await run(['verify', 'all.tar', '--key', 'airgap.pub', '--expect-digest', 'f'.repeat(64)])
    expect(other.code).toBe(3)
    expect(other.stderr).toContain('not the bundle that was approved')
  })

  it('needs a key, or a word that none is wanted', async () => {
    const { code, stderr } = await run(['verify', 'all.tar'])
    expect(code).toBe(2)
    expect(stderr).toContain('--integrity-only')
    const plain = await good(['verify', 'all.tar', '--integrity-only'])
    expect(plain.stdout).toContain('NOT AUTHENTICATED')
    expect(plain.stdout).not.toContain('GOOD')
  })

  it('finds one fault where there is one, however many images are behind it', async () => {
    const altered = await readFile(folder.file('all.tar'))
    const at = altered.indexOf('stand-in') > 0 ? altered.lastIndexOf('"schemaVersion":2') : -1
    expect(at).toBeGreaterThan(0)
    altered.write('"schemaVersion":3', at)
    await writeFile(folder.file('one-fault.tar'), altered)
    const { code, json } = await run(['verify', 'one-fault.tar', '--key', 'airgap.pub', '--json'])
    expect(code).toBe(3)
    expect(json<{ error: { problems: unknown[] } }>().error.problems).toHaveLength(1)
  })

  it('sees a signature entry that was altered, even without a key', async () => {
    const altered = await readFile(folder.file('all.tar'))
    const at = altered.indexOf('SHA256SUMS.sig\0') + 512 + 20
    altered.writeUInt8((altered[at] ?? 0) ^ 1, at)
    await writeFile(folder.file('other-signature.tar'), altered)
    const { code, stderr } = await run(['verify', 'other-signature.tar', '--integrity-only'])
    expect(code).toBe(3)
    expect(stderr).toContain('SHA256SUMS.sig')
  })

  it('refuses another key, an unsigned bundle, another name and an older sequence with 3', async () => {
    await good(['keygen', '--output-key-prefix', 'stranger'])
    const stranger = await run(['verify', 'all.tar', '--key', 'stranger.pub'])
    expect(stranger.code).toBe(3)
    expect(stranger.stderr).toContain('another key')
    await good(['verify', 'all.tar', '--key', 'stranger.pub', '--key', 'airgap.pub'])
    await good(['pack', '--lock', 'all.lock', ...mirrors, '--no-sign', '-o', 'unsigned.tar'])
    const unsigned = await run(['verify', 'unsigned.tar', '--key', 'airgap.pub'])
    expect(unsigned.code).toBe(3)
    expect(unsigned.stderr).toContain('not signed')
    const name = await run([
      'verify',
      'all.tar',
      '--key',
      'airgap.pub',
      '--expect-name',
      'other',
      '--min-sequence',
      '1790000001',
    ])
    expect(name.code).toBe(3)
    expect(name.stderr).toContain('not "other" as expected')
    expect(name.stderr).toContain('at least 1790000001')
  })
})

/** `SHA256SUMS` of a bundle: its first entry. */
async function checksumsOf(name: string): Promise<Buffer> {
  const file = await readFile(folder.file(name))
  const size = Number.parseInt(file.toString('latin1', 124, 135), 8)
  return file.subarray(512, 512 + size)
}
