import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AMD64, buildImage, seedRegistry, standIns } from '../../fixtures/images/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { BareRoot } from './parts/bare-root.ts'
import { run } from './parts/processes.ts'
import { startServing } from './parts/serving.ts'
import { withParts } from './parts/tools.ts'

const BUILD = join(import.meta.dirname, '../../bin/build-standalone.ts')
const PASSWORD = { AIRGAP_PASSWORD: 'test' }
const LARGE = 'ghcr.io/example/large:1.0'
/** More than what is hashed without threads. Bytes. */
const LARGE_SIZE = 48 * 1024 * 1024

withParts('the single executable', ['chroot', 'ldd', 'setpriv', 'script'], () => {
  let folder: string
  let output: string
  let name: string
  let root: BareRoot
  let outside: EmbeddedRegistry
  let inside: EmbeddedRegistry
  let reading: string[]

  const build = (to: string): Promise<string> => run(process.execPath, [BUILD, '--output', to])
  const file = (suffix = ''): string => join(output, `${name}${suffix}`)

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airgap-e2e-'))
    output = join(folder, 'output')
    await build(output)
    const names = await readdir(output)
    name = names.find((entry) => /^airgap-.*-linux-x64$/.test(entry)) ?? ''
    await mkdir(join(folder, 'root'))
    root = await BareRoot.create(join(folder, 'root'), file())

    const { store } = await standIns()
    const files = { 'filler.bin': new Uint8Array(LARGE_SIZE) }
    seedRegistry(store, LARGE, await buildImage({ platform: AMD64, files, compression: 'none' }))
    outside = await startRegistry({ store })
    inside = await startRegistry()
    reading = ['registry.k8s.io', 'docker.io', 'ghcr.io'].flatMap((host) => [
      '--mirror',
      `${host}=${outside.host}/${host}`,
    ])
    reading.push('--resolve-from', 'mirror')
  })
  afterAll(async () => {
    await outside?.close()
    await inside?.close()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  test('is linked with the C library, and the compiler’s own', () => {
    const names = root.libraries.map((library) => library.replace(/\.so.*$/, ''))
    expect(names.toSorted()).toEqual([
      'ld-linux-x86-64',
      'libatomic',
      'libc',
      'libdl',
      'libgcc_s',
      'libm',
      'libpthread',
      'libstdc++',
    ])
  })

  test('says its version as the checkout does', async () => {
    const checkout = await run(process.execPath, [join(import.meta.dirname, '../../bin/run.js'), '--version'])
    expect(await root.run(['--version'])).toBe(checkout)
    expect(await root.run(['-V'])).toBe(checkout)
  })

  test('has every command in it, with its help', async () => {
    const listed = JSON.parse(
      await readFile(join(import.meta.dirname, '../../dist/commands.json'), 'utf8'),
    ) as { id: string; hidden?: boolean }[]
    const help = await root.run(['--help'])
    for (const { id, hidden } of listed) {
      if (!hidden) expect(help).toMatch(new RegExp(`^ +${id} `, 'm'))
      expect(await root.run([id, '--help'])).toContain(`airgap ${id}`)
      // Not to be parsed without the command's own code.
      const wrong = await root.attempt([id, '--no-such-flag'])
      expect(wrong.code).toBe(2)
      expect(wrong.stderr).toContain('--no-such-flag')
    }
  })

  test('does the whole job in a root file system that holds nothing else', async () => {
    await root.run(['keygen'], PASSWORD)
    expect(await root.run(['list', 'nginx:1.29', '--kubeadm', 'v1.36.3'])).toContain(
      'docker.io/library/nginx:1.29\nregistry.k8s.io/coredns/coredns:v1.14.2\n',
    )
    await root.run(['resolve', 'nginx:1.29', LARGE, ...reading, '-o', 'b.lock'])
    await root.run(['pack', '--lock', 'b.lock', ...reading, '-o', 'b.tar', '--key', 'airgap.key'], PASSWORD)
    expect(await root.run(['inspect', 'b.tar'])).toContain(LARGE)
    const verified = JSON.parse(await root.run(['verify', 'b.tar', '--key', 'airgap.pub', '--json'])) as {
      tool: { version: string }
      images: unknown[]
    }
    expect(verified.images).toHaveLength(2)
    await root.run(['push', 'b.tar', inside.host, '--key', 'airgap.pub', '--receipt', 'r.json'])
    const tags = await fetch(`${inside.url}/v2/ghcr.io/example/large/tags/list`)
    expect(await tags.json()).toMatchObject({ tags: ['1.0'] })
    expect(await readdir(root.folder)).toEqual(
      expect.arrayContaining(['b.lock', 'b.tar', 'airgap.key', 'airgap.pub', 'r.json']),
    )
  })

  test('serves what it has packed', async () => {
    await using serving = await startServing(root, 'b.tar', '--key', 'airgap.pub')
    const tags = await fetch(`${serving.document.url}/v2/library/nginx/tags/list`)
    expect(await tags.json()).toMatchObject({ tags: ['1.29'] })
    expect(await serving.stop()).toBe(0)
  })

  test('logs in, keeps the credentials where there is no HOME, and logs out', async () => {
    await using guarded = await startRegistry({ auth: { basic: { robot: 'test' } } })
    await root.run(['login', guarded.host, '--username', 'robot', '--password-stdin'], {}, 'test\n')
    expect(await root.read('.docker/config.json')).toContain(guarded.host)
    await root.run(['push', 'b.tar', guarded.host, '--key', 'airgap.pub', '--receipt', 'guarded.json'])
    await root.run(['logout', guarded.host])
    expect(await root.read('.docker/config.json')).not.toContain(guarded.host)
  })

  test('writes a config, and takes it', async () => {
    await root.run(['init', 'nginx'])
    const listed = await root.run(['list', '--config', 'airgap.yaml'])
    expect(listed).toBe('docker.io/library/nginx:latest\n')
  })

  test('prints what completes its commands', async () => {
    for (const shell of ['bash', 'zsh']) expect(await root.run(['completion', shell])).toContain('--kubeadm')
  })

  test('finds an altered byte in what its threads hash', async () => {
    const bytes = await readFile(join(root.folder, 'b.tar'))
    const offset = bytes.length - LARGE_SIZE / 2
    bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset)
    await root.write('altered.tar', bytes)
    const outcome = await root.attempt(['verify', 'altered.tar', '--key', 'airgap.pub'])
    expect(outcome.code).toBe(3)
    expect(outcome.stderr).toMatch(/- sha256:[0-9a-f]{64}: its content has been altered/)
  })

  test('asks for a password on a terminal', async () => {
    const shown = await root.converse(
      ['keygen', '--output-key-prefix', 'asked'],
      /Password for|The same again/,
      'test',
    )
    expect(shown).toContain('asked.pub')
    const packed = ['pack', '--lock', 'b.lock', ...reading, '-o', 'asked.tar', '--key', 'asked.key']
    await root.run(packed, PASSWORD)
    await root.run(['verify', 'asked.tar', '--key', 'asked.pub'])
  })

  test('reports mistakes as the checkout does', async () => {
    const unknown = await root.attempt(['nope', '--json'])
    expect(unknown.code).toBe(2)
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'USAGE' } })
    const missing = await root.attempt(['verify', 'missing.tar', '--integrity-only'])
    expect(missing.code).toBe(7)
    expect(missing.stderr).toContain('missing.tar')
  })

  test('takes nothing from NODE_OPTIONS', async () => {
    const options = { NODE_OPTIONS: '--require /no/such/file --title nope' }
    expect(await root.run(['list', 'nginx'], options)).toBe('docker.io/library/nginx:latest\n')
  })

  test('prints the licences of all that the bill of materials lists', async () => {
    const licenses = await root.run(['--licenses'])
    expect(licenses).toBe(await readFile(file('.THIRD-PARTY-LICENSES.txt'), 'utf8'))
    const { components } = JSON.parse(await readFile(file('.cdx.json'), 'utf8')) as {
      components: { name: string; version: string }[]
    }
    expect(components.length).toBeGreaterThan(20)
    expect(components[0]?.name).toBe('node')
    for (const component of components.slice(1)) {
      expect(licenses).toContain(`\n${component.name} ${component.version} (`)
    }
    expect(licenses).toContain('Permission is hereby granted, free of charge')
    // Too much for a pipe that nobody empties.
    const script = `set -o pipefail; ${file()} --licenses | head -n 1`
    expect(await run('bash', ['-c', script])).toMatch(/^The executable of airgap .*\n$/)
  })

  test('comes with checksums, and twice built is the same', async () => {
    await run('sha256sum', ['--strict', '--check', 'SHA256SUMS'], { cwd: output })
    const again = join(folder, 'again')
    await build(again)
    expect(await readFile(join(again, 'SHA256SUMS'), 'utf8')).toBe(
      await readFile(join(output, 'SHA256SUMS'), 'utf8'),
    )
  })

  test('is not built around a Node.js of another architecture', async () => {
    const wrong = run(process.execPath, [
      BUILD,
      '--arch',
      'arm64',
      '--node',
      process.execPath,
      '--output',
      folder,
    ])
    await expect(wrong).rejects.toThrow('is not a program for Linux on arm64')
  })
})
